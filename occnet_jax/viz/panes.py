"""The pictures of one shape on a page: input, reconstruction and truth (host).

Shape letters: n points, v vertices, f faces, k images, h w image side.
"""

import io
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from occnet_jax.geometry import grids
from occnet_jax.viz import glb, pages

INPUT_COLOUR, OUTPUT_COLOUR, TRUTH_COLOUR = "#bd7743", "#7a8fab", "#b8b3a7"

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (v, 3), faces (f, 3)


class ReportShape(NamedTuple):
  """One test shape to show; all of it in the cube's frame, y up.

  Attributes:
    id: name of the shape within its category.
    category: category of the shape.
    metrics: its row, as `metrics.evaluate_mesh` returns it; may lack any figure.
    observation: the network's input: a cloud (n, 3), an image (h, w, 3) from 0 to 1 or
      several (k, h, w, 3), an occupancy grid as a mesh, or None for nothing.
    reconstruction: mesh; vertices without faces are points, a mesh without vertices
      is shown as empty, None as missing.
    truth: mesh, if there is one.
    truth_points: (n, 3) on the true surface, drawn where there is no mesh.
    truth_normals: (n, 3) there; without them the points are drawn as balls.
    credit: author of the shape, and its licence.
  """

  id: str
  category: str
  metrics: dict[str, Any]
  observation: np.ndarray | Mesh | None
  reconstruction: Mesh | None
  truth: Mesh | None = None
  truth_points: np.ndarray | None = None
  truth_normals: np.ndarray | None = None
  credit: str = ""


class Pane(NamedTuple):
  """One of the pictures of a shape.

  Attributes:
    title: heading.
    caption: beside the heading.
    message: sentence in place of a picture.
    reason: second sentence, below the message.
    model: data URL of a GLB file, to be turned.
    image: data URL of a PNG file.
    alt: text for those who cannot see the picture.
  """

  title: str
  caption: str = ""
  message: str = ""
  reason: str = ""
  model: str = ""
  image: str = ""
  alt: str = ""


def all_panes(shape: ReportShape) -> list[Pane]:
  """Input, reconstruction and truth."""
  return [input_pane(shape), output_pane(shape), truth_pane(shape)]


def input_pane(shape: ReportShape) -> Pane:
  """The network's input."""
  observation = shape.observation
  if observation is None:
    return Pane("Input", message="None: this network takes no input.")
  if isinstance(observation, tuple):
    model = _model(glb.mesh_glb(*observation, INPUT_COLOUR))
    alt = f"Input grid of {_name(shape)}"
    return Pane("Input", "occupancy grid", model=model, alt=alt)
  if observation.ndim > 2:
    images = observation if observation.ndim == 4 else observation[None]
    caption = "one picture" if len(images) == 1 else f"{len(images)} pictures"
    return Pane("Input", caption, image=_strip(images), alt=f"Input of {_name(shape)}")
  if not len(observation):
    return Pane("Input", message="No input points.")
  caption = f"{len(observation):,} points"
  if len(observation) > glb.MAX_BALLS:
    caption += f", {glb.MAX_BALLS:,} shown"
  model = _model(glb.cloud_glb(observation, INPUT_COLOUR))
  return Pane("Input", caption, model=model, alt=f"Input points of {_name(shape)}")


def output_pane(shape: ReportShape) -> Pane:
  """The mesh that was made of it."""
  title, reason = "Reconstruction", str(shape.metrics.get("reason", ""))
  if shape.reconstruction is None:
    return Pane(title, message="Missing: there is no mesh.", reason=reason)
  vertices, faces = shape.reconstruction
  if len(vertices) and not len(faces):
    model = _model(glb.cloud_glb(vertices, OUTPUT_COLOUR))
    alt = f"Points of {_name(shape)}"
    return Pane(title, f"{len(vertices):,} points", model=model, alt=alt)
  if not len(faces):
    message = "Empty: no point exceeds the threshold."
    return Pane(title, "0 faces", message=message)
  model = _model(glb.mesh_glb(vertices, faces, OUTPUT_COLOUR))
  alt = f"Reconstruction of {_name(shape)}"
  return Pane(title, _face_count(len(faces)), model=model, alt=alt)


def truth_pane(shape: ReportShape) -> Pane:
  """The true shape, as a mesh or as points."""
  alt = f"True shape of {_name(shape)}"
  if shape.truth is not None and len(shape.truth[1]):
    model = _model(glb.mesh_glb(*shape.truth, TRUTH_COLOUR))
    return Pane("Truth", _face_count(len(shape.truth[1])), model=model, alt=alt)
  points, normals = shape.truth_points, shape.truth_normals
  if points is None or not len(points):
    return Pane("Truth", message="Not kept in this data set.")
  if normals is None:
    data, shown = glb.cloud_glb(points, TRUTH_COLOUR), glb.MAX_BALLS
  else:
    data, shown = glb.surface_glb(points, normals, TRUTH_COLOUR), glb.MAX_DISCS
  caption = f"surface, {min(len(points), shown):,} points"
  return Pane("Truth", caption, model=_model(data), alt=alt)


def viewable(
  kind: str, inputs: np.ndarray | dict[str, np.ndarray]
) -> np.ndarray | Mesh | None:
  """Inputs of a network, or an object of a user, as `ReportShape.observation`.

  Args:
    kind: kind of config.data.inputs.
    inputs: a cloud, images from 0 to 1 or of uint8, an image with its camera, or a
      grid, which becomes a mesh.
  """
  if kind == "voxels":
    return grids.cube_surface(inputs > 0.5)
  if kind in ("index", "none"):
    return None
  if kind == "image_camera":
    inputs = inputs["image"]
  return inputs / 255 if inputs.dtype == np.uint8 else inputs


def _name(shape: ReportShape) -> str:
  return f"{shape.category} {shape.id}".strip()


def _face_count(count: int) -> str:
  shown = f", {glb.MAX_FACES:,} shown" if count > glb.MAX_FACES else ""
  return f"{count:,} faces{shown}"


def _model(data: bytes) -> str:
  return pages.data_url(data, "model/gltf-binary")


def _strip(images: Float[np.ndarray, "k h w 3"]) -> str:
  """Images from 0 to 1, side by side, as the data URL of a PNG."""
  strip = np.concatenate(list(images), axis=1)
  buffer = io.BytesIO()
  Image.fromarray(np.rint(255 * strip).astype(np.uint8)).save(buffer, "PNG")
  return pages.data_url(buffer.getvalue(), "image/png")
