"""Encodings of points against recordings, loops and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from occnet_jax.nn.feature_grids import FeatureGrids
from occnet_jax.nn.hash_grid import HashGrid, interpolate_level, make_levels
from occnet_jax.nn.positional import RandomFourierFeatures, random_fourier_features
from tests.helpers import parity

POINTS = jnp.asarray(np.random.default_rng(0).random((2, 40, 3)), jnp.float32)


def size_of(module):
  variables = jax.eval_shape(module.init, jax.random.key(0), POINTS)
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
  ("given", "wanted", "tolerance"),
  # Phases of 63 periods, which float32 resolves to 2e-5.
  [("b", "out0", 1e-5), ("b_posenc", "posenc", 5e-5)],
)
def test_random_fourier_features_are_those_of_the_published_code(
  given, wanted, tolerance
):
  arrays, recorded = (parity.load("formula_fourier", p) for p in ("in/", "eval/"))
  features = random_fourier_features(
    jnp.asarray(arrays["x"][None]), jnp.asarray(arrays[given])
  )
  np.testing.assert_allclose(features[0], recorded[wanted], atol=tolerance)


def test_frequencies_have_their_deviation_and_no_gradient():
  net = RandomFourierFeatures(2000, 12.0)
  variables = jax.jit(net.init)(jax.random.key(0), POINTS)
  assert "params" not in variables
  np.testing.assert_allclose(
    np.std(variables["batch_stats"]["frequencies"]), 12, rtol=0.03
  )
  features = net.apply(variables, POINTS)
  np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, rtol=1e-5)


def test_the_hash_grid_is_the_published_formula():
  arrays = parity.load("formula_hashgrid", "in/")
  levels = make_levels(5, base_resolution=4, growth=1.7, max_entries=512)
  sizes = [(level.resolution, level.entries) for level in levels]
  np.testing.assert_array_equal(sizes, arrays["sizes"])
  assert [level.is_hashed for level in levels] == [False, False, True, True, True]
  features = [
    interpolate_level(
      jnp.asarray(arrays[f"table_{i}"]), jnp.asarray(arrays["x"][None]), level
    )
    for i, level in enumerate(levels)
  ]
  recorded = parity.load("formula_hashgrid", "eval/")["out0"]
  np.testing.assert_allclose(np.concatenate(features, -1)[0], recorded, atol=2e-5)


def test_the_gradient_by_a_table_adds_up_the_weights_of_its_nodes():
  """Python's integers do not wrap, so the hash is checked without uint32, too."""
  level = make_levels(1, base_resolution=30, growth=1.0, max_entries=64)[0]
  assert level.is_hashed
  table = jnp.zeros((level.entries, 1))
  gradient = jax.grad(lambda t: interpolate_level(t, POINTS, level).sum())(table)
  expected = np.zeros(level.entries)
  for point in np.asarray(POINTS, np.float64).reshape(-1, 3):
    position = point * 29 + 0.5
    lower = np.floor(position).astype(int)
    for corner in itertools.product((0, 1), repeat=3):
      x, y, z = (int(a) for a in lower + corner)
      row = (x ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)) % 64
      fraction = position - lower
      expected[row] += np.where(corner, fraction, 1 - fraction).prod()
  np.testing.assert_allclose(gradient[:, 0], expected, atol=1e-3)


def test_points_outside_have_the_features_of_the_border():
  net = HashGrid(levels=3, base_resolution=4, finest_resolution=32, max_entries=256)
  outside = POINTS * 3 - 1
  variables = jax.jit(net.init)(jax.random.key(0), POINTS)
  np.testing.assert_array_equal(
    net.apply(variables, outside), net.apply(variables, outside.clip(0, 1))
  )


def test_a_hash_grid_of_the_published_size_has_12_million_parameters():
  assert size_of(HashGrid()) / 1e6 == pytest.approx(12.2, abs=0.05)


def test_each_prefix_of_the_grids_adds_one_level_of_scipys_interpolation():
  net = FeatureGrids(levels=3, base=2, features=4)
  variables = jax.jit(net.init)(jax.random.key(0), POINTS)
  encodings = net.apply(variables, POINTS)
  total = 0.0
  for level, encoding in enumerate(encodings):
    grid = np.asarray(variables["params"][f"grid_{level}"][0])
    np.testing.assert_allclose(grid.std(), 0.01, rtol=0.2)
    side = 2 ** (2 + level) + 1
    assert grid.shape == (side, side, side, 4)
    positions = np.asarray(POINTS).reshape(-1, 3).T * (side - 1)
    features = [
      ndimage.map_coordinates(grid[..., k], positions, order=1) for k in (0, 3)
    ]
    total = total + np.stack(features, -1).reshape(2, 40, 2)
    np.testing.assert_allclose(encoding[..., [3, 6]], total, atol=1e-6)
    np.testing.assert_allclose(encoding[..., :3], 2 * POINTS - 1, atol=1e-6)


def test_grids_of_the_published_size_have_32_features_a_node():
  nodes = sum((2**i + 1) ** 3 for i in range(2, 7))
  assert size_of(FeatureGrids()) == 32 * nodes
