import jax
import jax.numpy as jnp
import pytest

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
      jax.jit(encoder.init, static_argnames="train")(KEY, inputs, train=True)["params"],
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
