import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.pooling import max_over

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
