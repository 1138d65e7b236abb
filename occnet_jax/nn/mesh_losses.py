"""Pixel2Mesh's losses of a deformed mesh (device, jnp).

Wang et al., ECCV 2018, section 3.4, with the weights and means of the code of the
occupancy networks. With edges e as ordered pairs of vertices i, j and self loops, of
which there are 2 E + V:

  chamfer_to     mean over target points of the squared distance to the nearest vertex
  chamfer_from   mean over vertices of that to the nearest target point
  edge           mean of |v_i - v_j|^2
  normal         mean of |<n_i, (v_i - v_j) / |v_i - v_j|>|, n_i the unit normal at the
                 target point nearest to vertex i
  laplacian      mean of |d_i - d_i of the mesh before|^2, d_i from the mean of the
                 neighbours to v_i
  move           mean of |v_i - v_i of the mesh before|^2

Shape letters: b shapes, v vertices, n target points.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn.chamfer import nearest, squared_distances
from occnet_jax.nn.graph_mesh import Stage, ends, neighbour_means
from occnet_jax.nn.pix2mesh import Prediction

WEIGHTS = {
  "chamfer_to": 3000.0,
  "chamfer_from": 0.55 * 3000.0,
  "edge": 300.0,
  "normal": 0.5,
  "laplacian": 1500.0,
  "move": 100.0,
}
FIRST_LAPLACIAN = 0.3  # factor of that weight in the first block
# The code of the occupancy networks has shapes 1 / 0.57 times as large as that of
# Pixel2Mesh, whose weights it takes: they are multiplied by the square of this, but for
# that of the normals, which have no length.
SIZE = 0.57


def block_terms(
  prediction: Prediction,
  surface: Float[Array, "b n 3"],
  normals: Float[Array, "b n 3"],
  stage: Stage,
) -> dict[str, Float[Array, ""]]:
  """The terms of one block's mesh, without weights, as means over the shapes.

  Args:
    prediction: its vertices and those that it started from.
    surface: target points in the same frame.
    normals: there, of any length.
    stage: its graph.
  """
  vertices, before = prediction
  closest = nearest(vertices, surface)
  to = squared_distances(surface, vertices, nearest(surface, vertices))
  lengths, cosines = _edge_sums(vertices, _take(normals, closest), stage)
  pairs = vertices.shape[0] * (2 * len(stage.edges) + vertices.shape[1])
  shift = _laplacian(vertices, stage) - _laplacian(before, stage)
  return {
    "chamfer_to": to.mean(),
    "chamfer_from": squared_distances(vertices, surface, closest).mean(),
    "edge": lengths / pairs,
    "normal": cosines / pairs,
    "laplacian": jnp.square(shift).sum(-1).mean(),
    "move": jnp.square(vertices - before).sum(-1).mean(),
  }


def weigh(
  blocks: Sequence[dict[str, Float[Array, ""]]], *, adjusted: bool = True
) -> dict[str, Float[Array, ""]]:
  """The terms of all blocks, weighted and added up by name; the loss is their sum.

  Args:
    blocks: by `block_terms`, from the first block on.
    adjusted: whether weights are for shapes as large as those here (SIZE).
  """
  totals = {}
  for name, weight in WEIGHTS.items():
    factors = [1.0] * len(blocks)
    if name == "laplacian":
      factors[0] = FIRST_LAPLACIAN
    if name == "move":
      factors[0] = 0.0  # the template is no guess of the shape
    if adjusted and name != "normal":
      weight *= SIZE**2
    values = [terms[name] for terms in blocks]
    totals[name] = weight * sum(f * x for f, x in zip(factors, values, strict=True))
  return totals


def _edge_sums(
  vertices: Float[Array, "b v 3"], normals: Float[Array, "b v 3"], stage: Stage
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Sums over ordered pairs of squared lengths and of cosines with the normals.

  Self loops have a length of 0 and no direction, so they only count in the mean.
  """
  start, end = ends(vertices, stage)
  edge = _unit(start - end)
  cosines = sum(
    jnp.abs((side * edge).sum(-1)).sum() for side in ends(_unit(normals), stage)
  )
  return 2 * jnp.square(start - end).sum(), cosines


def _laplacian(x: Float[Array, "b v 3"], stage: Stage) -> Float[Array, "b v 3"]:
  return x - neighbour_means(x, stage)


def _unit(x: Float[Array, "b n 3"]) -> Float[Array, "b n 3"]:
  """Vectors of length 1; the length of 0 has no gradient, its square has one."""
  squares = jnp.square(x).sum(-1, keepdims=True)
  return x / jnp.sqrt(jnp.maximum(squares, 1e-24))


def _take(x: Float[Array, "b n 3"], rows: Array) -> Float[Array, "b v 3"]:
  return jnp.take_along_axis(x, rows[..., None], axis=1)
