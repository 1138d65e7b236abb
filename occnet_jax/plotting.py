"""Meshes and clouds in 3D in a notebook, without a network (host).

  from occnet_jax import plotting
  plotting.show(mesh, cloud)          # side by side; drag to turn
  plotting.slide(meshes, labels)      # one at a time, by a slider

Each returns a `View`, which Jupyter and Colab display where a cell ends with it, and
which `save` writes to an HTML file. Programs that convert notebooks to documents take
its still picture instead.

Shape letter: n points.
"""

import dataclasses
import html
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import trimesh
from jaxtyping import Float

from occnet_jax import files
from occnet_jax.geometry import frames, rendering
from occnet_jax.viz import comparison, glb, pages, panes, sheets

STILL_SIDE, MAX_STILLS = 224, 6  # pixels of a still picture, and pictures in a row
MAX_STILL_POINTS = 2000  # drawn of a cloud


@dataclasses.dataclass(frozen=True)
class View:
  """A page that holds all that it shows and fetches nothing.

  Attributes:
    page: its HTML.
    height: pixels that it takes in a notebook.
    shown: what a still picture has from left to right: meshes and clouds (n, 3) in the
      unit cube, images.
  """

  page: str = dataclasses.field(repr=False)
  height: int
  shown: Sequence[np.ndarray | panes.Mesh] = dataclasses.field(default=(), repr=False)

  def _repr_html_(self) -> str:
    """The page in a frame of its own, as notebooks ask for it."""
    return (
      f'<iframe srcdoc="{html.escape(self.page)}" style="width:100%;border:0" '
      f'height="{self.height}"></iframe>'
    )

  def _repr_png_(self) -> bytes | None:
    """A still picture for what cannot show a page; None without Embree.

    Of many meshes it has MAX_STILLS, the first and the last among them.
    """
    if not self.shown or not rendering.is_available():
      return None
    count = min(len(self.shown), MAX_STILLS)
    chosen = np.linspace(0, len(self.shown) - 1, count).round().astype(int)
    tiles = [sheets.tile(self.shown[i], STILL_SIDE) for i in chosen]
    return sheets.png(tiles, columns=count)

  def save(self, path: str | os.PathLike) -> pathlib.Path:
    """Writes the page to an HTML file."""
    path = pathlib.Path(files.expand_home(os.fspath(path)))
    with files.atomic_write(path) as scratch:
      scratch.write_text(self.page, encoding="utf-8")
    return path


def show(
  mesh: trimesh.Trimesh,
  observation: Float[np.ndarray, "n 3"] | Float[np.ndarray, "h w c"] | None = None,
  *,
  title: str = "Reconstruction",
  height: int = 560,
) -> View:
  """A mesh, beside what it was made of.

  Args:
    mesh: the mesh, in any unit.
    observation: a cloud in the frame of the mesh, or an image from 0 to 1; None for
      the mesh alone.
    title: title of the page.
    height: pixels that it takes in a notebook.
  """
  if observation is None:
    return slide([mesh], [f"{len(mesh.faces):,} faces"], title=title, height=height)
  observation = np.asarray(observation)
  facts = {"Mesh": f"{len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces"}
  page = comparison.page(title=title, facts=facts, observation=observation, mesh=mesh)
  return View(page, height, _in_cube(mesh, observation))


def _in_cube(
  mesh: trimesh.Trimesh, observation: np.ndarray
) -> tuple[np.ndarray, panes.Mesh]:
  """What a still picture has of an observation and its mesh, in the mesh's frame."""
  vertices = np.asarray(mesh.vertices)
  frame = np.zeros(3), 1.0
  if len(vertices) and np.ptp(vertices, axis=0).any():
    frame = frames.unit_cube_frame(vertices)
  if observation.ndim == 2:
    points = frames.to_frame(observation, *frame)
    points = points[(np.abs(points) < 0.6).all(1)]  # the picture's frame is the cube
    observation = points[:: max(1, -(-len(points) // MAX_STILL_POINTS))]
  return observation, (frames.to_frame(vertices, *frame), np.asarray(mesh.faces))


def slide(
  meshes: Sequence[trimesh.Trimesh],
  labels: Sequence[str] | None = None,
  *,
  title: str = "Meshes",
  height: int = 560,
) -> View:
  """Meshes of one frame, one at a time, chosen by a slider.

  Args:
    meshes: at least one mesh with faces.
    labels: a text for each; None numbers them.
    title: title of the page.
    height: pixels that it takes in a notebook.

  Raises:
    ValueError: no mesh, one without faces, or another number of labels.
  """
  if not meshes or any(not len(mesh.faces) for mesh in meshes):
    raise ValueError(
      f"{len(meshes)} meshes, {sum(not len(mesh.faces) for mesh in meshes)} of them "
      "without faces; want at least one, all with faces"
    )
  labels = [str(i) for i in range(len(meshes))] if labels is None else list(labels)
  if len(labels) != len(meshes):
    raise ValueError(
      f"{len(labels)} labels for {len(meshes)} meshes; want one for each"
    )
  # One frame for all, so that a shape does not jump while it changes.
  loc, scale = frames.unit_cube_frame(
    np.concatenate([mesh.vertices for mesh in meshes])
  )
  shown = [
    (frames.to_frame(np.asarray(mesh.vertices), loc, scale), np.asarray(mesh.faces))
    for mesh in meshes
  ]
  models = [
    pages.data_url(glb.mesh_glb(*part, panes.OUTPUT_COLOUR), "model/gltf-binary")
    for part in shown
  ]
  page = pages.render("slider.html", title=title, models=models, labels=labels)
  return View(page, height, shown)
