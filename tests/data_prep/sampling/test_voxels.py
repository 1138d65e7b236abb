"""Voxel grids against closed forms."""

import numpy as np
import trimesh

from data_prep.sampling import inside_test, voxels
from data_prep.watertight import solid as solids


def _contains(mesh):
  faces = np.array(mesh.faces, np.int64)
  return inside_test.make_inside_test(solids.close(np.array(mesh.vertices), faces))


def test_the_first_and_last_centres_are_half_a_cell_inside():
  centres = voxels.voxel_centres(32)
  np.testing.assert_allclose(centres[0], -(0.5 - 1 / 64))
  np.testing.assert_allclose(centres[-1], 0.5 - 1 / 64)
  np.testing.assert_allclose(centres[1] - centres[0], (0, 0, 1 / 32))


def test_a_box_fills_the_cells_of_its_own_place():
  """Off centre, with three sizes, so that an exchange of axes would show."""
  box = trimesh.creation.box(bounds=[(-0.5, -0.25, 0), (0.25, 0.0, 0.125)])
  packed = voxels.voxelize(_contains(box), side=16)
  assert packed.shape == (512,) and packed.dtype == np.uint8
  grid = np.unpackbits(packed).reshape(16, 16, 16)
  want = np.zeros((16, 16, 16), np.uint8)
  want[0:12, 4:8, 8:10] = 1
  np.testing.assert_array_equal(grid, want)


def test_a_sphere_fills_its_share_of_an_odd_grid():
  sphere = trimesh.creation.icosphere(4, radius=0.5)
  packed = voxels.voxelize(_contains(sphere), side=25)
  cells = np.unpackbits(packed)[: 25**3]
  np.testing.assert_allclose(cells.mean(), np.pi / 6, rtol=0.01)
  assert not np.unpackbits(packed)[25**3 :].any()
