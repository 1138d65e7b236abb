"""Chamfer distances between sets of points (device, jnp).

Shape letters: n points p, m points q.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

BLOCK = 256  # points p whose distances to all q are in memory at a time


def nearest(p: Float[Array, "b n 3"], q: Float[Array, "b m 3"]) -> Int[Array, "b n"]:
  """For each p the number of the nearest q of its shape; of equals, the first.

  Differences are squared, not products subtracted: near points keep their digits.
  """
  p, q = lax.stop_gradient((p, q))

  def of_block(block: Float[Array, "b k 3"]) -> Int[Array, "b k"]:
    squares = jnp.zeros((block.shape[0], block.shape[1], q.shape[1]), p.dtype)
    for axis in range(3):
      squares += jnp.square(block[:, :, None, axis] - q[:, None, :, axis])
    return squares.argmin(-1)

  count = p.shape[1]
  if count <= BLOCK:
    return of_block(p)
  blocks = -(-count // BLOCK)
  padded = jnp.pad(p, ((0, 0), (0, blocks * BLOCK - count), (0, 0)))
  stacked = jnp.moveaxis(padded.reshape(p.shape[0], blocks, BLOCK, 3), 1, 0)
  indices = jnp.moveaxis(lax.map(of_block, stacked), 0, 1)
  return indices.reshape(p.shape[0], -1)[:, :count]


def squared_distances(
  p: Float[Array, "b n 3"], q: Float[Array, "b m 3"], indices: Int[Array, "b n"]
) -> Float[Array, "b n"]:
  """Squared distance of each p to the q of that number; differentiable by both."""
  chosen = jnp.take_along_axis(q, indices[..., None], axis=1)
  return jnp.square(p - chosen).sum(-1)


def chamfer_terms(
  p: Float[Array, "b n 3"], q: Float[Array, "b m 3"]
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Mean squared distances of each shape's p to the nearest q, and of q to p.

  The sets may differ in size. The choice of the nearest has no gradient.
  """
  to_q = squared_distances(p, q, nearest(p, q)).mean(-1)
  to_p = squared_distances(q, p, nearest(q, p)).mean(-1)
  return to_q, to_p


def chamfer(p: Float[Array, "b n 3"], q: Float[Array, "b m 3"]) -> Float[Array, " b"]:
  """The sum of both means for each shape: the loss of PSGN and AtlasNet.

  Fan et al., CVPR 2017, equation 5, with means in place of sums, as the code of the
  occupancy networks has it. Evaluation has another Chamfer distance: unsquared, halved.
  """
  to_q, to_p = chamfer_terms(p, q)
  return to_q + to_p


def mean_chamfer(
  p: Float[Array, "b n 3"], q: Float[Array, "b m 3"]
) -> Float[Array, ""]:
  """`chamfer` averaged over shapes."""
  return jnp.mean(chamfer(p, q))
