"""What a run makes of a few validation shapes while it trains (host)."""

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

Look = Callable[[Variables, float], Picture | None]
TRUTH = {"id": True, "category": True, "pointcloud": {"points": True}}
FINENESS = {"resolution_0": 16, "upsampling_steps": 2}  # cheap: 64^3


def make(config: dict[str, Any], workdir: pathlib.Path) -> Look:
  """A function (variables, tau) -> a picture of config.train.pictures shapes.

  Two shapes a row: what the network sees, its mesh, the truth. The newest picture is
  also <workdir>/logs/validation.png. Without Embree (Linux on ARM), or with no shapes
  wanted, it gives None; so it does, with a warning, where drawing fails, which is not
  worth a run.
  """
  wanted = config["train"]["pictures"]
  if not wanted or not rendering.is_available():
    return lambda variables, tau: None
  state: dict[str, Any] = {}

  def look(variables: Variables, tau: float) -> Picture | None:
    try:
      if not state:  # not before the first validation, which a short run may not see
        state.update(_open(config))
      return _draw(workdir / "logs" / "validation.png", variables, tau, **state)
    except Exception as error:
      logging.getLogger(__name__).warning("no picture of validation: %r", error)
      return None

  return look


def _open(config: dict[str, Any]) -> dict[str, Any]:
  """The shapes that are shown, what is seen of them, and a model without variables."""
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
  split = source.open_split(directory, val, {**fields, **TRUTH})
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
  shown = []
  for shape, seen in zip(shapes, inputs, strict=True):
    mesh = model.extract(
      model.encode(seen[None]),
      level=losses.logit(tau),
      on_empty="empty",
      **FINENESS,
    )
    shown.append(
      ReportShape(
        id=str(shape["id"]),
        category=str(shape["category"]),
        metrics={},
        seen=report_data.seen(model.config["data"]["inputs"], seen),
        reconstruction=(np.asarray(mesh.vertices), np.asarray(mesh.faces)),
        truth_points=shape["pointcloud"]["points"].astype(np.float32),
      )
    )
  sheets.write_shapes(path, shown)
  return np.asarray(Image.open(path).convert("RGB"))
