import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.models import registry
from occnet_jax.train import batch_stats
from tests.helpers.training import MODEL, make_batch


@pytest.fixture
def trained():
  """A method, and variables whose statistics are those of no batch."""
  method = registry.build(MODEL | {"unbiased_variance": False})
  variables = jax.jit(method.init)(jax.random.key(0), make_batch(0))
  return method, jax.tree.map(lambda x: x + 0.05, variables)


def test_with_statistics_of_a_batch_it_is_judged_as_it_is_trained(trained):
  method, variables = trained
  batch, key = jax.device_put(make_batch(1)), jax.random.key(1)
  in_training, _ = method.loss(variables, batch, key, True)
  before, _ = method.loss(variables, batch, key, False)
  assert abs(before - in_training) > 1e-2
  recomputed = batch_stats.recompute(method, variables, [batch], key)
  after, _ = method.loss(recomputed, batch, key, False)
  np.testing.assert_allclose(after, in_training, rtol=1e-5)


def test_statistics_of_several_batches_are_their_mean(trained):
  method, variables = trained
  key, batches = jax.random.key(1), [make_batch(seed) for seed in (1, 2, 3)]
  single = [batch_stats.recompute(method, variables, [b], key) for b in batches]
  together = batch_stats.recompute(method, variables, batches, key)
  mean = jax.tree.map(lambda *x: jnp.stack(x).mean(0), *single)
  for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(mean), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99, 0.999])
def test_the_momentum_of_a_layer_does_not_change_its_recomputed_statistics(momentum):
  net = nn.BatchNorm(use_running_average=False, momentum=momentum)
  rng = np.random.default_rng(0)
  batch = {"points": rng.normal([300.0, -2.0, 0.01], [1.0, 40.0, 0.1], (64, 3))}
  batch["points"] = batch["points"].astype(np.float32)

  def loss(variables, batch, key, train):
    del key, train
    y, new = net.apply(variables, batch["points"], mutable=["batch_stats"])
    return y.sum(), (new["batch_stats"], {})

  method = registry.build(MODEL)._replace(loss=loss)
  variables = jax.jit(net.init)(jax.random.key(0), batch["points"])
  stats = batch_stats.recompute(method, variables, [batch], jax.random.key(1))
  points = batch["points"].astype(np.float64)
  for name, wanted in (("mean", points.mean(0)), ("var", points.var(0))):
    # float32: 1 - m has an error of 6e-8, and flax's variance is E[x^2] - E[x]^2
    np.testing.assert_allclose(
      stats["batch_stats"][name],
      wanted,
      rtol=1e-5 + 1e-7 / (1 - momentum),
      atol=0.02 if name == "var" else 0,
    )
