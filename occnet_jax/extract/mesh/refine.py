"""Moves the vertices of a mesh onto the surface and its faces along it (device).

Paper, section 3.3 and equation 6, with the constants of the reference: 30 steps of
RMSprop on the vertices, each looking at one random point p of every face,

  loss = mean (o(p) - tau)^2 + 0.01 mean |n - t|^2,    t = -grad o(p) / |grad o(p)|,

where o = sigmoid(f) is the occupancy, tau = sigmoid(level), and n the normal of the
face. The gradient runs through t as well: back-propagation of a back-propagation.

For a field that is not a logit, such as a distance, o is a smooth step across the
surface and everything holds as it stands. The more such a field is scaled up, the
narrower the step and the stronger the pull.

A compiled function sees faces as corners (t, 3, 3) in batches of one fixed size, so no
mesh compiles anything; the sum over the faces of a vertex is the host's.

Shape letters: v vertices, f faces, t faces of one batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.extract.field import Field, JaxField, padded_batches
from occnet_jax.extract.grid.marching_cubes import Faces, Vertices

NORMAL_WEIGHT = 0.01
LEARNING_RATE = 1e-4
DECAY = 0.99  # of RMSprop's running mean of squares: torch's alpha
DIRICHLET = (0.5, 0.5, 0.5)


class Refined(NamedTuple):
  """Attributes:
  vertices: (v, 3) float64, in the order they were given.
  losses: (steps,) loss that each step found before it moved the vertices.
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
  on_step: Callable[[int, float], None] | None = None,
) -> Refined:
  """Fits a mesh to a field; the same seed gives the same mesh.

  Args:
    field: one that JAX can differentiate.
    vertices, faces: the mesh, in cube units; faces without area are left alone.
    level: value of the field at the surface.
    steps: of RMSprop.
    seed: of the points on the faces.
    on_step: called with the number of each step and its loss, for a progress bar.

  Raises:
    ValueError: the field is not traceable by JAX.
  """
  if not isinstance(field, JaxField):
    raise ValueError(
      "refinement differentiates the field twice, and JAX cannot trace this one: write "
      "it with jax.numpy, or pass refine_steps=0"
    )
  rng = np.random.default_rng(seed)
  vertices, squares = vertices.astype(np.float64), np.zeros_like(vertices, np.float64)
  losses = np.zeros(steps)
  for step in range(steps if len(faces) else 0):
    weights = rng.dirichlet(DIRICHLET, len(faces))
    losses[step], gradient = loss_and_gradient(field, vertices, faces, weights, level)
    update, squares = rmsprop(gradient, squares)
    vertices = vertices + update
    if on_step:
      on_step(step, losses[step])
  return Refined(vertices, losses)


def rmsprop(
  gradient: Float[np.ndarray, "v 3"], squares: Float[np.ndarray, "v 3"]
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3"]]:
  """One step of torch's RMSprop: the update, and the new running mean of squares."""
  squares = DECAY * squares + (1 - DECAY) * gradient**2
  return -LEARNING_RATE * gradient / (np.sqrt(squares) + 1e-8), squares


def loss_and_gradient(
  field: JaxField,
  vertices: Vertices,
  faces: Faces,
  weights: Float[np.ndarray, "f 3"],
  level: float,
) -> tuple[float, Float[np.ndarray, "v 3"]]:
  """Equation 6 for one point a face, and its derivative by the vertices.

  Args:
    weights: barycentric coordinates of the points.

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
  where = faces.ravel()
  gradient = [
    np.bincount(where, gradients[..., axis].ravel(), len(vertices)) for axis in range(3)
  ]
  return float(losses.mean(dtype=np.float64)), np.stack(gradient, axis=1) / count


def _losses_and_gradients(
  function: Callable,
  corners: Float[Array, "t 3 3"],
  weights: Float[Array, "t 3"],
  tau: Float[Array, ""],
) -> tuple[Float[Array, " t"], Float[Array, "t 3 3"]]:
  """Each face's loss, and its derivative by the face's own corners."""

  def total(corners: Float[Array, "t 3 3"]) -> tuple[Array, Array]:
    losses = _face_losses(function, corners, weights, tau)
    return losses.sum(), losses

  gradients, losses = jax.grad(total, has_aux=True)(corners)
  usable = jnp.isfinite(gradients).all((1, 2)) & jnp.isfinite(losses)
  # Where the field has no derivative a face does not pull, and the others still do.
  return jnp.where(usable, losses, 0), jnp.where(usable[:, None, None], gradients, 0)


def _face_losses(
  function: Callable,
  corners: Float[Array, "t 3 3"],
  weights: Float[Array, "t 3"],
  tau: Float[Array, ""],
) -> Float[Array, " t"]:
  points = (corners * weights[:, :, None]).sum(1)

  def occupancy(points: Float[Array, "t 3"]) -> tuple[Array, Array]:
    occupancies = jax.nn.sigmoid(function(points))
    return occupancies.sum(), occupancies

  gradients, occupancies = jax.grad(occupancy, has_aux=True)(points)
  normals = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
  deviations = _unit(normals) - _unit(-gradients)
  return (occupancies - tau) ** 2 + NORMAL_WEIGHT * (deviations**2).sum(-1)


def _unit(x: Float[Array, "t 3"]) -> Float[Array, "t 3"]:
  """x / (|x| + 1e-10) with a derivative at 0, where that of a norm is NaN."""
  squares = (x**2).sum(-1, keepdims=True)
  return x / (jnp.sqrt(jnp.maximum(squares, 1e-30)) + 1e-10)
