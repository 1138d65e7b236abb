"""The whole stage on small boxes and tori, interrupted and disturbed."""

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
import trimesh

from data_prep import pool, shards
from data_prep import prepare as prepare_lib
from occnet_jax.data import source as source_lib
from occnet_jax.data import views as views_lib
from occnet_jax.geometry import cameras

SMALL = {
  "points": 400,
  "surface_points": 300,
  "voxel_side": 8,
  "workers": 2,
  "shard_size": 3,
}
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Eight boxes, four tori, and three files that cannot be used."""
  root = tmp_path_factory.mktemp("source")
  for name in ("box", "torus", "bad"):
    (root / name).mkdir()
  for i in range(8):
    box = trimesh.creation.box(extents=(2, 1 + i / 10, 0.5))
    box.apply_translation((i, 0, 0)).export(root / "box" / f"box{i}.off")
  for i in range(4):
    torus = trimesh.creation.torus(0.3, 0.05 + i / 50, 16, 8)
    torus.export(root / "torus" / f"torus{i}.obj")
  opened = trimesh.creation.box()
  opened.update_faces(np.arange(11))
  opened.export(root / "bad" / "open.off")
  (root / "bad" / "nan.obj").write_text("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
  (root / "bad" / "text.ply").write_text("hello")
  return f"folder:{root}"


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
  """An uninterrupted run."""
  out = tmp_path_factory.mktemp("prepared")
  return prepare_lib.prepare(source=source, out=out, **SMALL)


def _read(directory):
  """Every example of a data set by split and id, as bytes that can be compared."""
  builder = tfds.builder_from_directory(directory)
  return {
    (split, example["id"].decode()): _flatten(example)
    for split in builder.info.splits
    for example in builder.as_data_source(split)
  }


def _flatten(example):
  if isinstance(example, dict):
    return {key: _flatten(value) for key, value in example.items()}
  return np.asarray(example).tobytes()


def _files(directory):
  """Contents by name, without what tells the time."""
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in sorted(directory.rglob("*"))
    if path.is_file() and path.parent.name != "rows" and path.suffix != ".csv"
  }


def test_every_sound_mesh_becomes_an_example_and_every_bad_one_a_row(prepared):
  assert sum(prepared.shapes.values()) == 12 and prepared.rejected == 3
  rows = list(csv.DictReader((prepared.directory / "prepare_report.csv").open()))
  reasons = {row["id"]: row["reason"] for row in rows if row["outcome"] == "rejected"}
  assert reasons.keys() == {"open", "nan", "text"}
  assert "3 open edges" in reasons["open"] and "not finite" in reasons["nan"]
  accepted = {(row["split"], row["id"]) for row in rows if row["outcome"] == "ok"}
  assert accepted == set(_read(prepared.directory))
  assert all(float(row["seconds"]) > 0 for row in rows if row["outcome"] == "ok")


def test_each_category_is_split_by_the_fractions_with_one_at_least(prepared):
  split = {name: split for split, name in _read(prepared.directory)}
  for category, want in (("box", (5, 1, 2)), ("torus", (2, 1, 1))):
    members = [split[name] for name in split if name.startswith(category)]
    assert tuple(map(members.count, SPLITS)) == want


def test_examples_are_true_to_their_mesh(prepared):
  """A box of 2 by 1.3 by 0.5 at x = 3 has its frame and its labels."""
  builder = tfds.builder_from_directory(prepared.directory)
  found = {
    example["id"].decode(): example
    for split in builder.info.splits
    for example in builder.as_data_source(split)
  }
  example = found["box3"]
  np.testing.assert_allclose(example["loc"], (3, 0, 0), atol=1e-12)
  assert example["scale"] == 2 and example["category"] == b"box"
  points = example["points"]["points"].astype(np.float64)
  half = np.array([2, 1.3, 0.5]) / 4
  gap = (np.abs(points) - half).max(1)
  inside = np.unpackbits(example["points"]["occupancies"])[:400].astype(bool)
  np.testing.assert_array_equal(inside[np.abs(gap) > 1e-9], gap[np.abs(gap) > 1e-9] < 0)
  surface = example["pointcloud"]["points"].astype(np.float64)
  np.testing.assert_allclose((np.abs(surface) - half).max(1), 0, atol=3e-4)
  voxels = np.unpackbits(example["voxels"]).reshape(8, 8, 8)
  axis = np.abs((np.arange(8) + 0.5) / 8 - 0.5)
  kept = [axis < h for h in half]
  want = kept[0][:, None, None] & kept[1][None, :, None] & kept[2][None, None, :]
  np.testing.assert_array_equal(voxels.astype(bool), want)


def test_labelled_surfaces_are_kept_for_the_test_split_only(prepared):
  kept = {path.stem: path for path in prepared.directory.glob("solids/*/*.ply")}
  assert kept.keys() == {n for split, n in _read(prepared.directory) if split == "test"}
  for path in kept.values():
    mesh = trimesh.load_mesh(path)
    assert mesh.is_watertight and mesh.volume > 0
    np.testing.assert_allclose(np.abs(mesh.bounds).max(), 0.5, atol=1e-6)


def test_neither_worker_count_nor_shard_size_changes_an_example(
  prepared, source, tmp_path
):
  other = {**SMALL, "workers": 1, "shard_size": 100}
  prepare_lib.prepare(source=source, out=tmp_path, **other)
  assert _read(tmp_path) == _read(prepared.directory)


def test_a_seed_changes_the_samples(prepared, source, tmp_path):
  prepare_lib.prepare(source=source, out=tmp_path, seed=1, **SMALL)
  first, second = _read(prepared.directory), _read(tmp_path)
  for key in first.keys() & second.keys():
    assert first[key]["points"] != second[key]["points"]


def test_a_finished_directory_is_left_as_it_is(prepared, source, monkeypatch):
  monkeypatch.setattr(pool, "run_tasks", None)
  before = {path: path.stat().st_mtime_ns for path in prepared.directory.rglob("*")}
  again = prepare_lib.prepare(source=source, out=prepared.directory, **SMALL)
  assert again == prepared
  after = {path: path.stat().st_mtime_ns for path in prepared.directory.rglob("*")}
  assert after == before


def test_other_settings_on_the_same_directory_are_refused(prepared, source):
  changed = {**SMALL, "points": 500}
  with pytest.raises(ValueError, match=r"points = 400, now wanted 500; choose another"):
    prepare_lib.prepare(source=source, out=prepared.directory, **changed)


def test_an_interrupted_run_goes_on_to_the_same_data(
  prepared, source, tmp_path, monkeypatch
):
  write, written = shards.write_shard, []

  def interrupt(path, records):
    if len(written) == 2:
      raise KeyboardInterrupt
    written.append(path)
    write(path, records)

  monkeypatch.setattr(shards, "write_shard", interrupt)
  with pytest.raises(KeyboardInterrupt):
    prepare_lib.prepare(source=source, out=tmp_path, **SMALL)
  assert not shards.is_complete(tmp_path)
  kept = {path: path.stat().st_mtime_ns for path in written}
  (tmp_path / ".part-left-over").touch()
  monkeypatch.setattr(shards, "write_shard", write)
  resumed = prepare_lib.prepare(source=source, out=tmp_path, **SMALL)
  assert resumed.shapes == prepared.shapes
  assert {path: path.stat().st_mtime_ns for path in written} == kept
  assert _read(tmp_path) == _read(prepared.directory)
  assert _files(tmp_path).keys() == _files(prepared.directory).keys()


@pytest.fixture(scope="module")
def pictured(source, tmp_path_factory):
  """The same run with three views of each shape."""
  out = tmp_path_factory.mktemp("pictured")
  return prepare_lib.prepare(source=source, out=out, **SMALL, views=3, view_side=40)


def test_views_leave_everything_else_as_it_was(prepared, pictured):
  with_views, without = _read(pictured.directory), _read(prepared.directory)
  assert with_views.keys() == without.keys()
  for key, example in with_views.items():
    assert example.pop("views").keys() == {"images", "world_mat", "camera_mat"}
    assert example == without[key]


def test_the_surface_of_a_shape_is_where_its_views_show_it(pictured):
  """300 surface points fall on the silhouette and nearly span it."""
  fields = {"views": views_lib.FIELDS, "pointcloud": {"points": True}}
  shapes = source_lib.open_split(pictured.directory, "train", fields)
  for i in range(len(shapes)):
    views, surface = shapes[i]["views"], shapes[i]["pointcloud"]["points"]
    assert views_lib.count_views(views) == 3
    for view in range(3):
      image = views_lib.decode_view(views, view)
      assert image.shape == (40, 40, 3)
      pixels, _ = cameras.project(
        surface.astype(np.float64), views["world_mat"][view], views["camera_mat"][view]
      )
      columns, rows = np.floor(pixels).astype(int).T
      assert (image[rows, columns, 0] < 255).mean() > 0.9  # a border pixel may be white
      covered = np.argwhere(image[..., 0] < 255)
      low, high = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
      np.testing.assert_allclose(covered.min(0), low[::-1], atol=4)
      np.testing.assert_allclose(covered.max(0) + 1, high[::-1], atol=4)


def test_shapes_have_cameras_of_their_own_that_do_not_depend_on_the_workers(
  pictured, source, tmp_path
):
  other = {**SMALL, "workers": 1, "shard_size": 100}
  prepare_lib.prepare(source=source, out=tmp_path, **other, views=3, view_side=40)
  found = _read(tmp_path)
  assert found == _read(pictured.directory)
  assert len({example["views"]["world_mat"] for example in found.values()}) == 12


def test_other_views_on_the_same_directory_are_refused(prepared, pictured, source):
  with pytest.raises(ValueError, match="views = 0, now wanted 3"):
    prepare_lib.prepare(source=source, out=prepared.directory, **SMALL, views=3)
  with pytest.raises(ValueError, match="views = 3, now wanted 0"):
    prepare_lib.prepare(source=source, out=pictured.directory, **SMALL)
  with pytest.raises(ValueError, match="view_side = 40, now wanted 137"):
    prepare_lib.prepare(source=source, out=pictured.directory, **SMALL, views=3)


def test_data_from_before_there_were_views_are_data_without(
  prepared, source, tmp_path, monkeypatch
):
  out = tmp_path / "old"
  shutil.copytree(prepared.directory, out)
  settings = json.loads((out / "prepare.json").read_text())
  del settings["views"], settings["view_side"]
  (out / "prepare.json").write_text(json.dumps(settings))
  with pytest.raises(ValueError, match="views = 0, now wanted 3"):
    prepare_lib.prepare(source=source, out=out, **SMALL, views=3)
  monkeypatch.setattr(pool, "run_tasks", None)
  assert prepare_lib.prepare(source=source, out=out, **SMALL).shapes == prepared.shapes


def test_views_without_the_renderer_are_refused_at_once(source, tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="Embree is not installed: pip install embreex"):
    prepare_lib.prepare(source=source, out=tmp_path, **SMALL, views=1)


_CHILD = """
import signal
import sys
from data_prep.prepare import prepare
if __name__ == "__main__":
  # A shell's background job ignores Ctrl-C, and hands that down to its children.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  prepare(source=sys.argv[1], out=sys.argv[2], points=int(sys.argv[3]),
          surface_points=300, voxel_side=8, workers=2, shard_size=3)
  assert not {"jax", "flax", "tensorflow"} & sys.modules.keys(), "imported"
