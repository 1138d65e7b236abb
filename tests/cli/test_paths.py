"""Names of files that are no UTF-8, and ~ in the flags, at every door."""

import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from data_prep import cli as prepare_cli
from occnet_jax.cli import dispatch, occnet, stages
from occnet_jax.geometry import pointcloud_io
from tests.helpers import ROOT
from tests.helpers.command_line import error_of, run_here
from tests.helpers.pretrained import install, make_cloud, make_model

BYTES = b"caf\xe9"  # Latin-1
SMALL = ("points=400", "surface_points=300", "voxel_side=8", "workers=1")


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, model):
  """The home directory, in which the command runs too; the package has one model."""
  install(model, tmp_path / "package", monkeypatch)
  folder = tmp_path / "me"
  folder.mkdir()
  monkeypatch.setenv("HOME", str(folder))
  monkeypatch.chdir(tmp_path)
  return folder


@pytest.fixture
def odd_name(tmp_path):
  """A cloud whose name is no UTF-8."""
  path = tmp_path / os.fsdecode(BYTES + b".xyz")
  try:
    np.savetxt(path, make_cloud())
  except OSError:
    pytest.skip(
      "the file system refuses names that are no UTF-8, so none can reach the code"
    )
  return path


def test_a_file_of_any_name_becomes_a_mesh_and_a_page(odd_name, tmp_path):
  occnet.main(["reconstruct", str(odd_name), "-o", "a.ply", "--preview=page.html"])
  assert len(trimesh.load_mesh(tmp_path / "a.ply").faces) > 10
  page = (tmp_path / "page.html").read_text(encoding="utf-8")
  assert "<title>caf\ufffd.xyz</title>" in page


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_the_output_has_no_code_for_are_printed_as_escapes(encoding):
  program = f"""
import os
from occnet_jax.cli import command_line
with command_line.quiet_pipe():
  print(os.fsdecode({BYTES!r}), "\\u6905")
"""
  env = {**os.environ, "PYTHONIOENCODING": encoding}
  done = subprocess.run(
    [sys.executable, "-c", program], env=env, capture_output=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr
  chair = "\u6905".encode() if encoding == "utf-8" else b"\\u6905"
  assert done.stdout == b"caf\\udce9 " + chair + b"\n"


def test_a_workdir_or_data_set_that_storage_cannot_name_is_refused(tmp_path):
  odd = os.fsdecode(BYTES)
  message = error_of("--mode=train", f"--workdir={tmp_path}/{odd}")
  assert message == (
    f"error: {tmp_path}/caf\ufffd: its name is no UTF-8 and cannot be written to; "
    "rename it, or choose another"
  )
  with pytest.raises(SystemExit, match="caf\ufffd: its name is no UTF-8"):
    prepare_cli.main(["synthetic", "--out", odd])


def test_a_tilde_is_the_home_directory_for_every_path_of_occnet(home, tmp_path):
  np.savetxt(home / "scan.xyz", make_cloud())
  flags = ("--output=~/a.glb", "--preview=~/page.html")
  occnet.main(["reconstruct", "~/scan.xyz", *flags])
  assert (home / "a.glb").exists() and (home / "page.html").exists()
  assert not (tmp_path / "~").exists()


def test_a_tilde_is_the_home_directory_for_every_path_of_main(home, monkeypatch):
  calls = []
  monkeypatch.setattr(
    stages, "reconstruct", lambda *args, **more: calls.append((args, more))
  )
  monkeypatch.setitem(dispatch.STAGES, "train", lambda *args: calls.append(args))
  monkeypatch.setattr(stages, "import_torch", lambda *args: calls.append(args))
  names = ("input", "output", "masks", "intrinsics", "poses", "preview")
  run_here("--mode=reconstruct", "--workdir=~/run", *(f"--{n}=~/{n}" for n in names))
  (workdir, source, target, masks, _, _), more = calls.pop()
  assert str(workdir) == f"{home}/run"
  assert more.pop("shard") is None
  paths = {"input": source, "output": target, "masks": masks, **more}
  assert paths == {name: f"{home}/{name}" for name in names}
  config = (f"--config={ROOT}/configs/own_data.py", "--config.prep.out=~/data")
  run_here(
    "--mode=train", "--workdir=~/run", *config, "--config.prep.source=folder:~/m"
  )
  settings, workdir = calls.pop()
  assert settings["prep"]["source"] == f"folder:{home}/m"
  assert settings["prep"]["out"] == settings["data"]["dir"] == f"{home}/data"
  run_here("--mode=import", "--workdir=~/run", "--checkpoint=~/a.pt", *config)
  assert calls.pop()[2] == f"{home}/a.pt"


def test_a_tilde_is_the_home_directory_for_preparation(home, tmp_path):
  for i in range(2):
    (home / "meshes").mkdir(exist_ok=True)
    trimesh.creation.box((1, 2, 3 + i)).export(home / "meshes" / f"{i}.ply")
  prepare_cli.main(["folder:~/meshes", "--out=~/data", "--set", *SMALL])
  assert (home / "data" / "prepare_report.csv").exists()
  assert not (tmp_path / "~").exists()


def test_clouds_of_any_name_are_read(odd_name):
  np.testing.assert_allclose(pointcloud_io.read_cloud(odd_name), make_cloud())
