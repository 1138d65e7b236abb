"""Areas, normals and samples of triangles against closed forms."""

import numpy as np

from occnet_jax.geometry import triangles

# A right triangle of area 6 in the plane z = 0, a face without area, one of area 6.
VERTICES = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])
FACES = np.array([[0, 1, 2], [0, 1, 1], [0, 2, 1]])


def test_a_right_triangle_has_half_the_product_of_its_legs_as_area():
  normals, areas = triangles.unit_normals_and_areas(VERTICES, FACES)
  np.testing.assert_array_equal(areas, [6, 0, 6])
  np.testing.assert_array_equal(normals, [[0, 0, 1], [0, 0, 0], [0, 0, -1]])
  vectors = triangles.area_vectors(VERTICES, FACES)
  np.testing.assert_array_equal(vectors, [[0, 0, 12], [0, 0, 0], [0, 0, -12]])


def test_a_target_at_the_end_belongs_to_the_last_face_with_an_area():
  cumulative = np.array([0.0, 1.0, 3.0, 3.0])
  targets = np.array([0.0, 0.5, 1.0, 2.9, 3.0])
  assert triangles.locate(cumulative, targets).tolist() == [1, 1, 2, 2, 2]
  assert triangles.locate(cumulative, targets, side="left").tolist() == [0, 1, 1, 2, 2]


def test_a_draw_that_rounds_to_the_whole_area_stays_on_the_mesh():
  class Extreme(np.random.Generator):
    """A generator whose every number is the largest below 1."""

    def random(self, size):
      return np.full(size, np.nextafter(1.0, 0.0))

  sampler = triangles.AreaSampler(1e-160 * VERTICES, FACES[:2])  # subnormal areas
  points, face = sampler.draw(3, Extreme(np.random.PCG64()))
  assert face.tolist() == [0, 0, 0] and np.isfinite(points).all()
