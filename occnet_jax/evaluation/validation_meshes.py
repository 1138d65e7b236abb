"""Meshes of a few validation shapes during training, and their Chamfer distance (host).

The shapes are read once, before the first evaluation, which a short run may not reach.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import trimesh

from occnet_jax.config import Settings
from occnet_jax.data import batches, input_arrays, inputs, loader, source, transforms
from occnet_jax.evaluation import metrics
from occnet_jax.extract.batch import windows
from occnet_jax.extract.to_mesh import to_mesh
from occnet_jax.models import registry
from occnet_jax.train.evaluators import Evaluator, Results
from occnet_jax.types import Method, Variables

TRUTH = {
  "id": True,
  "category": True,
  "pointcloud": {"points": True, "normals": True},
}
COARSE = {"resolution_0": 16, "upsampling_steps": 2}  # 64^3, cheap
SAMPLES = 10_000  # surface points of each mesh


@dataclasses.dataclass(frozen=True)
class ValidationMeshes:
  """Meshes of `count` validation shapes, evenly spread over the split.

  Attributes:
    settings: settings of the run; `model` has the size of a code table.
    count: number of shapes.
  """

  settings: Settings
  count: int

  @functools.cached_property
  def shapes(self) -> list[dict[str, Any]]:
    """The stored examples, and the network's inputs under "inputs"."""
    data, seed = self.settings.data, self.settings.seed
    fields = {**transforms.fields(inputs.make(data)), **TRUTH}
    split = source.open_split(data.dir, self.settings.val.split, fields)
    transform = batches.evaluation_transform(data, points=1)
    chosen = loader.evenly_spaced(len(split), self.count).tolist()
    return [
      {**split[i], **transform(split[i], loader.shape_rng(seed, i))} for i in chosen
    ]

  @functools.cached_property
  def method(self) -> Method:
    return registry.build(
      self.settings.model,
      threshold=self.settings.test.threshold,
      precision=self.settings.generation.precision,
    )

  def extract(self, variables: Variables, level: float | None) -> list[trimesh.Trimesh]:
    """The meshes by these variables, coarse; without faces where there is no surface.

    Args:
      variables: variables of the method, on any number of devices.
      level: level of the surface that validation chose; None for the method's own.
    """
    variables = jax.device_put(jax.device_get(variables))  # on one device
    if self.method.windows is not None:
      return [
        windows.reconstruct_scene(
          self.method,
          variables,
          shape["inputs"],
          level=level,
          on_empty="empty",
          progress=False,
        )
        for shape in self.shapes
      ]
    encode = jax.jit(self.method.encode)
    return [
      to_mesh(
        self.method,
        variables,
        encode(variables, input_arrays.batch_of_one(shape["inputs"])),
        level=level,
        on_empty="empty",
        **COARSE,
      )
      for shape in self.shapes
    ]


def make_chamfer(settings: Settings) -> Evaluator:
  """The evaluator of val/chamfer_l1: mean over config.val.mesh_shapes meshes.

  In cube units, from 10,000 points of each mesh; a mesh without a surface counts with
  the diagonal of the unit cube.
  """
  meshes = ValidationMeshes(settings, settings.val.mesh_shapes)

  def evaluate(variables: Variables, results: Results) -> Results:
    extracted = meshes.extract(variables, results.get("level"))
    pairs = zip(extracted, meshes.shapes, strict=True)
    rows = [_measure(mesh, shape["pointcloud"]) for mesh, shape in pairs]
    return {"chamfer_l1": float(np.mean([row["chamfer_l1"] for row in rows]))}

  return Evaluator("val", settings.train.validate_every, evaluate)


def _measure(mesh: trimesh.Trimesh, truth: dict[str, np.ndarray]) -> dict[str, Any]:
  """The distances between a mesh, or points without faces, and the true surface."""
  vertices, surface = np.asarray(mesh.vertices), truth["points"].astype(np.float64)
  if len(vertices) and not len(mesh.faces):
    return metrics.evaluate_points(vertices, surface)
  return metrics.evaluate_mesh(
    vertices,
    np.asarray(mesh.faces, np.int64),
    points=np.zeros((1, 3)),
    occupancies=np.zeros(1),
    surface=surface,
    normals=truth["normals"].astype(np.float64),
    samples=SAMPLES,
    volume=False,
  )
