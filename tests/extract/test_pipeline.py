import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh
from jax.tree_util import Partial

from occnet_jax.extract.extraction import MAX_RESOLUTION
from occnet_jax.extract.field import decoder_field
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.extract.pipeline import NoSurface, extract_mesh
from tests.helpers.variables import draw


def norm(x):
  return jnp.sqrt((x**2).sum(-1))


def ball(radius, centre, points):
  return radius - norm(points - centre[None])


def one_ball(points):
  return 0.3 - norm(points)


def two_balls(points):
  centre = jnp.array([[0.25, 0.1, 0.0]])
  return jnp.maximum(0.15 - norm(points - centre), 0.2 - norm(points + centre))


def shell(points):
  return 0.05 - jnp.abs(norm(points) - 0.35)


def torus(points):
  rings = jnp.hypot(points[:, 0], points[:, 1]) - 0.35
  return 0.1 - jnp.hypot(rings, points[:, 2])


def bodies(mesh):
  """Signed volumes of the connected bodies, the largest first."""
  parts = trimesh.graph.connected_component_labels(mesh.edges, len(mesh.vertices))
  volumes = []
  for label in np.unique(parts):
    faces = mesh.faces[parts[mesh.faces[:, 0]] == label]
    volumes.append(trimesh.Trimesh(mesh.vertices, faces, process=False).volume)
  return sorted(volumes, reverse=True)


def sphere_volume(radius):
  return 4 / 3 * np.pi * radius**3


def test_a_ball_has_its_volume_area_radius_and_normals():
  mesh = extract_mesh(one_ball)
  assert mesh.is_watertight and count_open_edges(mesh.faces) == 0
  np.testing.assert_allclose(mesh.volume, sphere_volume(0.3), rtol=2e-3)
  np.testing.assert_allclose(mesh.area, 4 * np.pi * 0.3**2, rtol=2e-3)
  np.testing.assert_allclose(norm(mesh.vertices), 0.3, atol=5e-5)
  np.testing.assert_allclose(mesh.vertex_normals, mesh.vertices / 0.3, atol=1e-3)


def test_two_balls_are_two_bodies():
  mesh = extract_mesh(two_balls, resolution_0=16)
  expected = [sphere_volume(0.2), sphere_volume(0.15)]
  np.testing.assert_allclose(bodies(mesh), expected, rtol=1e-2)


def test_a_hollow_ball_has_an_inner_body_that_faces_inwards():
  mesh = extract_mesh(shell, resolution_0=32, upsampling_steps=1)
  outer, inner = sphere_volume(0.4), sphere_volume(0.3)
  np.testing.assert_allclose(bodies(mesh), [outer, -inner], rtol=1e-2)
  np.testing.assert_allclose(mesh.volume, outer - inner, rtol=1e-2)


def test_a_torus_has_one_hole_and_its_volume():
  mesh = extract_mesh(torus, resolution_0=16)
  assert mesh.euler_number == 0 and mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 2 * np.pi**2 * 0.35 * 0.1**2, rtol=1e-2)


def test_a_numpy_field_gives_the_mesh_of_its_jax_twin():
  centre = np.array([0.013, -0.02, 0.1], np.float32)
  host = extract_mesh(
    lambda p: 0.3 - np.linalg.norm(p - centre, axis=1), resolution_0=8
  )
  device = extract_mesh(Partial(ball, 0.3, jnp.asarray(centre)), resolution_0=8)
  np.testing.assert_array_equal(host.faces, device.faces)
  np.testing.assert_allclose(host.vertices, device.vertices, atol=1e-5)
  np.testing.assert_allclose(host.vertex_normals, device.vertex_normals, atol=1e-5)


def test_a_function_of_one_point_gives_the_mesh_of_the_batched_one():
  def one(centre, point):
    return 0.3 - norm(point - centre)

  centre = jnp.array([0.013, -0.02, 0.1])
  settings = {"resolution_0": 8, "refine_steps": 2}
  many = extract_mesh(Partial(ball, 0.3, centre), **settings)
  for field in (Partial(one, centre), lambda p: one(centre, p)):
    mesh = extract_mesh(field, **settings)
    np.testing.assert_array_equal(mesh.faces, many.faces)
    np.testing.assert_allclose(mesh.vertices, many.vertices, atol=3e-6)
    np.testing.assert_allclose(mesh.vertex_normals, many.vertex_normals, atol=1e-4)


@pytest.mark.parametrize("method", ["mise_roots", "dual", "mise"])
def test_vertices_of_the_finest_grid_lie_within_a_hundredth_of_an_edge(method):
  cell = 1.1 / MAX_RESOLUTION
  corner = 1.1 * (np.array([14, 15, 13]) / 16 - 0.5)  # of the coarse grid
  radius = np.linalg.norm(corner) + 2.3 * cell

  def patch(
    p,
  ):  # of a ball that reaches far, within a box of 12 cells around the corner
    box = 6 * cell - jnp.abs(p - jnp.asarray(corner, jnp.float32)[None]).max(-1)
    return jnp.minimum(radius - norm(p), box)

  mesh = extract_mesh(patch, method=method, upsampling_steps=12, normals=False)
  on_ball = np.abs(mesh.vertices - corner).max(1) < 4.5 * cell
  distances = np.abs(np.linalg.norm(mesh.vertices[on_ball], axis=1) - radius)
  assert mesh.is_watertight and on_ball.sum() > 50
  assert distances.max() < 0.01 * cell


