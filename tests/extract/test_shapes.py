"""Closed forms and random fields by every method."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.extract.pipeline import METHODS, extract_mesh

SMALL = {"resolution_0": 8, "upsampling_steps": 2}


def norm(p):
  return jnp.sqrt((p**2).sum(-1))


def two_balls(gap, p):
  """Balls of radius 0.2 with centres 0.4 + gap apart."""
  centre = jnp.array([[0.2, 0.0, 0.0]]) + gap * jnp.array([[0.5, 0.0, 0.0]])
  return 0.2 - jnp.minimum(norm(p - centre), norm(p + centre))


def ball(radius, p):
  return radius - norm(p)


def torus(p):
  return 0.1 - jnp.hypot(jnp.hypot(p[:, 0], p[:, 1]) - 0.3, p[:, 2])


def gyroid(p):
  x, y, z = 12.0 * p.T
  waves = jnp.sin(x) * jnp.cos(y) + jnp.sin(y) * jnp.cos(z) + jnp.sin(z) * jnp.cos(x)
  return 0.25 - jnp.abs(waves) / 12


def plate(p):
  """0.03 thick, halfway between two layers of points of a grid of 16 cells."""
  gaps = jnp.abs(p - jnp.array([[1.1 / 32, 0.0, 0.0]])) - jnp.array([[0.015, 0.4, 0.3]])
  return -gaps.max(-1)


def closed(mesh):
  return mesh.is_watertight and count_open_edges(mesh.faces) == 0 and mesh.volume > 0


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
  def test_a_torus_has_its_volume_and_one_hole(self, method):
    mesh = extract_mesh(torus, method=method, resolution_0=16, upsampling_steps=2)
    assert closed(mesh) and mesh.euler_number == 0
    np.testing.assert_allclose(mesh.volume, 2 * np.pi**2 * 0.3 * 0.1**2, rtol=0.01)

  def test_balls_that_nearly_touch_are_two_and_those_that_overlap_are_one(self, method):
    for gap, bodies in ((0.06, 2), (-0.06, 1)):
      mesh = extract_mesh(Partial(two_balls, gap), method=method, **SMALL)
      assert closed(mesh) and mesh.body_count == bodies

  def test_balls_that_touch_are_closed(self, method):
    mesh = extract_mesh(Partial(two_balls, 0.0), method=method, **SMALL)
    assert closed(mesh)
    np.testing.assert_allclose(mesh.volume, 8 / 3 * np.pi * 0.2**3, rtol=0.03)

  def test_a_gyroid_is_closed_where_it_leaves_the_cube(self, method):
    mesh = extract_mesh(gyroid, method=method, **SMALL)
    assert closed(mesh)
    points = np.random.default_rng(0).uniform(-0.55, 0.55, size=(200_000, 3))
    share = (np.asarray(gyroid(jnp.asarray(points, jnp.float32))) > 0).mean()
    np.testing.assert_allclose(mesh.volume, share * 1.1**3, rtol=0.02)

  def test_random_fields_give_closed_outward_meshes(self, method):
    def waves(directions, phases, weights, p):
      return jnp.sin(p @ directions + phases[None]) @ weights

    rng = np.random.default_rng(len(method))
    settings = {"resolution_0": 4, "upsampling_steps": 2, "normals": False}
    for frequency in (4, 12, 50):
      for _ in range(10):
        arrays = (rng.normal(size=(3, 6)) * frequency, rng.uniform(0, 6, 6))
        arrays = [a.astype(np.float32) for a in (*arrays, rng.normal(size=6))]
        field = Partial(waves, *map(jnp.asarray, arrays))
        mesh = extract_mesh(field, method=method, **settings)
        assert closed(mesh)

  def test_the_size_of_batches_does_not_change_the_mesh(self, method):
    one, other = (
      extract_mesh(torus, method=method, points_per_batch=size, **SMALL)
      for size in (97, 5000)
    )
    np.testing.assert_array_equal(one.faces, other.faces)
    np.testing.assert_allclose(one.vertices, other.vertices, atol=1e-5)

  def test_what_needs_more_memory_than_is_allowed_is_refused(self, method):
    settings = {"method": method, "resolution_0": 16}
    message = r"the next step takes about \d+ MiB and max_memory allows 8 MiB"
    with pytest.raises(ValueError, match=message):
      extract_mesh(torus, max_memory=2**23, upsampling_steps=4, **settings)
    mesh = extract_mesh(torus, max_memory=2**23, upsampling_steps=1, **settings)
    assert closed(mesh)

  def test_a_field_without_a_surface_is_named(self, method):
    with pytest.raises(ValueError, match=r"at 729 points all are -2, none above"):
      extract_mesh(lambda p: -2.0 + 0 * p[:, 0], method=method, **SMALL)
    with pytest.raises(ValueError, match=r"nan at .* want finite values"):
      extract_mesh(lambda p: p[:, 0] / 0 * jnp.nan, method=method, **SMALL)
    empty = extract_mesh(
      lambda p: p[:, 0] - 9, method=method, on_empty="empty", **SMALL
    )
    assert len(empty.faces) == 0

  def test_what_is_inside_everywhere_is_the_cube(self, method):
    mesh = extract_mesh(lambda p: 1.0 + 0 * p[:, 0], method=method, **SMALL)
    assert closed(mesh)
    np.testing.assert_allclose(mesh.volume, 1.1**3, rtol=1e-4)


@pytest.mark.parametrize("method", ["mise_roots", "dual"])
def test_a_start_of_16_finds_the_thin_plate_that_one_of_32_does(method):
  found = [
    extract_mesh(plate, method=method, resolution_0=start, upsampling_steps=steps)
    for start, steps in ((16, 3), (32, 2))
  ]
  np.testing.assert_array_equal(found[0].faces, found[1].faces)
  np.testing.assert_allclose(found[0].volume, 0.03 * 0.8 * 0.6, rtol=0.05)
  with pytest.raises(ValueError, match="no surface"):
    extract_mesh(plate, method="mise", resolution_0=16, upsampling_steps=3)


def test_an_unknown_method_is_refused():
  with pytest.raises(ValueError, match="method='cubes'; want one of mise_roots, dual"):
    extract_mesh(torus, method="cubes")


def test_roots_are_nearer_than_linear_interpolation_at_every_level():
  def logits(p):
    return 12 * jnp.tanh(25 * ball(0.3, p))

  for level in (-3.0, 0.0, 3.0):
    radius = 0.3 - np.arctanh(level / 12) / 25
    errors = []
    for method in ("mise_roots", "mise"):
      mesh = extract_mesh(
        logits, method=method, level=level, resolution_0=16, upsampling_steps=1
      )
      errors.append(np.abs(np.linalg.norm(mesh.vertices, axis=1) - radius).mean())
    assert errors[0] < 0.2 * errors[1]
