"""The network of scans: features in a grid, oriented points, a Poisson solve (device).

encode: cloud (b, n, 3), padded by rows of NaN -> {"grid": (b, r, r, r, c), features,
"solid": (b, s, s, s), a soft indicator}.
decode: points (b, t, 3) -> logits of occupancy.

Its own design, of published parts. What a cloud without normals does not say is which
side of it is inside. A point network with local pooling and a U-Net (Peng et al., ECCV
2020) give each input point a normal that points outwards, a weight and a small offset,
and a Poisson solve (Peng et al., NeurIPS 2021) makes of these a field with the detail
of the points. At a query the decoder adds to it what the features know, which matters
where points are missing.

The normal of a point is a vector v of the network plus Q u at each scale, where Q comes
from the moments of the point's neighbours (nn/moments.py): their plane is known, its
sign is what is learned.

Two frames meet here. Clouds and queries are in cube units about the origin; solver and
moments work in a periodic unit cube, a box of side `BOX` in cube units.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from occnet_jax.models import occupancy, oriented_points
from occnet_jax.models.oriented_points import BOX, Oriented
from occnet_jax.nn import grid_features, moments, periodic, poisson
from occnet_jax.nn.grid_features import Cells, Layout
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.residual import ResnetBlockFC
from occnet_jax.nn.unet import UNet3D
from occnet_jax.types import Batch, BuildOptions, Method

HALF_SIDE = 0.55  # of the cube of features; points outside do not count
PADDING = 0.1
WIDTH = 64  # of the layers that see a point alone
BLOCKS = 3  # residual blocks of the point network
SCALE = 32  # nodes of the moments by which density is measured
LEAST_DENSITY = 0.05  # relative to the mean, so that a lone point does not weigh much
TYPICAL_COUNT = 3000  # points of a cloud
SHARPNESS = 10.0  # at first, of the soft indicator, which is about 1 inside
_ZEROS = {
  "kernel_init": nn.initializers.zeros_init(),
  "bias_init": nn.initializers.zeros_init(),
}


class Sizes(NamedTuple):
  """Sizes of the network, fields of configs/models/scan.py, and what it reads."""

  grid_resolution: int
  c_dim: int
  hidden_size: int
  unet3d_levels: int
  unet3d_filters: int
  unet3d_patch: int
  moment_sides: tuple[int, ...]
  poisson_side: int
  fine_poisson_side: int
  largest_offset: float
  decoder_blocks: int
  reads_normals: bool


class ScanNetwork(nn.Module):
  """Encoder and decoder; all names are this package's own."""

  sizes: Sizes

  def setup(self):
    s = self.sizes
    self.fc_in = Linear(WIDTH)
    if s.reads_normals:  # at first as if there were none
      self.fc_given = Linear(WIDTH, use_bias=False, kernel_init=_ZEROS["kernel_init"])
    self.blocks = [ResnetBlockFC(s.hidden_size) for _ in range(BLOCKS)]
    self.fc_c = Linear(s.c_dim)
    self.unet3d = UNet3D(
      s.c_dim,
      s.unet3d_levels,
      s.unet3d_filters,
      norm=False,
      patch=s.unet3d_patch,
      start="he",
      merge="add",
    )
    self.head_in = Linear(WIDTH)
    self.head_blocks = [ResnetBlockFC(WIDTH) for _ in range(2)]
    # A weight, a vector, another for each scale, and an offset.
    self.head_out = Linear(1 + 3 + 3 * len(s.moment_sides) + 3)
    # A weak type would not survive a step, which would then be compiled twice.
    self.sharpness = self.param(
      "sharpness", lambda key: jnp.log(jnp.float32(SHARPNESS))
    )
    self.decoder_in = Linear(s.hidden_size)
    self.decoder_c = [Linear(s.hidden_size) for _ in range(s.decoder_blocks)]
    self.decoder_blocks = [
      ResnetBlockFC(s.hidden_size) for _ in range(s.decoder_blocks)
    ]
    self.decoder_out = Linear(1, **_ZEROS)  # at first the solver's field alone

  def __call__(
    self, cloud: Float[Array, "b n k"], points: Float[Array, "b t 3"], *, train: bool
  ) -> tuple[Float[Array, "b t"], Float[Array, "b t"], Oriented]:
    """Logits, those of the solver's field alone, and the oriented points."""
    latent, oriented = self.orient(cloud, train=train)
    logits, solid = self.read(points, latent)
    return logits, solid, oriented

  def encode(
    self, cloud: Float[Array, "b n k"], *, train: bool
  ) -> dict[str, Float[Array, "b ..."]]:
    return self.orient(cloud, train=train)[0]

  def decode(
    self, points: Float[Array, "b t 3"], latent: Mapping[str, Array], *, train: bool
  ) -> Float[Array, "b t"]:
    del train  # no layer behaves differently
    return self.read(points, latent)[0]

  def orient(
    self, cloud: Float[Array, "b n k"], *, train: bool
  ) -> tuple[dict[str, Float[Array, "b ..."]], Oriented]:
    """The latent, and the oriented points that its field comes from.

    Args:
      cloud: points in cube units; with k = 6 their outward unit normals behind them,
        which take the place of the network's where they are not 0, and which it reads
        if it was trained with some.
      train: whether the solver's grid is the coarser one.
    """
    cloud, given = cloud[..., :3], cloud[..., 3:]
    if self.sizes.reads_normals and not given.shape[-1]:
      given = jnp.zeros_like(cloud)
    valid = (jnp.abs(cloud) < HALF_SIDE).all(-1)  # NaN is not
    points = jnp.where(valid[..., None], cloud, 0)
    unit = points / BOX + 0.5
    around = [moments.measure(unit, valid, side) for side in self.sizes.moment_sides]
    around = lax.stop_gradient(around)
    number = jnp.maximum(valid.sum(-1, keepdims=True, dtype=cloud.dtype), 1)
    density, known = self._describe(points, valid, number, around)
    has_normal = jnp.square(given).sum(-1, keepdims=True) > 0.5  # not rows of NaN
    net, cells = self._pool(self._embed(known, given, has_normal), points, valid)
    grid = grid_features.scatter_mean(self.fc_c(net), cells)
    grid = self.unet3d(grid)
    h = self.head_in(self._features(grid, points), nn.relu(net), known)
    for block in self.head_blocks:
      h = block(h)
    out = self.head_out(nn.relu(h))
    normals = out[..., 1:4]
    for k, own in enumerate(around):
      vector = out[..., 4 + 3 * k : 7 + 3 * k]
      normals = normals + moments.multiply(own.projector, vector)
    # A point of a dense region stands for less of the surface.
    weights = nn.sigmoid(out[..., 0] + 1) / jnp.maximum(density, LEAST_DENSITY)
    weights = jnp.where(valid, weights, 0)
    weights = weights / jnp.maximum(weights.sum(-1, keepdims=True), poisson.TINY)
    moved = points + self.sizes.largest_offset * jnp.tanh(out[..., -3:])
    if given.shape[-1]:
      # The network's lengths stay, which say how sure a point is.
      lengths = jnp.sqrt(jnp.square(normals).sum(-1, keepdims=True) + poisson.TINY)
      normals = jnp.where(has_normal, lengths * given, normals)
      if not self.sizes.reads_normals:
        # Offsets made for normals of its own would take away from what is given.
        moved = jnp.where(has_normal, points, moved)
    oriented = Oriented(moved, normals, weights, valid)
    # No weight depends on the grid, so training may use a coarser one.
    side = self.sizes.poisson_side if train else self.sizes.fine_poisson_side
    solid = oriented_points.solve(oriented, side)
    return {"grid": grid, "solid": solid}, oriented

  def read(
    self, points: Float[Array, "b t 3"], latent: Mapping[str, Array]
  ) -> tuple[Float[Array, "b t"], Float[Array, "b t"]]:
    """Logits at points, and those of the solver's field alone."""
    solid = periodic.read(latent["solid"], points / BOX + 0.5)[..., None]
    solid = jnp.exp(self.sharpness) * solid
    features = self._features(latent["grid"], points)
    net = self.decoder_in(points, jnp.tanh(solid), solid / SHARPNESS)
    for block, fc_c in zip(self.decoder_blocks, self.decoder_c, strict=True):
      net = block(net + fc_c(features))
    return (solid + self.decoder_out(nn.relu(net)))[..., 0], solid[..., 0]

  def _describe(
    self,
    points: Float[Array, "b n 3"],
    valid: Bool[Array, "b n"],
    number: Float[Array, "b 1"],
    around: list[moments.Moments],
  ) -> tuple[Float[Array, "b n"], Float[Array, "b n k"]]:
    """Densities relative to the cloud's mean, and what is known of each point."""
    count = around[self.sizes.moment_sides.index(SCALE)].count
    mean = jnp.where(valid, count, 0).sum(-1, keepdims=True) / number
    density = count / jnp.maximum(mean, poisson.TINY)
    within = points * (self.sizes.grid_resolution / (2 * HALF_SIDE))
    within = within - jnp.floor(within) - 0.5
    size = jnp.log(number / TYPICAL_COUNT) / 2
    known = [array for own in around for array in own[:3]]
    known += [within, 2 * points, jnp.log(count)[..., None] / 3]
    known += [jnp.broadcast_to(size[..., None], (*count.shape, 1))]
    return density, jnp.concatenate(known, -1)

  def _embed(
    self,
    known: Float[Array, "b n k"],
    given: Float[Array, "b n d"],
    has_normal: Bool[Array, "b n 1"],
  ) -> Float[Array, "b n h"]:
    """First features of the points, of what is known and of given normals."""
    net = self.fc_in(known)
    if self.sizes.reads_normals:
      net = net + self.fc_given(jnp.where(has_normal, given, 0))
    return net

  def _pool(
    self,
    net: Float[Array, "b n w"],
    points: Float[Array, "b n 3"],
    valid: Bool[Array, "b n"],
  ) -> tuple[Float[Array, "b n h"], Cells]:
    """Features of the points, shared with those in the same cell of the grid."""
    layout = Layout(("grid",), 0, self.sizes.grid_resolution, PADDING)
    cells = grid_features.find_cells(points, "grid", layout, valid)
    parts = (net,)
    for k, block in enumerate(self.blocks):
      net = block(*parts)
      if k < BLOCKS - 1:
        parts = net, grid_features.pool(net, cells, "max")
    return net, cells

  def _features(
    self, grid: Float[Array, "b r r r c"], points: Float[Array, "b t 3"]
  ) -> Float[Array, "b t c"]:
    settings = {"padding": PADDING, "mode": "bilinear", "read_at": "cells"}
    return grid_features.sample({"grid": grid}, points, **settings)


