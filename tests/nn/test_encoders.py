import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.nn.embedding import CodeTable
from occnet_jax.nn.image_encoders import R2N2Resnet, R2N2Simple, SimpleConv
from occnet_jax.nn.latent_encoder import LatentEncoder
from occnet_jax.nn.pointnet import PointnetSimple
from occnet_jax.nn.resnet import BasicBlock, Bottleneck, Resnet
from occnet_jax.nn.voxel_encoder import VoxelSimple

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def draw(*shape):
  return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def shapes_of(net, *args):
  """Shapes of variables and result, without computing either."""
  result, variables = jax.eval_shape(
    lambda *args: net.init_with_output(KEY, *args, train=True), *args
  )
  return result, variables


@pytest.mark.parametrize(
  ("depth", "features", "wanted"),
  [
    (18, 512, 11_176_512),
    (34, 512, 21_284_672),
    (50, 2048, 23_508_032),
    (101, 2048, 42_500_160),
  ],
)
def test_residual_networks_have_as_many_parameters_as_those_of_torchvision(
  depth, features, wanted
):
  net = Resnet(depth, features, use_linear=False)
  result, variables = shapes_of(net, jnp.zeros((1, 64, 64, 3)))
  assert result.shape == (1, features)
  assert sum(a.size for a in jax.tree.leaves(variables["params"])) == wanted


def test_convolutions_of_residual_networks_start_with_variance_2_by_fan_out():
  params = BasicBlock(64).init(KEY, jnp.zeros((1, 4, 4, 16)), train=True)["params"]
  for name, width in (("conv1", 3), ("conv2", 3), ("downsample_0", 1)):
    std = params[name]["kernel"].std()
    np.testing.assert_allclose(std, (2 / (64 * width**2)) ** 0.5, rtol=0.06)


def test_a_bottleneck_strides_in_its_middle_and_updates_every_statistic():
  net, x = Bottleneck(8, stride=2), draw(2, 8, 8, 16)
  variables = jax.jit(net.init, static_argnames="train")(KEY, x, train=True)
  y, new = net.apply(
    variables,
    x,
    train=True,
    capture_intermediates=True,
    mutable=["batch_stats", "intermediates"],
  )
  shapes = {
    name: new["intermediates"][name]["__call__"][0].shape
    for name in ("conv1", "conv2", "conv3", "downsample_0")
  }
  assert shapes == {
    "conv1": (2, 8, 8, 8),
    "conv2": (2, 4, 4, 8),
    "conv3": (2, 4, 4, 32),
    "downsample_0": (2, 4, 4, 32),
  }
  assert y.shape == (2, 4, 4, 32) and y.min() == 0
  for name in ("bn1", "bn2", "bn3", "downsample_1"):
    assert np.abs(new["batch_stats"][name]["mean"]).min() > 0


@pytest.mark.parametrize(
  ("net", "size", "words"),
  [
    (Resnet(20), (64, 64), "depth 20, want one of"),
    (Resnet(18, 256, use_linear=False), (64, 64), "set c_dim=512"),
    (Resnet(50, 512, use_linear=False), (64, 64), "set c_dim=2048"),
    (SimpleConv(), (63, 62), "at least 63 x 63"),
    (R2N2Simple(), (224, 224), "224 x 224 pixels, want sides of 66 to 129"),
    (R2N2Resnet(), (127, 65), "127 x 65 pixels, want sides of 66 to 129"),
  ],
)
def test_image_encoders_say_what_they_cannot_take(net, size, words):
  with pytest.raises(ValueError, match=words):
    shapes_of(net, jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize("net", [SimpleConv(5), R2N2Simple(5), R2N2Resnet(5)])
@pytest.mark.parametrize("size", [(66, 129), (127, 127)])
def test_image_encoders_take_every_size_that_fits(net, size):
  result, variables = shapes_of(net, jnp.zeros((2, *size, 3)))
  assert result.shape == (2, 5)
  rows = 512 if isinstance(net, SimpleConv) else 256 * 3 * 3
  assert variables["params"]["fc_out"]["kernel"].shape == (rows, 5)


def test_grids_of_side_64_have_eight_times_as_many_features():
  net, grid = VoxelSimple(7), jnp.asarray(RNG.random((1, 64, 64, 64)) < 0.5)
  init = jax.jit(lambda grid: net.init_with_output(KEY, grid, train=True))
  code, variables = init(grid)
  assert variables["params"]["fc"]["kernel"].shape == (8 * 4096, 7)
  assert code.shape == (1, 7) and np.isfinite(code).all()


def test_grids_whose_side_is_no_multiple_of_16_are_refused():
  with pytest.raises(ValueError, match="side 24, want a multiple of 16"):
    shapes_of(VoxelSimple(), jnp.zeros((1, 24, 24, 24)))


@pytest.mark.parametrize("leaky", [False, True])
def test_the_posterior_does_not_depend_on_the_order_of_points(leaky):
  net = LatentEncoder(z_dim=6, hidden_dim=16, leaky=leaky)
  points, inside = draw(2, 20, 3), jnp.asarray(RNG.random((2, 20)) < 0.5, jnp.float32)
  variables = jax.jit(net.init, static_argnames="train")(
    KEY, points, inside, None, train=True
  )
  wanted = net.apply(variables, points, inside, None, train=False)
  order = RNG.permutation(20)
  args = points[:, order], inside[:, order], None
  for a, b in zip(net.apply(variables, *args, train=False), wanted, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_repeated_point_does_not_change_the_code_of_a_cloud():
  net, points = PointnetSimple(c_dim=6, hidden_dim=16, octaves=2), draw(2, 9, 3)
  variables = jax.jit(net.init, static_argnames="train")(KEY, points, train=True)
  assert variables["params"]["fc_pos"]["kernel"].shape == (3 + 2 * 2 * 3, 32)
  twice = jnp.concatenate([points, points[:, :4]], 1)
  np.testing.assert_allclose(
    net.apply(variables, twice, train=False),
    net.apply(variables, points, train=False),
    rtol=1e-5,
    atol=1e-6,
  )


def test_a_code_table_gives_rows_and_no_number_for_a_row_it_has_not():
  net = CodeTable(shapes=1000, c_dim=50)
  variables = jax.jit(net.init, static_argnames="train")(
    KEY, jnp.zeros(1, jnp.int32), train=True
  )
  table = variables["params"]["embedding"]
  np.testing.assert_allclose([table.mean(), table.std()], [0, 1], atol=0.02)
  codes = net.apply(variables, jnp.array([3, 999, 1000]), train=True)
  np.testing.assert_array_equal(codes[:2], table[jnp.array([3, 999])])
  assert np.isnan(codes[2]).all()
