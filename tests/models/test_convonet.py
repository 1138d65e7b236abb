"""Convolutional occupancy networks: published sizes, and settings that do not agree."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, convonet
from occnet_jax import api
from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.train import initial_values
from occnet_jax.types import Windows
from tests.helpers.compilations import compiled, count_compilations
from tests.helpers.variables import draw

pytestmark = pytest.mark.usefixtures("plain_convolutions")

WINDOW = {"features": ("grid",), "unit_size": 0.01}
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
  "crop_grid64": 4_166_657,
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
    (
      {"features": ("grid",), "unet3d_patch": 3},
      r"unet3d_patch is 3 with grid_resolution=32; want a number from 1 that divides",
    ),
    (
      {"features": ("grid",), "unet3d_patch": 16},
      r"grid_resolution is 32; want at least 64, which a U-Net of 3 levels halves 2",
    ),
    (
      {"features": ("grid",), "grid_resolution": 34, "unet3d_merge": "add"},
      r"grid_resolution is 34; want a multiple of 4 with unet3d_merge='add', or 'con",
    ),
    ({"features": ("grid",), "unet3d_merge": "sum"}, r"unet3d_merge is 'sum'; want"),
    ({"unet_merge": "sum"}, r"unet_merge is 'sum'; want one of: add, concat"),
    ({"unet_start": "zeros"}, r"unet_start is 'zeros'; want one of: he, xavier"),
    ({"unet_up": "cubic"}, r"unet_up is 'cubic'; want one of: bilinear, transposed"),
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
    (WINDOW | {"unit_size": -1.0}, r"unit_size is -1\.0 and .*above 0 and pointnet_lo"),
    (
      WINDOW | {"encoder": "pointnet_plus_plus"},
      r"encoder 'pointnet_plus_plus'; want .* pointnet_local_pool, the encoder that k",
    ),
    (WINDOW | {"knn": 8}, r"unit_size is 0\.01 with knn=8 .*; want 0 of both"),
    (WINDOW | {"grid_resolution": 63}, r"63 cells along a window .*one even number"),
    (WINDOW | {"features": ("xz", "grid")}, r"has 32 and 64 cells along a window"),
    (WINDOW | {"query_cells": 33}, r"query_cells=33; want .* no more query cells"),
    (
      WINDOW | {"local_coordinates": "polar"},
      r"'polar'; want one of: , local, sin_cos",
    ),
    (WINDOW | {"read_at": "corners"}, r"read_at is 'corners'; want one of: cells, nod"),
  ],
)
def test_fields_that_do_not_go_together_are_one_sentence(fields, message):
  with pytest.raises(ValueError, match=message):
    registry.build(base.get_config("convonet").to_dict()["model"] | fields)


def test_there_are_no_blocks_to_compute_again():
  with pytest.raises(ValueError, match=r"remat is set, but convonet.*; unset it"):
    registry.build(base.get_config("convonet").to_dict()["model"], remat=True)


def build(**fields):
  return registry.build(base.get_config("convonet").to_dict()["model"] | fields)


def test_windows_move_by_as_much_as_the_unet_pools():
  """So that its cells are the same ones in every window."""
  settings = convonet.get_config("crop_grid64").to_dict()
  windows = registry.build(settings["model"]).windows
  assert windows == Windows(unit_size=0.005, side=88, query=25, stride=24)
  # The middle is what the data draw points in, and half of the pooled field is around.
  assert settings["data"]["crop"] == (25 * 0.005, 0.005)
  planes = {"features": ("xz",), "plane_resolution": 64, "unit_size": 0.1}
  assert build(**planes, query_cells=20).windows.stride == 16
  assert build(**planes, query_cells=5).windows.stride == 5
  assert build(**WINDOW, unet3d_levels=0).windows.stride == 25
  assert build(**WINDOW, unet3d_patch=4).windows.stride == 16
  assert build().windows is None


@pytest.mark.parametrize(
  "change",
  [
    {"unit_size": 0.02},
    {"local_coordinates": "sin_cos"},
    {"local_coordinates": ""},
    {"read_at": "cells"},
    {"unet3d_norm": False},
    {"unet3d_merge": "add"},
    {"unet3d_patch": 2},
    {"unet_start": "he"},
  ],
)
def test_every_field_of_windows_and_their_unet_changes_the_network(change):
  small = WINDOW | {
    "grid_resolution": 8,
    "query_cells": 4,
    "c_dim": 8,
    "encoder_hidden_size": 8,
    "encoder_blocks": 1,
    "unet3d_levels": 2,
    "unet3d_filters": 8,
    "hidden_size": 8,
    "decoder_blocks": 1,
  }
  points = jax.random.uniform(jax.random.key(0), (1, 20, 3), minval=-0.03, maxval=0.03)
  batch = {"inputs": points, "points": points, "occupancies": points[..., 0]}
  logits = []
  for fields in (small, small | change):
    method = compiled(build(**fields))
    variables = initial_values.draw(method, jax.random.key(1), batch)
    latent = method.encode(variables, points)
    logits.append(method.decode(variables, latent, points))
  assert float(abs(logits[0] - logits[1]).max()) > 1e-5


def test_features_of_the_cube_are_read_where_read_at_says():
  points = jax.random.uniform(jax.random.key(0), (1, 20, 3), minval=-0.5, maxval=0.5)
  batch = {"inputs": points, "points": points, "occupancies": points[..., 0]}
  logits = []
  for read_at in ("nodes", "cells"):
    method = compiled(build(features=("grid",), unet3d_levels=0, read_at=read_at))
    variables = initial_values.draw(method, jax.random.key(1), batch)
    latent = method.encode(variables, points)
    logits.append(method.decode(variables, latent, points))
  assert float(abs(logits[0] - logits[1]).max()) > 1e-5


def test_points_outside_of_a_window_have_no_effect():
  method = build(**WINDOW, grid_resolution=8, query_cells=4, unet3d_levels=1)
  inside = jax.random.uniform(jax.random.key(0), (1, 20, 3), minval=-0.04, maxval=0.039)
  points = jnp.concatenate([inside, inside + 0.2, inside - 7.0], 1)
  batch = {"inputs": inside, "points": inside, "occupancies": inside[..., 0]}
  variables = draw(method.init, batch)
  few, many = (method.encode(variables, p)["grid"] for p in (inside, points))
  np.testing.assert_allclose(few, many, atol=1e-5)


@pytest.mark.parametrize(
  "fields",
  [
    {"features": ("xz", "grid"), "knn": 3, "pooling": "mean"},
    {"features": ("xy", "grid"), "pooling": "max"},
    WINDOW | {"grid_resolution": 8, "query_cells": 4},
  ],
)
def test_rows_of_nan_have_no_effect(fields):
  method = compiled(build(unet_depth=0, unet3d_levels=0, **fields))
  points = jax.random.uniform(jax.random.key(0), (2, 70, 3), minval=-0.03, maxval=0.03)
  batch = {"inputs": points, "points": points, "occupancies": points[..., 0]}
  variables = draw(method.init, batch)
  padded = jnp.pad(points, ((0, 0), (0, 26), (0, 0)), constant_values=jnp.nan)
  logits = [
    method.decode(variables, method.encode(variables, cloud), points)
    for cloud in (points, padded)
  ]
  assert method.pads
  assert float(jnp.ptp(logits[0])) > 0
  np.testing.assert_allclose(*logits, atol=1e-6)


def test_clouds_of_similar_sizes_share_a_program():
  config = base.get_config("convonet")
  config.model.update(features=("grid",), unet3d_levels=0, encoder_blocks=2)
  config = config.to_dict()
  settings = config_lib.parse(config)
  method = registry.build(settings.model)
  variables = draw(method.init, example_batch(settings.data))
  model = api.Model(method, variables, config, {})
  cloud = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 512, 3))
  model.encode(cloud[:, :400])
  with count_compilations() as compiled:
    for count in (385, 399, 511, 512):
      model.encode(cloud[:, :count])
  assert compiled == []
  alone = method.encode(model.variables, jnp.asarray(cloud[:, :399], jnp.float32))
  latent = model.encode(cloud[:, :399])
  np.testing.assert_allclose(latent["grid"], alone["grid"], atol=1e-6)