def method(
  net: ScanNetwork,
  *,
  tau: float,
  candidates: tuple[float, ...],
  solid_weight: float,
  normal_weight: float,
  normals_given: float,
) -> Method:
  """The network as a Method.

  Args:
    net: the module.
    tau, candidates: as of `occupancy.method`.
    solid_weight: weight of the cross-entropy of the solver's field alone.
    normal_weight: weight of the error of normals beside the cross-entropy per point,
      where batches have "cloud_normals".
    normals_given: share of the clouds in training whose normals are given.
  """
  plain = occupancy.method(net, tau=tau, candidates=candidates)

  def loss(variables: Any, batch: Batch, key: Any, train: bool) -> Any:
    cloud = batch["inputs"]
    if train and normals_given and "cloud_normals" in batch:
      normals = batch["cloud_normals"]
      cloud = oriented_points.give_normals(cloud, normals, key, normals_given)
    logits, solid, oriented = net.apply(variables, cloud, batch["points"], train=train)
    value, logged = occupancy.scalars(logits, batch, plain.output)
    alone, of_solid = occupancy.scalars(solid, batch, plain.output)
    logged["iou_solid"] = of_solid["iou"]
    value = value + solid_weight * alone
    if "cloud_normals" in batch:
      error, turned = oriented_points.normal_errors(oriented, batch["cloud_normals"])
      value = value + normal_weight * batch["points"].shape[1] * error
      logged |= {"normal_error": error, "normals_turned": turned}
    return occupancy.loss_result(value, {}, logged, batch)

  def score(variables: Any, batch: Batch) -> Any:
    logits, _, _ = net.apply(variables, batch["inputs"], batch["points"], train=False)
    return occupancy.score(logits, batch, plain.output)

  return plain._replace(loss=loss, score=score, pads=True, takes_normals=True)


