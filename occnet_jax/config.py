"""Migration and comparison of configs, as nested dicts (host, plain data)."""

import copy
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from occnet_jax.files import atomic_write, describe_changes

Config = dict[str, Any]

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
# Fields that have another name today, in any section.
RENAMED = {"prep.solid.max_denied": "prep.solid.max_contradicted"}
GONE = ("data.in_memory",)  # fields without effect on the result


def migrate(config: dict[str, Any]) -> dict[str, Any]:
  """A config of any version with the fields of this one, in sections that it has."""
  config = copy.deepcopy(config)
  for before, after in RENAMED.items():
    old, new = (_section(config, name) for name in (before, after))
    if (name := before.rpartition(".")[2]) in old:
      new.setdefault(after.rpartition(".")[2], old.pop(name))
  for name, value in SINCE.items():
    section, field = name.split(".")
    if section in config:
      config[section].setdefault(field, value)
  for name in GONE:
    section, field = name.split(".")
    config.get(section, {}).pop(field, None)
  return config


def _section(config: Config, name: str) -> Config:
  """The section that holds a field, by the field's dotted name; {} if there is none."""
  for key in name.split(".")[:-1]:
    config = config.get(key, {})
  return config


def lookup(table: Mapping[str, Any], name: str, field: str) -> Any:
  """table[name], or a ValueError that lists the names there are."""
  if name not in table:
    known = ", ".join(sorted(table))
    raise ValueError(f"config.{field} is {name!r}; want one of: {known}")
  return table[name]


# What a run may change between calls without becoming another run.
MUTABLE_FIELDS = (
  "name",
  "prep",
  "data.dir",
  "data.residence",
  "data.workers",
  "train.steps",
  "train.log_every",
  "train.save_every",
  "train.keep_every",
  "train.validate_every",
  "train.on_nonfinite",
  "train.pictures",
  "val",
  "test",
  "generation",
  "report",
)


def check_workdir(config: Config, workdir: pathlib.Path) -> None:
  """Notes what a new run is; refuses to continue another one.

  Raises:
    ValueError: the workdir belongs to a run with other settings; names them.
  """
  path = workdir / "config.json"
  now = json.loads(json.dumps(config))
  if path.exists():
    before = migrate(json.loads(path.read_text()))
    changes = describe_changes(before, now)
    changed = [text for name, text in changes.items() if not _is_free(name)]
    if changed:
      raise ValueError(
        f"{workdir}: belongs to a run of another config ({'; '.join(changed[:3])}"
        f"{' and more' if len(changed) > 3 else ''}); use that config, or another "
        "--workdir"
      )
  with atomic_write(path) as scratch:
    scratch.write_text(json.dumps(now, indent=2))


def _is_free(name: str) -> bool:
  return any(name == free or name.startswith(f"{free}.") for free in MUTABLE_FIELDS)


def resolve_config(config: dict[str, Any], shapes: int) -> dict[str, Any]:
  """The config with what only the training split can tell: rows of a code table.

  Raises:
    ValueError: a setting of the loop that does not exist, or two that do not agree.
  """
  if (select := config["val"]["select"]) not in ("iou", "loss"):
    raise ValueError(f"config.val.select is {select!r}; want iou or loss")
  run, optim = config["train"], config["optim"]
  if optim["ema_batches"] and not optim["ema_decay"]:
    raise ValueError(
      f"config.optim.ema_batches is {optim['ema_batches']} without averaged variables; "
      "set config.optim.ema_decay, or ema_batches to 0"
    )
  if (choice := run["on_nonfinite"]) not in ("stop", "skip"):
    raise ValueError(f"config.train.on_nonfinite is {choice!r}; want stop or skip")
  for name in ("steps", "log_every", "save_every", "validate_every"):
    if run[name] % run["steps_per_call"]:
      raise ValueError(
        f"config.train.{name} is {run[name]}; want a multiple of "
        f"config.train.steps_per_call={run['steps_per_call']}"
      )
  model = config["model"]
  if model["encoder"] == "code_table" and not model["codes"]:
    return config | {"model": model | {"codes": shapes}}
  return config
