"""The command `occnet`, and main.py with a pretrained model."""

import base64
import copy
import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from occnet_jax import types
from occnet_jax.cli import process, stages, user_mesh
from occnet_jax.cli import reconstruct as reconstruct_lib
from tests.helpers import ROOT
from tests.helpers.command_line import error_of
from tests.helpers.occnet_command import enter_directory, failure, load, run
from tests.helpers.pretrained import make_cloud, make_model
from tests.helpers.small_data import wait_until


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
  scan = make_cloud() * 10 + [100, 0, 0]
  return enter_directory(tmp_path, monkeypatch, model, scan)


def test_a_scan_becomes_a_mesh_in_its_frame_and_two_lines(here, capsys):
  run("reconstruct", "scan.xyz", "-o", "mesh.ply")
  mesh = load(here / "mesh.ply")
  assert (np.abs(mesh.vertices - [100, 0, 0]) < 4.5).all()
  output = capsys.readouterr().out
  size = f"mesh.ply: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, "
  used = "scan.xyz: 200 points, 32 of them used, at random\n"
  megabytes = (here / "mesh.ply").stat().st_size / 1e6
  end = rf"closed, {megabytes:.1f} MB, \d+\.\d s\n"
  assert re.fullmatch(re.escape(used + size) + end, output)
  assert mesh.is_watertight


def test_a_preview_shows_the_cloud_beside_the_mesh(here, capsys):
  run("reconstruct", "scan.xyz", "-o", "mesh.ply", "--preview", "page.html")
  assert "page.html: input and mesh, 1." in capsys.readouterr().out
  page = (here / "page.html").read_text()
  assert "<title>scan.xyz</title>" in page
  assert "200 points</figcaption>" in page
  models = re.findall(r'src="data:model/gltf-binary;base64,([^"]*)"', page)
  assert len(models) == 2
  shown = trimesh.load(
    io.BytesIO(base64.b64decode(models[1])), file_type="glb", force="mesh"
  )
  expected = load(here / "mesh.ply")
  assert shown.area == pytest.approx(
    expected.area / expected.extents.max() ** 2, rel=0.02
  )
  assert np.ptp(shown.vertices, axis=0).max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("suffix", ["glb", "ply", "obj"])
def test_a_scan_in_national_coordinates_keeps_its_form(here, suffix):
  place = np.array([500_000, 4_500_000, 100])
  np.savetxt(here / "utm.xyz", make_cloud() + place)
  run("reconstruct", "utm.xyz", "-o", f"mesh.{suffix}")
  run("reconstruct", "scan.xyz", "-o", f"here.{suffix}")  # ten times as large
  mesh, same = load(here / f"mesh.{suffix}"), load(here / f"here.{suffix}")
  assert mesh.is_watertight and mesh.area_faces.min() > 0
  np.testing.assert_allclose(
    mesh.bounds - place, (same.bounds - [100, 0, 0]) / 10, atol=1e-3
  )
  np.testing.assert_allclose(mesh.area, same.area / 100, rtol=1e-3)


def test_a_folder_has_a_page_already(here):
  (here / "scans").mkdir()
  shutil.copy("scan.xyz", here / "scans" / "a.xyz")
  message = failure("reconstruct", "scans", "--preview", "page.html")
  assert message == (
    "error: --preview=page.html is for one mesh; a folder has its own page, "
    "reconstructions/index.html: leave it out"
  )


def test_an_open_mesh_is_called_open(here, capsys, monkeypatch, model):
  box = trimesh.creation.box()
  box.update_faces(np.arange(12) > 0)
  monkeypatch.setattr(type(model), "reconstruct", lambda *args, **options: box)
  run("reconstruct", "scan.xyz")
  assert "8 vertices, 11 faces, not closed (3 open edges), " in capsys.readouterr().out


def test_the_mesh_is_named_after_the_input_and_never_replaces_it(here, tmp_path):
  run("reconstruct", "scan.xyz")
  assert len(load(here / "scan.glb").faces) > 10
  far = tmp_path / "far"
  far.mkdir()
  shutil.copy(here / "scan.glb", far / "chair.glb")
  before = (far / "chair.glb").read_bytes()
  run("reconstruct", far / "chair.glb")
  assert len(load(here / "chair.glb").faces) > 10
  shutil.copy(far / "chair.glb", here / "chair.glb")
  run("reconstruct", "chair.glb")
  assert (here / "chair.glb").read_bytes() == before
  assert len(load(here / "chair_reconstruction.glb").faces) > 10
  message = failure("reconstruct", "chair.glb", "-o", "../here/chair.glb")
  assert message.startswith("error: ../here/chair.glb: is the input; want another file")
  assert (far / "chair.glb").read_bytes() == (here / "chair.glb").read_bytes() == before


