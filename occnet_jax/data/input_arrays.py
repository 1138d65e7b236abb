"""Inputs of networks as arrays of the right shape and type (host, numpy).

Kinds are those of config.data.inputs; a `spec` is that of `inputs.Observation`.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from occnet_jax import ranges


def batch_of_one(inputs: Any) -> Any:
  """The inputs of one shape with a leading axis of 1."""
  return jax.tree.map(lambda array: array[None], inputs)


def as_batch(
  inputs: Any,
  kind: str,
  spec: Shaped[np.ndarray, "..."] | dict[str, np.ndarray],
  *,
  normals: bool = False,
) -> Shaped[np.ndarray, "b ..."] | dict[str, np.ndarray]:
  """Inputs of several shapes as arrays of the right type.

  Args:
    inputs: the inputs of b shapes; a cloud may have any number of points, and "images"
      any number of images.
    kind: kind of inputs, a value of config.data.inputs.
    spec: an example of the input of one shape, `Observation.spec`.
    normals: whether clouds may have normals behind their coordinates.

  Raises:
    ValueError: inputs of another shape, numbers that are not finite, or a cloud in
      another frame than the cube's; images without the cameras that `spec` has.
  """
  if isinstance(spec, dict):
    given = set(inputs) if isinstance(inputs, dict) else {type(inputs).__name__}
    if given != set(spec):
      raise ValueError(
        f"inputs of kind {kind!r} are {', '.join(sorted(given))}; want a dict of "
        f"{', '.join(spec)} (types.py has their shapes)"
      )
    return {name: as_batch(inputs[name], name, spec[name]) for name in spec}
  inputs = np.asarray(inputs)
  if normals and inputs.ndim == 3 and inputs.shape[2] == 6:
    spec = np.zeros((1, 6), spec.dtype)
  free_axes = {"cloud": ["n"], "images": ["k"]}.get(kind, [])
  fixed = spec.shape[len(free_axes) :]
  if inputs.ndim != 1 + spec.ndim or inputs.shape[1 + len(free_axes) :] != fixed:
    shape = ", ".join(["b", *free_axes, *map(str, fixed)])
    raise ValueError(f"inputs of shape {inputs.shape}; want ({shape}): {kind}")
  inputs = ranges.to_finite(inputs, spec.dtype, f"inputs ({kind})")
  if kind == "cloud":
    ranges.check_in_frame(inputs[..., :3], "inputs (cloud)")
  return inputs
