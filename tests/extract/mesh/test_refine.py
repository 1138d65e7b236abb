import gc
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.tree_util import Partial

from occnet_jax.extract import field as field_module
from occnet_jax.extract.field import as_field
from occnet_jax.extract.mesh import refine as refine_module
from occnet_jax.extract.mesh.refine import loss_and_gradient, refine, rmsprop
from occnet_jax.extract.pipeline import extract_mesh

RADIUS = 0.3


def logit(sharpness, points):
  """Logits of a ball whose occupancy is neither flat nor linear."""
  return sharpness * (RADIUS**2 - (points**2).sum(-1))


def ball_field(sharpness=20.0, points_per_batch=256):
  return as_field(Partial(logit, sharpness), points_per_batch)


def rough_sphere(subdivisions=2, seed=0):
  mesh = trimesh.creation.icosphere(subdivisions, RADIUS)
  noise = np.random.default_rng(seed).normal(size=mesh.vertices.shape) * 0.005
  return mesh.vertices + noise, np.array(mesh.faces, np.int64)


def naive_loss(vertices, faces, weights, level, sharpness=20.0):
  """Equation 6 face by face in float64, with the ball's derivative by hand."""
  total = 0.0
  for (a, b, c), w in zip(vertices[faces], weights, strict=True):
    p = w[0] * a + w[1] * b + w[2] * c
    occupancy = 1 / (1 + np.exp(-sharpness * (RADIUS**2 - p @ p)))
    gradient = occupancy * (1 - occupancy) * sharpness * -2 * p
    target = -gradient / (np.linalg.norm(gradient) + 1e-10)
    normal = np.cross(b - a, c - a)
    normal = normal / (np.linalg.norm(normal) + 1e-10)
    tau = 1 / (1 + np.exp(-level))
    total += (occupancy - tau) ** 2 + 0.01 * ((normal - target) ** 2).sum()
  return total / len(faces)


@pytest.mark.parametrize("level", [0.0, -1.3863])
def test_the_loss_and_its_gradient_are_those_of_finite_differences(level):
  vertices, faces = rough_sphere(subdivisions=0)
  weights = np.random.default_rng(1).dirichlet((0.5,) * 3, len(faces))
  loss, gradient = loss_and_gradient(ball_field(), vertices, faces, weights, level)
  np.testing.assert_allclose(
    loss, naive_loss(vertices, faces, weights, level), rtol=1e-5
  )
  expected = np.zeros_like(vertices)
  for index in itertools.product(range(len(vertices)), range(3)):
    step = np.zeros_like(vertices)
    step[index] = 1e-5
    ends = [naive_loss(vertices + s, faces, weights, level) for s in (step, -step)]
    expected[index] = (ends[0] - ends[1]) / 2e-5
  np.testing.assert_allclose(gradient, expected, atol=1e-4 * np.abs(expected).max())


def test_the_normals_target_is_differentiated_too():
  # Where the face's normal is right and its place is right, only t moves with a vertex.
  vertices = RADIUS * np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
  faces, weights = np.array([[0, 1, 2]]), np.array([[1.0, 0.0, 0.0]])
  _, gradient = loss_and_gradient(ball_field(), vertices, faces, weights, 0.0)
  # t = p / |p| turns with vertex 0, so that vertex feels more than the turning of n.
  normal_only = np.zeros((3, 3))
  for index in itertools.product(range(3), range(3)):
    step = np.zeros((3, 3))
    step[index] = 1e-6
    ends = []
    for s in (step, -step):
      a, b, c = vertices + s
      normal = np.cross(b - a, c - a)
      normal /= np.linalg.norm(normal)
      ends.append(0.01 * ((normal - [1, 0, 0]) ** 2).sum())
    normal_only[index] = (ends[0] - ends[1]) / 2e-6
  assert np.abs(gradient[0] - normal_only[0]).max() > 0.01
  np.testing.assert_allclose(gradient[1:], normal_only[1:], atol=1e-6)


def test_the_update_is_torchs_rmsprop():
  rng = np.random.default_rng(0)
  gradients = rng.normal(size=(5, 4, 3)) * 10.0 ** rng.integers(-6, 1, size=(5, 4, 3))
  position, squares = np.zeros((4, 3)), np.zeros((4, 3))
  expected, square_avg = np.zeros(12), np.zeros(12)
  for gradient in gradients:
    update, squares = rmsprop(gradient, squares)
    position += update
    for i, g in enumerate(gradient.ravel()):
      square_avg[i] = 0.99 * square_avg[i] + (1 - 0.99) * g * g
      expected[i] = expected[i] - 1e-4 * g / (square_avg[i] ** 0.5 + 1e-8)
  np.testing.assert_allclose(position.ravel(), expected, rtol=1e-12)


