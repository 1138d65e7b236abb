"""What one sees of a run: progress, logs, and the stop at a loss that is not finite.

Scalars stay on the device until `flush`, so that the step is never waited for.
"""

import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
import tqdm

from occnet_jax.train.log import Log


class Monitor:
  """Follows a run from step `start` to `steps`."""

  def __init__(self, directory: pathlib.Path, start: int, steps: int):
    self._log = Log(directory, start=start)
    self._pending: list[tuple[int, dict[str, Any]]] = []
    self._since = time.perf_counter()
    self._validation = ""
    self._bar = tqdm.tqdm(
      total=steps, initial=start, desc="train", unit="step", file=sys.stdout
    )

  def add(self, step: int, scalars: dict[str, Any]) -> None:
    """Notes the scalars of one step, or (s,) of several from this one on."""
    self._pending.append((step, scalars))

  def flush(self) -> None:
    """Logs the mean of what was noted since the last flush.

    Raises:
      FloatingPointError: naming the first step whose loss is not finite.
    """
    if not self._pending:
      return
    found = jax.device_get(self._pending)
    self._pending.clear()
    steps, rows = [], []
    for first, scalars in found:
      for i in range(np.size(scalars["loss"])):
        steps.append(first + i)
        rows.append({name: np.ravel(value)[i] for name, value in scalars.items()})
    for step, row in zip(steps, rows, strict=True):
      if not np.isfinite(row["loss"]):
        raise FloatingPointError(
          f"step {step}: the loss is {row['loss']}; the last checkpoint is from before "
          "it. Lower config.optim.learning_rate or set config.optim.clip_norm"
        )
    means = {f"train/{k}": float(np.mean([r[k] for r in rows])) for k in rows[0]}
    now = time.perf_counter()
    means["train/steps_per_second"] = len(rows) / (now - self._since)
    self._since = now
    self._log.write(steps[-1] + 1, means)
    self._bar.update(len(rows))
    loss, iou = means["train/loss"], means.get("train/iou", float("nan"))
    self._bar.set_postfix_str(f"loss {loss:.1f} iou {iou:.3f}{self._validation}")

  def validated(self, step: int, found: dict[str, float]) -> None:
    """Logs what validation found for state `step`."""
    self._log.write(step, {f"val/{name}": value for name, value in found.items()})
    self._validation = f" | val iou {found['iou']:.3f} at tau {found['tau']:g}"
    self._since = time.perf_counter()

  def __enter__(self) -> "Monitor":
    return self

  def __exit__(self, *error) -> None:
    self._bar.close()
    self._log.close()
