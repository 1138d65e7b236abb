"""The U-Nets beyond what the recordings of the published code (test_parity) say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.unet import UNet, UNet3D, upsample_nearest

pytestmark = pytest.mark.usefixtures("plain_convolutions")


@pytest.mark.parametrize(("old", "new"), [(3, 6), (5, 11), (4, 9)])
def test_nearest_upsampling_repeats_the_entry_below(old, new):
  line = jnp.arange(float(old)).reshape(1, old, 1)
  result = upsample_nearest(line, (new,))[0, :, 0]
  np.testing.assert_array_equal(result, np.floor(np.arange(new) * old / new))


def test_convolutions_start_as_published():
  net = UNet(32, depth=2, filters=64)
  params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 32)))["params"]
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
  variables = jax.jit(net.init)(jax.random.key(0), x)
  apply = jax.jit(net.apply)
  result = apply(variables, x)
  coarsest = variables["params"]["down_convs"]["3"]["conv2"]
  coarsest["kernel"] = jnp.zeros_like(coarsest["kernel"])
  share = (result - apply(variables, x)).std() / result.std()
  assert low < share < high


@pytest.mark.parametrize(
  ("start", "low", "high"), [("xavier", 0, 0.01), ("he", 0.1, 2)]
)
def test_the_coarsest_level_of_a_grid_counts_at_first_with_he(start, low, high):
  x = jax.nn.relu(jax.random.normal(jax.random.key(1), (1, 16, 16, 16, 8)))
  net = UNet3D(8, 3, 8, norm=False, start=start)
  variables = jax.jit(net.init)(jax.random.key(0), x)
  apply = jax.jit(net.apply)
  result = apply(variables, x)
  coarsest = variables["params"]["encoders"]["2"]["basic_module"]["SingleConv2"]["conv"]
  coarsest |= {name: jnp.zeros_like(leaf) for name, leaf in coarsest.items()}
  share = (result - apply(variables, x)).std() / result.std()
  assert low < share < high


def test_a_network_of_patches_changes_cells_by_their_patch_and_place_in_it():
  net = UNet3D(4, 1, 8, norm=False, patch=2, start="he")
  x = jax.random.normal(jax.random.key(1), (1, 12, 12, 12, 4))
  variables = jax.jit(net.init)(jax.random.key(0), x)

  apply = jax.jit(net.apply)

  def change(x):
    return apply(variables, x) - x

  # Two convolutions reach two patches, so the four cells at the border differ.
  inner = (slice(None), *(slice(4, -4),) * 3)
  moved = change(jnp.roll(x, 2, 1))
  np.testing.assert_allclose(
    moved[:, 6:-4, 4:-4, 4:-4], change(x)[:, 4:-6, 4:-4, 4:-4], atol=1e-5
  )
  moved = change(jnp.roll(x, 1, 1))
  assert abs(moved[:, 5:-4, 4:-4, 4:-4] - change(x)[:, 4:-5, 4:-4, 4:-4]).max() > 0.01
  assert abs(change(x))[inner].max() > 0.1
  # Without what the patches say the cells stay as they are.
  variables["params"]["patch_upconv"] = jax.tree.map(
    jnp.zeros_like, variables["params"]["patch_upconv"]
  )
  np.testing.assert_array_equal(change(x), 0)


def test_the_two_ways_of_a_grid_are_added_cell_by_cell():
  """With kernels that copy, a cell gets a multiple of the maximum of its 2^3."""
  net = UNet3D(3, 2, 3, norm=False, merge="add")
  x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (1, 4, 4, 4, 3)), jnp.float32)
  params = jax.tree.map(
    jnp.zeros_like, jax.jit(net.init)(jax.random.key(0), x)["params"]
  )
  levels = [params["encoders"][level]["basic_module"] for level in ("0", "1")]
  for level in (*levels, params["decoders"]["0"]["basic_module"]):
    for conv in level.values():
      kernel = conv["conv"]["kernel"]
      copies = jnp.eye(*kernel.shape[-2:])  # 3 features to 3, or to the first 3 of 6
      conv["conv"]["kernel"] = kernel.at[1, 1, 1].set(copies)
  params["final_conv"]["kernel"] = jnp.eye(3).reshape(1, 1, 1, 3, 3)
  multiples = np.arange(8.0).reshape(2, 2, 2)
  upconv = params["decoders"]["upconv_0"]
  upconv["kernel"] = jnp.einsum("xyz,oi->xyzoi", multiples, jnp.eye(3, 6))
  result = jax.jit(net.apply)({"params": params}, x)
  largest = np.asarray(x).reshape(1, 2, 2, 2, 2, 2, 2, 3).max((2, 4, 6))
  largest = largest.repeat(2, 1).repeat(2, 2).repeat(2, 3)
  expected = x + np.tile(multiples, (2, 2, 2))[None, ..., None] * largest
  np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_features_that_groups_do_not_divide_are_one_sentence():
  net = UNet3D(4, levels=1, filters=12)
  with pytest.raises(ValueError, match=r"has 12 features at a level; .* multiple of 8"):
    jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 4, 4, 4, 12)))
