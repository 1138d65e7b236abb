import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.decoders import (
  BatchNormDecoder,
  CBatchNormDecoder,
  CBatchNormDecoder2,
  CBatchNormNoResnetDecoder,
  SimpleDecoder,
)
from occnet_jax.nn.embedding import CodeTable
from occnet_jax.nn.latent_encoder import LatentEncoder
from occnet_jax.nn.resnet import Resnet
from occnet_jax.nn.voxel_encoder import VoxelSimple

POINTS = jnp.zeros((2, 5, 3))
RESNET = (Resnet(18, 256), jnp.zeros((2, 32, 32, 3)))
VOXELS = (VoxelSimple(256), jnp.zeros((2, 32, 32, 32)))
CODES = (CodeTable(4746, 512), jnp.zeros(2, jnp.int32))
LATENT = (LatentEncoder(128), POINTS, jnp.zeros((2, 5)), None)


def params_of(net, *args):
  return jax.eval_shape(lambda: net.init(jax.random.key(0), *args, train=True))[
    "params"
  ]


@pytest.mark.parametrize(
  ("encoder", "decoder", "z_dim", "c_dim", "wanted"),
  [
    (RESNET, CBatchNormDecoder(), 0, 256, 13_414_465),
    (RESNET, BatchNormDecoder(), 0, 256, 12_038_465),
    (RESNET, CBatchNormNoResnetDecoder(), 0, 256, 12_427_585),
    (VOXELS, CBatchNormDecoder(), 0, 256, 7_857_473),
    (CODES, CBatchNormDecoder(), 0, 512, 5_978_369),
    (LATENT, SimpleDecoder(), 128, 0, 298_369),
  ],
  ids=["image", "nocbn", "noresnet", "voxels", "repr_power", "unconditional"],
)
def test_published_models_have_as_many_parameters_as_the_reference(
  encoder, decoder, z_dim, c_dim, wanted
):
  z, c = (jnp.zeros((2, size)) if size else None for size in (z_dim, c_dim))
  both = params_of(*encoder), params_of(decoder, POINTS, z, c)
  assert sum(a.size for a in jax.tree.leaves(both)) == wanted


DECODERS = [
  CBatchNormDecoder(8),
  CBatchNormDecoder2(8, n_blocks=2),
  CBatchNormNoResnetDecoder(8),
  BatchNormDecoder(8),
  SimpleDecoder(8),
]


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda net: type(net).__name__)
def test_octaves_widen_the_first_layer_alone(decoder):
  z, c = jnp.zeros((2, 4)), jnp.zeros((2, 6))
  plain = params_of(decoder, POINTS, z, c)
  first = "conv_p" if isinstance(decoder, CBatchNormDecoder2) else "fc_p"
  wider = params_of(decoder.clone(octaves=3), POINTS, z, c)
  assert plain[first]["kernel"].shape == (3, 8)
  assert wider[first]["kernel"].shape == (3 + 3 * 2 * 3, 8)
  del plain[first], wider[first]
  assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, plain, wider))


@pytest.mark.parametrize("decoder", DECODERS[3:], ids=lambda net: type(net).__name__)
def test_a_code_that_is_not_there_has_no_layer(decoder):
  c = jnp.zeros((2, 6))
  assert {"fc_z", "fc_c"} & params_of(decoder, POINTS, None, c).keys() == {"fc_c"}
  assert {"fc_z", "fc_c"} & params_of(decoder, POINTS, c, None).keys() == {"fc_z"}


@pytest.mark.parametrize(
  "decoder",
  [
    CBatchNormDecoder(32),
    CBatchNormDecoder2(32),
    BatchNormDecoder(32),
    SimpleDecoder(32),
  ],
  ids=lambda net: type(net).__name__,
)
def test_blocks_computed_twice_change_nothing_and_take_less_memory(decoder):
  rng = np.random.default_rng(0)
  # On a GPU each program has 32 MiB of workspace, beside which values must count.
  t = 512 if jax.default_backend() == "cpu" else 32768
  points, z, c = (
    jnp.asarray(rng.standard_normal(shape), jnp.float32)
    for shape in ((4, t, 3), (4, 5), (4, 6))
  )
  variables = jax.jit(decoder.init, static_argnames="train")(
    jax.random.key(0), points, z, c, train=True
  )
  stats = variables.get("batch_stats", {})
  params = jax.tree.map(  # some start at zero
    lambda a: a + 0.1 * jnp.asarray(rng.standard_normal(a.shape), jnp.float32),
    variables["params"],
  )

  def compiled(net):
    def loss(params):
      logits, changed = net.apply(
        {"params": params, "batch_stats": stats},
        *(points, z, c),
        train=True,
        mutable=["batch_stats"],
      )
      return jnp.square(logits).mean(), changed.get("batch_stats", {})

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return gradient.lower(params).compile()

  plain, twice = compiled(decoder), compiled(decoder.clone(remat=True))
  chex.assert_trees_all_close(twice(params), plain(params), rtol=1e-4, atol=1e-5)
  sizes = [net.memory_analysis().temp_size_in_bytes for net in (twice, plain)]
  assert sizes[0] < 0.75 * sizes[1], sizes
