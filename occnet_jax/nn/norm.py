"""Batch norm and conditional batch norm over points (device, jnp).

The conditional maps start at zero, so that a norm is unconditional at first, as in the
reference implementation. Points are axis 1, features the last axis: (b, t, c).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn.linear import Linear

MOMENTUM = 0.9  # of the running statistics; PyTorch counts the other way: 0.1
EPSILON = 1e-5


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(
  x: Float[Array, "b t f"],
  gamma: Float[Array, "b 1 f"],
  beta: Float[Array, "b 1 f"],
  axis_name: str | None,
) -> tuple[Float[Array, "b t f"], Float[Array, " f"], Float[Array, " f"]]:
  """gamma * (x - mean) / sqrt(var + epsilon) + beta, with mean and var over (b, t).

  The gradient stands here by hand, because it needs just two sums over the points of a
  shape and one more pass; benchmarks/conditional_norm.py has what autodiff takes.

  Args:
    x: features.
    gamma, beta: scale and shift of every shape.
    axis_name: device axis to average the statistics over; None for one device.

  Returns:
    The result, and mean and biased var, which pass no gradient.
  """
  return _normalise_forward(x, gamma, beta, axis_name)[0]


def _normalise_forward(x, gamma, beta, axis_name):
  mean = _mean(x.mean((0, 1)), axis_name)
  var = _mean(jnp.square(x - mean[None, None]).mean((0, 1)), axis_name)
  scale = gamma * lax.rsqrt(var + EPSILON)[None, None]
  y = scale * x + (beta - scale * mean[None, None])
  return (y, mean, var), (x, gamma, mean, var)


def _normalise_backward(axis_name, saved, cotangents):
  x, gamma, mean, var = saved
  dy = cotangents[0]
  inverse = lax.rsqrt(var + EPSILON)
  sum_dy = dy.sum(1, keepdims=True)
  sum_dy_x = (dy * (x - mean[None, None])).sum(1, keepdims=True) * inverse[None, None]
  t = x.shape[1]
  mean_dx = _mean((gamma * sum_dy).mean((0, 1)) / t, axis_name)
  mean_dx_x = _mean((gamma * sum_dy_x).mean((0, 1)) / t, axis_name)
  slope = -jnp.square(inverse) * mean_dx_x
  shift = -inverse * mean_dx - slope * mean
  dx = gamma * inverse[None, None] * dy + slope[None, None] * x + shift[None, None]
  return dx, sum_dy_x, sum_dy


normalise.defvjp(_normalise_forward, _normalise_backward)


def _mean(x: Float[Array, " f"], axis_name: str | None) -> Float[Array, " f"]:
  return x if axis_name is None else lax.pmean(x, axis_name)


class _BatchNormCore(nn.Module):
  """gamma * normalised x + beta, with statistics over shapes and points.

  In training those of the batch; otherwise the running ones, which make it one affine
  map per shape and feature, folded before it meets the points.

  Attributes:
    axis_name: device axis to average the statistics over; None for one device.
    unbiased_variance: keep the running variance unbiased (n / (n - 1)) as PyTorch
      does, or biased as Flax does. The batch's own normalisation is biased in both.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True

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


class BatchNorm(nn.Module):
  """scale * normalised x + bias, both learned; statistics over all axes but the last.

  For points (b, t, f), images (b, h, w, f) and grids (b, r, r, r, f) alike.

  Attributes: as of `BatchNorm`.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True

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


def _batch_norm(
  module: _BatchNormCore | BatchNorm,
  x: Float[Array, "b t f"],
  gamma: Float[Array, "b 1 f"],
  beta: Float[Array, "b 1 f"],
  train: bool,
) -> Float[Array, "b t f"]:
  """The norm as `BatchNorm` says, with running statistics kept in `module`."""
  size = x.shape[-1]
  running_mean = module.variable("batch_stats", "mean", jnp.zeros, (size,))
  running_var = module.variable("batch_stats", "var", jnp.ones, (size,))
  if not train or module.is_initializing():
    scale = gamma * lax.rsqrt(running_var.value + EPSILON)[None, None]
    return scale * x + (beta - scale * running_mean.value[None, None])
  y, mean, var = normalise(x, gamma, beta, module.axis_name)
  if module.unbiased_variance:
    n = x.shape[0] * x.shape[1]
    n *= lax.axis_size(module.axis_name) if module.axis_name else 1
    var = var * (n / max(n - 1, 1))
  running_mean.value = MOMENTUM * running_mean.value + (1 - MOMENTUM) * mean
  running_var.value = MOMENTUM * running_var.value + (1 - MOMENTUM) * var
  return y


class ConditionalBatchNorm(nn.Module):
  """gamma(c) * BatchNorm(x) + beta(c), with gamma and beta linear in the code c.

  Paper, section 3.4 and supplementary (after De Vries et al. 2017).

  Attributes: as of `BatchNorm`.
  """

  axis_name: str | None = None
  unbiased_variance: bool = True

  @nn.compact
  def __call__(
    self, x: Float[Array, "b t f"], c: Float[Array, "b c"], *, train: bool
  ) -> Float[Array, "b t f"]:
    zeros, ones = nn.initializers.zeros_init(), nn.initializers.ones_init()
    size = x.shape[-1]
    gamma = Linear(size, kernel_init=zeros, bias_init=ones, name="conv_gamma")(c)
    beta = Linear(size, kernel_init=zeros, bias_init=zeros, name="conv_beta")(c)
    norm = _BatchNormCore(self.axis_name, self.unbiased_variance, name="bn")
    return norm(x, gamma[:, None], beta[:, None], train=train)
