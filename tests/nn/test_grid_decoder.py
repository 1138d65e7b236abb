import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.conv import ConvTranspose
from occnet_jax.nn.grid_decoder import R2N2Decoder
from occnet_jax.nn.pointnet import ResnetPointnet
from occnet_jax.nn.resnet import Resnet

KEY = jax.random.key(0)


@pytest.mark.parametrize(
  ("encoder", "inputs", "c_dim", "wanted"),
  [
    (Resnet(18, 256), jnp.zeros((1, 64, 64, 3)), 256, 16_680_001),
    (ResnetPointnet(), jnp.zeros((1, 4, 3)), 512, 16_391_937),
  ],
  ids=["image", "cloud"],
)
def test_published_models_have_as_many_parameters_as_the_reference(
  encoder, inputs, c_dim, wanted
):
  variables = jax.eval_shape(
    lambda: (
      encoder.init(KEY, inputs, train=True)["params"],
      R2N2Decoder().init(KEY, jnp.zeros((1, c_dim)), train=True)["params"],
    )
  )
  assert sum(a.size for a in jax.tree.leaves(variables)) == wanted


@pytest.mark.parametrize("channels", [(8,), (8, 4), (8, 8, 4)])
def test_every_transposed_convolution_doubles_the_side(channels):
  net = R2N2Decoder(channels)
  grid, _ = jax.eval_shape(
    lambda c: net.init_with_output(KEY, c, train=True), jnp.zeros((2, 5))
  )
  assert grid.shape == (2,) + (net.resolution,) * 3
  assert net.resolution == 2 ** (len(channels) + 1)


@pytest.mark.parametrize(
  ("kernel_size", "stride", "padding", "output_padding"),
  [(3, 2, 1, 1), (5, 2, 2, 1), (3, 1, 1, 0), (3, 1, 3, 0), (2, 3, 0, 1)],
)
def test_every_input_of_a_transposed_convolution_adds_its_kernel(
  kernel_size, stride, padding, output_padding
):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
  net = ConvTranspose(4, kernel_size, stride, padding, output_padding)
  variables = net.init(KEY, x)
  kernel, bias = (np.asarray(variables["params"][k]) for k in ("kernel", "bias"))
  sides = [stride * (n - 1) + kernel_size + output_padding for n in x.shape[1:3]]
  wanted = np.zeros((2, *sides, 4))
  for i, j in np.ndindex(*x.shape[1:3]):
    rows, columns = (slice(stride * k, stride * k + kernel_size) for k in (i, j))
    wanted[:, rows, columns] += np.einsum("bi,hwoi->bhwo", x[:, i, j], kernel)
  inner = [slice(padding, side - padding) for side in sides]
  np.testing.assert_allclose(
    net.apply(variables, x), wanted[:, *inner] + bias, rtol=1e-4, atol=1e-5
  )


def test_transposed_convolutions_start_within_the_bound_of_pytorch():
  net = ConvTranspose(16)
  params = net.init(KEY, jnp.zeros((1, 2, 2, 2, 64)))["params"]
  bound = (16 * 27) ** -0.5
  for array in params.values():
    assert 0.7 * bound < np.abs(array).max() <= bound
