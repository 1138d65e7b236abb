"""`occnet reconstruct` on volumes: the mesh of a level, without a network."""

import numpy as np
import pytest
import trimesh

from occnet_jax.cli import occnet, process
from tests.geometry.test_volumes import write_dicom
from tests.helpers import occnet_command
from tests.helpers.occnet_command import load


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  """The current directory, with ball.npz: 100 minus the distance in mm, radius 40."""
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
  monkeypatch.chdir(tmp_path)
  spacing, origin = np.array([4.0, 3.0, 5.0]), np.array([100.0, -50.0, 20.0])
  points = np.moveaxis(np.indices((25, 33, 20)), 0, -1) * spacing + origin
  centre = origin + spacing * [12, 16, 10]
  distance = np.linalg.norm(points - centre, axis=-1)
  np.savez("ball.npz", volume=100 - distance, spacing=spacing, origin=origin)
  np.savez("mask.npz", volume=distance < 40, spacing=spacing, origin=origin)
  return centre


def run(*args):
  occnet.main(["reconstruct", *map(str, args)])


def failure(*args):
  return occnet_command.failure("reconstruct", *args)


@pytest.mark.parametrize("target", ["mesh.glb", "mesh.ply", "mesh.stl"])
def test_a_level_of_a_volume_becomes_a_mesh_in_millimetres(here, target, capsys):
  run("ball.npz", "--level=60", "-o", target)
  mesh = load(target)
  np.testing.assert_allclose(
    np.linalg.norm(mesh.vertices - here, axis=1), 40, rtol=0.005
  )
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("ball.npz: 25 x 33 x 20 voxels of 4 x 3 x 5 mm, values ")
  assert (
    lines[1].startswith(f"{target}: {len(mesh.vertices):,} ") or target == "mesh.stl"
  )
  assert " faces, closed, " in lines[1]


def test_a_mask_needs_no_level_if_its_suffix_or_the_flag_says_volume(here):
  nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: optional")
  mask = np.load("mask.npz")["volume"].astype(np.uint8)
  nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), "mask.nii.gz")
  run("mask.nii.gz")
  assert load("mask.glb").volume == pytest.approx(mask.sum(), rel=0.01)
  nibabel.save(nibabel.Nifti1Image(50 * mask, np.eye(4)), "ct.nii.gz")
  assert "half of its values lie below" in failure("ct.nii.gz")


def test_smoothing_simplification_and_a_preview_stand_beside_it(here):
  run("ball.npz", "--level=60", "--smooth=5", "--faces=400", "--preview=page.html")
  assert len(load("ball.glb").faces) == 400
  with open("page.html") as stream:
    page = stream.read()
  assert "data:image/png" in page and "data:model/gltf-binary" in page


@pytest.mark.parametrize(
  ("args", "message"),
  [
    (("ball.npz", "--level=200"), "none above the level 200"),
    (("ball.npz", "--level=60", "--model=scan"), "--model=scan is for models"),
    (("ball.npz", "--level=60", "--resolution=64"), "--resolution=64 is for models"),
    (("ball.npz", "--level=60", "-o", "mesh.xyz"), "cannot write '.xyz'"),
    (("ball.npz", "--level=60", "--faces=-3"), "--faces=-3; want 4 or more faces"),
    (("ball.npz", "--level=60", "--smooth=-1"), "--smooth=-1; want 0 to 1000 steps"),
    (("ball.npz", "--level=nan"), "--level=nan; want a number"),
    (("scan.ply", "--level=60"), "a level is for volumes, and '.ply' is no suffix of"),
    (("none.nii.gz",), "no such file"),
  ],
)
def test_what_cannot_be_done_is_a_sentence(here, args, message):
  trimesh.creation.box().export("scan.ply")
  assert message in failure(*args)


def test_voxels_that_are_not_known_are_counted(here, capsys):
  volume = dict(np.load("ball.npz"))
  volume["volume"][0, :2, 0] = np.nan
  np.savez("gaps.npz", **volume)
  run("gaps.npz", "--level=60")
  assert " mm, 2 of them NaN, which is outside, values " in capsys.readouterr().out


def test_a_folder_of_slices_without_a_level_is_told_of_it(here, tmp_path):
  pytest.importorskip("pydicom", reason="pydicom is not installed: optional")
  write_dicom(tmp_path / "series")
  message = failure("series")
  assert "a CT or MRI becomes a mesh by occnet reconstruct --level=VALUE" in message
  run("series", "--level=1000", "-o", "mesh.ply")
  assert load("mesh.ply").volume > 0
