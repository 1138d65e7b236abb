import jax
import jax.numpy as jnp
import numpy as np

from occnet_jax import losses


def test_the_cross_entropy_of_grids_is_a_mean_over_cells():
  logits = jnp.full((2, 4, 4, 4), 2.0)
  occupied = jnp.zeros((2, 4, 4, 4)).at[0].set(1)
  wanted = (np.log1p(np.exp(-2)) + np.log1p(np.exp(2))) / 2
  np.testing.assert_allclose(
    losses.grid_cross_entropy(logits, occupied), wanted, rtol=1e-6
  )


def test_distances_beyond_the_clamp_count_as_the_clamp_and_have_no_gradient():
  distances = jnp.array([[0.05, 0.4, -0.4, 0.4]])
  truth = jnp.array([[0.02, 0.3, 0.05, -0.02]])
  value, gradient = jax.value_and_grad(losses.clamped_l1)(distances, truth)
  np.testing.assert_allclose(value, (0.03 + 0 + 0.15 + 0.12) / 4, rtol=1e-5)
  np.testing.assert_allclose(gradient, [[0.25, 0, 0, 0]])


def test_the_norm_of_codes_is_not_squared_and_has_a_gradient_at_zero():
  codes = jnp.array([[3.0, 4.0], [0.0, 0.0]])
  value, gradient = jax.value_and_grad(losses.mean_code_norm)(codes)
  np.testing.assert_allclose(value, 2.5, rtol=1e-6)
  np.testing.assert_allclose(gradient, [[0.3, 0.4], [0, 0]], rtol=1e-6)
