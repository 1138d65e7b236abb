"""Measures on request against brute force, closed forms and counting."""

import itertools

import numpy as np
import pytest
import trimesh

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.cli import stages
from occnet_jax.evaluation import evaluate, further, metrics
from occnet_jax.geometry import grids
from tests.evaluation.test_evaluate import TEST, generate
from tests.helpers.box_split import make_split

RNG = np.random.default_rng(0)


def test_the_earth_movers_distance_is_the_least_of_all_assignments():
  a, b = RNG.standard_normal((2, 6, 3))
  lengths = np.linalg.norm(a[:, None] - b[None], axis=-1)
  least = min(
    lengths[range(6), order].mean() for order in itertools.permutations(range(6))
  )
  np.testing.assert_allclose(further.earth_movers_distance(a, b), least)


def test_a_shift_moves_every_point_by_its_length_and_density_counts():
  a = RNG.uniform(size=(200, 3))
  shift = np.array([0.3, -0.4, 0.0])
  moved = further.earth_movers_distance(a, RNG.permutation(a + shift))
  np.testing.assert_allclose(moved, 0.5)
  # Two places, held by 3 and 1 or by 1 and 3 points: two of four move by 1.
  places = np.array([[0.0, 0, 0], [1, 0, 0]])
  few, many = places[[0, 0, 0, 1]], places[[0, 1, 1, 1]]
  assert further.earth_movers_distance(few, many) == 0.5
  with pytest.raises(ValueError, match=r"4 and 2 points; .* as many of one set"):
    further.earth_movers_distance(few, places)


@pytest.mark.parametrize("side", [5, 8])
def test_a_mesh_of_cubes_is_its_own_grid(side):
  grid = RNG.random((side,) * 3) < 0.4
  mesh = grids.cube_surface(grid)
  assert further.voxel_iou(*mesh, grid) == 1
  other = RNG.random((side,) * 3) < 0.4
  counted = (grid & other).sum() / (grid | other).sum()
  np.testing.assert_allclose(further.voxel_iou(*mesh, other), counted)


def test_a_box_has_the_cells_whose_centres_are_in_it():
  mesh = trimesh.creation.box((0.5, 0.5, 0.25)).apply_translation((0.01, 0, 0))
  grid = np.zeros((32,) * 3)
  grid[8:24, 8:24, 8:24] = 1  # a cube of side .5, of which the box is half
  iou = further.voxel_iou(np.array(mesh.vertices), np.array(mesh.faces), grid)
  np.testing.assert_allclose(iou, 0.5)


def truth_of(shape):
  """A stored example with its grid of 8^3 cells."""
  axis = (np.arange(8) + 0.5) / 8 - 0.5
  centres = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
  inside = (np.abs(centres) < np.array([shape["width"], 0.5, 0.5]) / 2).all(-1)
  return shape | {"voxels": np.packbits(inside)}


def test_the_config_asks_for_further_measures(tmp_path):
  def thin(shape, index):
    return trimesh.creation.box([shape["width"], 0.5, 0.25])

  config = base.get_config()
  config.test.update(f_scores=(0.02, 0.3), emd_points=64, voxel_iou=True)
  asked = stages.further(config_lib.parse(config.to_dict()).test)
  shapes = [truth_of(shape) for shape in make_split("a")]
  generate(shapes, tmp_path, thin)
  options = {"form": "ply", "origin": TEST, "samples": 500}
  plain = evaluate.evaluate(shapes, range(3), tmp_path, **options)
  rows = evaluate.evaluate(shapes, range(3), tmp_path, **options, further=asked)
  for before, after in zip(plain, rows, strict=True):
    names = {"emd", "iou_voxels"}
    names |= {
      f"{k}_{t}pct" for k in ("f_score", "precision", "recall") for t in (2, 30)
    }
    assert after.keys() - before.keys() == names
    assert {k: after[k] for k in before} == before
    assert after["f_score_1pct"] < after["f_score_2pct"] <= after["f_score_30pct"] == 1
    assert after["iou_voxels"] == 0.5
    assert after["chamfer_l1"] < after["emd"] < 0.5


def test_points_have_an_earth_movers_distance_and_no_cells():
  surface = RNG.uniform(-0.5, 0.5, (300, 3))
  truth = {"pointcloud": {"points": surface}, "voxels": np.zeros(64, np.uint8)}
  asked, none = further.Further((), 300, True), np.zeros((0, 3), int)
  row = further.measure(surface[::2], none, truth, asked, volume=False, seed=0)
  assert row.keys() == {"emd"} and 0 < row["emd"] < 0.5  # 150 points of each
  nothing = further.measure(none * 0.0, none, truth, asked, volume=True, seed=0)
  assert nothing == {"emd": metrics.FAR, "iou_voxels": 0.0}


def test_an_f_score_at_no_distance_is_refused():
  config = base.get_config()
  config.test.f_scores = (0.02, 0.0)
  with pytest.raises(ValueError, match=r"config.test.f_scores has 0.0; want distances"):
    stages.further(config_lib.parse(config.to_dict()).test)
