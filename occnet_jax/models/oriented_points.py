"""Points with outward normals: their field, their errors, given ones (device, jnp).

Clouds are in cube units about the origin; the solver works in a periodic unit cube, a
box of side `BOX` in cube units.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from occnet_jax.nn import periodic, poisson

BOX = 1.2  # side of the periodic cube, in cube units
SIGMA = 1 / 64  # of the solver, times its side: the same length on any grid
# Largest standard deviation of the components of the errors of given normals in
# training: those of a real file are estimates, often some 10 degrees off.
NORMAL_SIGMA = 0.2


class Oriented(NamedTuple):
  """What the network makes of the points of a cloud.

  Attributes:
    points: (b, n, 3) moved, in cube units.
    normals: (b, n, 3) outward, of any length.
    weights: (b, n) their shares of the surface, with sum 1; 0 of points that do not
      count.
    valid: (b, n) which points count.
  """

  points: Any
  normals: Any
  weights: Any
  valid: Any


def solve(oriented: Oriented, side: int) -> Float[Array, "b s s s"]:
  """The solver's field, 0 on the mean of the points and about 1 / area inside.

  Args:
    oriented: points with normals.
    side: s, nodes along an axis of the grid over the box.
  """
  unit = jnp.clip(oriented.points / BOX + 0.5, 0, 1 - 1 / side)
  weighted = oriented.normals * oriented.weights[..., None]
  field = poisson.solve(poisson.rasterise(unit, weighted, side), SIGMA * side)
  field = field * (side**3 / BOX**2)  # areas in cube units, whatever the grid
  surface = (periodic.read(field, unit) * oriented.weights).sum(-1)
  return field - surface.reshape(-1, 1, 1, 1)


def normal_errors(
  oriented: Oriented, normals: Float[Array, "b n 3"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """Mean of 1 - cos of the angle to the true normals, and share of those turned round.

  Args:
    oriented: points with normals.
    normals: true ones of length 1; those of zero, of outliers, do not count.
  """
  counts = oriented.valid & (jnp.square(normals).sum(-1) > 0.5)
  lengths = jnp.sqrt(jnp.maximum(jnp.square(oriented.normals).sum(-1), 1e-6))
  cosines = (oriented.normals * normals).sum(-1) / lengths
  number = jnp.maximum(counts.sum(), 1)
  error = jnp.where(counts, 1 - cosines, 0).sum() / number
  return error, (counts & (cosines < 0)).sum() / number


def give_normals(
  cloud: Float[Array, "b n 3"], normals: Float[Array, "b n 3"], key: Any, share: float
) -> Float[Array, "b n 6"]:
  """Clouds, some of them with their normals, which have errors of up to NORMAL_SIGMA.

  Args:
    cloud: points.
    normals: true ones of length 1; those of zero, of outliers, stay zero.
    key: JAX key.
    share: how many of the clouds have them, at random; the others have zeros.
  """
  keys = jax.random.split(key, 3)
  each = (len(cloud), 1, 1)
  sigma = NORMAL_SIGMA * jax.random.uniform(keys[0], each)
  rough = normals + sigma * jax.random.normal(keys[1], normals.shape)
  lengths = jnp.sqrt(jnp.square(rough).sum(-1, keepdims=True) + poisson.TINY)
  has_normal = jnp.square(normals).sum(-1, keepdims=True) > 0.5
  has_normal = has_normal & jax.random.bernoulli(keys[2], share, each)
  return jnp.concatenate([cloud, jnp.where(has_normal, rough / lengths, 0)], -1)
