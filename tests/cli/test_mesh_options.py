"""What `occnet reconstruct` refuses before a network is read, and says of points."""

import copy

import pytest
import trimesh

from occnet_jax import types
from occnet_jax.cli import occnet
from occnet_jax.cli import reconstruct as reconstruct_lib
from tests.helpers.occnet_command import enter_directory
from tests.helpers.pretrained import make_cloud, make_model


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
  return enter_directory(tmp_path, monkeypatch, model, make_cloud())


def failure(*args):
  with pytest.raises(SystemExit) as ended:
    occnet.main([*args])
  return ended.value.code


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (["--resolution=-3"], "--resolution=-3; want 1 or more cells along a side"),
    (["--faces=3"], "--faces=3; want 4 or more faces"),
    (["--smooth=-1"], "--smooth=-1; want 0 or more steps"),
    (["--seed=-1"], "--seed=-1; want 0 or more as the seed of the points drawn"),
    (["--preview=a.txt"], "--preview=a.txt is a page for a browser; want a name that"),
    (["-o", "folder"], "folder: is a folder; want a mesh file, as folder/mesh.glb"),
  ],
)
def test_an_option_that_no_mesh_has_is_refused_before_the_network_is_read(
  here, monkeypatch, options, message
):
  (here / "folder").mkdir()
  monkeypatch.setattr(reconstruct_lib, "_load", None)  # which cannot be called
  assert failure("reconstruct", "scan.xyz", *options).startswith(f"error: {message}")


def test_points_without_faces_are_called_points(model, monkeypatch, here, capsys):
  points = copy.copy(model)
  points.method = model.method._replace(output=types.Points())
  points.reconstruct = lambda cloud, **_: trimesh.Trimesh(make_cloud(), process=False)
  monkeypatch.setattr(reconstruct_lib.api, "from_pretrained", lambda *_, **__: points)
  occnet.main(["reconstruct", "scan.xyz", "-o", "points.ply"])
  assert f": {len(make_cloud()):,} points without faces, " in capsys.readouterr().out
  message = failure("reconstruct", "scan.xyz", "-o", "points.stl")
  assert "points.stl: STL is for faces, these are points" in message
  assert not (here / "points.stl").exists()
