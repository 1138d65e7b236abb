import threading

import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.extract.batch.shared_field import SharedEvaluator, jit_many
from occnet_jax.extract.field import _gradients, _values, decoder_field
from occnet_jax.extract.pipeline import extract_mesh

RNG = np.random.default_rng(0)


def decode(variables, latent, points):
  """Balls of the latent's radii, stretched by the variables."""
  lengths = jnp.sqrt(((points * variables["stretch"][None, None]) ** 2).sum(-1))
  return latent["radius"] - lengths


STRETCH = {"stretch": jnp.array([1.0, 1.2, 0.9])}


def shape(radius):
  return {"radius": jnp.full((1, 1), radius)}


def in_threads(functions):
  """Calls functions at the same time; their results."""
  results = [None] * len(functions)

  def call(number, function):
    results[number] = function()

  threads = [threading.Thread(target=call, args=each) for each in enumerate(functions)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  return results


@pytest.mark.parametrize("max_shapes", [2, 3, 8])
def test_shapes_evaluated_together_have_the_values_of_each_alone(max_shapes):
  radii = np.linspace(0.1, 0.5, 7)
  points = [RNG.uniform(-0.5, 0.5, (n, 3)) for n in (0, 1, 64, 65, 300, 64, 10)]
  fields = [decoder_field(decode, STRETCH, shape(r), 64) for r in radii]
  with SharedEvaluator(decode, STRETCH, max_shapes) as evaluator:
    shared = [
      evaluator.field(shape(r), field) for r, field in zip(radii, fields, strict=True)
    ]
    pairs = list(zip(shared, points, strict=True))
    values = in_threads([lambda f=f, p=p: f.values(p) for f, p in pairs])
    gradients = in_threads([lambda f=f, p=p: f.gradients(p) for f, p in pairs])
  for field, p, value, gradient in zip(fields, points, values, gradients, strict=True):
    np.testing.assert_allclose(value, field.values(p), atol=1e-6)
    np.testing.assert_allclose(gradient, field.gradients(p), atol=1e-6)
  for kernel in (_values, _gradients):
    assert jit_many(decode, kernel)._cache_size() <= 4  # 1, 2, 4 and 8 shapes


def test_meshes_of_shapes_evaluated_together_are_those_of_each_alone():
  radii = (0.2, 0.3, 0.4)
  fields = [decoder_field(decode, STRETCH, shape(r), 256) for r in radii]
  settings = {"resolution_0": 8, "upsampling_steps": 1}
  with SharedEvaluator(decode, STRETCH, 4) as evaluator:
    shared = [evaluator.field(shape(r), f) for r, f in zip(radii, fields, strict=True)]
    meshes = in_threads([lambda f=f: extract_mesh(f, **settings) for f in shared])
  for mesh, field in zip(meshes, fields, strict=True):
    want = extract_mesh(field, **settings)
    np.testing.assert_array_equal(mesh.faces, want.faces)
    np.testing.assert_allclose(mesh.vertices, want.vertices, atol=1e-5)
    np.testing.assert_allclose(mesh.vertex_normals, want.vertex_normals, atol=1e-4)


def test_an_error_of_the_network_reaches_every_thread_that_waits():
  def broken(variables, latent, points):
    raise RuntimeError("out of memory")

  with SharedEvaluator(broken, STRETCH, 2) as evaluator:
    alone = decoder_field(decode, STRETCH, shape(0.3), 64)
    field = evaluator.field(shape(0.3), alone)
    with pytest.raises(RuntimeError, match="out of memory"):
      field.values(np.zeros((5, 3)))


def test_closing_ends_a_thread_that_still_waits_with_an_error():
  running, finish = threading.Event(), threading.Event()

  def slow(variables, latent, points):
    running.set()
    assert finish.wait(60)
    return decode(variables, latent, points)

  batch = np.zeros((64, 3), np.float32)
  evaluator = SharedEvaluator(slow, STRETCH, 1)
  first = evaluator.submit(_values, shape(0.3), batch)
  assert running.wait(60)
  waiting = evaluator.submit(_values, shape(0.4), batch)
  closing = threading.Thread(target=evaluator.__exit__, args=(None, None, None))
  closing.start()
  try:
    with pytest.raises(RuntimeError, match="closed before this batch was evaluated"):
      waiting.result(timeout=60)
  finally:
    finish.set()
    closing.join()
  np.testing.assert_allclose(first.result(timeout=60), 0.3)
  with pytest.raises(RuntimeError, match="closed"):
    evaluator.submit(_values, shape(0.3), batch)


def test_values_that_are_not_finite_are_refused():
  with SharedEvaluator(decode, STRETCH, 2) as evaluator:
    alone = decoder_field(decode, STRETCH, shape(np.nan), 64)
    with pytest.raises(ValueError, match="not finite at 5 of 5"):
      evaluator.field(shape(np.nan), alone).values(np.zeros((5, 3)))
