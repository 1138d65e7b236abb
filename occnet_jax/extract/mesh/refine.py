"""Refinement: fits the vertices and normals of a mesh to a field (device).

Paper, section 3.3 and equation 6, with the constants of the reference: 30 steps of
RMSprop on the vertices, each with one random point p of every face,

  loss = mean (o(p) - tau)^2 + 0.01 mean |n - t|^2,    t = -grad o(p) / |grad o(p)|,

where o = sigmoid(f) is the occupancy, tau = sigmoid(level), and n the normal of the
face. The gradient runs through t as well: `jax.grad` through `jax.grad`.

For a field that is not a logit, such as a distance, o is a smooth step across the
surface and everything holds as it stands. The more such a field is scaled up, the
narrower the step and the stronger the pull.

A compiled function sees faces as corners (t, 3, 3) in batches of one fixed size, so no
mesh compiles anything; the sum over the faces of a vertex is the host's.

Shape letters: v vertices, f faces, t faces of one batch.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.extract.field import Field, JaxField, PointFn, value_at
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices
from occnet_jax.extract.point_batches import padded_batches

NORMAL_WEIGHT = 0.01
LEARNING_RATE = 1e-4
DECAY = 0.99  # of RMSprop's running mean of squares: torch's alpha
EPSILON = 1e-8
DIRICHLET = (0.5, 0.5, 0.5)  # of the barycentric coordinates: denser at the borders


class Refined(NamedTuple):
  """Attributes:
  vertices: (v, 3) float64, in their order before.
  losses: (steps,) loss at each step, before it moved the vertices.
  """

  vertices: Vertices
  losses: Float[np.ndarray, " steps"]


def refine(
  field: Field,
  vertices: Vertices,
  faces: Faces,
  *,
  level: float,
  steps: int = 30,
  seed: int = 0,
) -> Refined:
  """Fits a mesh to a field; the same seed gives the same mesh.

  Args:
    field: a field that JAX can differentiate.
    vertices, faces: the mesh, in cube units; faces without area do not pull.
    level: value of the field at the surface.
    steps: number of RMSprop steps.
    seed: seed of the random points on the faces.

  Raises:
    ValueError: JAX cannot trace the field; its reason is named and chained.
  """
  if not isinstance(field, JaxField):
    cause = getattr(field, "cause", None)
    reason = str(cause).split("\n")[0]
    raise ValueError(
      "refinement differentiates the field twice, and JAX cannot trace this one"
      + (f" ({type(cause).__name__}: {reason})" if cause else "")
      + ": write it with jax.numpy, or pass refine_steps=0"
    ) from cause
  rng = np.random.default_rng(seed)
  vertices, squares = vertices.astype(np.float64), np.zeros_like(vertices, np.float64)
  losses = np.zeros(steps)
  for step in range(steps if len(faces) else 0):
    weights = rng.dirichlet(DIRICHLET, len(faces))
    losses[step], gradient = loss_and_gradient(field, vertices, faces, weights, level)
    update, squares = rmsprop(gradient, squares)
    vertices = vertices + update
  return Refined(vertices, losses)


def rmsprop(
  gradient: Float[np.ndarray, "v 3"], squares: Float[np.ndarray, "v 3"]
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3"]]:
  """One step of torch's RMSprop: the update, and the new running mean of squares.

  `optax.rmsprop(1e-4, decay=0.99, eps=1e-8, eps_in_sqrt=False)` is the same. These
  lines stand for it so that the extractor needs no optax, and the vertices stay in
  float64.
  """
  squares = DECAY * squares + (1 - DECAY) * gradient**2
  return -LEARNING_RATE * gradient / (np.sqrt(squares) + EPSILON), squares


def loss_and_gradient(
  field: JaxField,
  vertices: Vertices,
  faces: Faces,
  weights: Float[np.ndarray, "f 3"],
  level: float,
) -> tuple[float, Float[np.ndarray, "v 3"]]:
  """Equation 6 for one point a face, and its derivative by the vertices.

  Args:
    field: a field that JAX can trace.
    vertices, faces: the mesh, in cube units.
    weights: barycentric coordinates of the points.
    level: value of the field at the surface.

  Returns:
    The loss, a mean over all faces, and its gradient.
  """
  corners = vertices[faces].astype(np.float32)
  batches = zip(
    padded_batches(corners, field.points_per_batch),
    padded_batches(weights.astype(np.float32), field.points_per_batch),
    strict=True,
  )
  tau = jax.nn.sigmoid(jnp.float32(level))
  compiled = field.bind(_losses_and_gradients)
  parts = [compiled(*batch, tau) for batch in batches]
  count = len(faces)
  losses = np.concatenate([part[0] for part in parts])[:count]
  gradients = np.concatenate([part[1] for part in parts])[:count]
  # A vertex gets the sum over the faces around it, taken here in float64.
  owners = faces.ravel()
  gradient = [
    np.bincount(owners, gradients[..., axis].ravel(), len(vertices))
    for axis in range(3)
  ]
  return float(losses.mean(dtype=np.float64)), np.stack(gradient, axis=1) / count


def _losses_and_gradients(
  point_fn: PointFn,
  corners: Float[Array, "t 3 3"],
  weights: Float[Array, "t 3"],
  tau: Float[Array, ""],
) -> tuple[Float[Array, " t"], Float[Array, "t 3 3"]]:
  """Each face's loss, and its derivative by the face's own corners."""
  of_face = jax.value_and_grad(functools.partial(_face_loss, point_fn, tau))
  losses, gradients = jax.vmap(of_face)(corners, weights)
  usable = jnp.isfinite(gradients).all((1, 2)) & jnp.isfinite(losses)
  # Where the field has no derivative a face does not pull, and the others still do.
  return jnp.where(usable, losses, 0), jnp.where(usable[:, None, None], gradients, 0)


def _face_loss(
  point_fn: PointFn,
  tau: Float[Array, ""],
  corners: Float[Array, "3 3"],
  weights: Float[Array, "3"],
) -> Float[Array, ""]:
  """Equation 6 at one point of one face; its gradient is one through a gradient."""

  def occupancy(point: Float[Array, "3"]) -> Float[Array, ""]:
    return jax.nn.sigmoid(value_at(point_fn, point))

  point = (corners * weights[:, None]).sum(0)
  value, gradient = jax.value_and_grad(occupancy)(point)
  normal = jnp.cross(corners[1] - corners[0], corners[2] - corners[1])
  deviation = _unit(normal) - _unit(-gradient)
  return (value - tau) ** 2 + NORMAL_WEIGHT * (deviation**2).sum()


def _unit(x: Float[Array, "3"]) -> Float[Array, "3"]:
  """x / (|x| + 1e-10) with a derivative at 0, where that of a norm is NaN."""
  return x / (jnp.sqrt(jnp.maximum((x**2).sum(), 1e-30)) + 1e-10)
