"""Projection onto a surface, and the error of a mesh, against a ball."""

import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.tree_util import Partial

from occnet_jax.extract.field import as_field
from occnet_jax.extract.mesh.projection import mean_error, project
from occnet_jax.extract.pipeline import extract_mesh

RADIUS = 0.3


def _logit(sharpness, points):
  return sharpness * (RADIUS**2 - (points**2).sum(-1))


def _host_logit(points):
  return 20 * (RADIUS**2 - np.square(np.asarray(points)).sum(-1))


def _ball(noise=0.0):
  mesh = trimesh.creation.icosphere(3, RADIUS)
  shift = np.random.default_rng(0).normal(size=mesh.vertices.shape) * noise
  return mesh.vertices + shift, np.array(mesh.faces, np.int64)


@pytest.mark.parametrize("function", [Partial(_logit, 20.0), _host_logit])
@pytest.mark.parametrize("level", [0.0, 0.4])
def test_vertices_go_to_the_level(function, level):
  vertices, _ = _ball(noise=0.01)
  found = project(as_field(function), vertices, level=level, max_step=0.02, steps=7)
  want = (RADIUS**2 - level / 20) ** 0.5
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), want, atol=2e-6)
  away = np.cross(found, vertices)  # along the gradient: straight to the centre
  np.testing.assert_allclose(away, 0, atol=1e-6)


def test_a_step_that_overshoots_is_halved():
  def kinked(
    points,
  ):  # steep outside, flat inside: Newton's step from inside is too far
    gap = RADIUS - jnp.sqrt((points**2).sum(-1))
    return jnp.where(gap > 0, 0.1 * gap, 10 * gap)

  vertices, _ = _ball(noise=0.003)
  found = project(as_field(kinked), vertices, level=0.0, max_step=0.02, steps=8)
  off = np.abs(kinked(jnp.asarray(found)))
  assert (off <= np.abs(kinked(jnp.asarray(vertices))) + 1e-7).all()
  assert off.max() < 1e-4


def test_vertices_stay_where_the_field_tells_no_way():
  vertices, _ = _ball()
  flat = project(as_field(lambda p: 0 * p[:, 0]), vertices, level=9.0, max_step=0.1)
  np.testing.assert_array_equal(flat, vertices)


def test_the_error_of_a_mesh_is_its_distance():
  vertices, faces = _ball()
  field = as_field(Partial(_logit, 20.0))
  for grown in (1.0, 1.1):
    mesh = trimesh.Trimesh(grown * vertices, faces, process=False)
    points, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=1)
    want = np.abs(np.linalg.norm(points, axis=1) - RADIUS).mean()
    found = mean_error(
      field, grown * vertices, faces, level=0.0, max_distance=1.0, seed=0
    )
    np.testing.assert_allclose(found, want, rtol=0.06)


@pytest.mark.parametrize("method", ["mise", "mise_roots", "dual"])
@pytest.mark.parametrize("sharpness", [5.0, 200.0])
def test_refinement_does_not_raise_the_error(method, sharpness):
  mesh = extract_mesh(
    Partial(_logit, sharpness),
    method=method,
    resolution_0=16,
    upsampling_steps=1,
    refine_steps=10,
  )
  facts = mesh.metadata
  assert 0 < facts["error_last"] <= facts["error_first"] < 0.01
  if method == "mise":
    assert facts["error_last"] < 0.9 * facts["error_first"]
