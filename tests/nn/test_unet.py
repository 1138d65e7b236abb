"""The U-Nets beyond what the recordings of the published code (test_parity) say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.unet import UNet, upsample_nearest


@pytest.mark.parametrize(("old", "new"), [(3, 6), (5, 11), (4, 9)])
def test_nearest_upsampling_repeats_the_entry_below(old, new):
  line = jnp.arange(float(old)).reshape(1, old, 1)
  result = upsample_nearest(line, (new,))[0, :, 0]
  np.testing.assert_array_equal(result, np.floor(np.arange(new) * old / new))


def test_convolutions_start_as_published():
  net = UNet(32, depth=2, filters=64)
  params = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 32)))["params"]
  down, up = params["down_convs"]["0"]["conv1"], params["up_convs"]["0"]["upconv"]
  # Xavier: a variance of 2 / (fan_in + fan_out), without bias.
  np.testing.assert_allclose(down["kernel"].var(), 2 / (9 * (32 + 64)), rtol=0.05)
  assert not down["bias"].any()
  # PyTorch's default for the transposed one: uniform in +-1/sqrt(4 out).
  np.testing.assert_allclose(np.abs(up["kernel"]).max(), (4 * 64) ** -0.5, rtol=1e-3)
  assert up["bias"].any()


@pytest.mark.parametrize(
  ("start", "low", "high"), [("xavier", 0, 0.01), ("he", 0.1, 2)]
)
def test_the_coarsest_level_counts_at_first_if_mean_squares_are_kept(start, low, high):
  x = jax.nn.relu(jax.random.normal(jax.random.key(1), (1, 16, 16, 16)))
  net = UNet(16, 4, 16, start=start)
  variables = net.init(jax.random.key(0), x)
  result = net.apply(variables, x)
  coarsest = variables["params"]["down_convs"]["3"]["conv2"]
  coarsest["kernel"] = jnp.zeros_like(coarsest["kernel"])
  share = (result - net.apply(variables, x)).std() / result.std()
  assert low < share < high
