"""Rates and updates of the optimisers, against their formulas."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from occnet_jax.config import OptimSettings
from occnet_jax.train import optimizers

OPTIM = OptimSettings(
  name="sgd",
  learning_rate=0.5,
  code_rate=1.0,
  schedule="constant",
  halve_every=0,
  warmup_steps=0,
  clip_norm=0.0,
  weight_decay=0.0,
  ema_decay=0.0,
  ema_batches=0,
)
PARAMS = {"w": jnp.zeros(2)}


def rates(steps, **changed):
  """The learning rate of every step: sgd's first update is -rate * gradient."""
  optimizer = optimizers.make(OPTIM._replace(**changed), steps)
  rates, momentum, last = [], optimizer.init(PARAMS), 0.0
  for _ in range(steps):
    updates, momentum = optimizer.update({"w": jnp.ones(2)}, momentum, PARAMS)
    last = 1 + 0.9 * last  # momentum of a gradient of ones
    rates.append(-float(updates["w"][0]) / last)
  return np.array(rates)


def test_the_constant_schedule_keeps_its_rate():
  np.testing.assert_allclose(rates(20), 0.5, rtol=1e-5)


def test_warm_up_rises_linearly_from_zero_to_the_peak():
  np.testing.assert_allclose(
    rates(20, warmup_steps=8), [0.5 * min(s / 8, 1) for s in range(20)], atol=1e-6
  )


@pytest.mark.parametrize("warmup", [0, 10])
def test_the_cosine_schedule_falls_from_the_peak_to_zero(warmup):
  decay = [
    0.5 * (1 + math.cos(math.pi * s / (50 - warmup))) for s in range(50 - warmup)
  ]
  rise = [s / warmup for s in range(warmup)]
  actual = rates(50, schedule="cosine", warmup_steps=warmup)
  np.testing.assert_allclose(actual, 0.5 * np.array(rise + decay), atol=1e-6)


def test_the_wsd_schedule_warms_up_stays_and_falls_in_its_last_fifth():
  rise, stay = [s / 10 for s in range(10)], [1.0] * 40
  fall = [1 - s / 10 for s in range(10)]
  actual = rates(60, schedule="wsd", warmup_steps=10)
  np.testing.assert_allclose(actual, 0.5 * np.array(rise + stay + fall), atol=1e-6)


def test_the_halve_schedule_halves_the_rate_at_every_interval():
  actual = rates(20, schedule="halve", halve_every=6)
  halved = [0.5 * 0.5 ** (s // 6) for s in range(20)]
  np.testing.assert_allclose(actual, halved, rtol=1e-5)


def test_the_rate_of_codes_is_their_own():
  params = {"encoder": {"embedding": jnp.zeros(2), "bias": jnp.zeros(2)}}
  gradients = {"encoder": {"embedding": jnp.ones(2), "bias": jnp.ones(2)}}
  optimizer = optimizers.make(OPTIM._replace(code_rate=3.0), 10)
  updates, _ = optimizer.update(gradients, optimizer.init(params), params)
  np.testing.assert_allclose(updates["encoder"]["embedding"], -1.5)
  np.testing.assert_allclose(updates["encoder"]["bias"], -0.5)


def test_large_gradients_are_clipped_to_the_norm_and_small_ones_left():
  optimizer = optimizers.make(OPTIM._replace(clip_norm=2.0), 10)
  for gradient, clipped in (([30.0, 40.0], [1.2, 1.6]), ([0.3, 0.4], [0.3, 0.4])):
    gradients = {"w": jnp.array(gradient)}
    updates, _ = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * np.array(clipped), rtol=1e-6)


def test_without_a_norm_no_gradient_is_clipped():
  optimizer = optimizers.make(OPTIM, 10)
  updates, _ = optimizer.update(
    {"w": jnp.array([3e4, 4e4])}, optimizer.init(PARAMS), PARAMS
  )
  np.testing.assert_allclose(updates["w"], [-1.5e4, -2e4])


def test_a_negative_norm_is_an_error():
  with pytest.raises(ValueError, match=r"clip_norm is -1.0; want .* or 0 for no"):
    optimizers.make(OPTIM._replace(clip_norm=-1.0), 10)


def test_weight_decay_is_adamw_s_and_an_error_elsewhere():
  optim = OPTIM._replace(name="adamw", weight_decay=0.1)
  params = {"w": jnp.array([2.0, -4.0])}
  optimizer = optimizers.make(optim, 10)
  updates, _ = optimizer.update({"w": jnp.zeros(2)}, optimizer.init(params), params)
  np.testing.assert_allclose(updates["w"], -0.5 * 0.1 * params["w"], rtol=1e-6)
  with pytest.raises(ValueError, match=r"set config\.optim\.name to adamw"):
    optimizers.make(optim._replace(name="adam"), 10)


@pytest.mark.parametrize("name", sorted(optimizers.OPTIMIZERS))
def test_every_optimiser_comes_down_a_bowl(name):
  optim = OPTIM._replace(name=name, learning_rate=0.02)
  optimizer = optimizers.make(optim, 50)
  params = {"w": jnp.array([[2.0, -1.0], [0.5, 3.0]])}
  state, before = optimizer.init(params), float((params["w"] ** 2).sum())
  for _ in range(50):
    updates, state = optimizer.update({"w": 2 * params["w"]}, state, params)
    params = optax.apply_updates(params, updates)
  assert float((params["w"] ** 2).sum()) < 0.8 * before


def test_muon_of_convolutions_takes_a_kernel_for_the_matrix_of_a_window():
  gradient = np.random.default_rng(0).standard_normal((3, 3, 4, 6)).astype(np.float32)
  updates = []
  for shape in ((3, 3, 4, 6), (36, 6)):
    params = {"w": jnp.zeros(shape)}
    optimizer = optimizers.make(OPTIM._replace(name="muon_conv"), 10)
    grads = {"w": jnp.asarray(gradient.reshape(shape))}
    updates.append(optimizer.update(grads, optimizer.init(params), params)[0]["w"])
  kernel, matrix = np.asarray(updates[0]).reshape(36, 6), np.asarray(updates[1])
  np.testing.assert_allclose(kernel, matrix, atol=1e-6)
  # Orthogonal but for a factor: Newton-Schulz leaves singular values alike.
  singular = np.linalg.svd(kernel, compute_uv=False)
  assert singular.max() < 2 * singular.min()
  bias = {"b": jnp.zeros(3)}
  optimizer = optimizers.make(OPTIM._replace(name="muon_conv"), 10)
  step, _ = optimizer.update({"b": jnp.ones(3)}, optimizer.init(bias), bias)
  adam, _ = optax.adam(0.5).update({"b": jnp.ones(3)}, optax.adam(0.5).init(bias))
  np.testing.assert_allclose(step["b"], adam["b"], rtol=0.5)  # with Nesterov's momentum
