import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from occnet_jax.nn import conv, conv_xla
from occnet_jax.nn.conv import Conv, ConvTranspose
from occnet_jax.nn.pooling import max_pool
from occnet_jax.nn.resnet import BasicBlock
from tests.helpers import ROOT

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def test_the_padding_of_max_pool_is_below_every_entry():
  np.testing.assert_array_equal(max_pool(-jnp.ones((1, 5, 4, 2)), 3, 1), -1)


@pytest.mark.parametrize(
  ("sides", "kernel_size", "padding"),
  [
    ((5, 8), 3, 1),
    ((6, 7), 2, 1),
    ((8, 7), 3, 0),
    ((4, 4), 2, 0),
    ((1, 1), 2, 1),
    ((4, 8, 6), 2, 0),
    ((5, 4, 7), 3, 1),
  ],
)
def test_max_pool_is_that_of_flax_with_its_gradient(sides, kernel_size, padding):
  # Few values, so that windows have several largest ones.
  x = jnp.asarray(RNG.integers(0, 3, (2, *sides, 3)), jnp.float32)

  def by_flax(x):
    axes = len(sides)
    pads = [(padding, padding)] * axes
    return nn.max_pool(x, (kernel_size,) * axes, (2,) * axes, pads)

  def found(pool):
    @jax.jit
    def both(x):
      y, pull = jax.vjp(pool, x)
      return y, pull(jnp.arange(1.0, y.size + 1).reshape(y.shape))

    return both(x)

  chex.assert_trees_all_close(
    found(lambda x: max_pool(x, kernel_size, padding)), found(by_flax), rtol=1e-6
  )


def test_a_strided_convolution_pads_both_ends_alike():
  x = jnp.arange(1.0, 5).reshape(1, 1, 4, 1)
  kernel = jnp.zeros((3, 3, 1, 1)).at[1].set(1)
  variables = {"params": {"kernel": kernel, "bias": jnp.zeros(1)}}
  y = Conv(1, stride=2, padding=1).apply(variables, x)
  np.testing.assert_array_equal(y.ravel(), [0 + 1 + 2, 2 + 3 + 4])


@pytest.mark.parametrize(
  ("sides", "features", "kernel_size", "stride", "padding"),
  [
    ((6, 7, 8), (3, 4), 3, 2, 1),
    ((5, 5, 5), (1, 4), 3, 1, 1),
    ((4, 9, 10), (3, 4), 3, 1, 1),  # by slices of few features, as the next two
    ((6, 9, 8), (1, 2), 5, 1, 1),
    ((4, 9, 10), (3, 4), 3, 1, 0),
    ((4, 9, 10), (50, 4), 3, 1, 1),  # by slices of many features
    ((4, 6, 8), (3, 4), 2, 2, 0),  # windows that tile the grid, as the next
    ((3, 6, 9), (2, 4), 3, 3, 0),
    ((4, 6, 7), (3, 4), 2, 2, 0),
    ((9, 8), (2, 4), 5, 2, 0),
    ((20, 21), (2, 4), 5, 2, 0),
    ((8, 6), (32, 40), 3, 1, 1),  # Winograd's, as the next
    ((7, 9), (40, 32), 3, 1, 1),
  ],
)
def test_a_convolution_on_a_cpu_is_that_of_xla_with_its_gradient(
  sides, features, kernel_size, stride, padding
):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.standard_normal((2, *sides, features[0])), jnp.float32)
  kernel = rng.standard_normal((kernel_size,) * len(sides) + features)

  def found(convolve):
    @jax.jit
    def both(*args):
      y, pull = jax.vjp(lambda *args: convolve(*args, stride, padding), *args)
      return y, pull(jnp.cos(y))

    return both(x, jnp.asarray(kernel, jnp.float32))

  chex.assert_trees_all_close(
    found(conv.convolve),
    found(conv_xla.convolve),
    rtol=1e-4,
    atol=1e-3,
  )


