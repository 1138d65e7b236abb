"""One free code per training shape: indices (b,) -> codes (b, c) (device, jnp)."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


class CodeTable(nn.Module):
  """A learned table of codes in place of an encoder (an auto-decoder).

  Occupancy networks, section 4.1 (representation power), with codes from N(0, 1);
  DeepSDF, section 4.1, with codes from N(0, 1 / c) in the unit ball.

  Attributes:
    shapes: rows of the table.
    c_dim: size of a code.
    stddev: standard deviation of the initial entries.
    max_norm: length to which a longer code is shortened when it is read; None for any.
      PyTorch shortens the row of the table as well. Here the row keeps its length, and
      the gradient by the shortened code is used as that by the row, so that a row
      outside the ball can move back.
  """

  shapes: int
  c_dim: int = 512
  stddev: float = 1.0
  max_norm: float | None = None

  @nn.compact
  def __call__(self, indices: Int[Array, " b"], *, train: bool) -> Float[Array, "b c"]:
    """Row indices[i] for shape i; NaN for an index outside the table."""
    del train  # a table has no layers
    init = nn.initializers.normal(self.stddev)
    table = self.param("embedding", init, (self.shapes, self.c_dim))
    codes = jnp.take(table, indices, axis=0, mode="fill", fill_value=jnp.nan)
    if self.max_norm is None:
      return codes
    squares = lax.stop_gradient(jnp.square(codes).sum(-1, keepdims=True))
    shortening = self.max_norm * lax.rsqrt(jnp.maximum(squares, self.max_norm**2))
    return codes * shortening
