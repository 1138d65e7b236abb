import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn import multiscale
from occnet_jax.nn.multiscale import MultiscaleEncoder
from occnet_jax.nn.pooling import max_over, max_pool

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_gradient_of_a_maximum_goes_to_the_first_of_equal_entries(axis):
  x = RNG.integers(0, 3, (4, 5, 6)).astype(np.float32)
  weights = RNG.standard_normal(np.delete(x.shape, axis)).astype(np.float32)
  value, pull = jax.vjp(lambda x: max_over(x, axis), jnp.asarray(x))
  np.testing.assert_array_equal(value, x.max(axis))
  expected = np.zeros_like(x)
  first = np.expand_dims(x.argmax(axis), axis)
  np.put_along_axis(expected, first, np.expand_dims(weights, axis), axis)
  np.testing.assert_array_equal(pull(jnp.asarray(weights))[0], expected)


def test_max_pool_of_what_is_computed_twice_has_the_gradient_of_flax(monkeypatch):
  # The batch norm before the pooling is computed anew for the gradient, with other
  # roundings: no entry there need equal the maximum.
  grid = jnp.asarray(RNG.standard_normal((2, 4, 4, 4)), jnp.float32)
  encoder = MultiscaleEncoder(((3,), (3,)))
  variables = jax.jit(encoder.init, static_argnames="train")(
    jax.random.key(0), grid, train=False
  )

  def gradients(pool):
    monkeypatch.setattr(multiscale, "max_pool", pool)

    @jax.jit
    @jax.grad
    def run(params):
      now = {**variables, "params": params}
      grids, _ = encoder.apply(now, grid, train=True, mutable=["batch_stats"])
      return sum(jnp.vdot(jnp.linspace(-1, 1, y.size), y) for y in grids)

    return run(variables["params"])

  chex.assert_trees_all_close(
    gradients(max_pool),
    gradients(lambda x, side, _: nn.max_pool(x, (side,) * 3, (2,) * 3)),
    atol=1e-4,
  )
