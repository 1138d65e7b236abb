"""Networks of POCO as the recordings name and call them.

The published code has features before points: (b, c, n).
"""

import jax.numpy as jnp

from occnet_jax.nn.fkaconv import LEVELS, FKAConv, FKAConvNetwork, Pyramid
from occnet_jax.nn.neighbours import AttentionDecoder

FAMILY = "poco"
# Kernels (out, in, 1, 1) that are those of dense layers, and one (out, in, 1, places)
# whose inputs are the features at all places.
DENSE = ("cv", "fc1", "fc2", "fc3", "fc_query", "fc_value")


class FeaturesFirstConv(FKAConv):
  def __call__(self, *args, train):
    return jnp.moveaxis(super().__call__(*args, train=train), -1, 1)


class FeaturesFirstNetwork(FKAConvNetwork):
  def __call__(self, pyramid, *, train):
    return jnp.moveaxis(super().__call__(pyramid, train=train), -1, 1)


class FeaturesFirstDecoder(AttentionDecoder):
  def __call__(self, queries, latent, *, train):
    del train
    return jnp.moveaxis(super().__call__(queries, latent), -1, 1)


def network(about):
  """The network of a case, with the sizes that the published code was given."""
  sizes = about["config"]
  if about["kind"] == "InterpAttentionKHeadsNet":
    return FeaturesFirstDecoder(sizes["K"], sizes["latent_size"])
  if about["kind"] == "Convolution_FKAConv":
    return FeaturesFirstConv(sizes["out_channels"], sizes["kernel_size"])
  return FeaturesFirstNetwork(sizes["out_channels"], sizes["hidden"])


def arguments(given):
  """The arguments of a case's network, from its recorded inputs."""

  def rows_first(name):
    return jnp.moveaxis(jnp.asarray(given[name]), 1, -1)

  def ids(first, second):
    return jnp.asarray(given[f"ids{first}{second}"], jnp.int32)

  points = rows_first("pos")
  if "q" in given:
    return rows_first("q"), {"points": points, "features": rows_first("latents")}
  if "ids" in given:
    rows = jnp.asarray(given["ids"], jnp.int32)
    return rows_first("x"), points, rows_first("support"), rows
  # The decoder finds the recorded neighbours itself; those of the small levels here are
  # fewer than the network would take.
  last = LEVELS - 1
  pyramid = Pyramid(
    (points, *(rows_first(f"support{i}") for i in range(1, LEVELS))),
    within=tuple(ids(i, i) for i in range(LEVELS)),
    down=tuple(ids(i, i + 1) for i in range(last)),
    up=tuple(ids(i + 1, i)[..., 0] for i in range(last)),
  )
  return (pyramid,)


def named_outputs(outputs):
  """Outputs by their names in a recording."""
  return {"out0": outputs}