@pytest.mark.parametrize(
  ("kernel_size", "stride", "padding", "output_padding"),
  [(3, 2, 1, 1), (5, 2, 2, 1), (3, 1, 1, 0), (3, 1, 3, 0), (2, 3, 0, 1)],
)
def test_every_input_of_a_transposed_convolution_adds_its_kernel(
  kernel_size, stride, padding, output_padding
):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.standard_normal((2, 5, 6, 3)), jnp.float32)
  net = ConvTranspose(4, kernel_size, stride, padding, output_padding)
  variables = jax.jit(net.init)(KEY, x)
  kernel, bias = (np.asarray(variables["params"][k]) for k in ("kernel", "bias"))
  sides = [stride * (n - 1) + kernel_size + output_padding for n in x.shape[1:3]]
  wanted = np.zeros((2, *sides, 4))
  for i, j in np.ndindex(*x.shape[1:3]):
    rows, columns = (slice(stride * k, stride * k + kernel_size) for k in (i, j))
    wanted[:, rows, columns] += np.einsum(
      "bi,hwoi->bhwo", np.asarray(x[:, i, j]), kernel
    )
  inner = [slice(padding, side - padding) for side in sides]
  np.testing.assert_allclose(
    jax.jit(net.apply)(variables, x), wanted[:, *inner] + bias, rtol=1e-4, atol=1e-5
  )


def test_transposed_convolutions_start_within_the_bound_of_pytorch():
  net = ConvTranspose(16)
  params = jax.jit(net.init)(KEY, jnp.zeros((1, 2, 2, 2, 64)))["params"]
  bound = (16 * 27) ** -0.5
  for array in params.values():
    assert 0.7 * bound < np.abs(array).max() <= bound


def test_the_gradient_of_a_transposed_convolution_is_that_of_xla():
  x, kernel = RNG.standard_normal((2, 3, 4, 2, 5)), RNG.standard_normal((3, 3, 3, 6, 5))
  sides = (6, 8, 4)

  def gradients(transposed):
    @jax.jit
    def both(*args):
      y, pull = jax.vjp(transposed, *args)
      return y, pull(jnp.cos(y))

    return both(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))

  def by_xla(x, kernel):
    return lax.conv_transpose(
      x,
      kernel,
      (2,) * 3,
      [(1, 2)] * 3,
      dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
      transpose_kernel=True,
    )

  chex.assert_trees_all_close(
    gradients(lambda x, kernel: conv.convolve_transposed(x, kernel, 2, 1, sides)),
    gradients(by_xla),
    rtol=1e-4,
    atol=1e-4,
  )


def exported(platform):
  """The program of an image block, a grid and a pooling with their gradients."""
  block, grid = BasicBlock(32), ConvTranspose(4)
  image, cube = jnp.zeros((1, 8, 8, 32)), jnp.zeros((1, 4, 4, 4, 3))
  variables = jax.eval_shape(
    lambda: (block.init(KEY, image, train=True), grid.init(KEY, cube))
  )

  def loss(variables, image, cube):
    y = max_pool(block.apply(variables[0], image, train=False), 3, 1)
    return (y**2).sum() + (grid.apply(variables[1], cube) ** 2).sum()

  program = jax.export.export(jax.jit(jax.value_and_grad(loss)), platforms=[platform])(
    variables, image, cube
  )
  return program.mlir_module()


def test_a_program_for_a_gpu_has_convolutions_and_no_forms_of_a_cpu():
  text = exported("cuda")
  # Two convolutions and a transposed one with their gradients by the kernel, and the
  # gradient by the input of the second one.
  assert text.count("stablehlo.convolution") == 3 + 3 + 1
  assert text.count("stablehlo.dot_general") == 0
  assert "select_and_scatter" in text


def test_a_program_for_a_cpu_has_products_and_no_convolutions():
  text = exported("cpu")
  assert text.count("stablehlo.convolution") == 0
  # 16 products for each of the five of the image block, by Winograd's algorithm.
  assert text.count("stablehlo.dot_general") == 5 * 16 + 2
  assert "select_and_scatter" not in text


def test_no_layer_asks_for_the_backend_while_it_is_traced():
  for path in (ROOT / "occnet_jax" / "nn").glob("*.py"):
    assert "default_backend" not in path.read_text(), path.name
