"""The interface for notebooks and other programs: trained networks, and meshes.

  model = occnet_jax.restore("runs/quickstart")      # a run
  model = occnet_jax.from_pretrained("owner/repo")   # a model that others share
  cloud = occnet_jax.read_cloud("scan.ply")          # (n, 3)
  mesh = model.reconstruct(cloud)                    # (n, 3) -> trimesh.Trimesh
  occnet_jax.write_mesh("mesh.glb", mesh)

Everything takes and gives host arrays; networks run on JAX's default device.
"""

import os
import pathlib
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float

from occnet_jax import config as config_lib
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry import mesh_io, pointcloud_io, texture
from occnet_jax.geometry.colours import Cloud, of_mesh
from occnet_jax.geometry.volumes import read_volume
from occnet_jax.interop import hub, weights
from occnet_jax.trained_model import Model

__all__ = [
  "Model",
  "extract_mesh",
  "from_pretrained",
  "read_cloud",
  "read_mesh",
  "read_scan",
  "read_volume",
  "restore",
  "write_mesh",
]


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
  # Orbax and Optax take a while to import, and no other function here needs them.
  from occnet_jax.train import checkpoint
  from occnet_jax.train import state as state_lib

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
      needs `pip install 'occnet-jax[hub]'` and is kept for use without a network.
    config_override: as for `restore`.

  Raises:
    ValueError: there is no such model, or its files are damaged, of another format, or
      not those of a network that its config describes.
  """
  saved = weights.read(hub.find(name), config_override)
  return Model(saved.method, saved.variables, saved.config, saved.record)


def read_cloud(path: str | os.PathLike, *, seed: int = 0) -> Float[np.ndarray, "n 3"]:
  """The points (n, 3) of a file in float64, in the file's own frame and unit.

  Of a mesh file they are 100,000 points, drawn uniformly on its surface.

  Args:
    path: PLY, OBJ or OFF with or without faces; STL, GLB, GLTF, 3MF or DAE; XYZ, PTS,
      TXT or CSV with a point per line; NPY (n, 3) or more columns; NPZ with `points`;
      PCD, LAS, LAZ or E57. docs/formats.md has what is read of each, and what it needs.
    seed: seed of the points drawn on a mesh.

  Raises:
    ValueError: the file is missing, broken, cut off or of another format; it is not
      clear which columns are meant; fewer than 3 points, points that are not finite,
      all in one place, or many in one.
    OSError: the system cannot read it.
  """
  return pointcloud_io.read_cloud(path, seed=seed)


def read_scan(path: str | os.PathLike, *, seed: int = 0) -> Cloud:
  """A file as of `read_cloud`, with all that is read of it: `points`, `colours`,
  `normals`, and `left_out`, the names of the rest.

  `Model.reconstruct` takes it in place of its points. It gives the mesh the colours of
  the points nearest to each vertex, which `write_mesh` writes, and a network of scans
  has its inside where the normals say, if they point outwards.

  Args and errors: those of `read_cloud`.
  """
  return pointcloud_io.read_scan(path, seed=seed)


def read_mesh(path: str | os.PathLike) -> trimesh.Trimesh:
  """The triangles of a file, in its own frame and unit; y is up in DAE files.

  Polygons are triangulated, the parts of a scene put together where they stand, and
  vertices that the file repeats stay apart.

  Args:
    path: PLY, OBJ, OFF, STL, GLB, GLTF, 3MF or, with the package pycollada, DAE.

  Raises:
    ValueError: the file is missing, broken, cut off, of another format or without
      faces, or holds what is not read, such as compressed data or bones.
    OSError: the system cannot read it.
  """
  return trimesh.Trimesh(*mesh_io.read_mesh(path), process=False)


def write_mesh(
  path: str | os.PathLike, mesh: trimesh.Trimesh, *, texture_of: Cloud | None = None
) -> None:
  """Writes a mesh in its frame and unit, whole or not at all.

  Vertices are exact to a millionth of the mesh's extent wherever it lies.

  Args:
    path: GLB, PLY and OBJ, which keep vertex normals and colours, OFF or STL.
    mesh: the mesh, as `Model.reconstruct` returns it.
    texture_of: the scan that the mesh was made of, whose colours become a texture in a
      GLB file in place of colours at the vertices: finer than these where faces are
      large.

  Raises:
    ValueError: another format, or STL so far from the origin that its float32 would
      change the mesh; a mesh without vertices, or with some that are not finite; a
      texture for another format than GLB, of a scan without colours, or of more than
      two million faces.
    OSError: the file cannot be written.
  """
  if not len(mesh.vertices):
    raise ValueError(f"{path}: the mesh has 0 vertices, want at least 1; leave it out")
  arrays = np.asarray(mesh.vertices), np.asarray(mesh.faces)
  baked = None if texture_of is None else texture.bake(*arrays, texture_of)
  mesh_io.write_mesh(path, *arrays, mesh.vertex_normals, of_mesh(mesh), texture=baked)
