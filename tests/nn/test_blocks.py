import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from occnet_jax.models import registry
from occnet_jax.nn.blocks import EPSILON, Linear, ResnetBlockFC, normalise

RNG = np.random.default_rng(0)


def draw(*shape):
  return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def plain_normalise(x, gamma, beta):
  """What `normalise` computes, left to autodiff."""
  mean = x.mean((0, 1), keepdims=True)
  var = jnp.square(x - mean).mean((0, 1), keepdims=True)
  return gamma * (x - mean) * lax.rsqrt(var + EPSILON) + beta


def test_the_gradient_of_normalise_is_that_of_autodiff():
  x, gamma, beta = 3 + 2 * draw(3, 17, 5), draw(3, 1, 5), draw(3, 1, 5)
  weights = draw(3, 17, 5)

  def ours(*args):
    return (weights * jnp.tanh(normalise(*args, None)[0])).sum()

  def plain(*args):
    return (weights * jnp.tanh(plain_normalise(*args))).sum()

  np.testing.assert_allclose(ours(x, gamma, beta), plain(x, gamma, beta), rtol=1e-5)
  found = jax.grad(ours, argnums=(0, 1, 2))(x, gamma, beta)
  wanted = jax.grad(plain, argnums=(0, 1, 2))(x, gamma, beta)
  for a, b in zip(found, wanted, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_normalise_stays_finite_for_a_constant_feature():
  x = jnp.ones((2, 8, 3))
  gamma, beta = jnp.ones((2, 1, 3)), jnp.zeros((2, 1, 3))
  gradient = jax.grad(lambda x: normalise(x, gamma, beta, None)[0].sum())(x)
  assert np.isfinite(gradient).all()


def test_a_context_equals_its_copies_at_every_point():
  x, context = draw(2, 7, 4), draw(2, 3)
  tiled = jnp.concatenate([x, jnp.broadcast_to(context[:, None], (2, 7, 3))], -1)
  for layer in (Linear(5), ResnetBlockFC(5)):
    params = layer.init(jax.random.key(0), tiled)
    params = jax.tree.map(lambda a: a + 0.1, params)  # no zero layer hides a fault
    np.testing.assert_allclose(
      layer.apply(params, x, context), layer.apply(params, tiled), rtol=1e-4, atol=1e-5
    )


def test_initial_values_are_bounded_by_the_fan_in():
  params = Linear(50).init(jax.random.key(0), draw(1, 16))["params"]
  bound = 16**-0.5
  for array in params.values():
    assert 0.9 * bound < np.abs(array).max() <= bound


def test_the_point_cloud_network_has_as_many_parameters_as_the_reference():
  model = {
    "name": "onet",
    "encoder": "pointnet_resnet",
    "encoder_hidden_size": 512,
    "c_dim": 512,
    "decoder": "cbatchnorm",
    "hidden_size": 256,
    "leaky": False,
    "octaves": 0,
    "unbiased_variance": True,
  }
  method = registry.build(model, tau=0.2)
  batch = {"points": jnp.zeros((1, 2, 3)), "inputs": jnp.zeros((1, 2, 3))}
  shapes = jax.eval_shape(method.init, jax.random.key(0), batch)
  assert sum(np.prod(a.shape) for a in jax.tree.leaves(shapes["params"])) == 10_373_889
