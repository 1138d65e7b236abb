"""Exports a run's or a pretrained network for other programs (host)."""

import pathlib

from occnet_jax import api
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.cli import stages, user_mesh
from occnet_jax.interop import exports
from occnet_jax.viz import browser_page

FORMATS = (*exports.FORMATS, "page", "safetensors", "torch")


def export(
  form: str,
  target: str,
  *,
  workdir: str | None = None,
  pretrained: str | None = None,
  runtime: str | None = None,
) -> None:
  """Writes a network in a format and says what was written.

  Args:
    form: stablehlo or onnx, see `interop.exports`; page, see `viz.browser_page`;
      safetensors, a directory as `Model.save_pretrained` writes it, in float32; torch,
      a file of the published implementation.
    target: the directory, or for torch the file.
    workdir: directory of a run; its best checkpoint counts.
    pretrained: the model in place of a run; the packaged one without both.
    runtime: the package onnxruntime-web, whose files the page needs beside it.

  Raises:
    ValueError: both a run and a model; torch without a run; a network that the format
      cannot hold; another package, or one without a page.
  """
  if runtime and form != "page":
    raise ValueError(
      f"--onnxruntime-web is for --format=page, not {form}; leave it out"
    )
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
  elif form == "page":
    _write_page(directory, model, pathlib.Path(workdir or name).name, runtime)
  else:
    exports.write(directory, form, model.method, model.variables, model.config)
  for path in sorted(path for path in directory.iterdir() if path.is_file()):
    print(f"{path}: {user_mesh.size_of(path)}")  # noqa: T201
  if form == "page":
    print(_serving(directory, bool(runtime)))  # noqa: T201


def _write_page(
  directory: pathlib.Path, model: api.Model, name: str, runtime: str | None
) -> None:
  browser_page.check(exports.describe(model.method, model.settings))
  programs = browser_page.read_runtime(runtime) if runtime else None
  exports.write(directory, "onnx", model.method, model.variables, model.config)
  browser_page.write(directory, f"occnet: {name}", programs)


def _serving(directory: pathlib.Path, has_runtime: bool) -> str:
  """How the page is opened, in words."""
  package = f"{browser_page.RUNTIME}@{browser_page.RUNTIME_VERSION}"
  missing = ""
  if not has_runtime:
    missing = (
      f"; before that, put {' and '.join(browser_page.RUNTIME_FILES)} into it, from "
      f"dist/ of what npm pack {package} fetches"
    )
  return f"To open it: python -m http.server --bind 127.0.0.1 -d {directory}{missing}"
