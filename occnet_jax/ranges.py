"""Least and largest values of a config's numbers, and finite arrays (host)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Counts and sides of at least 1. All other numbers may be 0, which turns something off
# or means all there are.
POSITIVE = {
  "data.points",
  "data.cloud_points",
  "data.image_side",
  "data.image_views",
  "train.batch_size",
  "train.steps_per_call",
  "train.log_every",
  "train.save_every",
  "train.validate_every",
  "val.batch_size",
  "test.samples",
  "model.hidden_size",
  "model.encoder_hidden_size",
  "model.plane_resolution",
  "model.grid_resolution",
  "model.unet_filters",
  "model.unet3d_filters",
}
FAR = 2.0  # cube units from the origin, four times as far as any shape reaches
# Shares, with what is too large.
SHARES = {"data.near_fraction": "more than 1", "optim.ema_decay": "1 or more"}
# Occupancy probabilities of the surface, whose logits are finite between 0 and 1.
PROBABILITIES = ("test.threshold", "model.tau", "model.tau_grid")
MOST_SEED = 2**32 - 1  # of JAX's keys, without 64 bits


def check(sections: Mapping[str, Mapping[str, Any]]) -> None:
  """Raises ValueError for a number that is out of range, infinite or NaN.

  Args:
    sections: those of a config, by name.
  """
  for section, fields in sections.items():
    for field, value in fields.items():
      name = f"{section}.{field}"
      least = int(name in POSITIVE)
      if isinstance(value, int | float) and not least <= value < math.inf:
        limit = "a finite number" if value == math.inf else f"{least} or more"
        raise ValueError(f"config.{name} is {value}; want {limit}")
  for name, too_large in SHARES.items():
    section, field = name.split(".")
    share = sections[section][field]
    if not 0 <= share <= 1 or (share == 1 and too_large == "1 or more"):
      raise ValueError(
        f"config.{name} is {share}; want a share from 0, not {too_large}"
      )
  for name in PROBABILITIES:
    section, field = name.split(".")
    value = sections[section].get(field)
    several = value if isinstance(value, list | tuple) else [value]
    if value is not None and not (
      several and all(0 < probability < 1 for probability in several)
    ):
      raise ValueError(
        f"config.{name} is {value}; want probabilities between 0 and 1, not 0 or 1"
      )


def check_seed(seed: int) -> None:
  """Raises ValueError for a seed that JAX would cut."""
  if not 0 <= seed <= MOST_SEED:
    limit = "0 or more" if seed < 0 else f"at most {MOST_SEED}"
    raise ValueError(f"config.seed is {seed}; want {limit}")


def to_finite(values: Any, dtype: Any, name: str) -> np.ndarray:
  """An array of this type.

  Args:
    values: numbers of any type and shape, on the host or the device.
    dtype: type of the result.
    name: subject of the message.

  Raises:
    ValueError: NaN or infinity among the numbers, or after their conversion.
  """
  given = np.asarray(values)
  with np.errstate(over="ignore", invalid="ignore"):  # refused below
    converted = given.astype(dtype, copy=False)
  # A large number is infinite in float32, and NaN is a number in a type of integers.
  checked = converted if converted.dtype.kind == "f" else given
  if bad := checked.size - np.count_nonzero(np.isfinite(checked)):
    raise ValueError(
      f"{name}: {bad} of {checked.size} numbers are not finite (NaN, infinity, or too "
      "large for their type), want none; remove or mend them first"
    )
  return converted


def check_in_frame(points: np.ndarray, name: str) -> None:
  """Raises ValueError for points (..., 3) most of which are far from the unit cube.

  Args:
    points: in cube units.
    name: subject of the message.
  """
  reach = float(np.median(np.abs(points).max(-1))) if points.size else 0.0
  if reach > FAR:
    raise ValueError(
      f"{name}: half of the points are {reach:.4g} cube units or more from the origin "
      "along an axis, want points of the unit cube about it; use reconstruct, which "
      "scales a cloud, or scale it first"
    )
