"""A method of windows with a closed form: minus the distance from the nearest point.

Letters: b shapes, n points of the window, t query points.
"""

import jax.numpy as jnp

from occnet_jax.types import Field, Method, Windows

# Of a window's points so many are read: all of a cloud of tests, and some of those far
# away by which `encode_window` fills its arrays. The rest would be most of the work.
READ = 192
WINDOWS = Windows(unit_size=0.02, side=14, query=9, stride=8)


def _encode(variables, inputs):
  return jnp.asarray(inputs)[:, :READ]


def _decode(variables, latent, points):
  """(b, n, 3), (b, t, 3) -> (b, t)."""
  squares = ((points[:, :, None] - latent[:, None]) ** 2).sum(-1)
  return -jnp.sqrt(squares.min(-1))


def make_method(level=-0.03):
  """The method, whose surface is as far from the points as minus the level.

  Its functions are always the same, so that they are compiled once.
  """
  return Method(
    init=None,
    loss=None,
    encode=_encode,
    decode=_decode,
    output=Field(level),
    score=None,
    windows=WINDOWS,
  )
