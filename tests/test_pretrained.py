"""A model that was saved and loaded is the same model, up to rounded weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import occnet_jax
from occnet_jax import config as config_lib
from occnet_jax.interop import weights
from occnet_jax.models import registry
from tests.helpers.compilations import count_compilations
from tests.helpers.pretrained import make_cloud, make_config, make_model

CLOUD = make_cloud()
HALF_SPACING = 2.0**-11  # largest relative error of rounding to float16
SUBNORMAL = 2.0**-25  # largest absolute error below 2^-14


@pytest.fixture(scope="module")
def model():
  return make_model()


def test_in_float32_a_mesh_is_the_same(model, tmp_path):
  model.save_pretrained(tmp_path, dtype="float32")
  again = occnet_jax.from_pretrained(tmp_path)
  mesh, copy = model.reconstruct(CLOUD), again.reconstruct(CLOUD)
  assert len(mesh.faces) > 50
  np.testing.assert_array_equal(mesh.vertices, copy.vertices)
  np.testing.assert_array_equal(mesh.faces, copy.faces)
  assert again.level == model.level and again.record == model.record


def test_in_float16_the_field_changes_by_the_rounding_of_weights_alone(model, tmp_path):
  """By Taylor's theorem: at most sum |df/dw| |dw|, dw a rounding error each.

  The second term of the series is some thousandths of the first.
  """
  model.save_pretrained(tmp_path)
  again = occnet_jax.from_pretrained(tmp_path)
  points = jnp.float32(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 64, 3)))
  cloud = jnp.float32(CLOUD[None])

  def field(variables):
    latent = model.method.encode(variables, cloud)
    return model.method.decode(variables, latent, points)[0]

  change = np.abs(field(again.variables) - field(model.variables))
  slopes = jax.tree.leaves(jax.jacrev(field)(model.variables))
  bound = np.zeros(64)
  for slope, weight in zip(slopes, jax.tree.leaves(model.variables), strict=True):
    error = np.maximum(HALF_SPACING * np.abs(weight), SUBNORMAL)
    bound += (np.abs(slope) * error).reshape(64, -1).sum(1)
  assert (change > 0).any() and (change <= 1.05 * bound).all()
  # Roundings are independent and uniform, so they rarely add up to the bound.
  assert change.max() < 0.2 * bound.max()


def test_saving_again_changes_no_number(model, tmp_path):
  model.save_pretrained(tmp_path / "a")
  occnet_jax.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
  a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
  assert a == b


def test_a_run_becomes_a_model_of_its_best_checkpoint(tiny_run, tmp_path):
  run = occnet_jax.restore(tiny_run)
  run.save_pretrained(tmp_path, dtype="float32")
  model = occnet_jax.from_pretrained(tmp_path)
  assert model.record == run.record
  assert model.settings == config_lib.parse(weights.shareable(run.config))
  assert model.method.decode is run.method.decode  # nothing is compiled twice
  jax.tree.map(np.testing.assert_array_equal, model.variables, run.variables)


def test_the_copy_on_the_device_of_the_model_compiles_nothing_again(model):
  first, second = model.replicas()
  latent = model.encode(CLOUD[None])
  with count_compilations() as compiled:
    again = first.encode(CLOUD[None])
  assert compiled == []
  jax.tree.map(np.testing.assert_array_equal, latent, again)
  (leaf, *_) = jax.tree.leaves(second.encode(CLOUD[None]))
  assert leaf.devices() == {jax.local_devices()[1]}


def test_fields_in_another_order_are_the_same_functions():
  fields = dict(make_config()["model"])
  other = dict(reversed(fields.items()))
  assert list(other) != list(fields)
  assert registry.build(other).decode is registry.build(fields).decode
