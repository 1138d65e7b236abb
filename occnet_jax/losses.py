"""Losses and scalars that are logged beside them (device, jnp)."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def occupancy_cross_entropy(
  logits: Float[Array, "b t"], occupancies: Float[Array, "b t"]
) -> Float[Array, ""]:
  """Cross-entropy, summed over points and averaged over shapes (paper, Eq. 3)."""
  return optax.sigmoid_binary_cross_entropy(logits, occupancies).sum(-1).mean()


def sign_agnostic_cross_entropy(
  surface: Float[Array, " s"], elsewhere: Float[Array, " t"]
) -> Float[Array, ""]:
  """Cross-entropy of sigmoid(|f|) with 1/2 on the surface and 1 elsewhere.

  Tang et al., "SA-ConvONet", ICCV 2021, section 3.3; less log 2, its smallest value on
  the surface, so that 0 is the least. Means over points; a sign is never wrong.

  Args:
    surface: values f, less that of the surface, at its points.
    elsewhere: those at other points.
  """
  on, off = jnp.abs(surface), jnp.abs(elsewhere)
  on_surface = jax.nn.softplus(on) - on / 2 - math.log(2)
  return on_surface.mean() + jax.nn.softplus(-off).mean()


def grid_cross_entropy(
  logits: Float[Array, "b r r r"], occupancies: Float[Array, "b r r r"]
) -> Float[Array, ""]:
  """Cross-entropy, averaged over the cells of all grids.

  Choy et al., "3D-R2N2", ECCV 2016, section 3.4, as a mean as in the reference's code,
  while `occupancy_cross_entropy` is a sum over points.
  """
  return optax.sigmoid_binary_cross_entropy(logits, occupancies).mean()


def clamped_l1(
  distances: Float[Array, "b t"],
  true_distances: Float[Array, "b t"],
  clamp: float = 0.1,
) -> Float[Array, ""]:
  """Mean over points of |clamp(f) - clamp(s)|, in units of the distances.

  Park et al., "DeepSDF", CVPR 2019, equation 4, where clamp(x) = min(d, max(-d, x)), so
  that capacity goes to distances near the surface. A distance beyond the clamp has no
  gradient.

  Args:
    distances: predicted signed distances f.
    true_distances: signed distances s.
    clamp: the largest distance d that counts.
  """
  errors = jnp.clip(distances, -clamp, clamp) - jnp.clip(true_distances, -clamp, clamp)
  return jnp.abs(errors).mean()


def mean_code_norm(codes: Float[Array, "b c"]) -> Float[Array, ""]:
  """Mean over shapes of the length |c|, not its square (DeepSDF's regularisation).

  The published code weighs it by 1e-4 min(1, epoch / 100). Its gradient at a zero code
  is zero.
  """
  squares = jnp.square(codes).sum(-1)
  return jnp.sqrt(jnp.maximum(squares, 1e-24)).mean()


def kl_to_standard_normal(
  mean: Float[Array, "b z"], logstd: Float[Array, "b z"]
) -> Float[Array, ""]:
  """KL(N(mean, exp(logstd)^2) || N(0, 1)), summed over z, averaged over shapes (Eq. 4).

  (Kingma & Welling 2014, appendix B.)
  """
  variance = jnp.exp(2 * logstd)
  return (0.5 * (variance + jnp.square(mean) - 1) - logstd).sum(-1).mean()


def batch_iou(
  logits: Float[Array, "b t"],
  occupancies: Float[Array, "b t"],
  level: float | Float[Array, ""],
) -> Float[Array, ""]:
  """Mean over shapes of the IoU of {logit >= level} and the occupancies at the points.

  A shape with no point inside either set counts as 1.
  """
  predicted, inside = logits >= level, occupancies >= 0.5
  both = (predicted & inside).sum(-1)
  either = (predicted | inside).sum(-1)
  return jnp.where(either == 0, 1.0, both / jnp.maximum(either, 1)).mean()


def iou_at_levels(
  values: Float[Array, "b t"],
  occupancies: Float[Array, "b t"],
  levels: tuple[float, ...],
) -> Float[Array, "b k"]:
  """IoU of every shape at every level, one level in memory at a time."""
  iou = jax.vmap(batch_iou, in_axes=(0, 0, None))
  ious = jax.lax.map(
    lambda level: iou(values[:, None], occupancies[:, None], level), jnp.asarray(levels)
  )
  return ious.T


def logit(tau: float) -> float:
  """The logit at which the occupancy probability is tau, 0 < tau < 1."""
  if not 0 < tau < 1:
    raise ValueError(f"threshold tau is {tau}; want a probability between 0 and 1")
  return math.log(tau / (1 - tau))


def tanh_l2(
  fields: Float[Array, "b r r r"], targets: Float[Array, "b r r r"]
) -> Float[Array, ""]:
  """Mean over nodes of (tanh f - tanh g)^2.

  Peng et al., "Shape As Points", NeurIPS 2021, section 3.3, as the published code has
  it: tanh makes little of values far from that of the surface, 0.
  """
  return jnp.square(jnp.tanh(fields) - jnp.tanh(targets)).mean()


def relative_l1(
  distances: Float[Array, "b t"], true_distances: Float[Array, "b t"]
) -> Float[Array, ""]:
  """Mean over points of |f - s| / (|s| + 0.01), in units of the distances.

  Müller et al., SIGGRAPH 2022, section 5.2 (its mean relative error).
  """
  errors = jnp.abs(distances - true_distances)
  return (errors / (jnp.abs(true_distances) + 0.01)).mean()


def surface_terms(
  on: tuple[Float[Array, "b n"], Float[Array, "b n 3"]],
  off: tuple[Float[Array, "b t"], Float[Array, "b t 3"]],
  normals: Float[Array, "b n 3"],
) -> dict[str, Float[Array, ""]]:
  """The terms of the loss by which a distance is fitted to a surface alone.

  Sitzmann et al., NeurIPS 2020, equation 6: |f| and 1 - cos(grad f, normal) on the
  surface, exp(-100 |f|) off it, and ||grad f| - 1| everywhere. Every term is divided by
  the number of all points, on the surface and off it, as in the published code.

  Args:
    on: signed distances f of points on the surface, and their gradients by the point.
    off: the same of points in the cube.
    normals: outward normals of the points on the surface, of any length.

  Returns:
    "surface", "off_surface", "normal" and "eikonal", without weights.
  """
  (on_values, on_slopes), (off_values, off_slopes) = on, off
  count = on_values.size + off_values.size
  slopes = jnp.concatenate([on_slopes, off_slopes], 1)
  cosines = (on_slopes * normals).sum(-1) / (_length(on_slopes) * _length(normals))
  return {
    "surface": jnp.abs(on_values).sum() / count,
    "off_surface": jnp.exp(-100 * jnp.abs(off_values)).sum() / count,
    "normal": (1 - cosines).sum() / count,
    "eikonal": jnp.abs(_length(slopes) - 1).sum() / count,
  }


def _length(vectors: Float[Array, "b t 3"]) -> Float[Array, "b t"]:
  """Lengths whose gradient at zero is zero, not NaN."""
  return jnp.sqrt(jnp.maximum(jnp.square(vectors).sum(-1), 1e-16))