def test_the_grid_and_the_drawn_points_can_be_chosen(here, model):
  volumes = {}
  for seed in (0, 1):
    run("reconstruct", "scan.xyz", "-o", f"{seed}.ply", "--seed", seed)
    volumes[seed] = load(f"{seed}.ply").volume
    expected = model.reconstruct(np.loadtxt("scan.xyz"), seed=seed).volume
    np.testing.assert_allclose(volumes[seed], expected, rtol=1e-5)
  assert abs(volumes[0] - volumes[1]) > 1e-3
  run("reconstruct", "scan.xyz", "-o", "fine.ply", "--resolution", 40)
  expected = model.reconstruct(
    np.loadtxt("scan.xyz"), resolution_0=20, upsampling_steps=1
  )
  np.testing.assert_allclose(load("fine.ply").vertices, expected.vertices, atol=1e-4)


def test_a_mesh_can_be_smoothed_and_simplified(here):
  for name, options in {
    "plain": [],
    "smooth": ["--smooth", 5],
    "few": ["--smooth", 5, "--faces", 300],
  }.items():
    run("reconstruct", "scan.xyz", "-o", f"{name}.ply", *options)
  plain, smooth, few = (load(f"{name}.ply") for name in ("plain", "smooth", "few"))
  assert len(few.faces) <= 300 < len(smooth.faces) == len(plain.faces)
  assert smooth.area < plain.area
  assert few.volume == pytest.approx(plain.volume, rel=0.05)


@pytest.mark.parametrize(
  ("resolution", "coarse", "doublings"),
  [(1, 1, 0), (16, 16, 0), (31, 31, 0), (32, 16, 1), (33, 17, 1), (128, 16, 3)],
)
def test_a_resolution_is_reached_by_doublings(model, resolution, coarse, doublings):
  options = reconstruct_lib.grid_options(model, resolution, 0)
  assert options == {"resolution_0": coarse, "upsampling_steps": doublings}
  assert resolution <= coarse * 2**doublings < resolution + 2**doublings


@pytest.mark.parametrize(
  ("option", "message"),
  [
    ("--resolution", "--resolution=64 is for networks of one cube with values at"),
    ("--faces", "--smooth and --faces are for networks with values at points"),
    ("--smooth", "--smooth and --faces are for networks with values at points"),
  ],
)
def test_options_that_a_network_of_meshes_lacks_are_refused(
  model, monkeypatch, option, message
):
  meshes = copy.copy(model)
  meshes.method = model.method._replace(output=types.Mesh())
  monkeypatch.setattr(reconstruct_lib.api, "from_pretrained", lambda *_, **__: meshes)
  assert message in failure("reconstruct", "scan.xyz", option, 64)


def test_a_folder_becomes_a_folder_and_other_choices_make_it_again(here, capsys):
  (here / "scans").mkdir()
  shutil.copy("scan.xyz", here / "scans" / "a.xyz")
  (here / "scans" / "b.xyz").write_text("nothing")
  run("reconstruct", "scans")
  out = here / "reconstructions"
  assert re.search(
    r"1 of 2 meshes, 1 failed \(reconstruct_report\.csv\): "
    r"reconstructions/index\.html, \d+\.\d s\n",
    capsys.readouterr().out,
  )
  made = (out / "a.glb").stat().st_mtime_ns
  run("reconstruct", "scans")
  assert (out / "a.glb").stat().st_mtime_ns == made
  assert ">scan<" in (out / "index.html").read_text()
  run("reconstruct", "scans", "--seed", 1)
  assert (out / "a.glb").stat().st_mtime_ns != made


def test_other_weights_of_one_name_make_a_folder_again(here, tmp_path, model):
  (here / "scans").mkdir()
  shutil.copy("scan.xyz", here / "scans" / "a.xyz")
  run("reconstruct", "scans")
  made = (here / "reconstructions" / "a.glb").stat().st_mtime_ns
  model.save_pretrained(tmp_path / "package" / "scan", dtype="float16")
  run("reconstruct", "scans")
  assert (here / "reconstructions" / "a.glb").stat().st_mtime_ns != made


def test_any_model_can_be_named(here, tmp_path):
  (tmp_path / "package" / "scan").rename(tmp_path / "elsewhere")
  assert "scan: no such model; packaged models: none" in failure(
    "reconstruct", "scan.xyz"
  )
  run("reconstruct", "scan.xyz", "--model", tmp_path / "elsewhere")
  assert (here / "scan.glb").exists()


def test_a_run_of_ones_own_can_be_named(here, tiny_run, capsys):
  run("reconstruct", "scan.xyz", "--workdir", tiny_run, "-o", "own.ply")
  assert load("own.ply").is_watertight
  message = failure("reconstruct", "scan.xyz", "--workdir=run", "--model=scan")
  assert "--workdir=run and --model=scan name two networks" in message


