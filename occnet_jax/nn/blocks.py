"""Linear maps, residual blocks and (conditional) batch norm over points (device, jnp).

Initial values follow the reference implementation (PyTorch's defaults: weight and bias
uniform in +-1/sqrt(fan_in); the last layer of a residual block and the conditional
maps start at zero), so that a block is the identity and a norm unconditional at first.
Points are axis 1, features the last axis: (b, t, c).
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.nn.precision import matmul

MOMENTUM = 0.9  # of the running statistics; PyTorch counts the other way: 0.1
EPSILON = 1e-5


def uniform_by_fan_in(fan_in: int) -> nn.initializers.Initializer:
  """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), for weights and biases alike."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def fourier_features(
  points: Float[Array, "b t 3"], octaves: int
) -> Float[Array, "b t k"]:
  """[p, sin(2^i pi p), cos(2^i pi p)] for i = 0, 1, ..., octaves - 1.

  Lets a small network follow fine detail sooner (Tancik et al. 2020); not in the paper.
  """
  waves = 2.0 ** jnp.arange(octaves) * jnp.pi
  phases = (points[..., None, :] * waves.reshape(1, 1, -1, 1)).reshape(
    *points.shape[:2], -1
  )
  return jnp.concatenate([points, jnp.sin(phases), jnp.cos(phases)], -1)


class Linear(nn.Module):
  """[x, context] @ kernel + bias; the one place where a matrix product stands.

  `context` (b, j) is what all points of a shape share: its part of the product is
  computed once per shape instead of being tiled over the points.

  Attributes:
    features: size of the last axis of the result.
    use_bias: whether a bias is added.
    kernel_init, bias_init: None for the reference's default, U(+-1/sqrt(fan_in)).
  """

  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer | None = None
  bias_init: nn.initializers.Initializer | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "... i"], context: Float[Array, "b j"] | None = None
  ) -> Float[Array, "... o"]:
    own = x.shape[-1]
    fan_in = own + (0 if context is None else context.shape[-1])
    default = uniform_by_fan_in(fan_in)
    kernel = self.param("kernel", self.kernel_init or default, (fan_in, self.features))
    y = matmul(x, kernel[:own])
    if context is not None:
      y = y + matmul(context, kernel[own:])[:, None]
    if not self.use_bias:
      return y
    bias = self.param("bias", self.bias_init or default, (self.features,))
    return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


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
  def __call__(
    self, x: Float[Array, "... i"], context: Float[Array, "b j"] | None = None
  ) -> Float[Array, "... o"]:
    """The block for [x, context], where `context` is shared as in `Linear`."""
    size = x.shape[-1] + (0 if context is None else context.shape[-1])
    activated = None if context is None else nn.relu(context)
    dx = Linear(self.hidden or min(size, self.features), name="fc_0")(
      nn.relu(x), activated
    )
    zeros = nn.initializers.zeros_init()
    dx = Linear(self.features, kernel_init=zeros, name="fc_1")(nn.relu(dx))
    if size != self.features:
      x = Linear(self.features, use_bias=False, name="shortcut")(x, context)
    return x + dx


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


class BatchNorm(nn.Module):
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


class AffineBatchNorm(nn.Module):
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
  module: BatchNorm | AffineBatchNorm,
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
    norm = BatchNorm(self.axis_name, self.unbiased_variance, name="bn")
    return norm(x, gamma[:, None], beta[:, None], train=train)


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
    dx = AffineBatchNorm(**norm, name="bn_0")(x, train=train)
    dx = Linear(size, name="fc_0")(nn.relu(dx))
    dx = AffineBatchNorm(**norm, name="bn_1")(dx, train=train)
    return x + Linear(size, kernel_init=zeros, name="fc_1")(nn.relu(dx))


def chain(
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
