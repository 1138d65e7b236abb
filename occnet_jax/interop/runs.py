"""A run from a checkpoint of the reference implementation, and back (host)."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from occnet_jax import config as config_lib
from occnet_jax.data.batches import example_batch
from occnet_jax.interop import onet_weights
from occnet_jax.models import registry
from occnet_jax.train import checkpoint, optimizers
from occnet_jax.train.state import TrainState

_NONE_YET = {"iou": 0.0, "loss": float(np.finfo(np.float32).max)}


def import_torch(config: dict[str, Any], workdir: pathlib.Path, source: str) -> None:
  """Makes a run of a checkpoint of the reference: restore, generate, train it further.

  Weights, running statistics, the step and Adam's moments are taken over. Nothing is
  written unless all of it fits.

  Args:
    config: of the network in the file, such as configs/onet.py:pointcloud.
    workdir: of the run to make; must not hold checkpoints.
    source: the reference's .pt file.

  Raises:
    ValueError: the file is no such checkpoint or does not fit the config; the workdir
      holds a run.
  """
  workdir = pathlib.Path(workdir)
  if found := checkpoint.available(workdir):
    raise ValueError(
      f"{workdir}: holds a run already (step {found[0][1]}); want a new directory: "
      "choose another --workdir"
    )
  model = config["model"]
  if model["fourier_octaves"]:
    raise ValueError(
      f"config.model.fourier_octaves is {model['fourier_octaves']}, want 0: the "
      "reference has no Fourier features"
    )
  settings = config_lib.parse(config)
  method = registry.build(model)
  specs = registry.variable_specs(method, example_batch(settings.data))
  read = onet_weights.read_checkpoint(source, specs)
  variables = jax.tree.map(jnp.asarray, read.variables)
  optimizer = optimizers.make(settings.optim, settings.train.steps)
  state = TrainState(
    step=jnp.asarray(read.step, jnp.int32),
    key=jax.random.split(jax.random.PRNGKey(settings.seed))[1],
    params=variables["params"],
    batch_stats=variables["batch_stats"],
    opt_state=_optimizer_state(optimizer.init(variables["params"]), read),
    ema=jax.tree.map(jnp.copy, variables) if settings.optim.ema_decay else None,
  )
  record = {**_NONE_YET, "level": method.output.level}
  if read.best is not None:
    record[settings.val.select] = read.best
  config_lib.check_workdir(config, workdir)
  with checkpoint.Checkpoints(workdir, config, 0) as checkpoints:
    for kind in checkpoint.KINDS:
      checkpoints.save(kind, state, record)


def _optimizer_state(fresh: Any, read: onet_weights.Imported) -> Any:
  """The optimiser as far as the file knows it: its count, and Adam's moments."""
  known = {"count": jnp.asarray(read.step, jnp.int32)}
  if read.adam is not None:
    adam = jax.tree.map(jnp.asarray, read.adam)
    known = {**adam, "count": jnp.asarray(adam["count"], jnp.int32)}
  known = {
    name: value
    for name, value in known.items()
    if optax.tree_utils.tree_get_all_with_path(fresh, name)
  }
  return optax.tree_utils.tree_set(fresh, **known)


def export_torch(
  workdir: pathlib.Path, target: str, step: int | None = None
) -> pathlib.Path:
  """Writes a run's weights in the layout that the reference loads.

  Args:
    workdir: of the run.
    target: .pt file to write.
    step: of the checkpoint; None for the best.

  Raises:
    ValueError: there is no such checkpoint, or the network is none of the reference's.
  """
  saved = checkpoint.restore(workdir, step)
  if saved.config["model"]["fourier_octaves"]:
    raise ValueError(
      f"{workdir}: the network has Fourier features "
      f"(config.model.fourier_octaves="
      f"{saved.config['model']['fourier_octaves']}), which the reference "
      "does not; export one that was trained without"
    )
  state = saved.state
  averaged = state.get("ema")
  given = averaged or state
  variables = {name: given.get(name) or {} for name in ("params", "batch_stats")}
  moments = (state.get("opt_state") or {}).get("0") or {}
  adam = None
  if not averaged and {"count", "mu", "nu"} <= moments.keys():
    adam = {name: moments[name] for name in ("count", "mu", "nu")}
  best = saved.record.get(saved.config["val"]["select"])
  onet_weights.write_checkpoint(
    target, variables, step=int(state["step"]), best=best, adam=adam
  )
  return pathlib.Path(target)
