"""Graph convolutions on a mesh that is refined twice, and its template (device; host).

Wang et al., "Pixel2Mesh", ECCV 2018, sections 3.2 to 3.5, as the code of the occupancy
networks has it. The template is a sphere of 156 vertices; unpooling adds the midpoint
of every edge and splits every face in four, so that there are three stages. What
depends on a stage's graph alone is computed on the host.

          c
         / \\
       ca---bc       face (a, b, c) -> (a, ab, ca), (b, bc, ab), (c, ca, bc) and
       / \\ / \\       (ab, bc, ca); vertex v + e is the midpoint of edge e
      a---ab--b

Shape letters: b shapes, v vertices, e edges, f faces, k neighbours, c features.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import scipy.spatial
from jaxtyping import Array, Float, Int

from occnet_jax.nn.linear import Linear

VERTICES = 156
STAGES = 3
# The published ellipsoid, and its place in the frame of a camera that looks along z.
CENTRE = (0.0, 0.0, 1.405)
RADII = (0.485, 0.340, 0.349)
_DENSE = 200  # vertices up to which all eigenvalues are computed


class Stage(NamedTuple):
  """The graph of one stage (NumPy arrays, but for `diagonal`).

  Attributes:
    faces: (f, 3), wound outward.
    edges: (e, 2), the smaller number first, sorted.
    neighbours: (v, k) numbers of a vertex' neighbours, filled up with its own.
    weights: (v, k) entries of the scaled Laplacian for them, 0 where filled up.
    diagonal: its entry for the vertex itself, the same for all.
    degrees: (v,) numbers of neighbours.
  """

  faces: np.ndarray
  edges: np.ndarray
  neighbours: np.ndarray
  weights: np.ndarray
  diagonal: float
  degrees: np.ndarray


class Template(NamedTuple):
  """A closed mesh and the graphs of its stages.

  Attributes:
    vertices: (v, 3) float32, of the first stage.
    stages: from the coarsest on.
  """

  vertices: np.ndarray
  stages: tuple[Stage, ...]


@functools.cache
def make_template(count: int = VERTICES, radii: tuple[float, ...] = RADII) -> Template:
  """An ellipsoid of evenly spread vertices around the origin and its refined graphs.

  Vertices lie on a Fibonacci spiral of the sphere, faces are those of their convex
  hull. The published template has as many vertices, edges and faces at each stage.

  Args:
    count: v of the first stage, at least 4.
    radii: of the ellipsoid, along x, y and z.

  Raises:
    ValueError: too few vertices.
  """
  if count < 4:
    raise ValueError(
      f"config.model.template_vertices is {count}; want 4 or more, such as {VERTICES}"
    )
  sphere = fibonacci_sphere(count)
  return refine(sphere * np.array(radii)[None], hull_faces(sphere))


def refine(
  vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Template:
  """A closed mesh as a template, with the graphs of its stages.

  Args:
    vertices: in cube units around the origin.
    faces: wound outward.
  """
  stages = []
  for _ in range(STAGES):
    stages.append(_make_stage(faces))
    faces = split_faces(faces, stages[-1].edges)
  return Template(vertices.astype(np.float32), tuple(stages))


def fibonacci_sphere(count: int) -> Float[np.ndarray, "v 3"]:
  """Points of the unit sphere on a spiral, in slices of equal height and thus area."""
  number = np.arange(count) + 0.5
  z = 1 - 2 * number / count
  angle = np.pi * (1 + np.sqrt(5)) * number
  radius = np.sqrt(1 - z**2)
  return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def hull_faces(points: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "f 3"]:
  """The faces of the convex hull of points around the origin, wound outward.

  Each begins with its smallest number and they are sorted, because their order in
  Qhull may change from version to version.
  """
  faces = scipy.spatial.ConvexHull(points).simplices
  a, b, c = np.moveaxis(points[faces], 1, 0)
  inward = (np.cross(b - a, c - a) * a).sum(1) < 0
  faces = np.where(inward[:, None], faces[:, ::-1], faces)
  turns = (faces.argmin(1)[:, None] + np.arange(3)[None]) % 3
  faces = np.take_along_axis(faces, turns, axis=1)
  return faces[np.lexsort(faces.T[::-1])].astype(np.int32)


def split_faces(
  faces: Int[np.ndarray, "f 3"], edges: Int[np.ndarray, "e 2"]
) -> Int[np.ndarray, "g 3"]:
  """Four faces in place of each, with the midpoints of the edges as new vertices."""
  vertices = int(faces.max()) + 1
  keys = edges[:, 0] * vertices + edges[:, 1]  # ascending, as edges are sorted
  a, b, c = faces.T

  def midpoint(i, j):
    key = np.minimum(i, j) * vertices + np.maximum(i, j)
    return vertices + np.searchsorted(keys, key)

  ab, bc, ca = midpoint(a, b), midpoint(b, c), midpoint(c, a)
  groups = (a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)
  return np.stack([np.stack(group, 1) for group in groups], 1).reshape(-1, 3)


def _make_stage(faces: Int[np.ndarray, "f 3"]) -> Stage:
  count = int(faces.max()) + 1
  corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  edges = np.unique(np.sort(corners, axis=1), axis=0)
  directed = np.concatenate([edges, edges[:, ::-1]])
  directed = directed[np.lexsort(directed.T[::-1])]  # by vertex, then by neighbour
  start, end = directed.T
  degrees = np.bincount(start, minlength=count)
  # Number of an entry within the row of its vertex: entries stand vertex by vertex.
  column = np.arange(len(start)) - (np.cumsum(degrees) - degrees)[start]
  neighbours = np.repeat(np.arange(count)[:, None], degrees.max(), axis=1)
  neighbours[start, column] = end
  adjacency = (degrees[start] * degrees[end]) ** -0.5
  scale = 2 / _largest_eigenvalue(start, end, adjacency, count)
  weights = np.zeros(neighbours.shape)
  weights[start, column] = -scale * adjacency
  return Stage(
    faces.astype(np.int32),
    edges.astype(np.int32),
    neighbours.astype(np.int32),
    weights.astype(np.float32),
    float(scale - 1),
    degrees.astype(np.float32),
  )


def _largest_eigenvalue(
  start: Int[np.ndarray, " d"],
  end: Int[np.ndarray, " d"],
  adjacency: Float[np.ndarray, " d"],
  count: int,
) -> float:
  """That of the normalised Laplacian I - D^-1/2 A D^-1/2, of a sparse A."""
  shape = (count, count)
  matrix = scipy.sparse.csr_array((-adjacency, (start, end)), shape=shape)
  matrix = matrix + scipy.sparse.eye_array(count)
  if count <= _DENSE:
    return float(np.linalg.eigvalsh(matrix.toarray())[-1])
  first = np.random.default_rng(0).standard_normal(count)  # the same in every process
  values = scipy.sparse.linalg.eigsh(
    matrix, 1, which="LA", v0=first, tol=1e-10, return_eigenvectors=False
  )
  return float(values[0])


class GraphConv(nn.Module):
  """x W1 + b + S (x W2) with the scaled Laplacian S = 2 L / lambda - 1 of the graph.

  A Chebyshev filter of order 1 (Defferrard et al., NeurIPS 2016), with Xavier's initial
  values.

  Attributes:
    features: size of the last axis of the result.
  """

  features: int

  @nn.compact
  def __call__(self, x: Float[Array, "b v i"], stage: Stage) -> Float[Array, "b v o"]:
    xavier = nn.initializers.xavier_uniform()
    own = Linear(self.features, True, xavier, nn.initializers.zeros, name="lin")(x)
    other = Linear(self.features, False, xavier, name="lin2")(x)
    return own + multiply_laplacian(other, stage)


def multiply_laplacian(x: Float[Array, "b v c"], stage: Stage) -> Float[Array, "b v c"]:
  """The scaled Laplacian of a stage times the features of its vertices.

  Each vertex gathers from its few neighbours. The matrix is symmetric, so cotangents
  take the same way, without the scattered sums that a gather's own transpose needs.
  """

  @jax.custom_vjp
  def product(x):
    sums = (_gather(x, stage.neighbours) * stage.weights[None, :, :, None]).sum(2)
    return stage.diagonal * x + sums

  product.defvjp(lambda x: (product(x), None), lambda _, given: (product(given),))
  return product(x)


def neighbour_means(x: Float[Array, "b v c"], stage: Stage) -> Float[Array, "b v c"]:
  """For each vertex the mean of its neighbours."""
  shares = (stage.weights != 0) / stage.degrees[:, None]
  return (_gather(x, stage.neighbours) * shares[None, :, :, None]).sum(2)


def unpool(x: Float[Array, "b v c"], stage: Stage) -> Float[Array, "b w c"]:
  """Features of the next stage's vertices: those there are, then means of edges' ends.

  Args:
    x: features, or positions, of the vertices of `stage`.
    stage: the stage before.
  """
  return jnp.concatenate([x, _gather(x, stage.edges).mean(2)], axis=1)


def ends(x: Float[Array, "b v c"], stage: Stage) -> Sequence[Float[Array, "b e c"]]:
  """The features of both ends of every edge."""
  return tuple(_gather(x, end) for end in stage.edges.T)


def _gather(x: Float[Array, "b v c"], rows: Int[np.ndarray, "..."]) -> Array:
  return x.at[:, rows].get(mode="promise_in_bounds")
