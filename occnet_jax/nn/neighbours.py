"""Features of query points from the input points nearest to them (device, jnp).

Planes and grids blur what is smaller than a cell; the input points do not. So a few of
them, with their features and the offsets to them, tell a decoder the detail. POCO
(Boulch and Marlet, CVPR 2022, section 3.2) decodes from the input points alone
(`AttentionDecoder`). Beside planes and grids a light form of it is enough
(`NeighbourAttention`): 8 neighbours in place of 64, a weight for every feature in place
of the mean over 64 heads.

Shape letters: b shapes, t queries, n input points, k neighbours, c features.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from occnet_jax.nn.linear import Linear
from occnet_jax.nn.pointnet2 import gather_rows, squared_distances

CHUNK = 1024  # queries whose distances to all input points are in memory at a time
# Offsets are divided by sqrt(REACH^2 + length^2), so that those to points as near as
# the ones of a dense cloud are of order one, and those to far points are directions.
REACH = 0.05


class NeighbourAttention(nn.Module):
  """Sums of what the nearest input points say of a query, weighted by a softmax.

  Attributes:
    count: number k of neighbours.
    features: size of the result and of the layers.
  """

  count: int
  features: int = 32

  @nn.compact
  def __call__(
    self,
    queries: Float[Array, "b t 3"],
    points: Float[Array, "b n 3"],
    point_features: Float[Array, "b n c"],
  ) -> Float[Array, "b t f"]:
    """The features of queries; both kinds of points in cube units.

    Raises:
      ValueError: clouds of fewer points than neighbours.
    """
    rows = find_nearest(queries, points, self.count)
    offsets = queries[:, :, None] - gather_rows(points, rows)
    squares = jnp.square(offsets).sum(-1, keepdims=True)
    offsets = offsets * lax.rsqrt(REACH**2 + squares)
    net = Linear(self.features, name="fc_1")(gather_rows(point_features, rows), offsets)
    net = nn.relu(Linear(self.features, name="fc_2")(nn.relu(net)))
    weights = nn.softmax(Linear(self.features, name="fc_query")(net), axis=2)
    return (weights * Linear(self.features, name="fc_value")(net)).sum(2)


class AttentionDecoder(nn.Module):
  """Class logits of queries, outside and inside, from the nearest input points alone.

  Boulch and Marlet, CVPR 2022, section 3.2, as published, whose names the modules have:
  three layers see a neighbour's features and the offset from it; heads then weigh the
  neighbours by a softmax, and the mean of their weights sums the neighbours' values.
  At k neighbours and c features a query costs 2 k (4 c^2 + 3 c + c heads) FLOP and
  little more, 0.8 M with the published 64, 32 and 64.

  Attributes:
    count: number k of neighbours.
    features: size of the layers.
    heads: softmaxes whose mean weighs the neighbours.
  """

  count: int = 64
  features: int = 32
  heads: int = 64

  @nn.compact
  def __call__(
    self, queries: Float[Array, "b t 3"], latent: Mapping[str, Float[Array, "b n _"]]
  ) -> Float[Array, "b t 2"]:
    """The logits; the latent has "points" (b, n, 3) and "features" (b, n, c).

    Raises:
      ValueError: clouds of fewer points than neighbours.
    """
    rows = find_nearest(queries, latent["points"], self.count)
    offsets = queries[:, :, None] - gather_rows(latent["points"], rows)
    net = Linear(self.features, name="fc1")(
      gather_rows(latent["features"], rows), offsets
    )
    net = nn.relu(Linear(self.features, name="fc2")(nn.relu(net)))
    net = nn.relu(Linear(self.features, name="fc3")(net))
    weights = nn.softmax(Linear(self.heads, name="fc_query")(net), axis=2).mean(-1)
    values = Linear(self.features, name="fc_value")(net)
    return Linear(2, name="fc8")((weights[..., None] * values).sum(2))


def find_nearest(
  queries: Float[Array, "b t 3"], points: Float[Array, "b n 3"], count: int
) -> Int[Array, "b t k"]:
  """Rows of the `count` input points nearest to each query, the nearest first.

  By comparison with all input points, without gradients.

  Raises:
    ValueError: clouds of fewer points than `count`.
  """
  if points.shape[1] < count:
    raise ValueError(
      f"a cloud of {points.shape[1]} points; the network wants at least {count}, which "
      "are the neighbours of a query (config.model.knn); give it more points"
    )
  points = lax.stop_gradient(points)

  def search(query: Float[Array, "b 3"]) -> Int[Array, "b k"]:
    return lax.top_k(-squared_distances(query[:, None], points)[:, 0], count)[1]

  by_query = jnp.moveaxis(lax.stop_gradient(queries), 1, 0)
  return jnp.moveaxis(lax.map(search, by_query, batch_size=CHUNK), 0, 1)
