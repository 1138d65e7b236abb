import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.models import registry
from occnet_jax.train import batch_stats
from tests.helpers.training import MODEL, make_batch


@pytest.fixture
def trained():
  """A method, and variables whose statistics are of no batch."""
  method = registry.build(MODEL | {"unbiased_variance": False}, tau=0.5)
  variables = jax.jit(method.init)(jax.random.key(0), make_batch(0))
  return method, jax.tree.map(lambda x: x + 0.05, variables)


def test_with_statistics_of_a_batch_it_is_judged_as_it_is_trained(trained):
  method, variables = trained
  batch, key = jax.device_put(make_batch(1)), jax.random.key(1)
  in_training, _ = method.loss(variables, batch, key, True)
  before, _ = method.loss(variables, batch, key, False)
  assert abs(before - in_training) > 1e-2
  found = batch_stats.recompute(method, variables, [batch], key)
  after, _ = method.loss(found, batch, key, False)
  np.testing.assert_allclose(after, in_training, rtol=1e-5)


def test_statistics_of_several_batches_are_their_mean(trained):
  method, variables = trained
  key, batches = jax.random.key(1), [make_batch(seed) for seed in (1, 2, 3)]
  single = [batch_stats.recompute(method, variables, [b], key) for b in batches]
  together = batch_stats.recompute(method, variables, batches, key)
  mean = jax.tree.map(lambda *x: jnp.stack(x).mean(0), *single)
  for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(mean), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
