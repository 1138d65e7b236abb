"""Further training of a network on one observed cloud, at test time (device, jnp).

Tang et al., "SA-ConvONet: sign-agnostic optimization of convolutional occupancy
networks", ICCV 2021: a trained network says what is inside; the points of a new cloud
say where its surface is. So the network is trained further, encoder and decoder, until
its values are those of the surface at the points of the cloud, and are not elsewhere,
whatever their sign.

Shape letters: n input points, s points of the surface, t points of a step.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from occnet_jax import losses, ranges
from occnet_jax.config import GenerationSettings
from occnet_jax.types import Field, Key, Method, Variables

POINTS = 1024  # drawn from the surface, and as many from the cube, in each step
MAX_RATE = 1.0  # Adam then moves a parameter by about 1 a step
HALF = 0.55  # of the side of the padded cube


def finetune(
  method: Method,
  variables: Variables,
  inputs: Float[np.ndarray | Array, "1 n 3"],
  cloud: Float[np.ndarray, "s 3"],
  *,
  steps: int,
  learning_rate: float = 1e-4,
  seed: int = 0,
) -> Variables:
  """Variables of a network that was trained further on the cloud of one shape.

  Adam at a constant rate on `losses.sign_agnostic_cross_entropy`. Running statistics
  stay as they are. The given variables are not changed. Clouds whose sizes round up to
  the same power of two share one compiled program.

  Args:
    method: a system whose values are logits of occupancy, with clouds as inputs.
    variables: its trained variables.
    inputs: what the network encodes, in the cube's frame.
    cloud: points of the surface in the same frame, any number.
    steps: number of steps.
    learning_rate: of Adam, at most MAX_RATE.
    seed: seed of the points that the steps draw.

  Raises:
    ValueError: a system without values at points, or of windows; a number of steps or
      a learning rate out of range; points that are not finite, or no cloud.
  """
  _check_steps(method, steps, learning_rate)
  if np.ndim(cloud) != 2 or np.shape(cloud)[1] != 3:
    raise ValueError(f"a cloud of shape {np.shape(cloud)}; want (s, 3)")
  inputs = ranges.to_finite(inputs, np.float32, "inputs")
  cloud = ranges.to_finite(cloud, np.float32, "the cloud")
  if steps == 0:
    return variables
  if not len(cloud):
    raise ValueError("the cloud: 0 points, want at least 1; or set finetune_steps to 0")
  surface, count = _pad(cloud)
  params = _optimise(
    method,
    variables,
    jnp.asarray(inputs),
    surface,
    count,
    jax.random.key(seed),
    steps=steps,
    learning_rate=learning_rate,
  )
  return {**variables, "params": params}


def check(method: Method, generation: GenerationSettings) -> None:
  """Raises ValueError for settings with which a shape cannot be trained on its cloud.

  Args:
    method: the system.
    generation: settings, of which those of other names do not matter.
  """
  steps = generation.finetune_steps
  if steps != 0:
    _check_steps(method, steps, generation.finetune_learning_rate)
  if steps and generation.cell_size:
    raise ValueError(
      f"config.generation.finetune_steps is {steps} and cell_size is "
      f"{generation.cell_size}, but a network is trained on the cloud of one shape, "
      "not of a scene; set finetune_steps to 0 or cell_size to None"
    )


def _check_steps(method: Method, steps: int, learning_rate: float) -> None:
  """Raises ValueError for steps that are impossible, or impossible for the system."""
  if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
    raise ValueError(
      f"finetune_steps is {steps!r}; want a whole number: 0 for none, or more"
    )
  if not 0 < learning_rate <= MAX_RATE:
    raise ValueError(
      f"finetune_learning_rate is {learning_rate}; want more than 0 and at most "
      f"{MAX_RATE:g}, such as 1e-4"
    )
  if not isinstance(method.output, Field) or method.windows is not None:
    raise ValueError(
      f"finetune_steps is {steps}, but this system has no values at the points of a "
      "whole shape; want 0"
    )


def _pad(cloud: Float[np.ndarray, "s 3"]) -> tuple[Float[Array, "p 3"], int]:
  """The cloud with rows of zeros up to a power of two, and the number of its points."""
  rows = 1 << max(len(cloud) - 1, 0).bit_length()
  return jnp.asarray(np.pad(cloud, ((0, rows - len(cloud)), (0, 0)))), len(cloud)


@functools.partial(jax.jit, static_argnums=0, static_argnames="steps")
def _optimise(
  method: Method,
  variables: Variables,
  inputs: Float[Array, "1 n 3"],
  surface: Float[Array, "p 3"],
  count: Int[Array, ""] | int,
  key: Key,
  *,
  steps: int,
  learning_rate: float | Float[Array, ""],
) -> Variables:
  """The parameters after so many steps; `count` rows of the surface are points."""
  optimizer = optax.adam(learning_rate)

  def loss(params, key):
    of_surface, of_cube = jax.random.split(key)
    rows = jax.random.randint(of_surface, (POINTS,), 0, count)
    elsewhere = jax.random.uniform(of_cube, (POINTS, 3), minval=-HALF, maxval=HALF)
    points = jnp.concatenate([surface[rows], elsewhere])[None]
    now = {**variables, "params": params}
    values = method.decode(now, method.encode(now, inputs), points)[0]
    values -= method.output.level
    return losses.sign_agnostic_cross_entropy(values[:POINTS], values[POINTS:])

  def update(step, carry):
    params, state = carry
    gradient = jax.grad(loss)(params, jax.random.fold_in(key, step))
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state

  params = variables["params"]
  return jax.lax.fori_loop(0, steps, update, (params, optimizer.init(params)))[0]
