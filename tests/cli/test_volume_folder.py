"""`occnet reconstruct` on folders of volumes and of DICOM series."""

import csv

import numpy as np
import pytest

from occnet_jax.cli import process
from tests.geometry.test_volumes import AFFINE, write_dicom, write_nifti
from tests.helpers.occnet_command import failure, load, run

RADIUS = 5.0


def box_mask(sides):
  mask = np.zeros((14, 20, 9), np.uint8)
  mask[tuple(slice(2, 2 + side) for side in sides)] = 1
  return mask


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
  monkeypatch.chdir(tmp_path)
  (tmp_path / "masks" / "more").mkdir(parents=True)
  return tmp_path


def report(path):
  with open(path / "reconstruct_report.csv") as file:
    return {row["file"]: row for row in csv.DictReader(file)}


def test_each_volume_of_a_folder_has_its_mesh_and_the_second_call_does_the_rest(
  here, capsys
):
  write_nifti(here / "masks" / "liver.nii.gz", box_mask((4, 6, 3)))
  write_nifti(here / "masks" / "more" / "spleen.nii", box_mask((5, 5, 5)))
  write_nifti(here / "masks" / "ct.nii.gz")  # of many values, without --level
  run("reconstruct", "masks", "-o", "meshes", "--smooth", 0)
  cell = abs(np.linalg.det(AFFINE[:3, :3]))
  assert load("meshes/liver.glb").volume == pytest.approx(4 * 6 * 3 * cell, rel=0.15)
  spleen = load("meshes/more/spleen.glb")
  assert spleen.volume == pytest.approx(5**3 * cell, rel=0.15)
  centre = AFFINE[:3, :3] @ [4, 4, 4] + AFFINE[:3, 3]
  np.testing.assert_allclose(spleen.center_mass, centre, atol=1e-3)
  rows = report(here / "meshes")
  assert {name: row["outcome"] for name, row in rows.items()} == {
    "liver.nii.gz": "mesh",
    "more/spleen.nii": "mesh",
    "ct.nii.gz": "failed",
  }
  assert "want --level" in rows["ct.nii.gz"]["reason"]
  assert "2 of 3 meshes, 1 failed" in capsys.readouterr().out
  page = (here / "meshes" / "index.html").read_text()
  assert page.count("data:image/") >= 4  # slices, and meshes from both sides
  made = (here / "meshes" / "liver.glb").stat().st_mtime_ns
  run("reconstruct", "masks", "-o", "meshes", "--smooth", 0)
  assert (here / "meshes" / "liver.glb").stat().st_mtime_ns == made
  run("reconstruct", "masks", "-o", "meshes", "--smooth", 0, "--level", 0.5)
  assert (here / "meshes" / "liver.glb").stat().st_mtime_ns != made


def test_folders_with_a_series_each_are_volumes_and_one_series_is_a_mesh(here):
  rng = np.indices((14, 20, 9)).astype(float)
  ball = 500 - 10 * ((rng.T - [7, 10, 4]) ** 2).sum(-1).T
  for uid, name in (("1.2.3", "first"), ("4.5.6", "second")):
    write_dicom(here / "patients" / name, ball.astype(np.int16), uid=uid)
  run("reconstruct", "patients", "--level", -800, "-o", "out")
  assert report(here / "out")["first"]["outcome"] == "mesh"
  first, second = (load(f"out/{name}.glb") for name in ("first", "second"))
  assert first.volume == pytest.approx(second.volume) and first.volume > 0
  run("reconstruct", "patients/first", "--level", -800, "-o", "one.glb")
  np.testing.assert_allclose(load("one.glb").bounds, first.bounds, atol=1e-4)


def test_one_mesh_of_many_volumes_is_refused(here):
  write_nifti(here / "masks" / "liver.nii.gz", box_mask((4, 6, 3)))
  message = failure("reconstruct", "masks", "-o", "mesh.glb")
  assert message.startswith("error: mesh.glb is for one mesh, and masks is a folder")
  message = failure("reconstruct", "masks", "-o", "masks")
  assert message == "error: masks: want another folder, for the meshes of masks"