def test_a_field_that_is_inside_everywhere_gives_the_closed_padded_cube():
  mesh = extract_mesh(lambda p: 1.0 + 0 * p[:, 0], resolution_0=4, padding=0.2)
  np.testing.assert_allclose(mesh.volume, 1.2**3, rtol=1e-4)
  assert mesh.is_watertight


def test_an_object_that_leaves_the_cube_is_closed():
  mesh = extract_mesh(lambda p: 0.2 - norm(p[:, :2]), resolution_0=16)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, np.pi * 0.2**2 * 1.1, rtol=5e-3)


def test_without_upsampling_the_grid_has_as_many_points_as_the_reference():
  mesh = extract_mesh(one_ball, method="mise", resolution_0=24, upsampling_steps=0)
  assert mesh.metadata["evaluations"] == 24**3
  assert mesh.metadata["resolution"] == 23
  np.testing.assert_allclose(norm(mesh.vertices), 0.3, atol=2e-3)


def test_the_level_is_in_units_of_the_field():
  tau = 0.2
  mesh = extract_mesh(
    lambda p: 30 * one_ball(p), level=np.log(tau / (1 - tau)), resolution_0=16
  )
  expected = 0.3 - np.log(tau / (1 - tau)) / 30
  np.testing.assert_allclose(norm(mesh.vertices), expected, atol=2e-4)


def test_metadata_counts_what_was_done_and_how_long_it_took():
  mesh = extract_mesh(
    lambda p: 50 * one_ball(p),
    method="mise",
    simplify_faces=2000,
    refine_steps=2,
    upsampling_steps=2,
  )
  facts = mesh.metadata
  assert facts["resolution"] == 64
  assert facts["evaluations"] == 4_913 + 3_698 + 14_498
  assert facts["faces_extracted"] > len(mesh.faces) == 2000
  assert facts["value_min"] < 0 < facts["value_max"]
  assert facts["loss_first"] > 0 and facts["loss_last"] > 0
  stages = ["octree", "evaluate", "roots", "surface", "finish", "refine", "normals"]
  assert all(facts[f"seconds_{stage}"] > 0 for stage in stages)


def test_simplified_and_refined_meshes_are_closed_and_have_fresh_normals():
  mesh = extract_mesh(
    lambda p: 100 * one_ball(p), resolution_0=16, simplify_faces=1000, refine_steps=20
  )
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, sphere_volume(0.3), rtol=0.02)
  outward = mesh.vertices / norm(mesh.vertices)[:, None]
  np.testing.assert_allclose(mesh.vertex_normals, outward, atol=1e-5)


def test_the_normals_are_the_fields_unless_they_are_left_out():
  mesh = extract_mesh(torus, resolution_0=8, upsampling_steps=1)
  assert mesh.is_watertight and mesh.volume > 0  # does not make Trimesh compute others
  points = mesh.vertices
  axis = np.hypot(points[:, 0], points[:, 1])
  ring = np.stack([points[:, 0], points[:, 1], 0 * axis], axis=1) * 0.35 / axis[:, None]
  outward = (points - ring) / np.linalg.norm(points - ring, axis=1, keepdims=True)
  np.testing.assert_allclose(mesh.vertex_normals, outward, atol=1e-5)
  plain = extract_mesh(torus, resolution_0=8, upsampling_steps=1, normals=False)
  assert plain.metadata["seconds_normals"] == 0
  np.testing.assert_array_equal(plain.vertices, mesh.vertices)


def test_a_network_is_extracted_at_its_own_level():
  class Net(nn.Module):
    @nn.compact
    def __call__(self, points, code):
      hidden = nn.relu(nn.Dense(32)(points) + code[:, None])
      return nn.Dense(1)(hidden)[..., 0]

  net = Net()
  code = np.random.default_rng(1).standard_normal((1, 32)).astype(np.float32)
  variables = draw(net.init, np.zeros((1, 1, 3), np.float32), code)

  @jax.jit
  def decode(variables, latent, points):
    return net.apply(variables, points, latent)

  field = decoder_field(decode, variables, code)
  level = float(decode(variables, code, np.zeros((1, 1, 3), np.float32))[0, 0])
  mesh = extract_mesh(field, level=level, resolution_0=8)
  logits = decode(variables, code, mesh.vertices[None].astype(np.float32))[0]
  inner = np.abs(mesh.vertices).max(1) < 0.549
  assert mesh.is_watertight and inner.sum() > 100
  assert np.abs(logits - level)[inner].mean() < 5e-3


def test_a_field_without_a_surface_says_which_values_it_has():
  message = r"no surface: .* 125 points lie between -2.55 and -1.45, none above .* 0;"
  with pytest.raises(NoSurface, match=message):
    extract_mesh(lambda p: p[:, 0] - 2, resolution_0=4)


def test_a_field_without_a_surface_can_give_an_empty_mesh():
  mesh = extract_mesh(
    lambda p: p[:, 0] - 2,
    resolution_0=4,
    simplify_faces=10,
    refine_steps=1,
    on_empty="empty",
  )
  assert len(mesh.faces) == 0 and mesh.metadata["evaluations"] == 125


@pytest.mark.parametrize(
  "settings, message",
  [
    ({"resolution_0": 0}, "resolution_0=0"),
    ({"resolution_0": 1, "upsampling_steps": 0}, "or 2 without upsampling"),
    ({"upsampling_steps": -1}, "upsampling_steps=-1"),
    ({"resolution_0": 16, "upsampling_steps": 13}, "131072 cells a side; want at most"),
    ({"on_empty": "ignore"}, "on_empty='ignore'"),
    ({"simplify_faces": 2}, "simplify to 2 faces"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    extract_mesh(one_ball, **{"resolution_0": 8, **settings})
