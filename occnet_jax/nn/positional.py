"""Fourier features of points (device, jnp)."""

import flax.linen as nn
import jax
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


def random_fourier_features(
  points: Float[Array, "b t 3"], frequencies: Float[Array, "m 3"]
) -> Float[Array, "b t k"]:
  """[sin(2 pi B p), cos(2 pi B p)] / sqrt(m) for frequencies B in any direction.

  Tancik et al., NeurIPS 2020, equation 4. All k = 2 m features together have length 1.

  Args:
    points: coordinates.
    frequencies: rows of B, in periods per unit of the coordinates.
  """
  # In full precision: an error of 1e-3 in a phase of 40 periods would be noise.
  phases = jnp.einsum("bti,mi->btm", points, frequencies, precision="highest")
  phases = 2 * jnp.pi * phases
  features = jnp.concatenate([jnp.sin(phases), jnp.cos(phases)], -1)
  return features * len(frequencies) ** -0.5


class RandomFourierFeatures(nn.Module):
  """`random_fourier_features` of frequencies B ~ N(0, sigma^2) that are not trained.

  They are kept in the collection "batch_stats", which has no gradients.

  Attributes:
    size: number m of frequencies.
    sigma: their standard deviation; larger values fit finer detail and more noise.
  """

  size: int
  sigma: float

  @nn.compact
  def __call__(self, points: Float[Array, "b t 3"]) -> Float[Array, "b t k"]:
    def draw():
      return self.sigma * jax.random.normal(self.make_rng("params"), (self.size, 3))

    frequencies = self.variable("batch_stats", "frequencies", draw)
    return random_fourier_features(points, frequencies.value)
