import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.models import registry
from occnet_jax.train import optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from tests.helpers.training import MODEL, assert_close, make_batch, make_run

OPTIM = config_lib.OptimSettings(**base.get_config().to_dict()["optim"])
ADAM, DECAY = optax.adam(3e-3), 0.9


def step_on_all_devices():
  """A step whose statistics and gradients are those of all devices."""
  method = registry.build(MODEL, axis_name=step_lib.AXIS)
  return step_lib.make_step(method, ADAM, ema_decay=DECAY)


@functools.cache  # compiled once for all tests here
def mapped_step():
  return step_lib.data_parallel(step_on_all_devices())


@functools.cache
def step_alone():
  return jax.jit(step_lib.make_step(registry.build(MODEL), ADAM, ema_decay=DECAY))


def test_rows_of_a_code_table_have_a_rate_of_their_own():
  optimizer = optimizers.make(OPTIM._replace(name="sgd", code_rate=3.0), 9)
  params = {"encoder": {"embedding": jnp.ones(2)}, "decoder": {"kernel": jnp.ones(2)}}
  update, _ = optimizer.update(params, optimizer.init(params), params)
  rate = OPTIM.learning_rate
  np.testing.assert_allclose(update["encoder"]["embedding"], -3 * rate, rtol=1e-6)
  np.testing.assert_allclose(update["decoder"]["kernel"], -rate, rtol=1e-6)


def test_halvings_are_a_schedule_of_their_own():
  optim = OPTIM._replace(name="sgd", schedule="halve", halve_every=2)
  schedule = optimizers.SCHEDULES["halve"](optim, 9)
  factors = [float(schedule(step)) / OPTIM.learning_rate for step in range(5)]
  np.testing.assert_allclose(factors, [1, 1, 0.5, 0.5, 0.25])
  with pytest.raises(ValueError, match=r"halve_every is 2 with schedule 'constant'"):
    optimizers.make(optim._replace(schedule="constant"), 9)


def test_two_devices_compute_what_one_does():
  assert jax.local_device_count() == 2
  method, optimizer, state = make_run()
  alone = jax.jit(step_lib.make_step(method, optimizer))
  both = registry.build(MODEL, axis_name=step_lib.AXIS)
  mapped = step_lib.data_parallel(step_lib.make_step(both, optimizer))
  together = step_lib.replicate(jax.device_get(state))
  for step_number in range(3):
    batch = make_batch(step_number)
    state, scalars = alone(state, batch, step_number)
    together, scalars_2 = mapped(
      together, step_lib.split_over_devices(batch, 2), step_number, None
    )
    assert_close(scalars, scalars_2, rtol=1e-4, atol=1e-4)
  for name in ("params", "batch_stats"):
    assert_close(getattr(state, name), getattr(together, name), rtol=1e-4, atol=1e-5)
  assert int(together.step) == 3


def test_statistics_are_those_of_all_devices_only_if_the_axis_is_named():
  method, optimizer, state = make_run()
  batch = step_lib.split_over_devices(make_batch(0), 2)
  both = registry.build(MODEL, axis_name=step_lib.AXIS)
  stats = []
  for each in (method, both):
    step = step_lib.data_parallel(step_lib.make_step(each, optimizer))
    new, _ = step(step_lib.replicate(jax.device_get(state)), batch, 0, None)
    stats.append(np.asarray(new.batch_stats["decoder"]["bn_5"]["bn"]["var"]))
  assert np.abs(stats[0] - stats[1]).max() > 1e-7


def test_every_device_draws_a_z_of_its_own():
  model = MODEL | {"z_dim": 4, "latent_hidden_size": 8}
  method = registry.build(model)
  batch = jax.tree.map(lambda x: np.concatenate([x, x]), make_batch(0, b=2))
  state = state_lib.create(method, optax.sgd(0.0), batch, seed=0, ema=False)
  mapped = step_lib.data_parallel(step_lib.make_step(method, optax.sgd(0.0)))
  split = step_lib.split_over_devices(batch, 2)  # both devices have the same shapes
  kept = jax.device_get(state)
  _, scalars = mapped(step_lib.replicate(state), split, np.int32(0), None)
  variables = jax.device_put({"params": kept.params, "batch_stats": kept.batch_stats})
  half = jax.tree.map(lambda x: jnp.asarray(x[:2]), batch)
  key = jax.random.fold_in(kept.key, 0)
  loss = jax.jit(lambda key: method.loss(variables, half, key, True)[0])
  losses = [float(loss(jax.random.fold_in(key, device))) for device in (0, 1)]
  assert abs(losses[0] - losses[1]) > 1e-4
  np.testing.assert_allclose(scalars["loss"], np.mean(losses), rtol=1e-5)


