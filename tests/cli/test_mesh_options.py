"""What `occnet reconstruct` refuses before a network is read, and says of points."""

import copy

import pytest
import trimesh

from occnet_jax import types
from occnet_jax.cli import occnet, user_mesh
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
    (["--resolution=-3"], "--resolution=-3; want 8 to 2048 cells along a side"),
    (["--resolution=2"], "--resolution=2; want 8 to 2048 cells along a side"),
    (["--resolution=100000"], "--resolution=100000; want 8 to 2048 cells along"),
    (["--faces=3"], "--faces=3; want 4 or more faces"),
    (["--smooth=-1"], "--smooth=-1; want 0 to 1000 steps"),
    (["--smooth=1000000"], "--smooth=1000000; want 0 to 1000 steps"),
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


@pytest.mark.parametrize(
  ("option", "span"),
  [
    ("--max-upload=-1", "1 to 100000 megabytes"),
    ("--max-upload=0", "1 to 100000 megabytes"),
    ("--port=70000", "0 to 65535 as the port"),
  ],
)
def test_a_page_that_accepts_nothing_is_refused_before_it_is_served(option, span):
  assert failure("demo", option) == f"error: {option}; want {span}"


@pytest.mark.parametrize(
  ("size", "text"),
  [(7, "7 bytes"), (4_321, "4 kB"), (49_000, "49 kB"), (50_001, "0.1 MB")],
)
def test_sizes_of_small_files_are_no_zeros(tmp_path, size, text):
  (tmp_path / "a").write_bytes(bytes(size))
  assert user_mesh.size_of(tmp_path / "a") == text
