"""Fourier features of points (device, jnp)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def fourier_features(
  points: Float[Array, "b t 3"], octaves: int
) -> Float[Array, "b t k"]:
  """[p, sin(2^i pi p), cos(2^i pi p)] for i = 0, 1, ..., octaves - 1.

  Lets a small network follow fine detail sooner (Tancik et al. 2020); not in the paper.
  """
  waves = 2.0 ** jnp.arange(octaves) * jnp.pi
  phases = (points[..., None, :] * waves.reshape(1, 1, -1, 1)).reshape(
    *points.shape[:2], -1
  )
  return jnp.concatenate([points, jnp.sin(phases), jnp.cos(phases)], -1)
