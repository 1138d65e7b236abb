"""Convolutional occupancy networks: published sizes, and settings that do not agree."""

import math

import jax
import pytest

from configs import base, convonet
from occnet_jax import config as config_lib
from occnet_jax.data.batches import example_batch
from occnet_jax.models import registry

PARAMETERS = {  # of the published networks
  "shapenet_1plane": 1_978_209,
  "shapenet_3plane": 1_978_209,
  "shapenet_3plane_partial": 1_978_209,
  "shapenet_grid32": 1_068_545,
  "shapenet_pointconv": 1_388_641,
  "voxel_1plane": 1_951_873,
  "voxel_3plane": 1_951_873,
  "voxel_grid32": 1_042_209,
  "room_1plane": 7_812_705,
  "room_3plane": 7_812_705,
  "room_grid32": 1_068_545,
  "room_grid64": 4_166_657,
  "room_combine": 8_838_017,
  "room_pointconv": 2_074_081,
}


@pytest.mark.parametrize("variant", convonet.VARIANTS)
def test_a_recipe_has_as_many_parameters_as_the_published_network(variant):
  settings = config_lib.parse(convonet.get_config(variant).to_dict())
  method = registry.build(settings.model)
  specs = registry.variable_specs(method, example_batch(settings.data))
  leaves = jax.tree.leaves(specs["params"])
  assert sum(math.prod(leaf.shape) for leaf in leaves) == PARAMETERS[variant]
  assert bool(specs["batch_stats"]) == ("pointconv" in variant)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"features": ()}, r"features is empty.* want one or more of xz, xy, yz, grid"),
    ({"features": ("xz", "zy")}, r"features is 'zy'; want one of: grid, xy, xz, yz"),
    (
      {"encoder": "pointnet_resnet"},
      r"want one of: pointnet_local_pool, pointnet_plus",
    ),
    ({"plane_resolution": 60}, r"plane_resolution is 60; want a multiple of 8, which"),
    ({"features": ("grid",), "grid_resolution": 3}, r"grid_resolution is 3; want at l"),
    ({"unet_merge": "sum"}, r"unet_merge is 'sum'; want one of: add, concat"),
    ({"unet_start": "zeros"}, r"unet_start is 'zeros'; want one of: he, xavier"),
    ({"pooling": "sum"}, r"pooling is 'sum'; want one of: max, mean"),
    ({"sample_mode": "cubic"}, r"sample_mode is 'cubic'; want one of: bilinear, nea"),
    (
      {"encoder": "voxel_simple_local", "knn": 8},
      r"knn is 8 with encoder 'voxel_simple_local'; want 0, or the encoder pointnet_l",
    ),
    (
      {"encoder": "voxel_simple_local", "voxel_kernel_size": 2},
      r"voxel_kernel_size is 2; want an odd number",
    ),
  ],
)
def test_fields_that_do_not_go_together_are_one_sentence(fields, message):
  with pytest.raises(ValueError, match=message):
    registry.build(base.get_config("convonet").to_dict()["model"] | fields)


def test_there_are_no_blocks_to_compute_again():
  with pytest.raises(ValueError, match=r"remat is set, but convonet.*; unset it"):
    registry.build(base.get_config("convonet").to_dict()["model"], remat=True)
