"""Fields of config.model act on the loss and the codes of DeepSDF."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.models import deepsdf as fields
from occnet_jax.models import registry

RNG = np.random.default_rng(0)
ARRAYS = {
  "inputs": np.array([2, 0], np.int32),
  "points": RNG.uniform(-0.5, 0.5, (2, 7, 3)).astype(np.float32),
  "distances": RNG.uniform(-0.5, 0.5, (2, 7)).astype(np.float32),
  "occupancies": np.zeros((2, 7), np.float32),
}
BATCH = {name: jnp.asarray(array) for name, array in ARRAYS.items()}
SMALL = {"codes": 3, "c_dim": 4, "hidden_sizes": (16, 16), "skip_layers": ()}


def make(**changed):
  model = fields.get_config().to_dict() | SMALL | {"dropout_rate": 0.0} | changed
  return registry.build(model)


@pytest.fixture(scope="module")
def variables():
  return make().init(jax.random.key(0), BATCH)


def loss_of(method, variables):
  value, (_, scalars) = method.loss(variables, BATCH, jax.random.key(1), True)
  return float(value), float(scalars["clamped_l1"])


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_length_of_the_codes_counts_by_its_weight(variables, weight):
  codes = np.asarray(variables["params"]["encoder"]["embedding"])[[2, 0]]
  lengths = np.linalg.norm(codes, axis=1)
  method = make(code_weight=weight, code_max_norm=100.0)
  value, error = loss_of(method, variables)
  np.testing.assert_allclose(value, error + weight * lengths.mean(), rtol=1e-5)


def test_codes_are_shortened_to_the_norm_of_the_config(variables):
  codes = make(code_max_norm=0.01).encode(variables, BATCH["inputs"])
  np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 0.01, rtol=1e-5)


def test_distances_beyond_the_clamp_of_the_config_do_not_count(variables):
  method = make(clamp=0.05)
  codes = method.encode(variables, BATCH["inputs"])
  decoded = -np.asarray(method.decode(variables, codes, BATCH["points"]))
  cut = [np.clip(x, -0.05, 0.05) for x in (decoded, ARRAYS["distances"])]
  _, error = loss_of(method, variables)
  np.testing.assert_allclose(error, np.abs(cut[0] - cut[1]).mean(), rtol=1e-5)


def test_codes_begin_with_the_deviation_of_the_config():
  model = make(codes=4000, c_dim=16, code_stddev=2.0)
  table = jax.jit(model.init)(jax.random.key(0), BATCH)["params"]["encoder"][
    "embedding"
  ]
  np.testing.assert_allclose(np.std(table), 2.0 / 16**0.5, rtol=0.02)


def test_a_share_of_features_is_dropped_in_training_alone(variables):
  kept, dropped = make(clamp=10.0), make(clamp=10.0, dropout_rate=0.5)
  assert loss_of(kept, variables)[1] != loss_of(dropped, variables)[1]
  scores = [method.score(variables, BATCH)["loss"] for method in (kept, dropped)]
  np.testing.assert_array_equal(*scores)
