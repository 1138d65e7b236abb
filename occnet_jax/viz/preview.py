"""Pictures of a few validation shapes while a run trains (host)."""

import logging
import pathlib

import numpy as np
from PIL import Image

from occnet_jax.config import Settings
from occnet_jax.evaluation.validation_meshes import ValidationMeshes
from occnet_jax.train.evaluators import Evaluator, Results
from occnet_jax.types import Picture, Variables
from occnet_jax.viz import panes, sheets
from occnet_jax.viz.panes import ReportShape


def make_preview(settings: Settings, workdir: pathlib.Path) -> Evaluator:
  """The evaluator that draws config.train.preview_shapes validation shapes.

  Two shapes a row: the observation, its mesh, the truth. The newest picture is also
  <workdir>/logs/validation.png. Failures are logged; a picture must not end a run.
  """
  meshes = ValidationMeshes(settings, settings.train.preview_shapes)
  path = workdir / "logs" / "validation.png"

  def evaluate(variables: Variables, results: Results) -> Results:
    try:
      return {"shapes": _draw(path, meshes, variables, results.get("level"))}
    except Exception as error:
      logging.getLogger(__name__).warning("no picture of validation: %r", error)
      return {}

  return Evaluator("val", settings.train.validate_every, evaluate)


def _draw(
  path: pathlib.Path,
  meshes: ValidationMeshes,
  variables: Variables,
  level: float | None,
) -> Picture:
  shown = [
    ReportShape(
      id=str(shape["id"]),
      category=str(shape["category"]),
      metrics={},
      observation=panes.viewable(meshes.settings.data.inputs, shape["inputs"]),
      reconstruction=(np.asarray(mesh.vertices), np.asarray(mesh.faces)),
      truth_points=shape["pointcloud"]["points"].astype(np.float32),
    )
    for shape, mesh in zip(meshes.shapes, meshes.extract(variables, level), strict=True)
  ]
  sheets.write_shapes(path, shown)
  return np.asarray(Image.open(path).convert("RGB"))
