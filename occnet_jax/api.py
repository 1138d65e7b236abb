"""The interface for notebooks and other programs: trained networks, and meshes.

  model = occnet_jax.restore("runs/quickstart")      # a run
  model = occnet_jax.from_pretrained("owner/repo")   # a model that others share
  mesh = model.reconstruct(cloud)                    # (n, 3) -> trimesh.Trimesh

Everything takes and gives host arrays; networks run on JAX's default device.
"""

import pathlib
from typing import Any

from occnet_jax import config as config_lib
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.interop import hub, weights
from occnet_jax.train import checkpoint
from occnet_jax.train import state as state_lib
from occnet_jax.trained_model import Model

__all__ = ["Model", "extract_mesh", "from_pretrained", "restore"]


def restore(
  workdir: str | pathlib.Path,
  step: int | None = None,
  *,
  config_override: dict[str, Any] | None = None,
) -> Model:
  """The trained model of a run.

  Args:
    workdir: the run's directory.
    step: step of the checkpoint; None for the best in validation.
    config_override: a config whose `test`, `generation` and candidate thresholds
      replace the checkpoint's own.

  Raises:
    ValueError: no such checkpoint, or it does not fit the config beside it.
  """
  saved = checkpoint.restore(workdir, step)
  config = config_lib.override(saved.config, config_override)
  method, specs = weights.build(config, saved.record)
  variables = state_lib.refill(specs, state_lib.trained_variables(saved.state))
  return Model(method, variables, config, saved.record)


def from_pretrained(
  name: str | pathlib.Path, *, config_override: dict[str, Any] | None = None
) -> Model:
  """A pretrained model: one of the package, of a directory, or of the hub.

  Args:
    name: name of a packaged model (`occnet models` lists them), a directory that
      `Model.save_pretrained` wrote, or "owner/repo" of the Hugging Face hub, which
      needs `pip install occnet-jax[hub]` and is kept for use without a network.
    config_override: as for `restore`.

  Raises:
    ValueError: there is no such model, or its files are damaged, of another format, or
      not those of a network that its config describes.
  """
  saved = weights.read(hub.find(name), config_override)
  return Model(saved.method, saved.variables, saved.config, saved.record)
