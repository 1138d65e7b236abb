"""Votes of rays against solid angles."""

import numpy as np
import trimesh

from data_prep.watertight import orientation, repair
from occnet_jax.geometry.rendering import Scene
from occnet_jax.geometry.solids import Solid


def _solid(mesh, kept=slice(None)):
  faces = np.array(mesh.faces, np.int64)[kept]
  return Solid(np.array(mesh.vertices), faces)


def test_directions_are_units_spread_evenly():
  directions = orientation.sphere_directions(500)
  np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
  np.testing.assert_allclose(directions.mean(0), 0, atol=0.01)
  second = directions.T @ directions / 500
  np.testing.assert_allclose(second, np.eye(3) / 3, atol=0.01)


def test_the_open_share_is_the_solid_angle_of_the_opening():
  box = trimesh.creation.box()
  top = (box.vertices[box.faces][:, :, 2] > 0).all(1)
  centre = np.zeros((1, 3))
  directions = orientation.sphere_directions(3000)
  for kept, want in ((~top, 1 / 6), (slice(None), 0.0), (top, 5 / 6)):
    found = orientation.sky_visibility(Scene(_solid(box, kept)), centre, directions)
    np.testing.assert_allclose(found, want, atol=0.01)


def test_open_patches_are_turned_to_be_seen_from_the_front():
  """A box with a face missing on each side, its six patches torn apart."""
  box = trimesh.creation.box()
  kept = np.arange(12) != 3
  solid = _solid(box, kept)
  soup = solid.vertices[solid.faces].reshape(-1, 3)
  single = np.arange(len(soup)).reshape(-1, 3)
  wrong = np.random.default_rng(0).random((11, 1)) < 0.5
  faces, patch = repair.make_winding_consistent(
    soup, np.where(wrong, single[:, ::-1], single)
  )
  assert patch.max() == 10
  np.testing.assert_array_equal(orientation.orient_facets(soup, faces, patch), single)
