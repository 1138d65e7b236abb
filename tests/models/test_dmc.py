"""Deep Marching Cubes against recordings of the reference and independent truths."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from configs import dmc as dmc_configs
from occnet_jax.extract.grid.cell_topologies import mesh_of_topologies
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.extract.to_mesh import to_mesh
from occnet_jax.geometry import topologies
from occnet_jax.interop import dmc_weights
from occnet_jax.models import registry
from occnet_jax.models.dmc import DeepMarchingCubes, to_cells
from occnet_jax.nn import dmc_losses
from occnet_jax.nn.dmc import (
  CellDecoder,
  CellEncoder,
  max_pool_with_places,
  pool_in_cells,
  unpool,
)
from occnet_jax.types import CellTopologies, Method
from tests.helpers import parity


def recorded(case):
  return {name: jnp.asarray(array) for name, array in parity.load(case, "").items()}


def assert_near(ours, array, tolerance=5e-6):
  assert parity.relative_error(np.asarray(ours), np.asarray(array)) < tolerance


def test_the_tables_are_those_of_the_reference():
  out, tables = parity.load("dmc_tables", "out/"), topologies.accepted()
  for t, row in enumerate(out["triangle_table"]):
    edges = [edge for triangle in topologies.triangles_of(t) for edge in triangle]
    assert edges == row[row >= 0].tolist()
  np.testing.assert_array_equal(topologies.CORNERS, out["corner_positions"])
  ends = np.column_stack([topologies.AXES, topologies.HIGHER])
  np.testing.assert_array_equal(ends, out["edge_to_offset"])
  for ours, name in (
    (tables.half, "accepted_48"),
    (tables.both, "accepted_with_flip_96"),
    (tables.meshing, "meshing_140"),
    (tables.triangles, "triangles_220"),
    (tables.owner, "triangle_to_accepted"),
  ):
    np.testing.assert_array_equal(ours, out[name])
  inner = sorted(map(tuple, out["connected_inner"].tolist()))
  assert sorted(map(tuple, tables.inner.tolist())) == inner
  for axis, name in enumerate("xyz"):
    lower, upper = topologies.face_classes(axis)
    connected = np.zeros((220, 220), int)
    np.add.at(connected, tuple(out[f"connected_{name}"].T), 1)
    np.testing.assert_array_equal(lower @ upper.T, connected)


def test_probabilities_of_topologies_are_those_of_the_reference_and_add_up():
  given = recorded("dmc_topology")
  probabilities, pullback = jax.vjp(
    lambda o: dmc_losses.topology_probabilities(o, tuple(range(256))),
    given["in/occupancy"],
  )
  assert_near(probabilities, given["out/topology"])
  assert_near(pullback(given["in/cotangent"])[0], given["grad/occupancy"])
  np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)


def test_distances_of_points_are_those_of_the_reference():
  given = recorded("dmc_distance")

  @jax.jit
  def both(offset, cotangent):
    distances, pullback = jax.vjp(
      lambda o: dmc_losses.cell_distances(o, given["in/points"]), offset
    )
    return distances, pullback(cotangent)[0]

  distances, slope = both(given["in/offset"], given["in/cotangent"])
  assert_near(distances, given["out/distance"])
  assert_near(slope, given["grad/offset"])


def test_the_distance_from_a_triangle_is_exact_where_the_nearest_point_is_inside():
  corners = jnp.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
  above = dmc_losses.squared_distance(jnp.array([0.2, 0.3, 0.5]), corners)
  np.testing.assert_allclose(above, 0.25, rtol=1e-6)
  beyond = dmc_losses.squared_distance(jnp.array([-0.3, -0.4, 0.0]), corners)
  np.testing.assert_allclose(beyond, 0.25, rtol=1e-6)


def test_smoothness_and_curvature_are_those_of_the_reference():
  given = recorded("dmc_smoothness")
  cells = 3**3  # the recordings are sums over them
  smoothness = jax.jit(jax.value_and_grad(dmc_losses.smoothness_term))
  value, slope = smoothness(given["in/occupancy"])
  assert_near(cells * value, given["out/loss"])
  assert_near(cells * slope, given["grad/occupancy"])
  given = recorded("dmc_curvature")
  curvature = jax.jit(jax.value_and_grad(dmc_losses.curvature_term))
  for kind in ("", "_sharp"):
    value, slope = curvature(given["in/offset"], given[f"in/probabilities{kind}"])
    assert_near(cells * value, given[f"out/loss{kind}"])
    assert_near(cells * slope, given[f"grad/offset{kind}"])


def test_curvature_is_the_sum_over_pairs_of_triangles_one_by_one():
  rng = np.random.default_rng(0)
  offset = rng.uniform(-0.4, 0.4, (3, 3, 3, 3)).astype(np.float32)
  weights = rng.dirichlet(np.ones(96), 8).astype(np.float32)
  tables, r = topologies.accepted(), 2
  corners = np.asarray(dmc_losses.edge_vertices(jnp.asarray(offset)))
  corners = corners[:, tables.triangles].astype(np.float64)
  normals = np.cross(
    corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
  )
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  p, cells = weights[:, tables.owner], list(itertools.product(range(r), repeat=3))
  total = 0.0
  for number, cell in enumerate(cells):
    for i, j in tables.inner:
      gap = np.square(normals[number, i] - normals[number, j]).sum()
      total += p[number, i] * p[number, j] * gap
    for axis in range(3):
      following = tuple(c + (a == axis) for a, c in enumerate(cell))
      if following not in cells:
        continue
      other, (lower, upper) = cells.index(following), topologies.face_classes(axis)
      for i, j in np.argwhere(lower @ upper.T):
        gap = np.square(normals[number, i] - normals[other, j]).sum()
        total += p[number, i] * p[other, j] * gap
  curvature = jax.jit(dmc_losses.curvature_term)
  value = curvature(jnp.asarray(offset), jnp.asarray(weights))
  np.testing.assert_allclose(value, total / r**3, rtol=1e-5)


def test_losses_and_the_mesh_are_those_of_the_reference():
  given = recorded("dmc_losses")
  np.testing.assert_allclose(dmc_losses.border_weights(9), given["out/neg_weight"])
  arrays = given["in/occupancy"], given["in/offset"]

  @jax.jit
  def terms_and_slopes(*arrays):
    def terms(*arrays):
      return dmc_losses.loss_terms(*arrays, given["in/points"])

    return terms(*arrays), jax.jacrev(terms, argnums=(0, 1))(*arrays)

  values, slopes = terms_and_slopes(*arrays)
  assert values.keys() == dmc_losses.WEIGHTS.keys()
  for name, value in values.items():
    assert_near(value, given[f"out/{name}"])
    for slope, kind in zip(slopes[name], ("occupancy", "offset"), strict=True):
      array = given[f"grad_{name}/{kind}"]
      if np.abs(array).max() > 0:
        assert_near(slope, array)
      else:
        assert not np.abs(slope).any()
  vertices, faces = mesh_of_topologies(*map(np.asarray, arrays))
  soup = given["out/mesh_vertices"][given["out/mesh_faces"]]
  # Ours are turned outward, and each vertex is there once.
  ours = np.sort(np.round(vertices[faces[:, ::-1]].reshape(-1, 9), 4), axis=0)
  np.testing.assert_allclose(
    ours, np.sort(np.round(np.asarray(soup).reshape(-1, 9), 4), axis=0), atol=2e-4
  )
  assert not count_open_edges(faces) and len(np.unique(faces)) == len(vertices)


def test_pooling_over_cells_is_that_of_the_reference():
  given = recorded("dmc_grid_pooling")
  pooled, pullback = jax.vjp(
    lambda f: pool_in_cells(given["in/points"], f, 3).reshape(27, -1),
    given["in/features"],
  )
  np.testing.assert_array_equal(pooled, given["out/cells"])
  slope = pullback(given["in/cotangent"])[0]
  np.testing.assert_array_equal(slope, given["grad/features"])


def test_unpooling_puts_each_maximum_back_where_it_was_and_the_first_of_equal_ones():
  x = np.random.default_rng(0).integers(0, 3, (2, 5, 5, 5, 3)).astype(np.float32)
  pooled, places = max_pool_with_places(jnp.asarray(x))
  back = np.asarray(unpool(pooled, places, 5))
  expected = np.zeros_like(x)
  for b, i, j, k, f in itertools.product(range(2), *(range(2),) * 3, range(3)):
    window = x[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2, f]
    dx, dy, dz = np.unravel_index(window.argmax(), window.shape)
    expected[b, 2 * i + dx, 2 * j + dy, 2 * k + dz, f] = window.max()
  np.testing.assert_array_equal(back, expected)


def test_the_network_its_loss_and_its_statistics_are_those_of_the_reference():
  case = "dmc_pointcloud_small"
  net = DeepMarchingCubes(CellEncoder(8), CellDecoder())
  given, train = parity.load(case, "in/"), parity.load(case, "train/")
  inputs, target = jnp.asarray(given["inputs"]), jnp.asarray(given["target"])
  specs = jax.eval_shape(lambda: net.init(jax.random.key(0), inputs, train=True))
  state = parity.state_dict(parity.SPEC[case])
  variables = jax.tree.map(jnp.asarray, dmc_weights.from_state_dict(state, specs))
  names = [n for n in dmc_weights.to_state_dict(variables) if "num_batches" not in n]
  assert [m["module"] for m in parity.SPEC[case]["modules"]] == list(
    dict.fromkeys(name.rpartition(".")[0] for name in names)
  )
  outputs = jax.jit(lambda v: net.apply(v, inputs, train=False))(variables)
  for ours, name in zip(outputs, ("occupancy", "offset"), strict=True):
    assert_near(ours, parity.load(case, "eval/")[name], 1e-5)

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def step(params):
    now = {**variables, "params": params}
    made, changed = net.apply(now, inputs, train=True, mutable=["batch_stats"])
    terms = jax.vmap(dmc_losses.loss_terms)(*made, to_cells(target, 8))
    return sum(term.mean() for term in terms.values()), changed

  (loss, changed), gradients = step(variables["params"])
  np.testing.assert_allclose(loss, train["loss"], rtol=1e-5)
  named = dmc_weights.to_state_dict({"params": gradients})
  small = parity.load(case, "grad/")
  largest = max(np.abs(array).max() for array in small.values())
  for name, array in small.items():
    error = np.abs(named[name].reshape(array.shape) - array).max()
    assert error < 2e-4 * max(np.abs(array).max(), 1e-2 * largest), name
  named = dmc_weights.to_state_dict({**variables, **changed})
  for name, array in parity.load(case, "after/").items():
    assert_near(named[name], array, 1e-5)
  if "loss_after_adam_step" in train:
    (after, _), _ = step(parity.adam_step(variables["params"], gradients))
    np.testing.assert_allclose(after, train["loss_after_adam_step"], rtol=1e-4)


def test_a_ball_of_occupied_corners_becomes_its_mesh_in_the_box():
  side, radius = 33, 0.4
  axis = np.linspace(-0.6, 0.6, side)
  distance = np.linalg.norm(np.meshgrid(axis, axis, axis, indexing="ij"), axis=0)
  occupancy = 1 / (1 + np.exp((distance - radius) * 400))
  # By linear interpolation along each edge, from its middle back to the surface.
  offset = np.zeros((3, *occupancy.shape))
  for a in range(3):
    lower = np.roll(distance, 1, a)
    with np.errstate(divide="ignore", invalid="ignore"):
      t = (radius - lower) / (distance - lower)
    offset[a] = np.clip(np.nan_to_num(0.5 - t), -0.5, 0.5)

  def decode(variables, latent):
    return occupancy[None], offset[None]

  method = Method(None, None, None, decode, CellTopologies(1.2), None)
  mesh = to_mesh(method, {}, None)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * radius**3, rtol=0.02)
  np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), radius, atol=2e-3)
  empty = method._replace(decode=lambda v, z: (0 * occupancy[None], offset[None]))
  with pytest.raises(NoSurface, match="all 35937 corners are on one side"):
    to_mesh(empty, {}, None)
  assert not len(to_mesh(empty, {}, None, on_empty="empty").faces)


def test_the_published_network_has_its_number_of_parameters():
  method = registry.build(dmc_configs.get_config().model.to_dict())
  params = registry.variable_specs(method, {"inputs": np.zeros((1, 9, 3), np.float32)})
  assert sum(leaf.size for leaf in jax.tree.leaves(params["params"])) == 1_559_284


def test_the_weights_of_curvature_are_a_choice_and_a_coarse_grid_is_refused():
  given = recorded("dmc_losses")
  arrays = given["in/occupancy"], given["in/offset"], given["in/points"]
  terms = jax.jit(dmc_losses.loss_terms, static_argnames="published")
  published, own = (
    terms(*arrays, published=flag)["curvature"] for flag in (True, False)
  )
  assert abs(float(published - own)) > 1e-3
  model = base.get_config("dmc").model.to_dict()
  with pytest.raises(ValueError, match="resolution is 6; want at least 7 cells"):
    registry.build({**model, "resolution": 6})
