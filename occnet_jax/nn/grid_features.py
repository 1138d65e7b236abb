"""Features of points on planes and in grids, and back at points (device, jnp).

A plane is the projection of the cube along one axis, and a grid is the cube itself;
both are divided into r cells an axis. Axes of arrays are those of coordinates in
reverse order: plane "xz" is (b, z, x, c) and the grid is (b, z, y, x, c), as in the
published code, so that kernels learned there can be used here.

Features go in by cell and come out by node, as published: of r = 4,

  cells    |  0  |  1  |  2  |  3  |     a point is in cell floor(u r)
  nodes    0       1       2       3     and is interpolated at position u (r - 1),
  u        0                       1

a shift that grows from -1/2 to 1/2 of a cell between the two ends. They can also come
out of the centres of the cells, at position u r - 1/2, which is not published.

Peng et al., "Convolutional Occupancy Networks", ECCV 2020, section 3.1 and
supplementary. Shape letters: b shapes, n points, d dimensions, r side, c features.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from occnet_jax.nn import crops, interpolate
from occnet_jax.nn.crops import Crop

AXES = {"xz": (0, 2), "xy": (0, 1), "yz": (1, 2), "grid": (0, 1, 2)}
PLANES = ("xz", "xy", "yz")
SAMPLINGS = {"bilinear": interpolate.linear, "nearest": interpolate.nearest}


class Layout(NamedTuple):
  """The planes and grids that hold the features of a shape.

  Attributes:
    names: keys of `AXES`.
    plane_resolution, grid_resolution: cells r along an axis.
    padding: they cover a cube of side 1 + padding about the origin; None for the unit
      cube, [0, 1]^3.
    crop: they cover a window of a scene instead; None for the cube.
  """

  names: tuple[str, ...]
  plane_resolution: int = 64
  grid_resolution: int = 32
  padding: float | None = 0.1
  crop: Crop | None = None

  def side(self, name: str) -> int:
    return self.grid_resolution if name == "grid" else self.plane_resolution


class Cells(NamedTuple):
  """The cells of one plane or grid that points are in.

  Attributes:
    rows: (b n,) index of each point's cell among those of all shapes.
    shape: (b, r, r) or (b, r, r, r), the cells.
    beyond: number of further cells, which hold the points that have no effect and are
      cut off: 0 or 1.
  """

  rows: Any
  shape: tuple[int, ...]
  beyond: int = 0


def normalise(
  points: Float[Array, "b n 3"], name: str, padding: float | None
) -> Float[Array, "b n d"]:
  """Coordinates in [0, 1) on a plane or in the grid; points outside go to the border.

  The margins of 1e-5 and 1e-3, by which the covered cube is larger than 1 + padding,
  are those of the published code. Without padding, coordinates stay as they are.
  """
  unit = points[..., jnp.array(AXES[name])]
  margin = 1e-3 if name == "grid" and padding is not None else 1e-5
  if padding is not None:
    unit = unit / (1 + padding + margin) + 0.5
  # Not jnp.clip to 1 - margin: between the two a coordinate stays as it is.
  unit = jnp.where(unit >= 1, 1 - margin, unit)
  return jnp.where(unit < 0, 0, unit)


def find_cells(
  points: Float[Array, "b n 3"],
  name: str,
  layout: Layout,
  valid: Bool[Array, "b n"] | None = None,
) -> Cells:
  """The cell of every point; points outside the cube are in the outermost cells.

  Args:
    points: in the frame of the cube or of the window.
    name: a key of `AXES`.
    layout: the planes and grids.
    valid: which points count; None for all. The others, and points outside a window of
      a scene, are all in one cell beyond the last.
  """
  side, counts = layout.side(name), valid
  if layout.crop is None:
    index = (normalise(points, name, layout.padding) * side).astype(jnp.int32)
  else:
    index, inside = crops.find_indices(points, side, layout.crop)
    index = index[..., jnp.array(AXES[name])]
    counts = inside if valid is None else inside & valid
  b, _, d = index.shape
  # The first coordinate runs fastest, and shape i has the cells from i r^d on.
  strides = jnp.array([side**k for k in range(d)]).reshape(1, 1, -1)
  flat = (index * strides).sum(-1) + side**d * jnp.arange(b)[:, None]
  shape = (b, *(side,) * d)
  if counts is None:
    return Cells(flat.reshape(-1), shape)
  return Cells(jnp.where(counts, flat, math.prod(shape)).reshape(-1), shape, 1)


def pool(
  features: Float[Array, "b n c"], cells: Cells, kind: str
) -> Float[Array, "b n c"]:
  """What the points of each point's own cell have in common.

  Args:
    features: of the points whose cells these are.
    cells: made by `find_cells`.
    kind: a key of `POOLINGS`.
  """
  pooled = POOLINGS[kind](features.reshape(-1, features.shape[-1]), cells)
  return pooled.at[cells.rows].get(mode="promise_in_bounds").reshape(features.shape)


def scatter_mean(
  features: Float[Array, "b n c"], cells: Cells
) -> Float[Array, "b *r c"]:
  """The mean of the features of the points in each cell; 0 in cells without points."""
  c = features.shape[-1]
  rows = _mean(features.reshape(-1, c), cells)[: math.prod(cells.shape)]
  return rows.reshape(*cells.shape, c)


def sample(
  grids: Mapping[str, Float[Array, "b ... c"]],
  points: Float[Array, "b t 3"],
  *,
  padding: float | None,
  mode: str,
  crop: Crop | None = None,
  read_at: str = "nodes",
) -> Float[Array, "b t c"]:
  """The sum over planes and grid of their features at the points.

  Args:
    grids: by their names in `AXES`.
    points: in cube units; those outside have the features of the border.
    padding, crop: as in `Layout`.
    mode: a key of `SAMPLINGS`.
    read_at: "nodes" or "cells", where features of the cube lie; a window has its own.
  """
  total = None
  for name in ("grid", *PLANES):  # the published order of addition
    if name in grids:
      grid = grids[name]
      side = grid.shape[1]
      if crop is None:
        unit = normalise(points, name, padding)
        positions = unit * (side - 1) if read_at == "nodes" else unit * side - 0.5
      else:
        own = points[..., jnp.array(AXES[name])]
        positions = crops.read_positions(own, side, crop)
      features = SAMPLINGS[mode](grid, positions[..., ::-1])
      total = features if total is None else total + features
  return total


def _count(cells: Cells) -> int:
  return math.prod(cells.shape) + cells.beyond


def _max(rows: Float[Array, "m c"], cells: Cells) -> Float[Array, "k c"]:
  """The largest of each feature in every cell, -inf where there are no points."""
  return jax.ops.segment_max(rows, cells.rows, _count(cells))


def _mean(rows: Float[Array, "m c"], cells: Cells) -> Float[Array, "k c"]:
  """The mean of each feature in every cell, 0 where there are no points."""
  total = jax.ops.segment_sum(rows, cells.rows, _count(cells))
  ones = jnp.ones(len(rows), rows.dtype)
  counts = jax.ops.segment_sum(ones, cells.rows, _count(cells))
  return total / jnp.maximum(counts, 1)[:, None]


POOLINGS = {"max": _max, "mean": _mean}
