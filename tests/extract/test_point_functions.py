"""Functions of one point under vmap are the batched ones: same bits, same work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from occnet_jax.extract.batch.shared_field import jit_many
from occnet_jax.extract.field import _gradients, _values, decoder_field
from occnet_jax.models import registry
from tests.helpers.variables import draw

RNG = np.random.default_rng(0)
COUNT = 2**11  # a batch on a CPU


@pytest.fixture(scope="module")
def network():
  """The reference's decoder with random weights: decode, variables, latent."""
  config = base.get_config().to_dict()["model"]
  config |= {"encoder_hidden_size": 16, "c_dim": 512, "hidden_size": 256}
  method = registry.build({**config, "decoder": "cbatchnorm"})
  inputs = RNG.uniform(-0.5, 0.5, (1, 40, 3)).astype(np.float32)
  points = np.zeros((1, 1, 3), np.float32)
  batch = {"points": points, "inputs": inputs, "occupancies": points[..., 0]}
  variables = draw(method.init, batch)
  return method.decode, variables, jax.jit(method.encode)(variables, inputs)


@pytest.fixture(scope="module")
def points():
  return RNG.uniform(-0.55, 0.55, (COUNT, 3)).astype(np.float32)


def batched_values(decode, variables, latent, points):
  return decode(variables, latent, points[None])[0]


def batched_gradients(decode, variables, latent, points):
  return jax.grad(lambda p: batched_values(decode, variables, latent, p).sum())(points)


def pointwise(kernel):
  def evaluate(decode, variables, latent, points):
    return kernel(lambda p: decode(variables, latent, p[None, None])[0, 0], points)

  return evaluate


def count_flops(lowered):
  """Operations of a function, of its compiled program where XLA counts those alone."""
  return (lowered.cost_analysis() or lowered.compile().cost_analysis())["flops"]


def assert_no_more_work(flops, batched_flops, *, sums):
  """The batched gradient also adds the values up, by which it is a little more."""
  assert flops > 1e8
  assert flops <= batched_flops <= flops * (1.001 if sums else 1)


KERNELS = [(_values, batched_values), (_gradients, batched_gradients)]


@pytest.mark.parametrize("kernel, batched", KERNELS)
def test_a_decoder_by_points_has_the_bits_and_the_work_of_one_by_batches(
  kernel, batched, network, points
):
  decode, *arrays = network
  results, flops = [], []
  for function in (pointwise(kernel), batched):
    lowered = jax.jit(function, static_argnums=0).lower(decode, *arrays, points)
    results.append(lowered.compile()(*arrays, points))
    flops.append(count_flops(lowered))
  assert np.ptp(results[1]) > 0.1
  np.testing.assert_array_equal(*results)
  assert_no_more_work(*flops, sums=kernel is _gradients)


def test_the_field_of_a_decoder_has_the_batched_values_and_gradients(network, points):
  field = decoder_field(*network, COUNT)
  for found, batched in (
    (field.values(points), batched_values),
    (field.gradients(points), batched_gradients),
  ):
    want = jax.jit(batched, static_argnums=0)(*network, points)
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("kernel, batched", KERNELS)
def test_many_shapes_in_one_call_have_the_batched_values_and_work(
  kernel, batched, network, points
):
  decode, variables, latent = network
  latents = jax.tree.map(lambda x: jnp.concatenate([x, 0.5 * x]), latent)

  def many(variables, latents, points):
    rows = jax.tree.map(lambda x: x[:, None], latents)
    return jax.vmap(lambda row, p: batched(decode, variables, row, p))(rows, points)

  both = np.stack([points[:64], points[64:128]])
  results, flops = [], []
  for function in (jit_many(decode, kernel), jax.jit(many)):
    lowered = function.lower(variables, latents, both)
    results.append(lowered.compile()(variables, latents, both))
    flops.append(count_flops(lowered))
  np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
  assert_no_more_work(*flops, sums=kernel is _gradients)
