"""One free code per training shape: indices (b,) -> codes (b, c) (device, jnp)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class CodeTable(nn.Module):
  """A learned table of codes, instead of an encoder (an auto-decoder).

  Paper, section 4.1 (representation power); entries start as N(0, 1).

  Attributes:
    shapes: rows of the table.
    c_dim: size of a code.
  """

  shapes: int
  c_dim: int = 512

  @nn.compact
  def __call__(self, indices: Int[Array, " b"], *, train: bool) -> Float[Array, "b c"]:
    """Row indices[i] for shape i; NaN for an index that the table does not have."""
    del train  # a table has no layers
    init = nn.initializers.normal(1.0)
    table = self.param("embedding", init, (self.shapes, self.c_dim))
    return jnp.take(table, indices, axis=0, mode="fill", fill_value=jnp.nan)
