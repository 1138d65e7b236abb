"""Exports a run's or a pretrained network for other programs (host)."""

import pathlib

from occnet_jax import api
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.cli import stages, user_mesh
from occnet_jax.interop import exports

FORMATS = (*exports.FORMATS, "safetensors", "torch")


def export(
  form: str, target: str, *, workdir: str | None = None, pretrained: str | None = None
) -> None:
  """Writes a network in a format and says what was written.

  Args:
    form: stablehlo or onnx, see `interop.exports`; safetensors, a directory as
      `Model.save_pretrained` writes it, in float32; torch, a file of the published
      implementation.
    target: the directory, or for torch the file.
    workdir: directory of a run; its best checkpoint counts.
    pretrained: the model in place of a run; the packaged one without both.

  Raises:
    ValueError: both a run and a model; torch without a run; a network that the format
      cannot hold.
  """
  if workdir and pretrained:
    raise ValueError(
      f"--workdir={workdir} and --model={pretrained} name two networks; want one"
    )
  if form == "torch":
    if not workdir:
      raise ValueError("--format=torch is for the networks of runs; want --workdir=DIR")
    stages.export_torch(pathlib.Path(workdir), target)
    return
  name = pretrained or reconstruct_lib.DEFAULT_MODEL
  model = api.restore(workdir) if workdir else api.from_pretrained(name)
  directory = pathlib.Path(target)
  if form == "safetensors":
    model.save_pretrained(directory, dtype="float32")
  else:
    exports.write(directory, form, model.method, model.variables, model.config)
  for path in sorted(path for path in directory.iterdir() if path.is_file()):
    print(f"{path}: {user_mesh.size_of(path)}")  # noqa: T201
