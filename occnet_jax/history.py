"""What configs of earlier versions lacked, and what runs did then (plain data)."""

from typing import Any

# Every field that configs/base.py gained since, with the value that changes nothing.
SINCE = {
  "data.residence": "stream",
  "optim.batch_scaling": "none",
  "optim.ema_batches": 0,
  "train.precision": "float32",
  "train.steps_per_call": 1,
  "train.accumulate": 1,
  "train.remat": False,
  "train.on_nonfinite": "stop",
  "train.pictures": 0,
}
GONE = ("data.in_memory",)  # fields without effect on the result


def complete(config: dict[str, Any]) -> dict[str, Any]:
  """A config of any version with the fields of this one, in sections that it has."""
  config = {k: dict(v) if isinstance(v, dict) else v for k, v in config.items()}
  for name, value in SINCE.items():
    section, field = name.split(".")
    if section in config:
      config[section].setdefault(field, value)
  for name in GONE:
    section, field = name.split(".")
    config.get(section, {}).pop(field, None)
  return config
