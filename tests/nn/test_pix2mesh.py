"""Pixel2Mesh's parts against recordings of the reference, and its losses by loops.

Weights go in and gradients come out by `interop`, so its layout is tested, too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.interop import baseline_weights
from occnet_jax.nn import graph_mesh, mesh_losses, pix2mesh
from occnet_jax.nn.pix2mesh import Prediction
from tests.helpers import parity

SMALL = graph_mesh.make_template(12)
TERMS = {  # ours -> the reference's
  "chamfer_to": "chamfer_gt_to_pred",
  "chamfer_from": "chamfer_pred_to_gt",
  "edge": "edge",
  "normal": "normal",
  "laplacian": "laplacian",
  "move": "move",
}


def maps_of(given):
  return tuple(
    jnp.moveaxis(jnp.asarray(given[f"feature_map_{i}"]), 1, -1) for i in range(4)
  )


def as_drawn(outputs):
  """The sum of all entries, weighted from -1 to 1 in the reference's order."""
  return sum((jnp.linspace(-1, 1, x.size).reshape(x.shape) * x).sum() for x in outputs)


def weights(case, part, init):
  """The recorded weights of a part as linen variables, by the layout of files."""
  specs = {"params": {part: jax.eval_shape(init)["params"]}}
  state = parity.state_dict(parity.SPEC[case])
  state = {f"{part}.{name}": array for name, array in state.items()}
  variables = baseline_weights.from_state_dict(state, specs)
  again = baseline_weights.to_state_dict(variables)
  assert list(again) == list(state)
  for name, array in state.items():
    np.testing.assert_array_equal(again[name], array)
  return jax.tree.map(jnp.asarray, {"params": variables["params"][part]})


def check_gradients(case, part, gradients, tolerance=1e-4):
  """Each relative to its largest entry, or to 1 % of the largest of the case."""
  named = baseline_weights.to_state_dict({"params": {part: gradients}})
  small = parity.load(case, "grad/")
  largest = max(np.abs(array).max() for array in small.values())
  for name, array in small.items():
    error = np.abs(named[f"{part}.{name}"] - array).max()
    assert error < tolerance * max(np.abs(array).max(), 1e-2 * largest), name
  for name, norm in parity.load(case, "gradnorm/").items():
    ours = np.linalg.norm(named[f"{part}.{name}"].astype(np.float64))
    np.testing.assert_allclose(ours, norm, rtol=2 * tolerance, atol=1e-4 * largest)


def test_the_template_is_that_of_the_recipe():
  with np.load(parity.RECORDED / "p2m_template_small.npz") as recorded:
    moved = SMALL.vertices + np.array([graph_mesh.CENTRE])
    np.testing.assert_allclose(moved, recorded["coords"], atol=1e-6)
    for number, stage in enumerate(SMALL.stages, start=1):
      np.testing.assert_array_equal(stage.faces, recorded[f"faces_{number}"])
      np.testing.assert_array_equal(stage.edges, recorded[f"edges_{number}"])
      dense = np.zeros((len(stage.degrees),) * 2)
      rows, columns = recorded[f"support_index_{number}"].T
      dense[rows, columns] = recorded[f"support_value_{number}"]
      multiply = jax.jit(lambda x, stage=stage: graph_mesh.multiply_laplacian(x, stage))
      ours = multiply(np.eye(len(dense), dtype=np.float32)[None])[0]
      np.testing.assert_allclose(ours, dense, atol=1e-6)


def test_the_template_has_as_many_vertices_edges_and_faces_as_the_published_one():
  template = graph_mesh.make_template()
  counts = [(len(s.degrees), len(s.edges), len(s.faces)) for s in template.stages]
  assert counts == [(156, 462, 308), (618, 1848, 1232), (2466, 7392, 4928)]
  eigenvalues = [2 / (stage.diagonal + 1) for stage in template.stages]
  np.testing.assert_allclose(eigenvalues, [1.4836, 1.4945, 1.4985], atol=5e-5)
  degrees = np.bincount(template.stages[0].degrees.astype(int))
  np.testing.assert_array_equal(degrees[5:], [24, 120, 12])


