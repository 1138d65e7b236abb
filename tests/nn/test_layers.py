import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from configs.models import onet
from occnet_jax.models import registry
from occnet_jax.nn.linear import Linear
from occnet_jax.nn.norm import EPSILON, BatchNorm, NormSettings, normalise
from occnet_jax.nn.residual import ResnetBlockFC

RNG = np.random.default_rng(0)


def draw(*shape):
  return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def plain_normalise(x, gamma, beta):
  """`normalise` by its formula, differentiated by JAX."""
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


def random_batch_norm(x, **settings):
  """A BatchNorm with random variables: (net, variables)."""
  net, f = BatchNorm(NormSettings(**settings)), x.shape[-1]
  params = {"scale": 1 + draw(f), "bias": draw(f)}
  return net, {
    "params": params,
    "batch_stats": {"mean": draw(f), "var": 0.1 + draw(f) ** 2},
  }


def test_batch_norm_equals_its_formula_for_images():
  x = 3 + 2 * draw(4, 5, 6, 3)
  net, variables = random_batch_norm(x)
  params, stats = jax.device_get((variables["params"], variables["batch_stats"]))
  scale, bias, host = params["scale"], params["bias"], np.asarray(x, np.float64)
  found, new = net.apply(variables, x, train=True, mutable=["batch_stats"])
  mean, var = host.mean((0, 1, 2)), host.var((0, 1, 2))
  wanted = scale * (host - mean) / np.sqrt(var + EPSILON) + bias
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
  new = new["batch_stats"]
  np.testing.assert_allclose(new["mean"], 0.9 * stats["mean"] + 0.1 * mean, rtol=1e-5)
  unbiased = host.var((0, 1, 2), ddof=1)
  np.testing.assert_allclose(new["var"], 0.9 * stats["var"] + 0.1 * unbiased, rtol=1e-5)
  found = net.apply(variables, x, train=False)
  wanted = scale * (host - stats["mean"]) / np.sqrt(stats["var"] + EPSILON) + bias
  np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_batch_norm_is_that_of_autodiff():
  x = 3 + 2 * draw(4, 5, 6, 3)
  net, variables = random_batch_norm(x)
  weights, stats = draw(*x.shape), variables["batch_stats"]

  def ours(params, x):
    given = {"params": params, "batch_stats": stats}
    y, _ = net.apply(given, x, train=True, mutable=["batch_stats"])
    return (weights * jnp.tanh(y)).sum()

  def plain(params, x):
    mean = x.mean((0, 1, 2), keepdims=True)
    var = jnp.square(x - mean).mean((0, 1, 2), keepdims=True)
    scale, bias = (params[k].reshape(1, 1, 1, -1) for k in ("scale", "bias"))
    y = scale * (x - mean) * lax.rsqrt(var + EPSILON) + bias
    return (weights * jnp.tanh(y)).sum()

  found = jax.grad(ours, argnums=(0, 1))(variables["params"], x)
  wanted = jax.grad(plain, argnums=(0, 1))(variables["params"], x)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_batch_norm_on_two_devices_equals_one():
  x = draw(4, 5, 6, 3)
  net, variables = random_batch_norm(x, axis_name="devices")
  alone = BatchNorm()

  def apply(net, x):
    return net.apply(variables, x, train=True, mutable=["batch_stats"])

  halves = x.reshape(2, 2, 5, 6, 3)
  found, new = jax.vmap(lambda x: apply(net, x), axis_name="devices")(halves)
  wanted, wanted_new = apply(alone, x)
  np.testing.assert_allclose(found.reshape(x.shape), wanted, rtol=1e-4, atol=1e-5)
  for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(wanted_new), strict=True):
    np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6)


def test_shared_features_equal_their_copies_at_every_point():
  x, shared = draw(2, 7, 4), draw(2, 3)
  tiled = jnp.concatenate([x, jnp.broadcast_to(shared[:, None], (2, 7, 3))], -1)
  for layer in (Linear(5), ResnetBlockFC(5)):
    params = jax.jit(layer.init)(jax.random.key(0), tiled)
    params = jax.tree.map(lambda a: a + 0.1, params)  # no zero layer hides a fault
    np.testing.assert_allclose(
      layer.apply(params, x, shared), layer.apply(params, tiled), rtol=1e-4, atol=1e-5
    )


def test_initial_values_are_bounded_by_the_fan_in():
  params = Linear(50).init(jax.random.key(0), draw(1, 16))["params"]
  bound = 16**-0.5
  for array in params.values():
    assert 0.9 * bound < np.abs(array).max() <= bound


def test_the_point_cloud_network_has_as_many_parameters_as_the_reference():
  method = registry.build(onet.get_config().to_dict())
  batch = {"points": jnp.zeros((1, 2, 3)), "inputs": jnp.zeros((1, 2, 3))}
  shapes = jax.eval_shape(method.init, jax.random.key(0), batch)
  assert sum(np.prod(a.shape) for a in jax.tree.leaves(shapes["params"])) == 10_373_889
