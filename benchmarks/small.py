"""The tasks of the paper at sizes for two CPU cores: settings that benchmarks share.

One data set of procedural shapes with views, and configs/onet.py's variants with the
quickstart's small network and optimiser.
"""

import importlib
import json
import pathlib
from typing import Any

from occnet_jax.cli import stages

DATA = {
  "seed": 2,
  "per_category": 48,
  "near_points": 4096,
  "near_sigmas": (0.01, 0.03),
  "val_fraction": 0.0625,
  "test_fraction": 0.0625,
  "views": 24,
}
SIZES = {
  "data.points": 256,
  "data.image_side": 32,
  "data.near_fraction": 0.5,
  "model.encoder_hidden_size": 48,
  "model.c_dim": 128,
  "model.hidden_size": 64,
  "model.fourier_octaves": 5,
  "model.tau": 0.3,
  "optim.name": "muon",
  "optim.learning_rate": 4e-3,
  "optim.schedule": "cosine",
  "optim.warmup_steps": 50,
  "optim.ema_decay": 0.99,
  "train.batch_size": 8,
  "train.log_every": 20,
  "train.save_every": 100_000,
  "train.validate_every": 100_000,
  "val.points": 8192,
}


def make(variant: str, out: pathlib.Path, **changes: Any) -> dict[str, Any]:
  """configs/onet.py:<variant> at these sizes, as nested dicts.

  Args:
    variant: variant of configs/onet.py.
    out: directory of the data set.
    **changes: further fields, dots written as two underscores: train__steps=100.
  """
  config = importlib.import_module("configs.onet").get_config(variant)
  fields = {f"prep.{name}": value for name, value in DATA.items()} | SIZES
  if variant == "unconditional":  # it has no code
    fields |= {"model.c_dim": 0, "model.hidden_size": 128}
  fields |= {name.replace("__", "."): value for name, value in changes.items()}
  config.update_from_flattened_dict(fields)
  config.prep.out = str(out)
  return config.to_dict()


def run(config: dict[str, Any], workdir: pathlib.Path) -> None:
  """All stages, as far as they are not done."""
  for stage in (stages.prepare, stages.train, stages.generate, stages.evaluate):
    stage(config, workdir)


def seconds(workdir: pathlib.Path, stage: str) -> float:
  """Seconds that a stage took, over all calls."""
  return json.loads((workdir / "wall_time.json").read_text())[stage]
