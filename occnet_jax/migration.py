"""Configs and records of earlier versions as this one has them (host)."""

import copy
import math
from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]
# Fields that have another name now: {before: now}.
RENAMED = {
  "prep.solid.max_denied": "prep.solid.max_contradicted",
  "data.residence": "data.placement",
  "data.stretch": "data.random_stretch",
  "model.octaves": "model.fourier_octaves",
  "model.leaky": "model.decoder_leaky",
  "train.pictures": "train.preview_shapes",
  "test.tau": "test.threshold",
  "test.tau_grid": "model.tau_grid",
}
# Fields that were added since, with the value that changes nothing.
SINCE = {
  "prep.others": {},
  "data.targets": (),
  "data.placement": "stream",
  "data.cloud_share": 1.0,
  "data.crop": (),
  "data.scan": {
    "points": (),
    "sigma": 0.02,
    "outliers": 0.02,
    "unevenness": 2.0,
    "turned": 0.5,
    "cut": 0.0,
    "kept": 0.5,
    "viewed": 0.0,
    "extent": 1.0,
  },
  "data.mixture": (),
  "optim.ema_batches": 0,
  "optim.code_rate": 1.0,
  "optim.halve_every": 0,
  "train.precision": "float32",
  "train.steps_per_call": 1,
  "train.start_from": "",
  "train.remat": False,
  "train.on_nonfinite": "stop",
  "train.preview_shapes": 0,
  "train.sinks": ("tensorboard",),
  "val.mesh_shapes": 0,
  "test.threshold": None,
  "test.trim": 0.0,
  "test.f_scores": (),
  "test.emd_points": 0,
  "test.voxel_iou": False,
  "generation.least_part": 0.0,
  "generation.smooth_steps": 0,
  "generation.precision": "float32",
  "generation.backend": "auto",
  "generation.cell_size": None,
  "generation.finetune_steps": 0,
  "generation.finetune_learning_rate": 1e-4,
  "generation.point_mesh": "none",
}
# The same of config.model, by its name.
MODEL_SINCE = {
  "prep.others": {},
  "convonet": {"unet_up": "transposed"},
  "deepsdf": {"scale": 1.0},
  "ifnet": {"level_dropout": 0.0, "levels_used": 0},
  "pix2mesh": {"template_file": ""},
  "scan": {"fine_poisson_side": 64, "normals_given": 0.0},
}
# Fields that are gone, with the value at which they did nothing.
GONE = {"data.in_memory": None, "optim.batch_scaling": "none", "train.accumulate": 1}


def migrate(config: Mapping[str, Any], *, to_resume: bool = False) -> Config:
  """A config of any version with the fields of this one, in sections that it has.

  Args:
    config: nested dicts.
    to_resume: whether a run is to be trained further with it, rather than used.

  Raises:
    ValueError: to_resume, and a field that is gone changed the steps of the run.
  """
  config = copy.deepcopy(dict(config))
  for before, now in RENAMED.items():
    section, field = _section(config, before)
    if section is not None and field in section:
      value = section.pop(field)
      section, field = _section(config, now)
      if section is not None:
        section.setdefault(field, value)
  for name, value in SINCE.items():
    section, field = _section(config, name)
    if section is not None:
      section.setdefault(field, value)
  model = config.get("model", {})
  for field, value in MODEL_SINCE.get(model.get("name"), {}).items():
    model.setdefault(field, value)
  for name, neutral in GONE.items():
    section, field = _section(config, name)
    if section is None or field not in section:
      continue
    value = section.pop(field)
    if to_resume and value != neutral and neutral is not None:
      raise ValueError(
        f"config.{name} is {value!r}, a setting that is gone; want {neutral!r}: train "
        "the run again without it"
      )
  return config


def migrate_record(record: Mapping[str, Any]) -> dict[str, Any]:
  """The record of a checkpoint of any version; earlier ones had a probability tau."""
  record = dict(record)
  if "tau" in record:
    tau = record.pop("tau")
    record.setdefault("level", math.log(tau / (1 - tau)))
  for before, now in (("owed", "validation_pending"), ("unlogged", "pending_rows")):
    if before in record:
      record[now] = record.pop(before)
  return record


def _section(config: Config, name: str) -> tuple[Config | None, str]:
  """The dict that holds a field named by a dotted path, or None; and its last part."""
  *path, field = name.split(".")
  for key in path:
    if not isinstance(config, dict) or key not in config:
      return None, field
    config = config[key]
  return config, field
