"""Imports a published checkpoint as a run, and exports a run (host)."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from occnet_jax import config as config_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop import (
  atlasnet_weights,
  baseline_weights,
  convonet_weights,
  deepsdf_weights,
  dmc_weights,
  ifnet_weights,
  onet_weights,
  sap_weights,
)
from occnet_jax.models import registry
from occnet_jax.train import checkpoint, optimizers
from occnet_jax.train import state as state_lib
from occnet_jax.train.state import TrainState
from occnet_jax.types import Field, Grid


class Files(NamedTuple):
  """The published files of one system.

  Attributes:
    read: (path, template) -> `onet_weights.Imported`.
    write: (path, variables, *, step, best, adam) -> None.
    count_codes: path -> rows of the code table; None for a system without one.
  """

  read: Callable[..., onet_weights.Imported]
  write: Callable[..., None]
  count_codes: Callable[[str], int] | None = None


FILES = {  # config.model.name -> files of its published implementation
  "atlasnet": Files(
    atlasnet_weights.read_checkpoint, atlasnet_weights.write_checkpoint
  ),
  "convonet": Files(
    convonet_weights.read_checkpoint, convonet_weights.write_checkpoint
  ),
  "deepsdf": Files(
    deepsdf_weights.read_checkpoint,
    deepsdf_weights.write_checkpoint,
    deepsdf_weights.count_codes,
  ),
  "dmc": Files(dmc_weights.read_checkpoint, dmc_weights.write_checkpoint),
  "ifnet": Files(ifnet_weights.read_checkpoint, ifnet_weights.write_checkpoint),
  "onet": Files(onet_weights.read_checkpoint, onet_weights.write_checkpoint),
  "pix2mesh": Files(
    baseline_weights.read_checkpoint, baseline_weights.write_checkpoint
  ),
  "psgn": Files(baseline_weights.read_checkpoint, baseline_weights.write_checkpoint),
  "r2n2": Files(baseline_weights.read_checkpoint, baseline_weights.write_checkpoint),
  "sap": Files(sap_weights.read_checkpoint, sap_weights.write_checkpoint),
}
_NONE_YET = {"iou": 0.0, "loss": float(np.finfo(np.float32).max)}


def import_torch(config: dict[str, Any], workdir: pathlib.Path, source: str) -> None:
  """Makes a run from a checkpoint of the reference, to be used or trained further.

  The run has its weights, running statistics, step and Adam's moments. Nothing is
  written unless all of them fit.

  Args:
    config: config of the network in the file, such as configs/onet.py:pointcloud.
    workdir: directory of the new run; must not hold checkpoints.
    source: the reference's .pt file.

  Raises:
    ValueError: the file is no checkpoint or does not fit the config; the workdir holds
      a run.
  """
  workdir = pathlib.Path(workdir)
  if checkpoints := checkpoint.available(workdir):
    raise ValueError(
      f"{workdir}: holds a run already (step {checkpoints[0][1]}); choose another "
      "--workdir"
    )
  settings = config_lib.parse(config)
  model = settings.model
  files = _files_of(model, "import")
  _check_published(model)
  if octaves := model.get("fourier_octaves"):
    raise ValueError(
      f"config.model.fourier_octaves is {octaves}, want 0: the reference has no "
      "Fourier features"
    )
  if files.count_codes is not None:
    config = config_lib.with_codes(config, files.count_codes(source))
    model = config_lib.parse(config).model
  method = registry.build(model)
  specs = registry.variable_specs(method, example_batch(settings.data))
  imported = files.read(source, specs)
  variables = jax.tree.map(jnp.asarray, imported.variables)
  optimizer = optimizers.make(settings.optim, settings.train.steps)
  state = TrainState(
    step=jnp.asarray(imported.step, jnp.int32),
    key=jax.random.split(jax.random.PRNGKey(settings.seed))[1],
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=_optimizer_state(optimizer.init(variables["params"]), imported),
    ema=jax.tree.map(jnp.copy, variables) if settings.optim.ema_decay else None,
  )
  record = dict(_NONE_YET)
  if isinstance(method.output, Field | Grid):  # points and meshes have none
    record["level"] = method.output.level
  if imported.best is not None:
    record[settings.val.select] = imported.best
  config_lib.check_workdir(config, workdir)
  with checkpoint.Checkpoints(workdir, config, 0) as checkpoints:
    for kind in checkpoint.KINDS:
      checkpoints.save(kind, state, record)


def _files_of(model: dict[str, Any], mode: str) -> Files:
  """The files of a system; ValueError for a system that has none."""
  name = model["name"]
  if name not in FILES:
    raise ValueError(
      f"config.model.name is {name!r}, want one of {', '.join(map(repr, FILES))}: "
      f"--mode={mode} is for files of their published implementations"
    )
  return FILES[name]


def _check_published(model: dict[str, Any]) -> None:
  """Raises ValueError for a network whose weights mean another thing in the reference.

  Their names and shapes would fit.
  """
  if model.get("published", True):
    return
  raise ValueError(
    "config.model.published is False, want True for weights of the published code: "
    "blocks give offsets here and positions there"
  )


def _optimizer_state(fresh: Any, imported: onet_weights.Imported) -> Any:
  """A fresh optimiser state with the file's count and, if it has them, moments."""
  values = {"count": jnp.asarray(imported.step, jnp.int32)}
  if imported.adam is not None:
    adam = jax.tree.map(jnp.asarray, imported.adam)
    values = {**adam, "count": jnp.asarray(adam["count"], jnp.int32)}
  values = {  # another optimiser than Adam lacks some of them
    name: value
    for name, value in values.items()
    if optax.tree_utils.tree_get_all_with_path(fresh, name)
  }
  return optax.tree_utils.tree_set(fresh, **values)


def export_torch(
  workdir: pathlib.Path, target: str, step: int | None = None
) -> pathlib.Path:
  """Writes a run's weights as a checkpoint that the reference loads.

  Args:
    workdir: directory of the run.
    target: .pt file to write.
    step: step of the checkpoint; None for the best.

  Raises:
    ValueError: there is no such checkpoint, or the reference has no such network.
  """
  saved = checkpoint.restore(workdir, step)
  settings = config_lib.parse(saved.config)
  files = _files_of(settings.model, "export_torch")
  _check_published(settings.model)
  if octaves := settings.model.get("fourier_octaves"):
    raise ValueError(
      f"{workdir}: the network has Fourier features (config.model.fourier_octaves="
      f"{octaves}), which the reference has not; export one that was trained without"
    )
  state = saved.state
  variables = state_lib.trained_variables(state)
  moments = (state.get("opt_state") or {}).get("0") or {}
  adam = None
  if not state.get("ema") and {"count", "mu", "nu"} <= moments.keys():
    adam = {name: moments[name] for name in ("count", "mu", "nu")}
  best = saved.record.get(settings.val.select)
  files.write(target, variables, step=int(state["step"]), best=best, adam=adam)
  return pathlib.Path(target)