def build(model: Mapping[str, Any], options: BuildOptions) -> Method:
  """The network that the fields of configs/models/scan.py describe.

  Raises:
    ValueError: fields that do not go together, or a setting that this system lacks.
  """
  if options.remat:
    raise ValueError("config.train.remat is set, but scan's decoder keeps little")
  if SCALE not in model["moment_sides"]:
    raise ValueError(
      f"config.model.moment_sides is {tuple(model['moment_sides'])}; want {SCALE} "
      "among them, by which density is measured"
    )
  step = model["unet3d_patch"] * 2 ** (model["unet3d_levels"] - 1)
  if (side := model["grid_resolution"]) % step:
    raise ValueError(
      f"config.model.grid_resolution is {side}; want a multiple of {step}, which the "
      f"U-Net of {model['unet3d_levels']} levels divides"
    )
  if not 0 <= (share := model["normals_given"]) <= 1:
    raise ValueError(f"config.model.normals_given is {share}; want a share of 0 to 1")
  fields = {name: model[name] for name in Sizes._fields if name in model}
  fields |= {"moment_sides": tuple(model["moment_sides"])}
  sizes = Sizes(**fields, reads_normals=share > 0)
  chosen = options.threshold
  return method(
    ScanNetwork(sizes),
    tau=model["tau"] if chosen is None else chosen,
    candidates=tuple(model["tau_grid"]) if chosen is None else (),
    solid_weight=model["solid_weight"],
    normal_weight=model["normal_weight"],
    normals_given=share,
  )
