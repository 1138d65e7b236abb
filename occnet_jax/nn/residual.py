"""Residual blocks over points (device, jnp).

The last layer of a block starts at zero, so that the block is the identity at first, as
in the reference implementation. Points are axis 1, features the last axis: (b, t, c).
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import BatchNorm, ConditionalBatchNorm


class ResnetBlockFC(nn.Module):
  """Pre-activation residual block of linear layers: s(x) + fc_1(relu(fc_0(relu(x)))).

  Attributes:
    features: size of the result; a bias-free linear shortcut s stands where it differs
      from that of x, else s is the identity.
    hidden: size between the two layers; None for the smaller of in and out.
  """

  features: int
  hidden: int | None = None

  @nn.compact
  def __call__(self, *parts: Float[Array, "..."]) -> Float[Array, "... o"]:
    """The block of x = [part, part, ...], as `Linear` takes them."""
    size = sum(part.shape[-1] for part in parts)
    hidden = self.hidden or min(size, self.features)
    dx = Linear(hidden, name="fc_0")(*(nn.relu(part) for part in parts))
    zeros = nn.initializers.zeros_init()
    dx = Linear(self.features, kernel_init=zeros, name="fc_1")(nn.relu(dx))
    if size == self.features and len(parts) == 1:
      return parts[0] + dx
    return Linear(self.features, use_bias=False, name="shortcut")(*parts) + dx


class ConditionalResnetBlock(nn.Module):
  """Residual block with conditional batch norm before each of its two linear layers.

  Attributes: as of `BatchNorm`.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t f"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t f"]:
    norm = {"axis_name": self.axis_name, "unbiased_variance": self.unbiased_variance}
    size = x.shape[-1]
    zeros = nn.initializers.zeros_init()
    dx = ConditionalBatchNorm(**norm, name="bn_0")(x, c, train=train)
    dx = Linear(size, name="fc_0")(nn.relu(dx))
    dx = ConditionalBatchNorm(**norm, name="bn_1")(dx, c, train=train)
    return x + Linear(size, kernel_init=zeros, name="fc_1")(nn.relu(dx))


class ResnetBlock(nn.Module):
  """Residual block with batch norm before each of its two linear layers.

  Attributes: as of `BatchNorm`.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True

  @nn.compact
  def __call__(self, x: Float[Array, "b t f"], *, train: bool) -> Float[Array, "b t f"]:
    norm = {"axis_name": self.axis_name, "unbiased_variance": self.unbiased_variance}
    size = x.shape[-1]
    zeros = nn.initializers.zeros_init()
    dx = BatchNorm(**norm, name="bn_0")(x, train=train)
    dx = Linear(size, name="fc_0")(nn.relu(dx))
    dx = BatchNorm(**norm, name="bn_1")(dx, train=train)
    return x + Linear(size, kernel_init=zeros, name="fc_1")(nn.relu(dx))


def apply_blocks(
  blocks: Sequence[nn.Module],
  x: Float[Array, "b t f"],
  *args: Any,
  remat: bool,
  **settings: bool,
) -> Float[Array, "b t f"]:
  """Blocks of one form, one behind the other.

  Args:
    blocks: bound modules, called as block(x, *args, **settings).
    x: what the first one takes.
    args, settings: what all of them take besides.
    remat: keep only what stands between the blocks, and compute them again for the
      gradient. As a scan, because XLA on a CPU merges the second computation with the
      first wherever it sees both.
  """
  if not remat or blocks[0].is_initializing():
    for block in blocks:
      x = block(x, *args, **settings)
    return x
  alone = blocks[0].clone(parent=None, name=None)

  @functools.partial(jax.checkpoint, prevent_cse=False)  # a scan does by itself
  def apply(x, variables):
    mutable = ["batch_stats"]
    x, changed = alone.apply(variables, x, *args, **settings, mutable=mutable)
    return x, changed.get("batch_stats", {})

  each = [block.variables for block in blocks]
  x, stats = lax.scan(apply, x, jax.tree.map(lambda *a: jnp.stack(a), *each))
  for i, block in enumerate(blocks):
    for name, own in jax.tree.map(lambda a, i=i: a[i], stats).items():
      block.put_variable("batch_stats", name, own)
  return x