"""


def _start(source, out, points=400):
  script = out.parent / f"{out.name}.py"
  script.write_text(_CHILD)
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  return subprocess.Popen(
    [sys.executable, str(script), source, str(out), str(points)],
    env=environment,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def test_a_killed_run_leaves_whole_shards_only_and_no_worker(
  prepared, source, tmp_path
):
  out = tmp_path / "out"
  with _start(source, out) as process:
    deadline = time.monotonic() + 60
    while not list(out.glob("occnet-*")) and time.monotonic() < deadline:
      time.sleep(0.002)
    process.kill()
  for path in out.glob("occnet-*"):
    twin = prepared.directory / path.name
    assert path.stat().st_size == twin.stat().st_size
  for path in out.glob("rows/*.json"):
    json.loads(path.read_text())
  deadline = time.monotonic() + 20
  while _group_is_alive(process.pid) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not _group_is_alive(process.pid)


def _group_is_alive(group):
  try:
    os.killpg(group, 0)
  except ProcessLookupError:
    return False
  return True


def test_control_c_ends_every_process(source, tmp_path):
  out = tmp_path / "out"
  with _start(source, out, points=500_000) as process:  # enough work to interrupt
    deadline = time.monotonic() + 60
    while not (out / "prepare.json").exists() and time.monotonic() < deadline:
      time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
  assert "KeyboardInterrupt" in errors
  deadline = time.monotonic() + 20
  while _group_is_alive(process.pid) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not _group_is_alive(process.pid)
  assert not shards.is_complete(out)


def test_preparation_runs_without_jax_flax_or_tensorflow(prepared, source, tmp_path):
  with _start(source, tmp_path / "out") as process:
    _, errors = process.communicate(timeout=120)
  assert process.returncode == 0, errors
  assert _read(tmp_path / "out") == _read(prepared.directory)


def test_a_source_without_one_sound_mesh_is_refused(source, tmp_path):
  bad = f"{source}/bad"
  with pytest.raises(ValueError, match="none of 3 meshes could be used"):
    prepare_lib.prepare(source=bad, out=tmp_path / "out", **SMALL)


@pytest.mark.parametrize(
  ("setting", "message"),
  [
    ({"source": "web"}, "want 'synthetic' or 'folder:"),
    ({"points": 0}, "points is 0, want at least 1"),
    ({"dtype": "float8"}, "want float16 or float32"),
    ({"val_fraction": 0.5, "test_fraction": 0.5}, "want a sum below 1"),
    ({"views": -1}, "views is -1, want at least 0"),
    ({"views": 2, "view_side": 0}, "view_side is 0, want at least 1"),
    ({"workers": -1}, "workers is -1"),
    ({"solid_splits": ("dev",)}, "solid_splits"),
  ],
)
def test_a_setting_out_of_range_is_refused(source, tmp_path, setting, message):
  with pytest.raises(ValueError, match=message):
    prepare_lib.prepare(**{"source": source, "out": tmp_path, **SMALL, **setting})
