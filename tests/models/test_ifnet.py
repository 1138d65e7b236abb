"""IF-Net against a slow twin in NumPy, the sizes of its paper, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from configs import ifnet as recipes
from configs.models import ifnet as fields
from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop import ifnet_weights
from occnet_jax.models import registry
from occnet_jax.nn.multiscale import voxelise
from occnet_jax.train import initial_values
from tests.helpers import ifnet_twin
from tests.helpers.variables import draw

KEY = jax.random.key(0)
TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}


@dataclasses.dataclass
class Small:
  """A small network, by the fields of config.model and by its published names."""

  model: dict
  levels: list
  side: int


SMALL = {
  "voxels": Small(
    {
      "levels": ((3, 4), (5, 6), (4, 3)),
      "displacement": 0.3,
      "outside": "zeros",
      "hidden_sizes": (9, 7),
    },
    [
      [("conv_1", 3), ("conv_1_1", 4)],
      [("conv_2", 5), ("conv_2_1", 6)],
      [("conv_3", 4), ("conv_3_1", 3)],
    ],
    8,
  ),
  "points": Small(
    {"levels": ((2,), (3, 4)), "hidden_sizes": (8, 8, 8), "displacement": 0.1},
    [[("conv_in", 2)], [("conv_0", 3), ("conv_0_1", 4)]],
    6,
  ),
  "svr": Small(
    {
      "levels": ((2,), (3, 2), (2, 5)),
      "coordinates": True,
      "hidden_sizes": (8,),
    },
    [
      [("conv_in", 2)],
      [("conv_0", 3), ("conv_0_1", 2)],
      [("conv_1", 2), ("conv_1_1", 5)],
    ],
    8,
  ),
}


def make(model, **options):
  return registry.build(fields.get_config().to_dict() | model, **options)


def loss_of(method):
  """The loss of a method, compiled."""
  return jax.jit(method.loss, static_argnums=3)


def make_batch(rng, side, shapes=2, points=9):
  return {
    "inputs": rng.integers(0, 2, (shapes, side, side, side)).astype(np.float32),
    # Some of them outside the unit cube, as in the package's padded one.
    "points": rng.uniform(-0.55, 0.55, (shapes, points, 3)).astype(np.float32),
    "occupancies": rng.integers(0, 2, (shapes, points)).astype(np.float32),
  }


@pytest.fixture(params=SMALL)
def small(request):
  """A method, its variables, the same as a state_dict, a batch and the sizes."""
  case, rng = SMALL[request.param], np.random.default_rng(0)
  model = fields.get_config().to_dict() | case.model
  state = ifnet_twin.draw_state(
    rng,
    levels=case.levels,
    hidden_sizes=model["hidden_sizes"],
    coordinates=model["coordinates"],
  )
  batch, method = make_batch(rng, case.side), make(case.model)
  template = registry.variable_specs(method, batch)
  variables = jax.tree.map(jnp.asarray, ifnet_weights.from_state_dict(state, template))
  return method, variables, state, jax.tree.map(jnp.asarray, batch), model, case.levels


def twin_logits(state, batch, model, levels, *, train=False):
  volumes = ifnet_twin.encode(state, batch["inputs"], levels, train=train)
  keys = ("displacement", "outside", "coordinates")
  settings = {key: model[key] for key in keys}
  return volumes, ifnet_twin.decode(state, volumes, batch["points"], **settings)


def test_feature_grids_and_logits_are_those_of_the_twin(small):
  method, variables, state, batch, model, levels = small
  volumes, logits = twin_logits(state, batch, model, levels)
  latent = jax.jit(method.encode)(variables, batch["inputs"])
  for ours, volume in zip(latent, volumes, strict=True):
    np.testing.assert_allclose(jnp.moveaxis(ours, -1, 1), volume, **TOLERANCE)
  ours = jax.jit(method.decode)(variables, latent, batch["points"])
  np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4)


def test_the_loss_is_a_sum_over_points_with_the_statistics_of_the_batch(small):
  method, variables, state, batch, model, levels = small
  _, logits = twin_logits(state, batch, model, levels, train=True)
  inside = np.asarray(batch["occupancies"]) > 0.5
  # -log of the probability of the label, log(1 + exp(-+logit))
  errors = np.logaddexp(0, np.where(inside, -logits, logits))
  value, (stats, scalars) = loss_of(method)(variables, batch, KEY, True)
  np.testing.assert_allclose(value, errors.sum(1).mean(), rtol=1e-4)
  np.testing.assert_allclose(scalars["loss_per_point"], errors.mean(), rtol=1e-4)
  union = (inside | (logits >= 0)).sum(1)
  iou = ((inside & (logits >= 0)).sum(1) / union).mean()
  np.testing.assert_allclose(scalars["iou"], iou, rtol=1e-5)

  # The norm comes after the last ReLU; its input has the mean that is averaged.
  norm = ifnet_twin.norm_name(levels[0][-1][0])
  x = np.asarray(batch["inputs"], np.float64)[:, None]
  for name, _ in levels[0]:
    x = np.maximum(
      ifnet_twin.convolve(x, state[f"{name}.weight"], state[f"{name}.bias"]), 0
    )
  mean = 0.9 * state[f"{norm}.running_mean"] + 0.1 * x.mean((0, 2, 3, 4))
  ours = stats["encoder"]["level_0"]["bn"]["mean"]
  np.testing.assert_allclose(ours, mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  ("variant", "parameters"),
  [
    ("shapenet32vox", 2_954_049),
    ("shapenet128vox", 2_550_881),
    ("shapenetpoints", 2_550_881),
    ("svr", 4_623_457),
  ],
)
def test_the_variants_have_the_published_numbers_of_parameters(variant, parameters):
  config = recipes.get_config(variant).to_dict()
  settings = config_lib.parse(config)
  example = example_batch(settings.data, 1)
  specs = registry.variable_specs(registry.build(settings.model), example)
  assert sum(leaf.size for leaf in jax.tree.leaves(specs["params"])) == parameters


def test_a_cloud_sets_the_nodes_that_are_nearest_to_its_points():
  rng, side = np.random.default_rng(0), 5
  cloud = rng.uniform(-0.6, 0.6, (2, 40, 3)).astype(np.float32)
  axis = np.linspace(-0.5, 0.5, side)
  nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
  expected = np.zeros((2, side**3))
  for grid, points in zip(expected, cloud, strict=True):
    grid[cKDTree(nodes).query(points)[1]] = 1
  assert 0 < expected.sum() < 80  # some nodes have several points
  grids = voxelise(jnp.asarray(cloud), side)
  np.testing.assert_array_equal(grids.reshape(2, -1), expected)
  padded = np.concatenate([cloud, np.full((2, 9, 3), np.nan, np.float32)], 1)
  np.testing.assert_array_equal(voxelise(jnp.asarray(padded), side), grids)


def test_clouds_of_any_size_have_the_features_of_the_grid_that_they_make():
  model = {"levels": ((2,), (3, 2)), "resolution": 8}
  method, rng = make(model), np.random.default_rng(0)
  variables = draw(method.init, make_batch(rng, 8))
  for n in (1, 50):
    cloud = jnp.asarray(rng.uniform(-0.5, 0.5, (2, n, 3)).astype(np.float32))
    latent = jax.jit(method.encode)(variables, cloud)
    expected = jax.jit(method.encode)(variables, voxelise(cloud, 8))
    jax.tree.map(np.testing.assert_array_equal, latent, expected)
    assert [volume.shape for volume in latent] == [
      (2, 8, 8, 8, 1),
      (2, 8, 8, 8, 2),
      (2, 4, 4, 4, 2),
    ]


def test_a_logit_depends_on_the_seven_places_of_its_own_point_only():
  """The value of level 0 at the neighbour along +x moves it, and no other node near."""
  method, rng = make({"levels": ((2,),), "displacement": 0.5}), np.random.default_rng(0)
  batch = jax.tree.map(jnp.asarray, make_batch(rng, 5, shapes=1))
  variables = draw(method.init, batch)
  grid, features = jax.jit(method.encode)(variables, batch["inputs"])
  centre = jnp.zeros((1, 1, 3))  # node 2 of 5; 0.5 of half a side is one node
  slope = jax.jit(
    jax.grad(lambda grid: method.decode(variables, (grid, features), centre).sum())
  )(grid)
  near = {(2, 2, 2)} | {
    tuple(np.array((2, 2, 2)) + sign * np.eye(3, dtype=int)[axis])
    for axis in range(3)
    for sign in (-1, 1)
  }
  used = {tuple(int(i) for i in index[1:4]) for index in np.argwhere(slope)}
  assert used == near


@pytest.mark.parametrize("unbiased", [True, False])
def test_the_running_variance_is_unbiased_on_request(unbiased):
  method = make({"levels": ((2,),), "unbiased_variance": unbiased})
  batch = jax.tree.map(jnp.asarray, make_batch(np.random.default_rng(0), 4))
  variables = draw(method.init, batch)
  stats = loss_of(method)(variables, batch, KEY, True)[1][0]
  conv = variables["params"]["encoder"]["level_0"]["conv_0"]
  kernel = jnp.moveaxis(conv["kernel"], (-1, -2), (0, 1))
  x = ifnet_twin.convolve(batch["inputs"][:, None], np.asarray(kernel), conv["bias"])
  variance = np.maximum(x, 0).var((0, 2, 3, 4), ddof=int(unbiased))
  ours = stats["encoder"]["level_0"]["bn"]["var"]
  np.testing.assert_allclose(ours, 0.9 + 0.1 * variance, rtol=1e-5)


def test_the_statistics_of_two_devices_are_those_of_one():
  model = {"levels": ((2,), (2, 3)), "hidden_sizes": (4,)}
  batch = jax.tree.map(jnp.asarray, make_batch(np.random.default_rng(0), 4, shapes=4))
  variables = draw(make(model).init, batch)
  value, (stats, _) = loss_of(make(model))(variables, batch, KEY, True)
  halves = jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), batch)
  method = make(model, axis_name="d")
  apart = jax.jit(
    jax.vmap(lambda half: method.loss(variables, half, KEY, True), axis_name="d")
  )
  values, (both, _) = apart(halves)
  np.testing.assert_allclose(values.mean(), value, rtol=1e-5)
  for one, two in zip(jax.tree.leaves(stats), jax.tree.leaves(both), strict=True):
    np.testing.assert_allclose(two, jnp.stack([one, one]), rtol=1e-5, atol=1e-6)


def test_the_thresholds_of_the_config_are_the_levels_of_the_field():
  output = make({"tau": 0.4, "tau_grid": (0.25, 0.5)}).output
  np.testing.assert_allclose(output.level, np.log(0.4 / 0.6))
  np.testing.assert_allclose(output.candidates, [np.log(1 / 3), 0], atol=1e-12)
  assert make({}, threshold=0.5).output.candidates == (0.0,)


@pytest.mark.parametrize(
  ("model", "shape", "message"),
  [
    ({}, (1, 20, 20, 20), r"of 20 nodes .* 4 times and would end below 2; want .* 16"),
    ({}, (1, 40, 40, 40), r"of 40 nodes .* 4 times and would lose nodes; want .* 16"),
    ({}, (1, 33, 33, 33), r"of 33 nodes .* 4 times and would lose nodes; want .* 16"),
    ({}, (1, 32, 32, 16), r"shape \(1, 32, 32, 16\); ifnet wants clouds"),
    ({}, (1, 64, 64, 3), r"ifnet wants clouds .* or grids"),
    ({"resolution": 16}, None, r"of 16 nodes .* end below 2"),
    ({"resolution": 100}, None, r"of 100 nodes .* lose nodes"),
    ({"outside": "mirror"}, None, r"outside is 'mirror'; want one of: border, zeros"),
  ],
)
def test_what_does_not_go_together_is_refused(model, shape, message):
  with pytest.raises(ValueError, match=message):
    method = make(model)
    inputs = jax.ShapeDtypeStruct(shape, jnp.float32)
    points = jax.ShapeDtypeStruct((1, 3, 3), jnp.float32)
    jax.eval_shape(method.init, KEY, {"inputs": inputs, "points": points})


def test_there_are_no_blocks_to_compute_twice():
  with pytest.raises(ValueError, match=r"train\.remat is set, but ifnet has no"):
    make({}, remat=True)


def test_the_coarsest_grids_alone_give_logits_that_finer_ones_do_not_change():
  model = {"levels": ((2,), (3, 2)), "resolution": 8}
  rng = np.random.default_rng(0)
  batch = jax.tree.map(jnp.asarray, make_batch(rng, 8))
  method = make(model)
  variables = draw(method.init, batch)
  whole = jax.jit(method.encode)(variables, batch["inputs"])
  for used in (1, 2, 3):
    method = make(model | {"levels_used": used})
    latent = jax.jit(method.encode)(variables, batch["inputs"])
    for k, (grid, all_of_it) in enumerate(zip(latent, whole, strict=True)):
      np.testing.assert_array_equal(grid, all_of_it if k >= 3 - used else 0)
  np.testing.assert_array_equal(
    jax.jit(method.decode)(variables, latent, batch["points"]),
    jax.jit(make(model).decode)(variables, whole, batch["points"]),
  )
  with pytest.raises(ValueError, match=r"levels_used=4 .*want at most 3, the grids"):
    make(model | {"levels_used": 4})


@pytest.mark.usefixtures("plain_convolutions")  # till the end of this file
def test_dropped_levels_train_the_coarsest_grids_to_do_without_the_others():
  """Loss of the coarsest grids alone after some steps, with and without dropout."""
  model = {"levels": ((4,), (4, 4)), "resolution": 8, "hidden_sizes": (16,)}
  rng = np.random.default_rng(0)
  batch = make_batch(rng, 8, shapes=4, points=40)
  batch = jax.tree.map(jnp.asarray, batch)
  score, losses = jax.jit(make(model | {"levels_used": 2}).score), []
  for share in (0.0, 1.0):
    method = make(model | {"level_dropout": share})
    variables = initial_values.draw(method, KEY, batch)

    @jax.jit
    def step(variables, key, method=method):
      def loss(params):
        return method.loss(variables | {"params": params}, batch, key, True)

      gradient, (stats, _) = jax.grad(loss, has_aux=True)(variables["params"])
      params = jax.tree.map(lambda p, g: p - 3e-3 * g, variables["params"], gradient)
      return {"params": params, "batch_stats": stats}

    for key in jax.random.split(KEY, 60):
      variables = step(variables, key)
    losses.append(float(score(variables, batch)["loss"].mean()))
  assert losses[1] < 0.97 * losses[0]
