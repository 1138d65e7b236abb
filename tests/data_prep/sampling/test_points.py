"""Samples against closed forms."""

import numpy as np
import pytest
import trimesh

from data_prep.sampling import inside_test
from data_prep.sampling import points as points_lib
from data_prep.sampling import surface as surface_lib
from data_prep.watertight import solid as solids
from data_prep.watertight import winding


def _solid(*parts):
  mesh = trimesh.util.concatenate(parts)
  return solids.close(np.array(mesh.vertices), np.array(mesh.faces, np.int64))


def _box(extent, centre=(0, 0, 0)):
  extent = np.broadcast_to(extent, 3)
  return trimesh.creation.box(extents=extent).apply_translation(centre)


def _rng():
  return np.random.default_rng(0)


def test_uniform_points_fill_the_padded_cube_and_measure_the_volume():
  contains = inside_test.make_inside_test(_solid(_box((1, 0.5, 0.4))))
  points, packed = points_lib.uniform_points(
    contains, _rng(), count=40_001, padding=0.2
  )
  assert points.shape == (40_001, 3) and packed.shape == (5001,)
  assert 0.599 < np.abs(points).max() <= 0.6002  # rounded to float16
  inside = np.unpackbits(packed)[:40_001]
  volume = inside.mean() * 1.2**3
  np.testing.assert_allclose(volume, 0.2, atol=4 * 1.2**3 * (0.12 / 40_001) ** 0.5)


def test_labels_are_those_of_the_points_as_stored():
  contains = inside_test.make_inside_test(_solid(_box(0.7)))
  points, packed = points_lib.uniform_points(contains, _rng(), count=20_000)
  assert points.dtype == np.float16
  distance = np.abs(points.astype(np.float64)).max(1) - 0.35
  clear = distance != 0
  inside = np.unpackbits(packed)[:20_000].astype(bool)
  np.testing.assert_array_equal(inside[clear], (distance < 0)[clear])


def test_surface_points_lie_on_a_sphere_with_outward_normals_evenly_by_area():
  solid = _solid(trimesh.creation.icosphere(4, radius=0.5))
  points, normals = surface_lib.surface_points(
    solid, _rng(), count=20_000, dtype="float32"
  )
  np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.5, atol=2e-3)
  np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
  assert ((points * normals).sum(1) > 0.499).all()
  # Archimedes: heights of a uniform sphere are uniform.
  heights = np.sort(points[:, 2] + 0.5)
  np.testing.assert_allclose(heights, np.linspace(0, 1, 20_000), atol=0.02)


def test_samples_buried_in_another_part_are_drawn_again():
  solid = _solid(_box(0.5), _box((0.9, 0.2, 0.2)))
  points, normals = surface_lib.surface_points(
    solid, _rng(), count=20_000, dtype="float32"
  )
  assert len(points) == 20_000
  cube = np.abs(points).max(1) - 0.25
  bar = (np.abs(points) - (0.45, 0.1, 0.1)).max(1)
  np.testing.assert_allclose(np.minimum(cube, bar), 0, atol=1e-6)
  on_cube = np.abs(cube) < 1e-6
  area_cube, area_bar = 6 * 0.25 - 2 * 0.04, 4 * 0.2 * 0.4 + 2 * 0.04
  want = area_cube / (area_cube + area_bar)
  np.testing.assert_allclose(on_cube.mean(), want, atol=0.015)
  axis = np.abs(normals).argmax(1)
  rows = np.arange(len(points))
  assert (np.sign(normals[rows, axis]) == np.sign(points[rows, axis])).all()


def test_one_part_that_crosses_itself_loses_what_is_inside():
  """Two boxes that share one corner are one connected part."""
  parts = _box(0.5), _box(0.5, (0.1, 0.1, 0.1))
  mesh = trimesh.util.concatenate(parts)
  vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, np.int64)
  faces[faces == 8 + 7] = 7  # the corners (0.25, 0.25, 0.25) and (0.35, 0.35, 0.35)
  solid = solids.close(vertices, faces)
  assert winding.components(solid).max() == 0
  points, normals = surface_lib.surface_points(
    solid, _rng(), count=5000, dtype="float32"
  )
  assert winding.contains(solid, points + 1e-4 * normals).mean() < 0.001


def test_a_cavity_is_surface_too():
  inner = _box(0.4)
  inner.invert()
  points, normals = surface_lib.surface_points(
    _solid(_box(0.8), inner), _rng(), count=4000
  )
  inside = np.abs(points).max(1) < 0.3
  np.testing.assert_allclose(inside.mean(), 0.2, atol=0.03)
  assert ((points * normals).sum(1)[inside] < 0).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_seed_gives_the_same_samples_again(dtype):
  solid = _solid(_box(0.5), _box((0.9, 0.2, 0.2)))
  contains = inside_test.make_inside_test(solid)
  for draw, of in (
    (points_lib.uniform_points, contains),
    (surface_lib.surface_points, solid),
  ):
    first, second = (draw(of, _rng(), count=500, dtype=dtype) for _ in range(2))
    for a, b in zip(first, second, strict=True):
      np.testing.assert_array_equal(a, b)
    assert first[0].dtype == dtype


def test_points_near_the_surface_have_its_distances_and_exact_labels():
  solid = _solid(_box(0.6))
  surface, _ = surface_lib.surface_points(solid, _rng(), count=4000)
  points, packed = points_lib.near_points(
    inside_test.make_inside_test(solid),
    surface,
    _rng(),
    count=8000,
    sigmas=(0.002, 0.02),
  )
  assert points.dtype == np.float16
  inside = np.unpackbits(packed)[:8000].astype(bool)
  np.testing.assert_array_equal(inside, (np.abs(points) < 0.3).all(1))
  # The noise along the normal of the nearest face, in turn of either deviation.
  off = np.abs(np.abs(points.astype(np.float64)).max(1) - 0.3)
  np.testing.assert_allclose(off[::2].mean(), 0.8 * 0.002, rtol=0.15)
  np.testing.assert_allclose(off[1::2].mean(), 0.8 * 0.02, rtol=0.2)