def test_refinement_brings_a_rough_sphere_to_its_level():
  vertices, faces = rough_sphere(subdivisions=3)
  refined = refine(ball_field(100.0), vertices, faces, level=0.0, steps=60)

  def distance(vertices):
    return np.abs(np.linalg.norm(vertices, axis=1) - RADIUS).mean()

  assert distance(refined.vertices) < 0.5 * distance(vertices)
  assert refined.losses.shape == (60,)
  assert refined.losses[-1] < 0.3 * refined.losses[0]


def test_the_same_seed_gives_the_same_mesh_and_another_seed_another():
  vertices, faces = rough_sphere()
  runs = [
    refine(ball_field(), vertices, faces, level=0.0, steps=3, seed=seed)
    for seed in (7, 7, 8)
  ]
  np.testing.assert_array_equal(runs[0].vertices, runs[1].vertices)
  assert (runs[0].vertices != runs[2].vertices).any()


def test_the_number_of_faces_in_a_batch_does_not_change_the_mesh():
  vertices, faces = rough_sphere()
  runs = [
    refine(ball_field(points_per_batch=size), vertices, faces, level=0.0, steps=3)
    for size in (37, 1024)
  ]
  np.testing.assert_allclose(runs[0].vertices, runs[1].vertices, atol=1e-5)


def test_faces_without_area_do_not_disturb_the_others():
  vertices, faces = rough_sphere()
  vertices = np.concatenate([vertices, vertices[:1], [[0.1, 0.2, 0.3]]])
  count = len(vertices)
  flat = [[0, count - 2, 1], [5, 5, 5], [count - 1] * 3]
  refined = refine(
    ball_field(), vertices, np.concatenate([faces, flat]), level=0.0, steps=5
  )
  assert np.isfinite(refined.vertices).all() and np.isfinite(refined.losses).all()


def test_a_point_where_the_field_has_no_derivative_leaves_the_mesh_finite():
  field = as_field(lambda p: 0.3 - jnp.sqrt((p**2).sum(-1)), 64)
  vertices = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.0, 0.0, 0.1]])
  faces = np.array([[0, 1, 2], [1, 2, 3]])
  weights = np.array([[1.0, 0, 0], [0.2, 0.3, 0.5]])  # the first point is the centre
  loss, gradient = loss_and_gradient(field, vertices, faces, weights, 0.0)
  assert np.isfinite(loss) and np.isfinite(gradient).all()
  assert (gradient[0] == 0).all() and (gradient[3] != 0).any()


def test_another_mesh_and_another_object_compile_nothing():
  compiled = field_module.shared_jit(refine_module._losses_and_gradients)
  vertices, faces = rough_sphere()
  refine(ball_field(), vertices, faces, level=0.0, steps=1)
  before = compiled._cache_size()
  vertices, faces = rough_sphere(subdivisions=3)
  refine(ball_field(30.0), vertices, faces, level=0.5, steps=2)
  assert compiled._cache_size() == before


def test_what_a_plain_function_closes_over_is_freed_after_refinement():
  weights = jnp.full((3,), 20.0)
  freed = weakref.ref(weights)
  field = as_field(lambda points: 1.8 - points**2 @ weights, 64)
  refine(field, *rough_sphere(0), level=0.0, steps=1)
  del field, weights
  gc.collect()
  assert freed() is None


def test_an_empty_mesh_stays_empty():
  refined = refine(
    ball_field(), np.zeros((0, 3)), np.zeros((0, 3), np.int64), level=0.0
  )
  assert refined.vertices.shape == (0, 3)


def test_a_field_that_jax_cannot_trace_is_refused():
  field = as_field(lambda p: 0.3 - np.linalg.norm(p, axis=1))
  with pytest.raises(ValueError, match=r"write it with jax.numpy, or pass refine_step"):
    refine(field, *rough_sphere(), level=0.0)


def test_the_refusal_names_the_reason_why_jax_cannot_trace_the_field():
  def branching(points):
    if points[0, 0] > 9:
      return points[:, 0]
    return 0.3 - (points**2).sum(-1) ** 0.5

  message = "TracerBoolConversionError: Attempted boolean conversion of traced array"
  with pytest.raises(ValueError, match=message) as caught:
    extract_mesh(branching, resolution_0=8, upsampling_steps=1, refine_steps=2)
  assert isinstance(caught.value.__cause__, jax.errors.TracerBoolConversionError)
