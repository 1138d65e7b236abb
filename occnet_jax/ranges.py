"""Least and largest values of a config's numbers (host)."""

from collections.abc import Mapping
from typing import Any

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
  "model.hidden_size",
  "model.encoder_hidden_size",
  "model.plane_resolution",
  "model.grid_resolution",
  "model.unet_filters",
  "model.unet3d_filters",
}
# Shares, with what is too large.
SHARES = {"data.near_fraction": "more than 1", "optim.ema_decay": "1 or more"}


def check(sections: Mapping[str, Mapping[str, Any]]) -> None:
  """Raises ValueError for a number that is out of range or NaN.

  Args:
    sections: those of a config, by name.
  """
  for section, fields in sections.items():
    for field, value in fields.items():
      name = f"{section}.{field}"
      least = int(name in POSITIVE)
      if isinstance(value, int | float) and not value >= least:
        raise ValueError(f"config.{name} is {value}; want {least} or more")
  for name, too_large in SHARES.items():
    section, field = name.split(".")
    share = sections[section][field]
    if not 0 <= share <= 1 or (share == 1 and too_large == "1 or more"):
      raise ValueError(
        f"config.{name} is {share}; want a share from 0, not {too_large}"
      )
