"""The generative model and several views against closed forms and simpler models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.models import onet as onet_config
from occnet_jax import losses
from occnet_jax.models import onet, registry
from occnet_jax.train import initial_values
from occnet_jax.types import Field

SMALL = {
  "encoder_hidden_size": 8,
  "c_dim": 6,
  "hidden_size": 8,
  "latent_hidden_size": 8,
}
RNG = np.random.default_rng(0)


def build(options=(), **changed):
  model = onet_config.get_config().to_dict() | SMALL | changed
  return registry.build(model, **dict(options))


def batch(b=3, t=20, inputs=None):
  points = RNG.uniform(-0.5, 0.5, (b, t, 3)).astype(np.float32)
  return {
    "points": jnp.asarray(points),
    "occupancies": jnp.asarray(np.linalg.norm(points, axis=-1) < 0.4, jnp.float32),
    "inputs": jnp.zeros((b, 0)) if inputs is None else jnp.asarray(inputs),
  }


def init(method, data):
  variables = initial_values.draw(method, jax.random.key(0), data)
  # No layer at zero: what it hides would be hidden from the test too.
  params = jax.tree.map(
    lambda a: a + 0.1 * RNG.standard_normal(a.shape).astype(np.float32),
    variables["params"],
  )
  return {**variables, "params": params}


def test_kl_is_that_of_normal_distributions():
  mean, logstd = RNG.standard_normal((2, 4, 5))
  draws = RNG.standard_normal((200_000, 4, 5)) * np.exp(logstd) + mean
  log_q = -0.5 * ((draws - mean) / np.exp(logstd)) ** 2 - logstd
  log_p = -0.5 * draws**2
  wanted = (log_q - log_p).mean(0).sum(-1).mean()
  np.testing.assert_allclose(
    losses.kl_to_standard_normal(jnp.asarray(mean), jnp.asarray(logstd)),
    wanted,
    rtol=1e-2,
  )
  assert losses.kl_to_standard_normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))) == 0


UNCONDITIONAL = {"encoder": "none", "c_dim": 0, "z_dim": 4, "decoder": "simple"}


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_the_loss_of_the_generative_model_is_cross_entropy_and_weighted_kl(weight):
  method = build(**UNCONDITIONAL, kl_weight=weight)
  data = batch()
  variables = init(method, data)
  key = jax.random.key(3)
  value, (stats, scalars) = method.loss(variables, data, key, True)
  mean, logstd = method.prior.posterior(variables, data)
  z = mean + jnp.exp(logstd) * jax.random.normal(key, mean.shape)
  logits = method.decode(
    variables,
    method.prior.insert(method.encode(variables, data["inputs"]), z),
    data["points"],
  )
  wanted = losses.occupancy_cross_entropy(logits, data["occupancies"])
  kl = losses.kl_to_standard_normal(mean, logstd)
  assert kl > 0.01
  np.testing.assert_allclose(value, wanted + weight * kl, rtol=1e-5)
  np.testing.assert_allclose(scalars["kl"], kl, rtol=1e-5)
  assert stats == {}


def test_a_code_and_a_random_latent_go_together():
  method = build(z_dim=4)
  data = batch(inputs=RNG.uniform(-0.5, 0.5, (3, 9, 3)).astype(np.float32))
  variables = init(method, data)
  latent = method.encode(variables, data["inputs"])
  assert latent.c.shape == (3, 6) and not np.asarray(latent.z).any()
  moved = method.prior.insert(latent, jnp.ones((3, 4)))
  a, b = (method.decode(variables, x, data["points"]) for x in (latent, moved))
  assert np.abs(a - b).max() > 1e-3


def test_several_views_of_one_kind_make_the_code_of_one():
  method = build(encoder="simple_conv")
  view = jnp.asarray(RNG.random((2, 64, 64, 3)), jnp.float32)
  data = batch(b=2, inputs=view)
  variables = init(method, data)
  encode = jax.jit(method.encode)
  one = encode(variables, view).c
  same = encode(variables, jnp.stack([view, view], axis=1)).c
  np.testing.assert_allclose(one, same, rtol=1e-4, atol=1e-4)
  other = jnp.asarray(RNG.random((2, 64, 64, 3)), jnp.float32)
  mixed = encode(variables, jnp.stack([view, other], axis=1)).c
  wanted = (one + encode(variables, other).c) / 2
  np.testing.assert_allclose(mixed, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"encoder": "resnet19"}, r"model.encoder is 'resnet19'; want one of: code_table"),
    ({"encoder": "none"}, r"c_dim is 6 without an encoder"),
    ({"encoder": "none", "c_dim": 0}, r"neither an encoder nor a z_dim"),
  ],
)
def test_fields_that_do_not_go_together_are_refused(changed, message):
  with pytest.raises(ValueError, match=message):
    build(**changed)


def test_validation_shows_the_posterior_as_many_points_as_training():
  method, data = build({"posterior_points": 10}, **UNCONDITIONAL), batch(t=40)
  variables = init(method, data)
  loss = method.score(variables, data)["loss"]
  few = {name: data[name][:, :10] for name in ("points", "occupancies")}
  mean, logstd = method.prior.posterior(variables, {**data, **few})
  latent = method.prior.insert(method.encode(variables, data["inputs"]), mean)
  logits = method.decode(variables, latent, data["points"])
  wanted = losses.occupancy_cross_entropy(logits, data["occupancies"])
  wanted += losses.kl_to_standard_normal(mean, logstd)
  np.testing.assert_allclose(loss.mean(), wanted, rtol=1e-5)
  of_all = build(**UNCONDITIONAL).score(variables, data)["loss"]
  assert abs(of_all.mean() - wanted) > 1e-4


def test_scores_are_those_of_every_shape_at_every_candidate():
  method, data = build(**UNCONDITIONAL, tau_grid=(0.3, 0.5)), batch()
  variables = init(method, data)
  scores = method.score(variables, data)
  mean, _ = method.prior.posterior(variables, data)
  latent = method.prior.insert(method.encode(variables, data["inputs"]), mean)
  probabilities = 1 / (1 + np.exp(-method.decode(variables, latent, data["points"])))
  for column, tau in enumerate((0.3, 0.5)):
    predicted, inside = probabilities >= tau, np.asarray(data["occupancies"]) > 0.5
    both = (predicted & inside).sum(1) / np.maximum((predicted | inside).sum(1), 1)
    np.testing.assert_allclose(scores["iou"][:, column], both, rtol=1e-6)
  np.testing.assert_allclose(method.output.candidates, (np.log(3 / 7), 0), rtol=1e-15)


def test_a_threshold_that_is_given_is_the_only_candidate():
  method = build({"threshold": 0.2})
  assert method.output == Field(np.log(0.25), (np.log(0.25),))
  assert build({"level": 1.5}).output.level == 1.5
  assert build({"level": 1.5, "threshold": 0.2}).output.level == np.log(0.25)


def test_equal_configs_build_the_same_functions():
  assert build().decode is build().decode
  assert build({"level": 1.0}).encode is build().encode
  assert build(hidden_size=16).decode is not build().decode


@pytest.mark.parametrize("name", sorted(onet.DECODERS))
def test_every_decoder_is_built_as_the_config_says(name):
  model = {"hidden_size": 48, "decoder_leaky": True, "fourier_octaves": 2}
  net = onet.DECODERS[name]({"decoder": name, **model}, False)
  assert (net.hidden_size, net.leaky, net.octaves) == (48, True, 2)
  assert getattr(net, "n_blocks", 5) == 5


def test_a_decoder_without_blocks_cannot_compute_them_twice():
  model = onet_config.get_config().to_dict() | {"decoder": "cbatchnorm_noresnet"}
  with pytest.raises(ValueError, match=r"remat is set, but .*'cbatchnorm_noresnet'"):
    registry.build(model, remat=True)
