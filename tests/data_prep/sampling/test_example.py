"""One mesh file on its way to an example: its frame and its settings."""

import numpy as np
import pytest
import trimesh

from data_prep.pipeline import report
from data_prep.sampling import example as example_lib
from data_prep.sampling import surface as surface_lib
from data_prep.sources.entry import MeshEntry
from data_prep.watertight import winding
from data_prep.watertight.solid import RepairOptions
from occnet_jax.geometry import mesh_io
from tests.helpers.small_data import arrays, box

SETTINGS = {
  "source": "folder:meshes",
  "seed": 0,
  "points": 4000,
  "near_points": 4000,
  "near_sigmas": [0.01, 0.03],
  "surface_points": 500,
  "padding": 0.1,
  "voxel_side": 8,
  "views": 0,
  "dtype": "float32",
  "solid": RepairOptions()._asdict(),
}


def _write(path, *parts):
  mesh_io.write_mesh(path, *arrays(*parts))
  return path


def _example(path, **changed):
  entry = MeshEntry("things", path.stem, path)
  task = example_lib.Task({**SETTINGS, **changed}, entry, "train", None)
  return example_lib.make_example(task)


def test_the_frame_of_a_solid_leads_back_to_the_file_though_a_sheet_was_dropped(
  tmp_path,
):
  solid_part = box((10, 20, 30), (100, 0, 0))
  corners = [(130, 0, 0), (130, 5, 0), (130, 5, 5), (130, 0, 5)]
  sheet = trimesh.Trimesh(corners, [(0, 1, 2), (0, 2, 3)])  # sets the file's bounds
  path = _write(tmp_path / "a.obj", solid_part, sheet)
  options = {"thickness": 0.0}
  solid, report, loc, scale = example_lib.load_watertight(path, options)
  assert report.open_sheets > 0
  np.testing.assert_allclose(np.abs(solid.vertices).max(0), [1 / 6, 1 / 3, 1 / 2])
  in_file = scale * solid.vertices + loc
  np.testing.assert_allclose(in_file.min(0), [95, -10, -15], atol=1e-6)
  np.testing.assert_allclose(in_file.max(0), [105, 10, 15], atol=1e-6)


def test_points_fill_the_cube_of_the_padding_that_is_asked_for(tmp_path):
  path = _write(tmp_path / "a.obj", box((1, 2, 3)))
  for padding in (0.0, 0.3):
    half = 0.5 * (1 + padding)
    example = _example(path, padding=padding, near_sigmas=[0.5])
    uniform = np.abs(example["points"]["points"]).max(0)
    assert (uniform <= half).all() and (uniform > 0.99 * half).all()
    # Noise as wide as the cube: points beyond it are moved onto its sides.
    near = np.abs(example["points_surface"]["points"]).max(0)
    np.testing.assert_allclose(near, half, rtol=1e-6)


def test_points_near_the_surface_are_as_near_as_the_deviations_say(tmp_path):
  path = _write(tmp_path / "a.obj", box((1, 1, 1)))
  example = _example(path, near_sigmas=[0.001, 0.02], padding=1.0)
  points = np.abs(example["points_surface"]["points"].astype(np.float64))
  # Beyond the middle of a side, the distance from the cube is that of one coordinate.
  for part, sigma in ((points[0::2], 0.001), (points[1::2], 0.02)):
    middle = np.sort(part, axis=1)[:, 1] < 0.4
    deviation = part[middle].max(1) - 0.5
    np.testing.assert_allclose(np.sqrt((deviation**2).mean()), sigma, rtol=0.05)


@pytest.mark.parametrize("start", range(6))
def test_a_concave_cap_has_samples_and_labels_on_its_own_area_only(tmp_path, start):
  ring = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]
  lines = [f"v {x} {y} {z}" for z in (0, 1) for x, y in ring]
  cap = [(i + start) % 6 for i in range(6)]
  faces = [cap[::-1], [i + 6 for i in cap]]
  faces += [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
  lines += ["f " + " ".join(str(i + 1) for i in face) for face in faces]
  (tmp_path / "l.obj").write_text("\n".join(lines))
  solid, report, loc, scale = example_lib.load_watertight(tmp_path / "l.obj", {})
  assert report.method == "closed"
  np.testing.assert_allclose(winding.volumes(solid).sum() * scale**3, 3)
  points, normals = surface_lib.surface_points(
    solid, np.random.default_rng(0), count=5000, dtype="float32"
  )
  points = scale * points.astype(np.float64) + loc
  assert not ((points[:, 0] > 1.001) & (points[:, 1] > 1.001)).any()
  for z, side in ((0, -1), (1, 1)):
    on_cap = np.abs(points[:, 2] - z) < 1e-5
    np.testing.assert_allclose(on_cap.mean(), 3 / 14, atol=0.03)
    np.testing.assert_allclose(normals[on_cap].mean(0), [0, 0, side], atol=0.01)


@pytest.mark.parametrize(
  ("error", "outcome"),
  [
    (OSError(28, "No space left on device"), "system"),
    (PermissionError(13, "Permission denied"), "system"),
    (ValueError("no solid"), "rejected"),
  ],
)
def test_a_fault_of_the_disk_is_told_from_a_fault_of_the_mesh(
  error, outcome, tmp_path, monkeypatch
):
  def fail(task):
    raise error

  monkeypatch.setattr(example_lib, "make_example", fail)
  entry = MeshEntry("things", "a", tmp_path / "a.ply")
  row, record = example_lib.prepare_one(
    example_lib.Task(SETTINGS, entry, "train", None)
  )
  assert record is None and row["outcome"] == outcome
  assert str(error) in row["reason"]
  assert (outcome in report.LOST) == (outcome == "system")  # another call may help
