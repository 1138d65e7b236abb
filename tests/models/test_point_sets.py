"""PSGN and AtlasNet against recordings of their references, in the references' layout.

Weights go in and gradients come out by `interop`, so the layouts are tested, too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import atlasnet as atlasnet_configs
from configs import base
from configs import psgn as psgn_configs
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.interop import atlasnet_weights, baseline_weights
from occnet_jax.models import registry
from occnet_jax.models.atlasnet import AtlasNet
from occnet_jax.models.psgn import PSGN
from occnet_jax.nn import atlasnet
from occnet_jax.nn.chamfer import chamfer, chamfer_terms, nearest
from occnet_jax.nn.pointnet import ResnetPointnet
from occnet_jax.nn.psgn import PointSetDecoder, TwoBranchDecoder, TwoBranchEncoder
from tests.helpers import parity
from tests.helpers.variables import draw

NETWORKS = {  # case -> network, and the module that knows the layout of its files
  "psgn_pointcloud_small": (
    PSGN(ResnetPointnet(24, 32), PointSetDecoder(128)),
    baseline_weights,
  ),
  "psgn_2branch_small": (
    PSGN(TwoBranchEncoder(64), TwoBranchDecoder(800, published=True)),
    baseline_weights,
  ),
  "atlasnet_squares_small": (
    AtlasNet(atlasnet.PatchPointnet(24), atlasnet.Patches(16)),
    atlasnet_weights,
  ),
  "atlasnet_sphere_small": (
    AtlasNet(atlasnet.PatchPointnet(24), atlasnet.Patches(16)),
    atlasnet_weights,
  ),
}


def arguments(case):
  given = parity.load(case, "in/")
  if "template" in given:
    return given["inputs"], np.moveaxis(given["template"], 1, -1)
  inputs = given["inputs"]
  return (np.moveaxis(inputs, 1, -1) if inputs.ndim == 4 else inputs,)


def as_recorded(points):
  """(b, p, t, 3) as AtlasNet orders it, (b, p, 3, t); points (b, n, 3) as they are."""
  return np.moveaxis(points, -1, 2) if points.ndim == 4 else np.asarray(points)


@pytest.mark.parametrize("case", NETWORKS)
def test_outputs_gradients_and_statistics_are_those_of_the_reference(case):
  net, layout = NETWORKS[case]
  args = jax.tree.map(jnp.asarray, arguments(case))
  specs = jax.eval_shape(lambda: net.init(jax.random.key(0), *args, train=True))
  state = parity.state_dict(parity.SPEC[case])
  variables = jax.tree.map(jnp.asarray, layout.from_state_dict(state, specs))
  again = layout.to_state_dict(variables)
  kept = [name for name in state if not name.endswith("num_batches_tracked")]
  assert [n for n in again if not n.endswith("num_batches_tracked")] == sorted(
    kept, key=list(again).index
  )
  for name in kept:
    np.testing.assert_array_equal(again[name].reshape(state[name].shape), state[name])

  points = jax.jit(lambda v: net.apply(v, *args, train=False))(variables)
  recorded = parity.load(case, "eval/")["points"]
  assert parity.relative_error(as_recorded(points), recorded) < 1e-5

  target = jnp.asarray(parity.load(case, "in/")["target"])

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def step(params):
    now = {**variables, "params": params}
    made, changed = net.apply(now, *args, train=True, mutable=["batch_stats"])
    return chamfer(made.reshape(len(made), -1, 3), target).mean(), changed

  (loss, changed), gradients = step(variables["params"])
  train = parity.load(case, "train/")
  np.testing.assert_allclose(loss, train["loss"], rtol=1e-5)
  named = layout.to_state_dict({"params": gradients})
  small = parity.load(case, "grad/")
  largest = max(np.abs(array).max() for array in small.values())
  for name, array in small.items():
    error = np.abs(named[name].reshape(array.shape) - array).max()
    # As the reference in float32 does: few shapes in a batch norm amplify rounding.
    tolerance = 1e-4 if case.startswith("psgn") else 5e-4
    assert error < tolerance * max(np.abs(array).max(), 1e-2 * largest), name
  for name, norm in parity.load(case, "gradnorm/").items():
    ours = np.linalg.norm(named[name].astype(np.float64))
    np.testing.assert_allclose(ours, norm, rtol=5e-4, atol=1e-4 * largest)

  (after, _), _ = step(parity.adam_step(variables["params"], gradients))
  np.testing.assert_allclose(after, train["loss_after_adam_step"], rtol=1e-4)
  if statistics := parity.load(case, "after/"):
    named = layout.to_state_dict({**variables, **changed})
    for name, array in statistics.items():
      assert parity.relative_error(named[name], array) < 1e-5


def test_chamfer_distances_and_gradients_are_those_of_the_reference():
  given, out = parity.load("chamfer", "in/"), parity.load("chamfer", "out/")
  p, q = jnp.asarray(given["points1"]), jnp.asarray(given["points2"])
  terms = jax.jit(chamfer_terms)(p, q)
  np.testing.assert_allclose(terms[0], out["chamfer1"], rtol=1e-6)
  np.testing.assert_allclose(terms[1], out["chamfer2"], rtol=1e-6)
  np.testing.assert_array_equal(nearest(p, q), out["index1"])
  gradients = jax.jit(jax.grad(lambda pair: chamfer(*pair).mean()))((p, q))
  for ours, name in zip(gradients, ("points1", "points2"), strict=True):
    assert parity.relative_error(ours, parity.load("chamfer", "grad/")[name]) < 1e-5


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_the_nearest_point_is_that_of_brute_force_in_blocks_of_any_size(count):
  rng = np.random.default_rng(count)
  p, q = rng.standard_normal((2, count, 3)), rng.standard_normal((2, 70, 3))
  naive = np.linalg.norm(p[:, :, None] - q[:, None], axis=-1).argmin(-1)
  np.testing.assert_array_equal(nearest(jnp.float32(p), jnp.float32(q)), naive)


def test_the_grid_of_a_square_is_that_of_the_reference():
  recorded = parity.load("atlasnet_square_template", "out/")
  (grid,), faces = atlasnet.square_mesh(1, 4)
  np.testing.assert_allclose(grid, recorded["vertices"][:, :2], atol=1e-7)
  np.testing.assert_array_equal(faces, recorded["faces"])
  grids, faces = atlasnet.square_mesh(3, 4)
  assert grids.shape == (3, 16, 2)
  assert faces.max() == 47 and len(faces) == 3 * 18


def test_the_sphere_is_closed_and_draws_lie_on_it():
  vertices, faces = atlasnet.sphere_mesh()
  assert vertices.shape == (1, 2562, 3) and len(faces) == 5120
  assert not count_open_edges(faces)
  drawn = atlasnet.draw_sphere(jax.random.key(0), 5000)
  np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), 1, rtol=1e-5)
  np.testing.assert_allclose(drawn.mean(1), 0, atol=0.03)
  squares = atlasnet.draw_squares(jax.random.key(1), 5, 1000)
  assert squares.shape == (5, 200, 2)
  assert squares.min() >= 0 and squares.max() <= 1
  np.testing.assert_allclose(squares.mean(1), 0.5, atol=0.06)


@pytest.mark.parametrize(
  ("configs", "variant", "count"),
  [
    (psgn_configs, "pointcloud", 9_189_376),
    (psgn_configs, "image", 13_540_672),
    (atlasnet_configs, "squares", 28_742_475),
    (atlasnet_configs, "sphere", 3_307_267),
  ],
)
def test_networks_have_as_many_parameters_as_those_of_the_reference(
  configs, variant, count
):
  config = configs.get_config(variant).to_dict()
  shape = (1, 64, 64, 3) if config["data"]["inputs"] == "image" else (1, 64, 3)
  batch = {"inputs": np.zeros(shape, np.float32)}
  method = registry.build(config["model"])
  params = registry.variable_specs(method, batch)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize(
  ("system", "fields", "message"),
  [
    ("psgn", {"encoder": "two_branch"}, r"'two_branch' with .*decoder='simple'"),
    ("psgn", {"encoder": "none"}, r"'none'; psgn wants an encoder of clouds"),
    ("psgn", {"decoder": "tree"}, r"'tree'"),
    ("atlasnet", {"template": "cube"}, r"'cube'; want one of 'squares', 'sphere'"),
    ("atlasnet", {"patches": 7}, r"2500 with config.model.patches=7.*n_points=2527"),
    ("atlasnet", {"encoder": "code_table"}, r"'code_table'; atlasnet wants an encoder"),
  ],
)
def test_settings_that_do_not_go_together_are_refused(system, fields, message):
  model = {**base.get_config(system).model.to_dict(), **fields}
  with pytest.raises(ValueError, match=message):
    registry.build(model)


def test_what_has_no_threshold_no_blocks_or_no_target_says_so():
  model = base.get_config("psgn").model.to_dict()
  with pytest.raises(ValueError, match=r"threshold is 0\.4, but psgn has no level"):
    registry.build(model, threshold=0.4)
  with pytest.raises(ValueError, match="remat is set, but psgn has no blocks"):
    registry.build(model, remat=True)
  method = registry.build({**model, "encoder_hidden_size": 8})
  batch = {"inputs": jnp.zeros((1, 8, 3))}
  with pytest.raises(ValueError, match="targets lacks 'surface', the points that psgn"):
    jax.eval_shape(method.score, draw(method.init, batch), batch)


def test_images_that_six_halvings_do_not_divide_are_refused():
  images = jnp.zeros((1, 224, 224, 3))
  with pytest.raises(ValueError, match=r"224 x 224 pixels; want .* multiples of 64"):
    jax.eval_shape(lambda: TwoBranchEncoder(64).init(jax.random.key(0), images))
  decoder = TwoBranchDecoder(500)
  latent = jax.eval_shape(
    lambda: TwoBranchEncoder(32).init_with_output(
      jax.random.key(0), jnp.zeros((1, 192, 192, 3))
    )[0]
  )
  with pytest.raises(ValueError, match="n_points is 500; want more than 576"):
    jax.eval_shape(lambda z: decoder.init(jax.random.key(0), z), latent)
