"""Files of users' own -> meshes, by networks with random weights and a fitting tau."""

import csv
import json
import os

import jax
import numpy as np
import optax
import pytest
import trimesh
from PIL import Image

from configs import base
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.cli import user_mesh
from occnet_jax.cli.reconstruct import reconstruct
from occnet_jax.config import parse
from occnet_jax.data import inputs
from occnet_jax.data.user_grids import read_grid
from occnet_jax.data.user_inputs import find_items
from occnet_jax.models import registry
from occnet_jax.train import checkpoint
from occnet_jax.train import state as state_lib
from tests.helpers import read_picture

ENCODERS = {
  "cloud": "pointnet_resnet",
  "image": "simple_conv",
  "images": "simple_conv",
  "voxels": "voxel_simple",
}
SIDE = 64  # of a picture; the encoder needs 63
MODELS, RESTORE = {}, reconstruct_lib.api.restore


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
  """Kind of input -> workdir of a network that has a surface for any input."""
  made = {}

  def make(kind):
    if kind not in made:
      made[kind] = tmp_path_factory.mktemp(kind)
      save_run(made[kind], kind)
    return made[kind]

  return make


@pytest.fixture(autouse=True)
def restored_once(monkeypatch):
  """Restores a run once, for it compiles anew each time."""

  def restore(workdir, *, config_override):
    key = workdir, json.dumps(config_override)
    if key not in MODELS:
      MODELS[key] = RESTORE(workdir, config_override=config_override)
    return MODELS[key]

  monkeypatch.setattr(reconstruct_lib.api, "restore", restore)


def make_config(kind):
  config = base.get_config()
  config.data.update(inputs=kind, image_side=SIDE, cloud_points=32)
  config.model.update(encoder_hidden_size=8, c_dim=8, hidden_size=16)
  config.model.encoder = ENCODERS.get(kind, "none")
  config.generation.update(resolution_0=8, upsampling_steps=1)
  return config.to_dict()


def save_run(workdir, kind):
  config = make_config(kind)
  form = inputs.make(parse(config).data).spec[None]
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 500, 3)).astype(np.float32)
  batch = {"points": points, "occupancies": points[..., 0] * 0, "inputs": form}
  method = registry.build(config["model"])
  state = state_lib.create(method, optax.sgd(1e-3), batch, seed=0, ema=False)
  # At first the code counts for nothing.
  rng = np.random.default_rng(1)
  noisy = jax.tree.map(lambda a: a + 0.03 * rng.standard_normal(a.shape), state.params)
  state = state.replace(params=jax.tree.map(np.float32, noisy))
  latent = jax.jit(method.encode)(state.variables, form)
  logits = jax.jit(method.decode)(state.variables, latent, points)
  level = float(np.median(logits))
  with checkpoint.Checkpoints(workdir, config, keep_period=0) as checkpoints:
    checkpoints.save("best", state, {"level": level})


def photo(path, size=(80, 60), colour=(200, 40, 30)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, colour).save(path)
  return path


def report(out):
  with (out / "reconstruct_report.csv").open() as file:
    return {row["file"]: row for row in csv.DictReader(file)}


