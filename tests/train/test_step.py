import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from occnet_jax.models import registry
from occnet_jax.train import optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train import step as step_lib
from tests.helpers.training import MODEL, assert_close, make_batch, make_run


@pytest.mark.parametrize(("scaling", "factor"), [("linear", 4), ("root", 2)])
def test_a_larger_batch_has_a_larger_rate(scaling, factor):
  optim = base.get_config().to_dict()["optim"] | {"name": "sgd"}
  optimizer = optimizers.optimizer(
    optim | {"batch_scaling": scaling}, 9, batch_size=256
  )
  update, _ = optimizer.update(jnp.ones(()), optimizer.init(jnp.ones(())))
  assert update == pytest.approx(-factor * optim["learning_rate"])


def test_two_devices_compute_what_one_does():
  assert jax.local_device_count() == 2
  method, optimizer, state = make_run()
  alone = jax.jit(step_lib.make_step(method, optimizer))
  both = registry.build(MODEL, tau=0.5, axis_name=step_lib.AXIS)
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
  both = registry.build(MODEL, tau=0.5, axis_name=step_lib.AXIS)
  stats = []
  for each in (method, both):
    step = step_lib.data_parallel(step_lib.make_step(each, optimizer))
    new, _ = step(step_lib.replicate(jax.device_get(state)), batch, 0, None)
    stats.append(np.asarray(new.batch_stats["decoder"]["bn"]["bn"]["var"]))
  assert np.abs(stats[0] - stats[1]).max() > 1e-7


def test_the_mapped_step_compiles_once():
  _, optimizer, state = make_run()
  both = registry.build(MODEL, tau=0.5, axis_name=step_lib.AXIS)
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
  method, optimizer, state = make_run(ema=True)
  step = step_lib.make_step(method, optimizer, ema_decay=0.9)
  new, _ = jax.jit(step)(state, make_batch(0), 0)
  now = {"params": new.params, "batch_stats": new.batch_stats}
  wanted = jax.tree.map(lambda old, x: 0.9 * old + 0.1 * x, state.ema, now)
  assert_close(new.ema, wanted, rtol=1e-5, atol=1e-6)
  assert new.variables is new.ema


def test_training_lowers_the_loss_of_a_batch():
  method, optimizer, state = make_run(optax.adam(3e-3))
  step = jax.jit(step_lib.make_step(method, optimizer))
  losses = []
  for number in range(60):
    state, scalars = step(state, make_batch(0), number)
    losses.append(float(scalars["loss"]))
  assert losses[-1] < 0.5 * losses[0]


def test_devices_that_do_not_divide_the_batch_are_an_error():
  with pytest.raises(ValueError, match=r"batch of 4 shapes on 3 devices"):
    step_lib.split_over_devices(make_batch(0), 3)


def test_several_steps_in_one_call_are_those_steps():
  _, optimizer, state = make_run(optax.adam(1e-3), ema=True)
  both = registry.build(MODEL, tau=0.5, axis_name=step_lib.AXIS)
  step = step_lib.make_step(both, optimizer, ema_decay=0.9)
  batches = [step_lib.split_over_devices(make_batch(seed), 2) for seed in range(3)]
  single, scanned = (step_lib.replicate(jax.device_get(state)) for _ in range(2))
  losses, one = [], step_lib.data_parallel(step)
  for number, batch in enumerate(batches):
    single, scalars = one(single, batch, number, None)
    losses.append(scalars["loss"])
  together = jax.tree.map(lambda *each: np.stack(each, axis=1), *batches)
  scanned, scalars = step_lib.data_parallel(step, steps=3)(scanned, together, 0, None)
  np.testing.assert_allclose(scalars["loss"], losses, rtol=1e-5)
  assert_close(single, scanned, rtol=1e-3, atol=1e-4)


def test_accumulated_gradients_are_the_whole_batch_s_where_no_norm_mixes_shapes():
  model = MODEL | {"decoder": "simple"}
  method = registry.build(model, tau=0.5)
  state = state_lib.create(method, optax.sgd(1e-3), make_batch(0), seed=0, ema=False)
  state = state.replace(params=jax.tree.map(lambda a: a + 0.01, state.params))
  found = [
    jax.jit(step_lib.make_step(method, optax.sgd(1e-3), accumulate=parts))(
      state, make_batch(1), 0
    )
    for parts in (1, 2, 4)
  ]
  for new, scalars in found[1:]:
    assert_close(found[0][0].params, new.params, rtol=1e-5, atol=1e-6)
    assert_close(found[0][1], scalars, rtol=1e-5)


def test_accumulation_hands_the_statistics_of_batch_norm_from_part_to_part():
  method, optimizer, state = make_run(optax.sgd(0.0))
  step = jax.jit(step_lib.make_step(method, optimizer, accumulate=2))
  new, _ = step(state, make_batch(0), 0)
  one = jax.jit(step_lib.make_step(method, optimizer))
  for half in (slice(0, 2), slice(2, 4)):
    part = {name: array[half] for name, array in make_batch(0).items()}
    state, _ = one(state, part, int(state.step))
  assert_close(state.batch_stats, new.batch_stats, rtol=1e-5, atol=1e-6)


def test_parts_that_do_not_divide_the_batch_are_an_error():
  method, optimizer, state = make_run()
  with pytest.raises(ValueError, match=r"4 shapes on a device in 3 parts"):
    step_lib.make_step(method, optimizer, accumulate=3)(state, make_batch(0), 0)


def poisoned(seed):
  return {**make_batch(seed), "points": np.full((4, 32, 3), np.nan, np.float32)}


def test_a_step_that_is_not_finite_leaves_the_state_as_it_was_before():
  method, optimizer, state = make_run(optax.adam(1e-3), ema=True)
  step = jax.jit(step_lib.make_step(method, optimizer, ema_decay=0.9))
  state, _ = step(state, make_batch(0), 0)
  before = jax.device_get(state)
  state, scalars = step(state, poisoned(1), 1)
  assert np.isnan(scalars["loss"])
  for number in (2, 3):  # nobody has looked yet
    state, _ = step(state, make_batch(number), number)
  assert_close(before, state, rtol=0, atol=0)


def test_a_step_that_is_not_finite_can_be_skipped_and_is_counted():
  method, optimizer, state = make_run(optax.adam(1e-3), ema=True)
  step = jax.jit(
    step_lib.make_step(method, optimizer, ema_decay=0.9, skip_nonfinite=True)
  )
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
