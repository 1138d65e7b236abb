"""POCO: published sizes, and the effect of its settings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, poco
from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from tests.helpers.variables import draw

# The published counts; of the network without its branch of layers cv5 and bn5, whose
# result it overwrites.
NETWORK = 12_783_956 - (2048 * 1024 + 1024) - 2 * 1024
DECODER = 6_498
SMALL = {"c_dim": 8, "hidden_size": 8, "knn": 4, "heads": 4}


def build(**fields):
  return registry.build(base.get_config("poco").to_dict()["model"] | SMALL | fields)


def make_batch():
  points = jax.random.uniform(jax.random.key(0), (1, 60, 3), minval=-0.5, maxval=0.5)
  occupancies = (points[..., 0] > 0).astype(jnp.float32)
  return {"inputs": points, "points": 0.9 * points, "occupancies": occupancies}


@pytest.mark.parametrize("variant", poco.VARIANTS)
def test_a_recipe_has_as_many_parameters_as_the_published_network(variant):
  settings = config_lib.parse(poco.get_config(variant).to_dict())
  method = registry.build(settings.model)
  params = registry.variable_specs(method, example_batch(settings.data))["params"]
  counts = {
    name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
    for name, tree in params.items()
  }
  assert counts == {"net": NETWORK, "projection": DECODER}
  assert method.output.level == 0  # an occupancy of 0.5


def test_every_size_is_that_of_a_layer():
  params = registry.variable_specs(
    build(heads=5, c_dim=9), jax.device_get(make_batch())
  )["params"]
  assert params["net"]["cv0"]["cv"]["kernel"].shape == (16 * 3, 8)
  assert params["net"]["resnetb41"]["cv2"]["kernel"].shape == (64, 128)
  assert params["net"]["fcout"]["kernel"].shape == (8, 9)
  assert params["projection"]["fc1"]["kernel"].shape == (9 + 3, 9)
  assert params["projection"]["fc_query"]["kernel"].shape == (9, 5)


def test_a_change_of_one_input_point_is_seen_near_it_alone_by_the_decoder():
  method, batch = build(), make_batch()
  variables = draw(method.init, batch)
  latent = jax.jit(method.encode)(variables, batch["inputs"])
  decode = jax.jit(method.decode)
  changed = latent | {"features": latent["features"].at[0, 0].add(1.0)}
  queries = batch["points"]
  before, after = (
    np.asarray(decode(variables, v, queries)[0]) for v in (latent, changed)
  )
  distances = np.linalg.norm(
    np.asarray(queries)[0][:, None] - np.asarray(batch["inputs"])[0][None], axis=-1
  )
  near = (np.argsort(distances, axis=1)[:, :4] == 0).any(1)
  assert near.any() and not near.all()
  np.testing.assert_array_equal(before != after, near)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"knn": 0}, r"model\.knn is 0; want at least 1"),
    ({"heads": 0}, r"model\.heads is 0; want at least 1"),
    ({"hidden_size": 7}, r"hidden_size is 7; want an even number"),
  ],
)
def test_sizes_out_of_range_are_one_sentence(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_there_are_no_blocks_to_compute_again_and_no_other_recipes():
  with pytest.raises(ValueError, match=r"remat is set, but poco.*; unset it"):
    registry.build(base.get_config("poco").to_dict()["model"], remat=True)
  with pytest.raises(ValueError, match=r"poco\.py:abc: unknown; want one of: shapenet"):
    poco.get_config("abc")


def test_a_cloud_of_fewer_points_than_neighbours_is_one_sentence():
  method, batch = build(), make_batch()
  variables = draw(method.init, batch)
  latent = jax.jit(method.encode)(variables, batch["inputs"][:, :3])
  with pytest.raises(ValueError, match=r"cloud of 3 points; .* wants at least 4"):
    method.decode(variables, latent, batch["points"])
