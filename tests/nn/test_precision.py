import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.models import onet
from occnet_jax.models import registry
from occnet_jax.nn import precision
from occnet_jax.train import initial_values
from tests.helpers import ROOT

MODEL = onet.get_config().to_dict() | {
  "encoder_hidden_size": 32,
  "c_dim": 32,
  "hidden_size": 64,
  "tau": 0.5,
}


@pytest.fixture(scope="module")
def run():
  """Methods of both precisions, variables with no zero layer, and a batch."""
  rng = np.random.default_rng(0)
  batch = {
    "points": rng.uniform(-0.5, 0.5, (4, 512, 3)).astype(np.float32),
    "occupancies": rng.integers(0, 2, (4, 512)).astype(np.float32),
    "inputs": rng.uniform(-0.5, 0.5, (4, 64, 3)).astype(np.float32),
  }
  batch = jax.tree.map(jnp.asarray, batch)
  methods = {
    name: registry.build(MODEL, precision=name) for name in ("float32", "bfloat16")
  }
  variables = initial_values.draw(methods["float32"], jax.random.key(0), batch)
  leaves, tree = jax.tree.flatten(variables["params"])
  keys = jax.random.split(jax.random.key(1), len(leaves))
  leaves = [
    leaf + 0.1 * jax.random.normal(key, leaf.shape)
    for leaf, key in zip(leaves, keys, strict=True)
  ]
  return methods, {**variables, "params": jax.tree.unflatten(tree, leaves)}, batch


def logits(method, variables, batch):
  @jax.jit  # traced anew by each call
  def run(variables, batch):
    latent = method.encode(variables, batch["inputs"])
    return method.decode(variables, latent, batch["points"])

  return np.asarray(run(variables, batch))


def gradient_of(method):
  def loss(params, variables, batch):
    return method.loss({**variables, "params": params}, batch, jax.random.key(0), True)[
      0
    ]

  return jax.grad(loss)


def test_rounding_flips_labels_only_near_the_level(run):
  methods, variables, batch = run
  exact = logits(methods["float32"], variables, batch)
  rounded = logits(methods["bfloat16"], variables, batch)
  deviation = exact.std()
  error = rounded - exact
  assert 1e-5 * deviation < np.sqrt(np.mean(error**2)) < 0.04 * deviation
  level = np.median(exact)
  flipped = (exact > level) != (rounded > level)
  assert np.abs(exact - level)[flipped].max(initial=0) < 0.12 * deviation
  assert flipped.mean() < 0.03


def test_gradients_are_those_of_float32_up_to_rounding(run):
  methods, variables, batch = run
  exact, rounded = (
    jax.jit(gradient_of(methods[name]))(variables["params"], variables, batch)
    for name in ("float32", "bfloat16")
  )
  exact, rounded = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g)])
    for g in (exact, rounded)
  )
  cosine = exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded)
  assert cosine > 0.995


def test_every_product_forth_and_back_takes_bfloat16_and_gives_float32(run):
  methods, variables, batch = run
  lowered = jax.jit(gradient_of(methods["bfloat16"])).lower(
    variables["params"], variables, batch
  )
  products = re.findall(
    r"stablehlo\.dot_general.*: (\(.*\)) -> (.*)", lowered.as_text()
  )
  assert len(products) > 40
  for operands, result in products:
    assert operands.count("bf16>") == 2, operands
    assert result.endswith("xf32>"), result


def test_a_second_derivative_exists():
  x, w = jnp.ones((5, 3)), jnp.arange(6.0).reshape(3, 2) / 4
  product = precision.scoped("bfloat16", precision.matmul)

  def cube(x):
    return (product(x, w) ** 3).sum()

  def plain(x):
    return ((x @ w) ** 3).sum()

  found = jax.grad(lambda x: (jax.grad(cube)(x) ** 2).sum())(x)
  wanted = jax.grad(lambda x: (jax.grad(plain)(x) ** 2).sum())(x)
  np.testing.assert_allclose(found, wanted, rtol=0.02)


def test_scopes_do_not_leak(run):
  methods, variables, batch = run
  before = logits(methods["float32"], variables, batch)
  logits(methods["bfloat16"], variables, batch)
  np.testing.assert_array_equal(before, logits(methods["float32"], variables, batch))


def test_a_scope_reaches_into_a_function_that_was_compiled_outside_it():
  square = jax.jit(lambda a: precision.matmul(a, a))
  a = jnp.full((2, 2), 1.001)  # bfloat16 rounds it to 1
  np.testing.assert_allclose(square(a), 2 * 1.001**2, rtol=1e-6)
  np.testing.assert_array_equal(precision.scoped("bfloat16", square)(a), 2)
  np.testing.assert_allclose(square(a), 2 * 1.001**2, rtol=1e-6)


def test_the_innermost_scope_counts():
  inner = precision.scoped("float32", precision.matmul)
  a = jnp.full((2, 2), 1.001)
  found = precision.scoped("bfloat16", inner)(a, a)
  np.testing.assert_allclose(found, 2 * 1.001**2, rtol=1e-6)


def test_only_devices_that_compute_in_bfloat16_get_it_by_themselves(monkeypatch):
  class Device:
    def __init__(self, platform, capability):
      self.platform, self.compute_capability = platform, capability

  for device, wanted in (
    (Device("gpu", "7.5"), "float32"),
    (Device("gpu", "8.0"), "bfloat16"),
    (Device("gpu", "9.0"), "bfloat16"),
    (Device("tpu", None), "bfloat16"),
  ):
    monkeypatch.setattr(precision.jax, "local_devices", lambda device=device: [device])
    assert precision.resolve("auto") == wanted
  assert precision.resolve("float32") == "float32"
  with pytest.raises(ValueError, match=r"'half'; want one of: float32, bfloat16, auto"):
    precision.resolve("half")


def test_no_layer_multiplies_matrices_past_the_helper():
  sources = [
    path
    for path in (ROOT / "occnet_jax" / "nn").glob("*.py")
    if path.name not in ("precision.py", "conv_cpu.py", "winograd.py")
  ]
  for path in sources:
    text = path.read_text()
    # Phases are products of full float32 in any precision: a turn has few radians.
    text = re.sub(r"jnp\.einsum\(.*precision=\"highest\"\)", "", text)
    assert not re.search(r"jnp\.(dot|matmul|einsum)\(|\w @ \w", text), path.name