def test_the_mapped_step_compiles_once():
  _, optimizer, state = make_run()
  both = registry.build(MODEL, axis_name=step_lib.AXIS)
  traces = []

  def counted(variables, batch, key, train):
    traces.append(1)
    return both.loss(variables, batch, key, train)

  step = step_lib.data_parallel(
    step_lib.make_step(both._replace(loss=counted), optimizer)
  )
  state = step_lib.replicate(state)
  for seed in range(3):
    batch = step_lib.split_over_devices(make_batch(seed), 2)
    state, _ = step(state, batch, seed, None)
  assert len(traces) == 1


def test_the_average_of_variables_follows_its_formula():
  _, _, state = make_run(ADAM, ema=True)
  new, _ = step_alone()(state, make_batch(0), 0)
  now = {"params": new.params, "batch_stats": new.batch_stats}
  wanted = jax.tree.map(
    lambda old, x: 0.9 * np.asarray(old) + 0.1 * np.asarray(x), state.ema, now
  )
  assert_close(new.ema, wanted, rtol=1e-5, atol=1e-6)
  assert new.variables is new.ema


def test_training_lowers_the_loss_of_a_batch():
  _, _, state = make_run(ADAM, ema=True)
  losses = []
  for number in range(60):
    state, scalars = step_alone()(state, make_batch(0), number)
    losses.append(float(scalars["loss"]))
  assert losses[-1] < 0.5 * losses[0]


def test_devices_that_do_not_divide_the_batch_are_an_error():
  with pytest.raises(ValueError, match=r"batch of 4 shapes on 3 devices"):
    step_lib.split_over_devices(make_batch(0), 3)


def test_several_steps_in_one_call_are_those_steps():
  _, _, state = make_run(ADAM, ema=True)
  batches = [step_lib.split_over_devices(make_batch(seed), 2) for seed in range(3)]
  single, scanned = (step_lib.replicate(jax.device_get(state)) for _ in range(2))
  losses = []
  for number, batch in enumerate(batches):
    single, scalars = mapped_step()(single, batch, np.int32(number), None)
    losses.append(scalars["loss"])
  together = jax.tree.map(lambda *each: np.stack(each, axis=1), *batches)
  several = step_lib.data_parallel(step_on_all_devices(), steps=3)
  scanned, scalars = several(scanned, together, 0, None)
  np.testing.assert_allclose(scalars["loss"], losses, rtol=1e-5)
  assert_close(single, scanned, rtol=1e-3, atol=1e-4)


def test_shard_map_takes_the_very_same_steps_as_pmap():
  """The twin that data_parallel can become when pmap goes."""
  _, _, state = make_run(ADAM, ema=True)
  axis = jax.sharding.PartitionSpec(step_lib.AXIS)
  whole = jax.sharding.PartitionSpec()
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (step_lib.AXIS,))
  twin = jax.jit(
    jax.shard_map(
      functools.partial(step_on_all_devices(), axis=step_lib.AXIS),
      mesh=mesh,
      in_specs=(whole, axis, whole),
      out_specs=(whole, whole),
      check_vma=False,
    )
  )
  states = [step_lib.replicate(jax.device_get(state)) for _ in range(2)]
  for number in range(3):
    batch = make_batch(number)
    split = step_lib.split_over_devices(batch, 2)
    states[0], scalars = mapped_step()(states[0], split, np.int32(number), None)
    states[1], others = twin(states[1], batch, np.int32(number))
    assert_close(scalars, others, rtol=0, atol=0)
  assert_close(*states, rtol=0, atol=0)


def poisoned(seed):
  return {**make_batch(seed), "points": np.full((4, 32, 3), np.nan, np.float32)}


def test_a_step_that_is_not_finite_leaves_the_state_as_it_was_before():
  _, _, state = make_run(ADAM, ema=True)
  step = step_alone()
  state, _ = step(state, make_batch(0), 0)
  before = jax.device_get(state)
  state, scalars = step(state, poisoned(1), 1)
  assert np.isnan(scalars["loss"])
  for number in (2, 3):  # nobody has looked yet
    state, _ = step(state, make_batch(number), number)
  assert_close(before, state, rtol=0, atol=0)


def test_a_step_that_is_not_finite_can_be_skipped_and_is_counted():
  method, _, state = make_run(ADAM, ema=True)
  step = jax.jit(step_lib.make_step(method, ADAM, ema_decay=DECAY, skip_nonfinite=True))
  before = jax.device_get(state)
  state, scalars = step(state, poisoned(0), 0)
  assert scalars["skipped"] == 1
  assert int(state.step) == 1
  assert_close(before.replace(step=1), state, rtol=0, atol=0)
  state, scalars = step(state, make_batch(1), 1)
  assert scalars["skipped"] == 0
  assert np.isfinite(scalars["loss"])
  assert (
    np.abs(
      state.params["decoder"]["fc_p"]["kernel"]
      - before.params["decoder"]["fc_p"]["kernel"]
    ).max()
    > 0
  )