def test_several_inputs_and_missing_ones_are_one_sentence(here):
  message = failure("reconstruct", "a.ply", "b.ply")
  assert message.startswith(
    "error: 2 inputs (a.ply, b.ply, ...); want one file, or one"
  )
  assert failure("reconstruct", "no.ply") == "error: no.ply: no such file or folder"
  assert "cannot write '.gif'" in failure("reconstruct", "scan.xyz", "-o", "a.gif")


def test_models_are_listed_with_the_first_line_of_their_cards(tmp_path, capsys, model):
  card = "# Chairs\n\nChairs from 3,000 points.\n\nMore.\n"
  model.save_pretrained(tmp_path / "package" / "chairs", card)
  run("models")
  lines = capsys.readouterr().out.splitlines()
  assert [re.split(r"\s{2,}", line) for line in lines] == [
    ["chairs", "Chairs from 3,000 points."],
    ["scan", lines[1].split(maxsplit=1)[1]],
  ]
  assert lines[1].split(maxsplit=1)[1].startswith("onet of ")
  shutil.rmtree(tmp_path / "package")
  run("models")
  assert "no packaged models" in capsys.readouterr().out


def test_help_and_a_misspelt_command_need_no_jax():
  program = "import sys; from occnet_jax.cli import occnet; sys.argv[0] = 'occnet'\n"
  program += "try: occnet.main(sys.argv[1:])\n"
  program += "finally: print('jax' in sys.modules, file=sys.stderr)"

  def call(*args):
    return subprocess.run(
      [sys.executable, "-c", program, *args], capture_output=True, text=True, cwd=ROOT
    )

  done = call("--help")
  assert done.returncode == 0 and "reconstruct" in done.stdout
  assert "False" in done.stderr
  done = call("reconstruct", "--help")
  assert "--resolution N" in done.stdout and "--seed N" in done.stdout
  done = call("reconstrict")
  assert done.returncode == 2
  assert "no such command: 'reconstrict'; did you mean reconstruct?" in done.stderr
  done = call()
  assert (
    done.returncode == 0 and "occnet reconstruct scan.ply -o mesh.glb" in done.stdout
  )
  done = call("README.md")
  assert "'README.md'; a mesh of it makes: occnet reconstruct README.md" in done.stderr
  assert "'x'; want reconstruct, prepare, train," in call("x").stderr


def test_main_uses_the_packaged_model_without_a_workdir(here, capsys):
  stages.reconstruct(None, "scan.xyz", "mesh.glb")
  assert "mesh.glb: " in capsys.readouterr().out and load("mesh.glb").is_watertight
  message = error_of(
    "--mode=reconstruct", "--input=scan.xyz", "--output=a.glb", "--model=skan"
  )
  assert "skan: no such model; packaged models: scan; or name" in message


def test_main_wants_one_network_and_a_mode_for_it(here):
  both = ("--workdir=run", "--model=scan", "--input=scan.xyz")
  message = error_of("--mode=reconstruct", *both)
  assert message == (
    "error: --workdir=run and --model=scan name two networks; want one of them: "
    "--workdir for a run, --model for a pretrained model"
  )
  message = error_of("--mode=train", "--workdir=run", "--model=scan")
  assert message.startswith(
    "error: --model=scan is for --mode=reconstruct; want --work"
  )


def test_long_work_is_announced_and_short_work_is_not(capsys):
  printed = []

  def has_line():
    printed.append(capsys.readouterr().err)
    return "reading ...\n" in "".join(printed)

  with process.announced("reading", seconds=0.0):
    wait_until(has_line)
  with process.announced("writing", seconds=600.0):
    pass
  assert "writing" not in capsys.readouterr().err


@pytest.mark.parametrize(("viewed", "advised"), [(0.05, True), (0.5, False)])
def test_what_is_a_guess_is_said_and_another_network_advised(model, viewed, advised):
  scan = model.settings.data.scan._replace(points=(2000, 9000), viewed=viewed)
  observing = copy.copy(model)
  observing.observation = model.observation._replace(scan=scan)
  ball = trimesh.creation.icosphere(4)
  half = ball.vertices[ball.vertices[:, 0] < 0]
  few, guess = user_mesh.doubts(observing, np.asarray(half), ball)
  assert few.startswith(f"{len(half)} points are fewer than the 2000 of the network's")
  share = int(re.match(r"(\d+)% of the mesh is far from all points", guess)[1])
  assert 35 < share < 50
  assert guess.endswith("more points help, or --model scan-partial") == advised
  whole = np.asarray(ball.vertices)
  assert list(user_mesh.doubts(observing, whole, ball)) == []
