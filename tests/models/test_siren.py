"""SIREN against recordings of the published code, and its loss against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.models import siren as fields
from occnet_jax.models import registry, siren
from occnet_jax.nn.point_mlp import PointMLP
from occnet_jax.train import initial_values
from tests.helpers import parity_apart
from tests.helpers.compilations import compiled


@pytest.mark.parametrize("case", parity_apart.SIREN)
def test_the_network_and_its_slopes_match_the_published_code(case):
  limits = parity_apart.tolerances(case)
  for name, error in parity_apart.largest_errors(case).items():
    assert error < limits[name], name


@pytest.mark.parametrize(
  ("omega", "octaves", "count"), [(30.0, 0, 198_657), (0.0, 10, 214_017)]
)
def test_the_published_sizes_have_as_many_parameters_as_the_reference(
  omega, octaves, count
):
  model = fields.get_config().to_dict()
  method = registry.build(model | {"omega": omega, "fourier_octaves": octaves})
  batch = {"points": np.zeros((1, 2, 3), np.float32)}
  variables = jax.eval_shape(method.init, jax.random.key(0), batch)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == count


def test_layers_of_sines_pass_on_a_variance_of_a_half():
  """Section 3.2: sines of normal phases, and phases of variance 1 from them."""
  points = np.random.default_rng(0).uniform(-1, 1, (1, 2000, 3))
  points = jnp.asarray(points, jnp.float32)
  for layers in (2, 4):
    net = PointMLP(512, layers, omega=30.0)
    variables = jax.jit(net.init)(jax.random.key(layers), points)
    bias = variables["params"][f"lin{layers - 1}"]["bias"]
    _, seen = net.apply(
      variables, points, capture_intermediates=True, mutable=["intermediates"]
    )
    phases = 30 * seen["intermediates"][f"lin{layers - 1}"]["__call__"][0]
    own = phases - 30 * bias.reshape(1, 1, -1)  # biases are PyTorch's
    np.testing.assert_allclose(np.std(own, axis=-1).mean(), 1, rtol=0.1)


def make(**changed):
  model = fields.get_config().to_dict() | {"hidden_size": 8} | changed
  return compiled(registry.build(model))


def random_batch(rng, n=5, t=7):
  draw = rng.standard_normal
  return {
    "inputs": jnp.zeros((2, 0)),
    "surface": jnp.asarray(0.2 * draw((2, n, 3)), jnp.float32),
    "normals": jnp.asarray(draw((2, n, 3)), jnp.float32),
    "points": jnp.asarray(0.2 * draw((2, t, 3)), jnp.float32),
    "occupancies": jnp.asarray(rng.integers(0, 2, (2, t)), jnp.float32),
  }


def test_the_loss_is_the_sum_of_its_terms_by_finite_differences():
  rng = np.random.default_rng(0)
  batch, chosen = random_batch(rng), (2.0, 3.0, 5.0, 7.0)
  method = make(loss_weights=chosen, omega=3.0)
  variables = initial_values.draw(method, jax.random.key(0), batch)
  value, (_, scalars) = method.loss(variables, batch, None, True)

  with jax.enable_x64(True):  # differences of float32 would be noise
    doubled = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), variables)

    def distances(x):  # of points from -1 to 1, in their units, negative inside
      return -2 * np.asarray(method.decode(doubled, None, jnp.asarray(x / 2)))

    def slopes(x, h=1e-5):
      steps = h * np.eye(3).reshape(3, 1, 1, 3)
      sides = [distances(x + s) - distances(x - s) for s in steps]
      return np.stack(sides, -1) / (2 * h)

    on = 2 * np.asarray(batch["surface"], np.float64)
    off = 2 * np.asarray(batch["points"], np.float64)
    on_slopes, all_slopes = slopes(on), slopes(np.concatenate([on, off], 1))
    on_values, off_values = distances(on), distances(off)
  count = 2 * (5 + 7)
  normals = np.asarray(batch["normals"])
  lengths = np.linalg.norm(on_slopes, axis=-1) * np.linalg.norm(normals, axis=-1)
  expected = [
    np.abs(on_values).sum() / count,
    np.exp(-100 * np.abs(off_values)).sum() / count,
    (1 - (on_slopes * normals).sum(-1) / lengths).sum() / count,
    np.abs(np.linalg.norm(all_slopes, axis=-1) - 1).sum() / count,
  ]
  np.testing.assert_allclose([scalars[k] for k in siren.TERMS], expected, rtol=1e-4)
  np.testing.assert_allclose(value, np.dot(chosen, expected), rtol=1e-4)


def test_scores_are_those_of_each_shape_alone():
  batch = random_batch(np.random.default_rng(1))
  method = make()
  variables = initial_values.draw(method, jax.random.key(0), batch)
  scores = method.score(variables, batch)
  for shape in range(2):
    alone = {name: array[shape : shape + 1] for name, array in batch.items()}
    value, (_, scalars) = method.loss(variables, alone, None, False)
    np.testing.assert_allclose(scores["loss"][shape], value, rtol=1e-5)
    np.testing.assert_allclose(scores["iou"][shape], scalars["iou"], rtol=1e-6)


def test_a_batch_without_surface_names_the_way_out():
  batch = random_batch(np.random.default_rng(0))
  method = make()
  variables = initial_values.draw(method, jax.random.key(0), batch)
  del batch["surface"]
  with pytest.raises(ValueError, match=r"config\.data\.targets lacks 'surface'"):
    method.loss(variables, batch, None, True)
