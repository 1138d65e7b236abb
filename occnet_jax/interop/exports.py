"""Trained networks for programs without this package (host).

<directory>/
  encoder.stablehlo, decoder.stablehlo   programs that `jax.export.deserialize` reads
  encoder.onnx, decoder.onnx             graphs for ONNX runtimes
  network.json                           what goes in and comes out, and the level

The encoder makes the latent of an observation, a few arrays with names; the decoder
takes them and points, and gives values that are larger inside.
"""

import importlib.util
import json
import pathlib
from typing import Any, NamedTuple

from occnet_jax import config as config_lib
from occnet_jax import files
from occnet_jax.data import inputs as inputs_lib
from occnet_jax.geometry import grids
from occnet_jax.interop import onnx_networks, stablehlo
from occnet_jax.types import Field, Method, Variables
from occnet_jax.version import __version__

DESCRIPTION = "network.json"
FORMATS = ("stablehlo", "onnx")


class Contents(NamedTuple):
  """What a format has of a network.

  Attributes:
    files: {name: bytes}.
    inputs: {name: shape} of the encoder's inputs; letters are free sizes.
    latent: {name: shape} of its results.
  """

  files: dict[str, bytes]
  inputs: dict[str, Any]
  latent: dict[str, Any]


def write(
  directory: pathlib.Path,
  form: str,
  method: Method,
  variables: Variables,
  config: dict[str, Any],
) -> pathlib.Path:
  """Writes a network's encoder and decoder; the path of its description.

  Args:
    directory: folder of the files, which is made; files of these names are replaced.
    form: one of FORMATS.
    method: the functions.
    variables: the arrays.
    config: of its training.

  Raises:
    ValueError: another format; a network that the format cannot hold; `onnx` is not
      installed.
  """
  settings = config_lib.parse(config)
  about = describe(method, settings)
  if form == "onnx":
    contents = _onnx(settings, variables, about)
  elif form == "stablehlo":
    contents = _stablehlo(method, variables, settings)
  else:
    raise ValueError(f"format {form!r}; want one of: {', '.join(FORMATS)}")
  about |= {"inputs": contents.inputs, "latent": contents.latent}
  directory.mkdir(parents=True, exist_ok=True)
  for name, data in contents.files.items():
    with files.atomic_write(directory / name) as scratch:
      scratch.write_bytes(data)
  path = directory / DESCRIPTION
  with files.atomic_write(path) as scratch:
    text = json.dumps({"format": form, **about}, indent=2) + "\n"
    scratch.write_text(text, encoding="utf-8")
  return path


def describe(method: Method, settings: config_lib.Settings) -> dict[str, Any]:
  """What a program has to know to use a network, beside the shapes of its arrays."""
  generation = settings.generation
  about = {
    "package_version": __version__,
    "system": settings.model["name"],
    "observation": settings.data.inputs,
    "output": type(method.output).__name__.lower(),
    # The query points' cube has this half side; y is up.
    "half_side": 0.5 + grids.PADDING / 2,
    # The largest side of an observed object's bounding box, whose centre is the origin.
    "extent": settings.data.scan.extent if settings.data.scan.points else 1.0,
    "nan_rows_are_padding": method.pads,
  }
  if settings.data.inputs == "cloud":
    # Of a larger cloud so many points are drawn, as in training.
    scan = settings.data.scan
    about["points"] = scan.points[1] if scan.points else settings.data.cloud_points
  if isinstance(method.output, Field):
    cells = generation.resolution_0 * 2**generation.upsampling_steps
    about |= {"level": method.output.level, "cells": cells}
  return about


def _stablehlo(
  method: Method, variables: Variables, settings: config_lib.Settings
) -> Contents:
  spec = inputs_lib.make(settings.data).spec
  programs = stablehlo.programs(method, variables, spec)
  return Contents(
    {
      "encoder.stablehlo": bytes(programs.encoder.serialize()),
      "decoder.stablehlo": bytes(programs.decoder.serialize()),
    },
    programs.inputs,
    programs.latent,
  )


def _onnx(
  settings: config_lib.Settings, variables: Variables, about: dict[str, Any]
) -> Contents:
  if not importlib.util.find_spec("onnx"):
    raise ValueError(
      "--format=onnx needs the package onnx: pip install 'occnet-jax[onnx]'"
    )
  metadata = {name: str(value) for name, value in about.items()}
  shape = inputs_lib.make(settings.data).shape
  encoder, decoder = onnx_networks.graphs(settings.model, variables, shape, metadata)
  return Contents(
    {
      "encoder.onnx": encoder.SerializeToString(),
      "decoder.onnx": decoder.SerializeToString(),
    },
    {value.name: _shape(value) for value in encoder.graph.input},
    {value.name: _shape(value) for value in encoder.graph.output},
  )


def _shape(value: Any) -> list[int | str]:
  sizes = value.type.tensor_type.shape.dim
  return [size.dim_param or size.dim_value for size in sizes]
