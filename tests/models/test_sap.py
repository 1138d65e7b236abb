"""Shape As Points: published sizes, frames, and the effect of its settings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from configs import base, sap
from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.nn import poisson
from tests.helpers.compilations import compiled
from tests.helpers.variables import draw

pytestmark = pytest.mark.usefixtures("plain_convolutions")

PLANES = {"model.features": ("xz", "xy", "yz")}
SMALL = {
  "features": ("xz",),
  "plane_resolution": 8,
  "c_dim": 8,
  "encoder_hidden_size": 8,
  "unet_depth": 0,
  "hidden_size": 8,
  "offsets": 2,
  "poisson_resolution": 16,
}


def build(**fields):
  model = base.get_config("sap").to_dict()["model"] | SMALL | fields
  return compiled(registry.build(model))


@pytest.fixture(scope="module")
def batch():
  """Two balls with normals, seen from noisy points of them."""
  rng = np.random.default_rng(0)
  normals = rng.standard_normal((2, 400, 3))
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  surface = np.array([0.4, 0.3]).reshape(2, 1, 1) * normals
  points = rng.uniform(-0.55, 0.55, (2, 300, 3))
  inside = np.linalg.norm(points, axis=-1) < np.array([[0.4], [0.3]])
  arrays = {
    "inputs": surface[:, ::8] + 0.01 * rng.standard_normal((2, 50, 3)),
    "surface": surface,
    "normals": normals,
    "points": points,
    "occupancies": inside,
  }
  return {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def variables(batch):
  """Weights, all of which are in use."""
  fresh = draw(build().init, batch)
  leaves, tree = jax.tree.flatten(fresh)
  keys = jax.random.split(jax.random.key(1), len(leaves))
  drawn = [
    leaf + 0.1 * jax.random.normal(key, leaf.shape)
    for key, leaf in zip(keys, leaves, strict=True)
  ]
  return jax.tree.unflatten(tree, drawn)


@pytest.mark.parametrize(
  ("fields", "count"),
  [
    ({}, 1_085_272),
    ({"model.offsets": 1}, 1_085_272 - 6 * 99),
    (PLANES, 1_994_936),
  ],
)
def test_the_published_sizes_have_as_many_parameters(fields, count):
  config = sap.get_config()
  config.update_from_flattened_dict(fields)
  settings = config_lib.parse(config.to_dict())
  method = registry.build(settings.model)
  specs = registry.variable_specs(method, example_batch(settings.data))
  leaves = jax.tree.leaves(specs["params"])
  assert sum(math.prod(leaf.shape) for leaf in leaves) == count


def field_at(grid, points, box):
  """Trilinear interpolation of a periodic grid over a box about the origin."""
  positions = (np.asarray(points, np.float64) / box + 0.5) * len(grid)
  return ndimage.map_coordinates(grid, positions.T, order=1, mode="grid-wrap")


@pytest.mark.parametrize("box", [1.2, 1.5])
def test_queries_are_read_from_the_box_of_the_config(variables, batch, box):
  method = build(poisson_box=box)
  latent = method.encode(variables, batch["inputs"])
  values = method.decode(variables, latent, batch["points"])
  for shape in range(2):
    grid = np.asarray(latent["grid"][shape], np.float64)
    expected = field_at(grid, batch["points"][shape], box)
    np.testing.assert_allclose(values[shape], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("box", [1.2, 1.5])
def test_the_loss_compares_with_the_field_of_the_true_surface(variables, batch, box):
  method = build(poisson_box=box)
  value, (_, scalars) = method.loss(variables, batch, None, True)
  field = -np.asarray(method.encode(variables, batch["inputs"])["grid"])
  truth = jax.jit(poisson.indicator, static_argnums=(2, 3))(
    batch["surface"] / box + 0.5, batch["normals"], 16, 0.0
  )
  expected = np.square(np.tanh(field) - np.tanh(truth)).mean()
  np.testing.assert_allclose(value, expected, rtol=1e-4)
  scores = method.score(variables, batch)
  squares = np.square(field - truth).mean((1, 2, 3))
  np.testing.assert_allclose(scores["loss"], squares, rtol=1e-4)
  np.testing.assert_allclose(scores["iou"].mean(), scalars["iou"], rtol=1e-5)
  # The truth itself, in the frame and with the sign of queries, is the ball.
  for shape in range(2):
    values = -field_at(np.asarray(truth[shape]), batch["points"][shape], box)
    same = (values > 0) == (np.asarray(batch["occupancies"][shape]) > 0.5)
    assert same.mean() > 0.95


def test_offsets_move_points_by_their_scale(variables, batch):
  method, still = build(), build(offset_scale=0.0)
  fields = [m.encode(variables, batch["inputs"])["grid"] for m in (method, still)]
  assert not np.allclose(*fields, rtol=1e-5)
  offset = jax.tree.map(jnp.zeros_like, variables["params"]["decoder_offset"])
  params = {**variables["params"], "decoder_offset": offset}
  unmoved = method.encode({"params": params}, batch["inputs"])["grid"]
  np.testing.assert_allclose(unmoved, fields[1], rtol=1e-4, atol=1e-5)


def test_the_corner_is_outside_on_request_whichever_way_normals_point(variables, batch):
  decoder = variables["params"]["decoder_normal"]
  turned = decoder | {"fc_out": jax.tree.map(jnp.negative, decoder["fc_out"])}
  both = (variables["params"], variables["params"] | {"decoder_normal": turned})

  def corners(method):
    grids = [method.encode({"params": p}, batch["inputs"])["grid"] for p in both]
    return np.stack([grid[:, 0, 0, 0] for grid in grids])

  as_published = corners(build())
  np.testing.assert_allclose(as_published[0], -as_published[1], rtol=1e-4)
  np.testing.assert_allclose(corners(build(poisson_corner_outside=True)), -0.5, 1e-4)


def test_smoothing_and_sides_are_those_of_the_config(variables, batch):
  assert build(poisson_resolution=12).encode(variables, batch["inputs"])[
    "grid"
  ].shape == (2, 12, 12, 12)

  def roughness(sigma):
    grid = build(poisson_sigma=sigma).encode(variables, batch["inputs"])["grid"]
    return float(jnp.square(jnp.diff(grid, axis=1)).mean() / jnp.var(grid))

  assert roughness(4.0) < 0.8 * roughness(1.0)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"offsets": 0}, r"model\.offsets is 0; want at least 1"),
    ({"poisson_resolution": 0}, r"model\.poisson_resolution is 0; want at least 1"),
    ({"poisson_box": 1.1}, r"poisson_box is 1\.1; want more than 1\.1, the side of"),
    ({"pooling": "sum"}, r"pooling is 'sum'; want one of: max, mean"),
    ({"features": ()}, r"features is empty"),
  ],
)
def test_settings_out_of_range_are_one_sentence(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_what_it_lacks_is_one_sentence(variables, batch):
  with pytest.raises(ValueError, match=r"remat is set, but sap.*; unset it"):
    registry.build(base.get_config("sap").to_dict()["model"], remat=True)
  with pytest.raises(ValueError, match=r"sap\.py:abc: unknown; want one of: noise_sm"):
    sap.get_config("abc")
  without = {name: array for name, array in batch.items() if name != "surface"}
  with pytest.raises(ValueError, match=r"data\.targets lacks 'surface'"):
    build().loss(variables, without, None, True)
