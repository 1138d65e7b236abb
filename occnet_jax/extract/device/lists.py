"""Lists of fixed length in compiled programs (device).

A compiled program has no arrays of unknown length. What is found is kept in lists of a
fixed size with the number of entries that count; those after it are padding.

Shape letters: k entries of a list, t points of a batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Count = Int[Array, ""]
PointBatch = Callable[[Float[Array, "t 3"]], Float[Array, "t ..."]]


def positions_of(
  flags: Bool[Array, "..."], size: int
) -> tuple[Int[Array, " k"], Count]:
  """Positions of the true flags in the flat array, ascending, and their number.

  Args:
    flags: the flags.
    size: length k of the list. The number may be larger; then positions are left out.

  Returns:
    (k,) positions; padding is the number of flags, one beyond the last position, so
    that `.at[positions].set(..., mode="drop")` leaves it out.
  """
  ends = jnp.cumsum(flags.ravel(), dtype=jnp.int32)
  # The entry of rank i is where the running number of true flags first reaches i + 1. A
  # bisection for each entry is cheaper than a scatter from each flag: few are true.
  return jnp.searchsorted(ends, jnp.arange(1, size + 1)), ends[-1]


def is_entry(size: int, count: Count) -> Bool[Array, " k"]:
  """Whether each place of a list holds an entry, not padding."""
  return jnp.arange(size) < count


def map_entries(
  function: PointBatch, points: Float[Array, "k 3"], count: Count, batch: int
) -> Float[Array, "k ..."]:
  """A function's results at the points of a list, 0 for its padding.

  Args:
    function: points (t, 3) -> results (t, ...).
    points: the list.
    count: number of entries. The time is that of the batches that hold any.
    batch: largest number of points t in one call.
  """
  size, batch = len(points), min(batch, len(points))
  points = jnp.pad(points, ((0, -size % batch), (0, 0)))
  tail = jax.eval_shape(function, points[:batch]).shape[1:]

  def evaluate_batch(i: Int[Array, ""], results: Float[Array, "..."]):
    values = function(lax.dynamic_slice_in_dim(points, i * batch, batch))
    return lax.dynamic_update_slice_in_dim(results, values, i * batch, 0)

  count = jnp.minimum(count, size)
  results = jnp.zeros((len(points), *tail), jnp.float32)
  results = lax.fori_loop(0, (count + batch - 1) // batch, evaluate_batch, results)
  used = is_entry(size, count).reshape(-1, *[1] * len(tail))
  return jnp.where(used, results[:size], 0)