def test_every_stage_of_the_template_is_closed_and_faces_outward():
  vertices = jnp.asarray(graph_mesh.make_template().vertices)[None]
  for number, stage in enumerate(graph_mesh.make_template().stages):
    if number:
      before = graph_mesh.make_template().stages[number - 1]
      vertices = graph_mesh.unpool(vertices, before)
    a, b, c = np.moveaxis(np.asarray(vertices[0], np.float64)[stage.faces], 1, 0)
    volume = (a * np.cross(b, c)).sum() / 6
    # Midpoints of edges leave the shape as it is: the hull of the 156 vertices.
    hull = scipy.spatial.ConvexHull(graph_mesh.make_template().vertices)
    np.testing.assert_allclose(volume, hull.volume, rtol=1e-5)
    assert not count_open_edges(stage.faces)
  np.testing.assert_allclose(volume, 0.2322, atol=5e-5)


def test_unpooling_adds_the_mean_of_the_ends_of_every_edge():
  x = jnp.asarray(parity.load("p2m_unpooling", "in/")["x"])
  recorded = parity.load("p2m_unpooling", "out/")["x"]
  assert parity.relative_error(graph_mesh.unpool(x, SMALL.stages[1]), recorded) < 1e-6


def test_a_graph_convolution_is_that_of_the_reference():
  case, stage = "p2m_graph_convolution", SMALL.stages[1]
  net, x = graph_mesh.GraphConv(9), jnp.asarray(parity.load(case, "in/")["x"])
  state = parity.state_dict(parity.SPEC[case])
  params = {
    "lin": {"kernel": state["lin.weight"].T, "bias": state["lin.bias"]},
    "lin2": {"kernel": state["lin2.weight"].T},
  }
  params = jax.tree.map(jnp.asarray, params)
  out = jax.jit(lambda p: net.apply({"params": p}, x, stage))(params)
  assert parity.relative_error(out, parity.load(case, "eval/")["out0"]) < 1e-5

  gradients = jax.jit(
    jax.grad(lambda p: as_drawn([net.apply({"params": p}, x, stage)]))
  )(params)
  recorded = parity.load(case, "grad/")
  assert parity.relative_error(gradients["lin"]["bias"], recorded["lin.bias"]) < 1e-4
  for name in ("lin", "lin2"):
    ours = gradients[name]["kernel"].T
    assert parity.relative_error(ours, recorded[f"{name}.weight"]) < 1e-4


