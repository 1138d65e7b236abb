"""Pictures of a few validation shapes during training (host)."""

import logging
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from PIL import Image

from occnet_jax import losses
from occnet_jax.geometry import rendering
from occnet_jax.types import Picture, Variables

PreviewFn = Callable[[Variables, float], Picture | None]
TRUTH_FIELDS = {"id": True, "category": True, "pointcloud": {"points": True}}
GRID = {"resolution_0": 16, "upsampling_steps": 2}  # 64^3: coarse, but soon done


def make(config: dict[str, Any], workdir: pathlib.Path) -> PreviewFn:
  """A function (variables, tau) -> a picture of config.train.pictures shapes, or None.

  There are two shapes in a row, each with its input, its mesh and the truth. The newest
  picture is also written to <workdir>/logs/validation.png. There is no picture without
  Embree (Linux on ARM), with no shapes to show, or where drawing fails: failures are
  logged, since a picture must not end a run.
  """
  if not config["train"]["pictures"] or not rendering.is_available():
    return lambda variables, tau: None
  shown: dict[str, Any] = {}

  def preview(variables: Variables, tau: float) -> Picture | None:
    try:
      if not shown:  # only now, since a short run may end before it validates
        shown.update(_open(config))
      return _draw(workdir / "logs" / "validation.png", variables, tau, **shown)
    except Exception as error:
      logging.getLogger(__name__).warning("no picture of validation: %r", error)
      return None

  return preview


def _open(config: dict[str, Any]) -> dict[str, Any]:
  """The shapes to show, their inputs, and a model without variables."""
  from occnet_jax import api
  from occnet_jax import config as config_lib
  from occnet_jax.data import inputs as inputs_lib
  from occnet_jax.data import loader, source, transforms
  from occnet_jax.models import registry
  from occnet_jax.train import loop

  directory, val = config["data"]["dir"], config["val"]["split"]
  fields = transforms.fields(inputs_lib.make(config["data"]))
  config = config_lib.resolve_config(
    config, len(source.open_split(directory, "train", fields))
  )
  split = source.open_split(directory, val, {**fields, **TRUTH_FIELDS})
  transform = loop.transform(config, points=1)
  shapes, inputs = [], []
  for index in loader.evenly_spaced(len(split), config["train"]["pictures"]).tolist():
    shapes.append(split[index])
    rng = loader.shape_rng(config["seed"], index)
    inputs.append(transform(shapes[-1], rng)["inputs"])
  method = registry.build(config["model"], tau=config["model"]["tau"])
  model = api.Model(method, {}, config, {})
  return {"model": model, "shapes": shapes, "inputs": inputs}


def _draw(
  path: pathlib.Path,
  variables: Variables,
  tau: float,
  *,
  model: Any,
  shapes: list[dict[str, Any]],
  inputs: list[np.ndarray],
) -> Picture:
  from occnet_jax.viz import report_data, sheets
  from occnet_jax.viz.report import ReportShape

  model.variables = jax.device_put(jax.device_get(variables))  # on one device
  report_shapes = []
  for shape, observed in zip(shapes, inputs, strict=True):
    mesh = model.extract(
      model.encode(observed[None]),
      level=losses.logit(tau),
      on_empty="empty",
      **GRID,
    )
    report_shapes.append(
      ReportShape(
        id=str(shape["id"]),
        category=str(shape["category"]),
        metrics={},
        observation=report_data.viewable(model.config["data"]["inputs"], observed),
        reconstruction=(np.asarray(mesh.vertices), np.asarray(mesh.faces)),
        truth_points=shape["pointcloud"]["points"].astype(np.float32),
      )
    )
  sheets.write_shapes(path, report_shapes)
  return np.asarray(Image.open(path).convert("RGB"))
