"""Batch norm, conditional batch norm and instance norm (device, jnp).

The maps that condition a norm start at zero, so that it is unconditional at first, as
in the reference implementation. Points are axis 1, features the last axis: (b, t, f).
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear

MOMENTUM = 0.9  # share of the old running statistics that stays; PyTorch's is 1 - 0.9
EPSILON = 1e-5


class NormSettings(NamedTuple):
  """The settings that all batch norms of a network share.

  Attributes:
    axis_name: device axis to average the statistics over; None for one device.
    unbiased_variance: keep the running variance unbiased (n / (n - 1)) as PyTorch
      does, or biased as Flax does. The normalisation of a batch is biased in both.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(
  x: Float[Array, "b t f"],
  gamma: Float[Array, "b 1 f"],
  beta: Float[Array, "b 1 f"],
  axis_name: str | None,
) -> tuple[Float[Array, "b t f"], Float[Array, " f"], Float[Array, " f"]]:
  """gamma * (x - mean) / sqrt(var + epsilon) + beta, with mean and var over (b, t).

  The gradient is written by hand because it needs only two sums over the points of a
  shape and one more pass; benchmarks/conditional_norm.py compares it with autodiff.

  Args:
    x: features.
    gamma, beta: scale and shift of every shape.
    axis_name: device axis to average the statistics over; None for one device.

  Returns:
    The result, and mean and biased variance, which pass no gradient.
  """
  return _normalise_forward(x, gamma, beta, axis_name)[0]


def _normalise_forward(x, gamma, beta, axis_name):
  mean = _mean(x.mean((0, 1)), axis_name)
  var = _mean(jnp.square(x - mean[None, None]).mean((0, 1)), axis_name)
  # One multiplication and one addition per entry: y = scale x + (beta - scale mean).
  scale = gamma * lax.rsqrt(var + EPSILON)[None, None]
  y = scale * x + (beta - scale * mean[None, None])
  return (y, mean, var), (x, gamma, mean, var)


def _normalise_backward(axis_name, residuals, cotangents):
  """With r = 1 / sqrt(var + epsilon), u = r (x - mean) and E the mean over (b, t),

    dgamma = sum_t(dy u),  dbeta = sum_t(dy),
    dx = r (gamma dy - E[gamma dy] - u E[gamma dy u]).

  gamma is constant over the points of a shape, so both means follow from the sums that
  dgamma and dbeta need. With r u = r^2 (x - mean) the last line is linear in dy and x:
  dx = gamma r dy + slope x + shift.
  """
  x, gamma, mean, var = residuals
  dy = cotangents[0]
  inverse = lax.rsqrt(var + EPSILON)
  dbeta = dy.sum(1, keepdims=True)
  dgamma = (dy * (x - mean[None, None])).sum(1, keepdims=True) * inverse[None, None]
  t = x.shape[1]
  mean_dy = _mean((gamma * dbeta).mean((0, 1)) / t, axis_name)
  mean_dy_u = _mean((gamma * dgamma).mean((0, 1)) / t, axis_name)
  slope = -jnp.square(inverse) * mean_dy_u
  shift = -inverse * mean_dy - slope * mean
  dx = gamma * inverse[None, None] * dy + slope[None, None] * x + shift[None, None]
  return dx, dgamma, dbeta


normalise.defvjp(_normalise_forward, _normalise_backward)


def _mean(x: Float[Array, " f"], axis_name: str | None) -> Float[Array, " f"]:
  return x if axis_name is None else lax.pmean(x, axis_name)


class BatchNorm(nn.Module):
  """scale * normalised x + bias, both learned; statistics over all axes but the last.

  The same for points (b, t, f), images (b, h, w, f) and grids (b, r, r, r, f). In
  training the statistics are those of the batch, otherwise the running ones.

  Attributes:
    settings: what all norms of the network share.
  """

  settings: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b *s f"], *, train: bool
  ) -> Float[Array, "b *s f"]:
    b, f = x.shape[0], x.shape[-1]
    scale = self.param("scale", nn.initializers.ones_init(), (f,))
    bias = self.param("bias", nn.initializers.zeros_init(), (f,))
    gamma, beta = (jnp.broadcast_to(a[None, None], (b, 1, f)) for a in (scale, bias))
    y = _batch_norm(self, x.reshape(b, -1, f), gamma, beta, train)
    return y.reshape(x.shape)


class InstanceNorm(nn.Module):
  """scale * normalised x + bias, with the statistics of each shape, in use as well.

  Ulyanov et al. 2016; over all axes but the first and the last.
  """

  @nn.compact
  def __call__(self, x: Float[Array, "b *s f"]) -> Float[Array, "b *s f"]:
    axes = tuple(range(1, x.ndim - 1))
    row = (1,) * (x.ndim - 1) + (-1,)
    scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
    mean = x.mean(axes, keepdims=True)
    var = jnp.square(x - mean).mean(axes, keepdims=True)
    factor = scale.reshape(row) * lax.rsqrt(var + EPSILON)
    return factor * (x - mean) + bias.reshape(row)


class ConditionalBatchNorm(nn.Module):
  """gamma(c) * BatchNorm(x) + beta(c), with gamma and beta linear in the code c.

  Paper, section 3.4 and supplementary (after De Vries et al. 2017).

  Attributes:
    settings: what all norms of the network share.
  """

  settings: NormSettings = NormSettings()

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t f"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t f"]:
    zeros, ones = nn.initializers.zeros_init(), nn.initializers.ones_init()
    size = x.shape[-1]
    gamma = Linear(size, kernel_init=zeros, bias_init=ones, name="conv_gamma")(c)
    beta = Linear(size, kernel_init=zeros, bias_init=zeros, name="conv_beta")(c)
    norm = _BatchNormCore(self.settings, name="bn")
    return norm(x, gamma[:, None], beta[:, None], train=train)


class _BatchNormCore(nn.Module):
  """gamma * normalised x + beta with given gamma and beta."""

  settings: NormSettings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b t f"],
    gamma: Float[Array, "b 1 f"],
    beta: Float[Array, "b 1 f"],
    *,
    train: bool,
  ) -> Float[Array, "b t f"]:
    return _batch_norm(self, x, gamma, beta, train)


def _batch_norm(
  module: _BatchNormCore | BatchNorm,
  x: Float[Array, "b t f"],
  gamma: Float[Array, "b 1 f"],
  beta: Float[Array, "b 1 f"],
  train: bool,
) -> Float[Array, "b t f"]:
  """The norm of both classes, with running statistics as variables of `module`."""
  axis_name, unbiased_variance = module.settings
  size = x.shape[-1]
  running_mean = module.variable("batch_stats", "mean", jnp.zeros, (size,))
  running_var = module.variable("batch_stats", "var", jnp.ones, (size,))
  if not train or module.is_initializing():
    # One affine map per shape and feature, folded before it meets the points.
    scale = gamma * lax.rsqrt(running_var.value + EPSILON)[None, None]
    return scale * x + (beta - scale * running_mean.value[None, None])
  y, mean, var = normalise(x, gamma, beta, axis_name)
  if unbiased_variance:
    n = x.shape[0] * x.shape[1]
    n *= lax.axis_size(axis_name) if axis_name else 1
    var = var * (n / max(n - 1, 1))
  running_mean.value = MOMENTUM * running_mean.value + (1 - MOMENTUM) * mean
  running_var.value = MOMENTUM * running_var.value + (1 - MOMENTUM) * var
  return y