def test_a_folder_of_photographs_becomes_meshes_a_report_and_a_page(
  run_of, tmp_path, capsys
):
  photo(tmp_path / "in" / "a.png")
  photo(tmp_path / "in" / "cars" / "b.jpg")
  photo(tmp_path / "in" / "cars" / "b.webp")
  (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG and no more")
  photo(tmp_path / "in" / ".hidden.png")
  (tmp_path / "in" / "notes.txt").write_text("1 2 3")
  out = tmp_path / "out"
  reconstruct(run_of("image"), tmp_path / "in", out)
  found = {p.relative_to(out).as_posix() for p in out.rglob("*.glb")}
  assert found == {"a.glb", "cars/b.jpg.glb", "cars/b.webp.glb"}
  assert len(trimesh.load(out / "a.glb", force="mesh").faces) > 10
  rows = report(out)
  assert list(rows["a.png"]) == ["file", "outcome", "reason", "seconds"]
  assert {name: row["outcome"] for name, row in rows.items()} == {
    "a.png": "mesh",
    "broken.png": "failed",
    "cars/b.jpg": "mesh",
    "cars/b.webp": "mesh",
  }
  assert "cannot be decoded" in rows["broken.png"]["reason"]
  assert float(rows["a.png"]["seconds"]) > 0
  page = (out / "index.html").read_text()
  assert page.count("data:image/png;base64,") == 9
  assert "http://" not in page and "https://" not in page and "<script" not in page
  assert "cannot be decoded" in page and "prefers-color-scheme: dark" in page
  assert "3 of 4 meshes" in capsys.readouterr().out


def test_a_second_call_makes_only_what_is_missing_or_has_changed(
  run_of, tmp_path, monkeypatch
):
  names = ("a.png", "b.png", "c.png")
  for name in names:
    photo(tmp_path / "in" / name)
  (tmp_path / "in" / "c.png").write_bytes(b"nothing")
  args = run_of("image"), tmp_path / "in", tmp_path / "in" / "out"  # within the source
  asked = []
  read = user_mesh.read
  monkeypatch.setattr(
    user_mesh,
    "read",
    lambda model, item, *more: (asked.append(item.name), read(model, item, *more))[1],
  )
  reconstruct(*args)
  assert asked == [*names]
  page = (args[2] / "index.html").read_bytes()
  reconstruct(*args)
  assert asked == [*names] and (args[2] / "index.html").read_bytes() == page
  (args[2] / "a.glb").unlink()
  photo(tmp_path / "in" / "c.png")
  reconstruct(*args)
  assert asked == [*names, "a.png", "c.png"]
  config = make_config("image")
  config["generation"]["upsampling_steps"] = 0
  reconstruct(*args, config_override=config)
  assert asked[5:] == [*names]


def test_no_surface_is_a_row_in_a_folder_and_an_error_alone(run_of, tmp_path):
  path = photo(tmp_path / "in" / "a.png")
  config = make_config("image")
  config["test"]["threshold"] = 0.999999
  out = tmp_path / "out"
  with pytest.raises(ValueError, match=r"0 of 1 meshes.*a\.png: no surface: no value"):
    reconstruct(run_of("image"), tmp_path / "in", out, config_override=config)
  row = report(out)["a.png"]
  assert row["outcome"] == "no surface" and "exceeds the level 13.8" in row["reason"]
  assert not (out / "a.glb").exists()
  assert (out / "index.html").read_text().count("data:image/png;base64,") == 1
  target = tmp_path / "a.ply"
  with pytest.raises(ValueError, match=r"a\.png: no surface: no value of the net"):
    reconstruct(run_of("image"), path, target, config_override=config)
  assert not target.exists()


def test_the_picture_on_the_page_is_the_object_in_its_mask(run_of, tmp_path):
  photo(tmp_path / "in" / "cars" / "a.jpg", (80, 60))
  photo(tmp_path / "in" / "b.png", (80, 60))
  mask = np.zeros((60, 80), np.uint8)
  mask[10:20, 50:70] = 3
  (tmp_path / "masks" / "cars").mkdir(parents=True)
  Image.fromarray(mask).save(tmp_path / "masks" / "cars" / "a.png")
  out = tmp_path / "out"
  reconstruct(run_of("image"), tmp_path / "in", out, masks=tmp_path / "masks")
  rows = report(out)
  assert rows["b.png"]["outcome"] == "failed" and "no mask" in rows["b.png"]["reason"]
  assert rows["cars/a.jpg"]["outcome"] == "mesh"
  shown = read_picture(out / "pictures" / "cars" / "a-input.png").astype(int)
  assert shown.shape == (SIDE, SIDE, 3)
  rows, columns = np.nonzero(shown[..., 1] < 128)
  width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
  np.testing.assert_allclose((width, height), (0.61 * SIDE, 0.305 * SIDE), atol=1.5)
  np.testing.assert_allclose((rows.mean(), columns.mean()), (SIDE - 1) / 2, atol=1)


def test_a_single_photograph_takes_a_mask_file_and_any_mesh_format(run_of, tmp_path):
  path = photo(tmp_path / "a.jpg")
  Image.fromarray(np.eye(60, 80, dtype=bool)).save(tmp_path / "mask.png")
  meshes = []
  for suffix in ("ply", "obj"):
    for mask in (None, tmp_path / "mask.png"):
      target = tmp_path / f"mesh.{suffix}"
      reconstruct(run_of("image"), path, target, masks=mask)
      meshes.append(trimesh.load(target, force="mesh", process=False))
  assert all(len(mesh.faces) > 10 for mesh in meshes)
  assert not np.array_equal(meshes[0].vertices, meshes[1].vertices)
  assert not list(tmp_path.glob("*.html"))


def test_images_of_one_folder_are_one_object(run_of, tmp_path):
  for name in ("x/1.png", "x/2.jpg", "y/deep/1.png"):
    photo(tmp_path / "in" / name)
  run = run_of("images")
  reconstruct(run, tmp_path / "in", tmp_path / "out")
  found = {p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("*.glb")}
  assert found == {"x.glb", "y/deep.glb"} and set(report(tmp_path / "out")) == {
    "x",
    "y/deep",
  }
  sheet = read_picture(tmp_path / "out" / "pictures" / "x-input.png")
  assert sheet.shape == (2 * SIDE, 2 * SIDE, 3)
  reconstruct(run, tmp_path / "in" / "x", tmp_path / "one.glb")
  one, same = (
    trimesh.load(p, force="mesh")
    for p in (tmp_path / "one.glb", tmp_path / "out/x.glb")
  )
  np.testing.assert_array_equal(one.vertices, same.vertices)
  reconstruct(run, tmp_path / "in" / "x", tmp_path / "out2")
  assert (tmp_path / "out2" / "x.glb").exists()
  photo(tmp_path / "in" / "stray.png")
  with pytest.raises(ValueError, match="images beside 2 folders of images"):
    reconstruct(run, tmp_path / "in", tmp_path / "out")


def test_a_folder_of_clouds_keeps_their_frames(run_of, tmp_path):
  cloud = np.array([100, 0, 0]) + trimesh.creation.icosphere(3, 5).vertices
  (tmp_path / "in").mkdir()
  np.save(tmp_path / "in" / "a.npy", cloud)
  np.savetxt(tmp_path / "in" / "b.xyz", cloud / 10)
  np.savetxt(tmp_path / "in" / "c.xyz", cloud[:2])
  out = tmp_path / "out"
  reconstruct(run_of("cloud"), tmp_path / "in", out)
  a, b = (trimesh.load(out / name, force="mesh") for name in ("a.glb", "b.glb"))
  assert (np.abs(a.vertices - [100, 0, 0]) < 5.6).all()
  assert (np.abs(b.vertices - [10, 0, 0]) < 0.56).all()
  assert report(out)["c.xyz"]["outcome"] == "failed"
  shares = [
    (read_picture(out / "pictures" / f"{name}-input.png") < 255).mean() for name in "ab"
  ]
  assert min(shares) > 0.05 and max(shares) < 0.8
  config = make_config("cloud")
  config["test"]["threshold"] = 0.999999
  with pytest.raises(ValueError, match=r"0 of 3 meshes, 3 failed"):
    reconstruct(run_of("cloud"), tmp_path / "in", out, config_override=config)
  assert report(out)["a.npy"]["outcome"] == "no surface"
  assert not (out / "a.glb").exists()


def test_a_file_name_that_is_no_utf_8_does_not_spoil_its_folder(run_of, tmp_path):
  cloud = np.asarray(trimesh.creation.icosphere(3).vertices)
  (tmp_path / "in").mkdir()
  np.savetxt(tmp_path / "in" / "a.xyz", cloud)
  try:
    np.savetxt(tmp_path / "in" / os.fsdecode(b"caf\xe9.xyz"), cloud)
    np.savetxt(tmp_path / "in" / os.fsdecode(b"\xe9.xyz"), cloud[:2])
  except OSError:
    pytest.skip(
      "the file system refuses names that are no UTF-8, so none can reach the code"
    )
  out = tmp_path / "out"
  reconstruct(run_of("cloud"), tmp_path / "in", out)
  outcomes = {name: row["outcome"] for name, row in report(out).items()}
  assert outcomes == {"a.xyz": "mesh", "caf\ufffd.xyz": "mesh", "\ufffd.xyz": "failed"}
  assert len(list(out.glob("*.glb"))) == 2
  page = (out / "index.html").read_text(encoding="utf-8")
  assert "caf\ufffd.xyz" in page


def write_binvox(path, grid):
  """After the format's description: x slowest, y fastest, runs of value and count."""
  values = grid.transpose(0, 2, 1).ravel().astype(np.uint8)
  header = f"#binvox 1\ndim {' '.join(map(str, grid.shape))}\n"
  header += "translate 0 0 0\nscale 1\ndata\n"
  runs = b"".join(bytes([value, 1]) for value in values)
  path.write_bytes(header.encode() + runs)


def test_grids_of_every_format_are_read_with_their_axes_in_order(run_of, tmp_path):
  grid = np.random.default_rng(0).random((32, 32, 32)) < 0.05
  grid[3:9, 20:22, 5] = True
  (tmp_path / "in").mkdir()
  np.save(tmp_path / "in" / "a.npy", grid)
  np.savez(tmp_path / "in" / "b.npz", voxels=grid.astype(np.uint8))
  write_binvox(tmp_path / "in" / "c.binvox", grid)
  for path in sorted((tmp_path / "in").iterdir()):
    np.testing.assert_array_equal(read_grid(path, 32), grid)
  np.save(tmp_path / "in" / "d.npy", np.zeros((32, 32, 32), bool))
  reconstruct(run_of("voxels"), tmp_path / "in", tmp_path / "out")
  rows = report(tmp_path / "out")
  assert [row["outcome"] for row in rows.values()][:3] == ["mesh"] * 3
  pictures = tmp_path / "out" / "pictures"
  assert (pictures / "c-input.png").exists() and not (pictures / "d-input.png").exists()


def test_a_grid_that_does_not_fit_is_refused(tmp_path):
  np.save(tmp_path / "small.npy", np.zeros((16, 16, 16), bool))
  np.save(tmp_path / "sdf.npy", np.full((32, 32, 32), 0.5))
  np.savez(tmp_path / "keys.npz", other=np.zeros(3))
  write_binvox(tmp_path / "torn.binvox", np.ones((32, 32, 32), bool))
  torn = (tmp_path / "torn.binvox").read_bytes()
  (tmp_path / "torn.binvox").write_bytes(torn[:-1000])
  for name, words in (
    ("small.npy", r"shape \(16, 16, 16\), want \(32, 32, 32\)"),
    ("sdf.npy", "other than 0 and 1"),
    ("keys.npz", "want NPY, NPZ with the array voxels"),
    ("torn.binvox", "grid"),
  ):
    with pytest.raises(ValueError, match=words):
      read_grid(tmp_path / name, 32)


def test_a_file_of_another_kind_says_what_the_network_wants(run_of, tmp_path):
  path, target = photo(tmp_path / "in" / "a.png"), tmp_path / "a.glb"
  with pytest.raises(ValueError, match=r"wants a point cloud .*\.ply.*image or images"):
    reconstruct(run_of("cloud"), path, target)
  with pytest.raises(ValueError, match=r"in: this network wants an occupancy grid"):
    reconstruct(run_of("voxels"), path.parent, tmp_path / "out")
  with pytest.raises(ValueError, match=r"cannot write '\.gif'"):
    reconstruct(run_of("image"), path, tmp_path / "a.gif")
  with pytest.raises(ValueError, match=r"b\.png: no such file or folder"):
    reconstruct(run_of("image"), tmp_path / "b.png", target)
  for wrong in (target, path.parent):
    with pytest.raises(ValueError, match="want another folder, for the meshes"):
      reconstruct(run_of("image"), path.parent, wrong)
  with pytest.raises(ValueError, match=r"masks are for photographs"):
    reconstruct(run_of("cloud"), path, target, masks=path)
  with pytest.raises(ValueError, match=r"is 'none', so it takes no files"):
    find_items(path, target, "none")
