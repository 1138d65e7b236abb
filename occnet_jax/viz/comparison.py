"""HTML page of one observation beside its mesh, both in 3D (host).

Shape letters: n points, v vertices, f faces.
"""

import os
from typing import Any

import numpy as np
import trimesh

from occnet_jax import files
from occnet_jax.geometry import frames
from occnet_jax.viz import pages, panes


def write_comparison(path: str | os.PathLike, **shown: Any) -> None:
  """Writes the `page` of what is shown to an HTML file."""
  text = page(**shown)
  with files.atomic_write(path) as scratch:
    scratch.write_text(text, encoding="utf-8")


def page(
  *,
  title: str,
  facts: dict[str, str],
  observation: np.ndarray | panes.Mesh | None,
  mesh: trimesh.Trimesh,
) -> str:
  """A page that holds all that it shows and fetches nothing.

  Args:
    title: title of the page.
    facts: names and values to show at the top.
    observation: as of `panes.ReportShape`; a cloud or the mesh of a grid is in the
      frame of the reconstruction, in any unit. None for a network without inputs.
    mesh: the reconstruction; without faces its vertices are shown as points.
  """
  vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
  if len(vertices) and np.ptp(vertices, axis=0).any():
    loc, scale = frames.unit_cube_frame(vertices)
    vertices = frames.to_frame(vertices, loc, scale)
    if isinstance(observation, tuple):
      observation = frames.to_frame(observation[0], loc, scale), observation[1]
    elif observation is not None and observation.ndim == 2:
      observation = frames.to_frame(observation, loc, scale)
      # Points far off the mesh, such as outliers, would lie beyond the picture.
      observation = observation[(np.abs(observation) < 1).all(1)]
  shape = panes.ReportShape(title, "", {}, observation, (vertices, faces))
  both = [panes.input_pane(shape), panes.output_pane(shape)]
  return pages.render("comparison.html", title=title, facts=facts, panes=both)
