"""The random part z of a generative model's latent (device, jnp)."""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from occnet_jax.types import LatentPrior, Method


def prior_of(method: Method) -> LatentPrior:
  """The prior of a system; ValueError for one without a random z."""
  if method.prior is None:
    raise ValueError(
      "this model has no random z (config.model.z_dim is 0); encode an observation, "
      "or train configs/onet.py:unconditional"
    )
  return method.prior


def draw(method: Method, count: int, seed: int | Sequence[int]) -> Float[Array, "b z"]:
  """So many draws from the prior N(0, 1) of a system; a seed of one or several numbers.

  Raises:
    ValueError: a system without a random z.
  """
  first, *rest = (seed,) if np.ndim(seed) == 0 else seed
  key = functools.reduce(jax.random.fold_in, rest, jax.random.key(first))
  return jax.random.normal(key, (count, prior_of(method).dim))
