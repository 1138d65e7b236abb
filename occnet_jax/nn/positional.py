"""Fourier features of points (device, jnp)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def fourier_features(
  points: Float[Array, "b t 3"], octaves: int
) -> Float[Array, "b t k"]:
  """[p, sin(2^i pi p), cos(2^i pi p)] for i = 0, 1, ..., octaves - 1.

  With them a small network fits fine detail in fewer steps (Tancik et al., "Fourier
  features let networks learn high frequency functions in low dimensional domains",
  NeurIPS 2020). The occupancy networks of the paper do without.

  Args:
    points: coordinates.
    octaves: number of frequencies; 0 returns the coordinates alone.

  Returns:
    k = 3 + 6 octaves features of each point.
  """
  waves = 2.0 ** jnp.arange(octaves) * jnp.pi
  phases = (points[..., None, :] * waves.reshape(1, 1, -1, 1)).reshape(
    *points.shape[:2], -1
  )
  return jnp.concatenate([points, jnp.sin(phases), jnp.cos(phases)], -1)