def test_a_product_with_the_laplacian_and_its_gradient_are_those_of_loops():
  stage, rng = SMALL.stages[0], np.random.default_rng(0)
  count = len(stage.degrees)
  laplacian = np.eye(count)
  for i, j in stage.edges:
    weight = (stage.degrees[i] * stage.degrees[j]) ** -0.5
    laplacian[i, j] = laplacian[j, i] = -weight
  scaled = 2 * laplacian / np.linalg.eigvalsh(laplacian)[-1] - np.eye(count)
  x, given = jnp.asarray(rng.standard_normal((2, 2, count, 3)), jnp.float32)
  product, back = jax.vjp(lambda x: graph_mesh.multiply_laplacian(x, stage), x)
  np.testing.assert_allclose(product, scaled @ x, atol=1e-5)
  np.testing.assert_allclose(back(given)[0], scaled.T @ given, atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
def test_projected_features_and_their_gradients_are_those_of_the_reference(
  align_corners,
):
  given = parity.load("p2m_projection", "in/")
  form = "" if align_corners else "_align_corners_false"
  camera_mat = jnp.asarray(given["camera_mat"])

  def features(points, maps):
    return pix2mesh.project(points, camera_mat, maps, align_corners=align_corners)

  arguments = jnp.asarray(given["points"]), maps_of(given)
  recorded = parity.load("p2m_projection", f"out{form}/")["features"]
  assert parity.relative_error(jax.jit(features)(*arguments), recorded) < 1e-5
  slopes = jax.jit(jax.grad(lambda *a: as_drawn([features(*a)]), (0, 1)))
  gradients = slopes(*arguments)
  recorded = parity.load("p2m_projection", f"grad{form}/")
  assert parity.relative_error(gradients[0], recorded["points"]) < 1e-4
  for i, gradient in enumerate(gradients[1] if align_corners else ()):
    ours = np.moveaxis(gradient, -1, 1)
    assert parity.relative_error(ours, recorded[f"feature_map_{i}"]) < 1e-4


def test_a_guarded_projection_is_finite_at_and_behind_the_camera():
  points = jnp.array([[[0.0, 0, 0], [0.3, -0.2, -1], [1e-9, 0, 1e-30], [0, 0, 2]]])
  maps = (jnp.ones((1, 4, 4, 2)),)

  def features(points):
    return pix2mesh.project(points, jnp.eye(3)[None], maps, near=pix2mesh.NEAR)

  values = jax.jit(features)(points)
  gradient = jax.jit(jax.grad(lambda p: features(p).sum()))(points)
  assert np.isfinite(values).all() and np.isfinite(gradient).all()
  np.testing.assert_array_equal(values[0, :, 3], [1, 0, 1, 1])  # where it is in view


def test_the_encoder_s_maps_and_gradients_are_those_of_the_reference():
  case, net = "p2m_encoder_small", pix2mesh.MapsEncoder()
  images = jnp.moveaxis(jnp.asarray(parity.load(case, "in/")["inputs"]), 1, -1)
  variables = weights(case, "encoder", lambda: net.init(jax.random.key(0), images))

  @jax.jit
  def step(params):
    def loss(params):
      maps = [jnp.moveaxis(x, -1, 1) for x in net.apply({"params": params}, images)]
      return as_drawn(maps), maps

    return jax.value_and_grad(loss, has_aux=True)(params)

  (loss, maps), gradients = step(variables["params"])
  for i, ours in enumerate(maps):
    recorded = parity.load(case, "eval/")[f"map_{i}"]
    assert parity.relative_error(ours, recorded) < 1e-5
  np.testing.assert_allclose(loss, parity.load(case, "train/")["loss"], rtol=1e-4)
  check_gradients(case, "encoder", gradients)


@pytest.fixture(scope="module")
def decoder():
  """A decoder, its recorded weights, its arguments and the target of its loss."""
  case, net = "p2m_decoder_small", pix2mesh.MeshDecoder(16, published=True)
  given = parity.load(case, "in/")
  template = jnp.asarray([SMALL.vertices] * 2) + jnp.array([[graph_mesh.CENTRE]])
  arguments = maps_of(given), jnp.asarray(given["camera_mat"]), template
  specs = functools.partial(net.init, jax.random.key(0), *arguments, SMALL.stages)
  target = given["gt_points"], given["gt_normals"]
  return net, weights(case, "decoder", specs)["params"], arguments, target


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_decoder_s_meshes_losses_and_gradients_are_those_of_the_reference(
  kind, decoder
):
  """Rounding to float32 changes gradients by 1e-4; those of the reference likewise."""
  case, (net, params, arguments, target) = "p2m_decoder_small", decoder
  with jax.enable_x64(kind is np.float64):
    arrays = jax.tree.map(lambda x: jnp.asarray(x, kind), (params, arguments, target))
    params, arguments, target = arrays

    @jax.jit
    def step(params):
      def loss(params):
        meshes = net.apply({"params": params}, *arguments, SMALL.stages)
        pairs = zip(meshes, SMALL.stages, strict=True)
        terms = [mesh_losses.block_terms(mesh, *target, stage) for mesh, stage in pairs]
        return sum(mesh_losses.weigh(terms).values()), (meshes, terms)

      return jax.value_and_grad(loss, has_aux=True)(params)

    (loss, (meshes, terms)), gradients = step(params)
    (after, _), _ = step(parity.adam_step(params, gradients))
  recorded, train = parity.load(case, "eval/"), parity.load(case, "train/")
  for number, (vertices, before) in enumerate(meshes, start=1):
    assert parity.relative_error(vertices, recorded[f"pred_{number}"]) < 1e-5
    assert parity.relative_error(before, recorded[f"before_{number}"]) < 1e-5
    for ours, name in TERMS.items():
      if ours != "move" or number > 1:
        value = train[f"loss_{name}_{number}"]
        np.testing.assert_allclose(terms[number - 1][ours], value, rtol=1e-4)
  np.testing.assert_allclose(loss, train["loss"], rtol=3e-5)
  check_gradients(case, "decoder", gradients, 1e-4 if kind is np.float64 else 3e-4)
  np.testing.assert_allclose(after, train["loss_after_adam_step"], rtol=1e-4)


@pytest.mark.parametrize("adjusted", [False, True])
def test_losses_and_their_gradients_are_those_of_the_reference(adjusted):
  given = parity.load("p2m_losses", "in/")
  given = {name: jnp.asarray(array) for name, array in given.items()}
  form = "adjusted" if adjusted else "plain"

  @jax.jit
  @jax.value_and_grad
  def total(meshes):
    terms = [
      mesh_losses.block_terms(mesh, given["gt_points"], given["gt_normals"], stage)
      for mesh, stage in zip(meshes, SMALL.stages, strict=True)
    ]
    return sum(mesh_losses.weigh(terms, adjusted=adjusted).values())

  meshes = [Prediction(given[f"pred_{i}"], given[f"before_{i}"]) for i in (1, 2, 3)]
  loss, gradients = total(meshes)
  recorded = parity.load("p2m_losses", "out/")[f"loss_{form}"]
  np.testing.assert_allclose(loss, recorded, rtol=1e-5)
  recorded = parity.load("p2m_losses", f"grad_{form}/")
  for number, (vertices, before) in enumerate(gradients, start=1):
    assert parity.relative_error(vertices, recorded[f"pred_{number}"]) < 1e-4
    floor = np.abs(recorded["before_2"]).max()  # the template's has no use
    error = parity.relative_error(before, recorded[f"before_{number}"], floor)
    assert error < 1e-4


def test_each_term_is_that_of_loops_over_vertices_and_edges():
  rng, stage = np.random.default_rng(1), SMALL.stages[0]
  vertices, before, normals = rng.standard_normal((3, 1, 12, 3)).astype(np.float32)
  surface = rng.standard_normal((1, 12, 3)).astype(np.float32)
  terms = jax.jit(lambda *arrays: mesh_losses.block_terms(*arrays, stage))(
    Prediction(jnp.asarray(vertices), jnp.asarray(before)),
    jnp.asarray(surface),
    jnp.asarray(normals),
  )
  v, w, s = vertices[0], before[0], surface[0]
  squares = [[((a - b) ** 2).sum() for b in s] for a in v]
  pairs = [*map(tuple, stage.edges), *((j, i) for i, j in stage.edges)]
  around = [[j for i, j in pairs if i == k] for k in range(12)]
  count = len(pairs) + 12

  def cosine(i, j):
    normal, edge = normals[0][np.argmin(squares[i])], v[i] - v[j]
    return abs(normal @ edge) / np.linalg.norm(normal) / np.linalg.norm(edge)

  shifts = [
    (v[i] - v[around[i]].mean(0)) - (w[i] - w[around[i]].mean(0)) for i in range(12)
  ]
  naive = {
    "chamfer_to": np.min(squares, axis=0).mean(),
    "chamfer_from": np.min(squares, axis=1).mean(),
    "edge": sum(((v[i] - v[j]) ** 2).sum() for i, j in pairs) / count,
    "normal": sum(cosine(i, j) for i, j in pairs) / count,
    "laplacian": np.mean([(shift**2).sum() for shift in shifts]),
    "move": ((v - w) ** 2).sum(1).mean(),
  }
  assert terms.keys() == naive.keys()
  for name, value in naive.items():
    np.testing.assert_allclose(terms[name], value, rtol=1e-5)


def test_coinciding_vertices_have_finite_gradients():
  point = jnp.zeros((1, 12, 3))

  def total(vertices):
    mesh = Prediction(vertices, point)
    terms = mesh_losses.block_terms(mesh, point, point, SMALL.stages[0])
    return sum(mesh_losses.weigh([terms]).values())

  assert np.isfinite(jax.jit(jax.grad(total))(point)).all()


def test_points_move_between_cube_and_camera_as_in_the_reference():
  given, out = parity.load("p2m_camera", "in/"), parity.load("p2m_camera", "out/")
  out = {name: jnp.asarray(array) for name, array in out.items()}
  moved = pix2mesh.to_camera(jnp.asarray(given["points"]), out["world_mat"])
  np.testing.assert_allclose(moved, out["camera_points"], atol=1e-5)
  back = pix2mesh.to_world(out["camera_points"], out["world_mat"])
  np.testing.assert_allclose(back, out["back"], atol=1e-5)
  rotated = pix2mesh.transform(jnp.asarray(given["points"]), out["world_mat"][..., :3])
  np.testing.assert_allclose(rotated, out["normals"], atol=1e-5)
  seen = pix2mesh.transform(moved, out["camera_mat"])
  np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], out["projected"], atol=1e-5)


def test_points_come_back_from_a_camera_whose_matrix_holds_a_scale():
  rng = np.random.default_rng(2)
  world_mat = jnp.asarray(rng.standard_normal((3, 3, 4)).astype(np.float32))
  points = jnp.asarray(rng.standard_normal((3, 20, 3)).astype(np.float32))
  rotation, offset = world_mat[..., :3], world_mat[:, None, :, 3]
  moved = pix2mesh.to_camera(points, world_mat)
  np.testing.assert_allclose(
    moved, points @ rotation.transpose(0, 2, 1) + offset, rtol=1e-5, atol=1e-5
  )
  back = pix2mesh.to_world(moved, world_mat)
  np.testing.assert_allclose(back, points, atol=1e-4)
