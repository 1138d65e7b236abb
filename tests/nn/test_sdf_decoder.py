import jax
import jax.numpy as jnp
import numpy as np

from occnet_jax.nn.embedding import CodeTable
from occnet_jax.nn.linear import Linear, WeightNormLinear
from occnet_jax.nn.sdf_decoder import SDFDecoder

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def draw(*shape):
  return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def test_the_published_decoder_has_as_many_parameters_as_the_reference():
  points, c = jnp.zeros((1, 2, 3)), jnp.zeros((1, 256))
  variables = jax.eval_shape(lambda: SDFDecoder().init(KEY, points, c, train=False))
  assert sum(a.size for a in jax.tree.leaves(variables)) == 1_843_195
  assert variables["params"]["lin3"]["kernel"].shape == (512, 253)


def test_dropout_acts_in_training_alone():
  net, points, c = SDFDecoder((32,) * 5, dropout_rate=0.5), draw(2, 40, 3), draw(2, 6)
  variables = jax.jit(net.init, static_argnames="train")(KEY, points, c, train=False)
  calm = net.apply(variables, points, c, train=False)
  first, again, second = (
    net.apply(variables, points, c, train=True, rngs={"dropout": jax.random.key(i)})
    for i in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - calm).max() > 1e-4 and np.abs(first - second).max() > 1e-4
  np.testing.assert_array_equal(calm, net.apply(variables, points, c, train=False))


def test_a_weight_norm_starts_as_a_plain_linear_map():
  x = draw(5, 7)
  params = WeightNormLinear(4).init(KEY, x)["params"]
  plain = {"params": {name: params[name] for name in ("kernel", "bias")}}
  np.testing.assert_allclose(
    WeightNormLinear(4).apply({"params": params}, x),
    Linear(4).apply(plain, x),
    rtol=1e-5,
  )


def test_a_weight_norm_does_not_depend_on_the_length_of_the_kernel():
  x = draw(5, 7)
  params = WeightNormLinear(4).init(KEY, x)["params"]
  longer = {**params, "kernel": 3 * params["kernel"]}
  net = WeightNormLinear(4)
  np.testing.assert_allclose(
    net.apply({"params": longer}, x), net.apply({"params": params}, x), rtol=1e-5
  )
  twice = net.apply({"params": {**params, "scale": 2 * params["scale"]}}, x)
  once = net.apply({"params": params}, x)
  bias = params["bias"][None]
  np.testing.assert_allclose(twice - bias, 2 * (once - bias), rtol=1e-4, atol=1e-6)


def test_codes_start_with_the_deviation_that_is_asked_for():
  net = CodeTable(1000, 64, stddev=0.125)
  table = jax.jit(net.init, static_argnames="train")(
    KEY, jnp.zeros(1, jnp.int32), train=True
  )["params"]["embedding"]
  np.testing.assert_allclose(table.std(), 0.125, rtol=0.02)


def test_a_code_outside_the_ball_is_shortened_and_can_move_back():
  net = CodeTable(2, 2, max_norm=1.0)
  variables = {"params": {"embedding": jnp.array([[3.0, 4.0], [0.3, 0.4]])}}
  codes, pull = jax.vjp(lambda v: net.apply(v, jnp.arange(2), train=True), variables)
  np.testing.assert_allclose(codes, [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
  (gradient,) = pull(codes)
  radial = (gradient["params"]["embedding"] * codes).sum(-1)
  assert (radial > 0.1).all()
