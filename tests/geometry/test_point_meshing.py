"""Meshes of point sets, by MeshLab where it is installed and by a stand-in."""

import importlib.util
import sys
import types

import numpy as np
import pytest
import trimesh

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.extract.to_mesh import check, settings_of, to_mesh
from occnet_jax.geometry import extras, point_meshing
from occnet_jax.types import Field, Grid, Mesh, Method, Points

needs_library = pytest.mark.skipif(
  importlib.util.find_spec("pymeshlab") is None,
  reason="pymeshlab is not installed: pip install pymeshlab",
)


def on_a_sphere(radius=0.4, count=2000):
  """Points spread evenly (Fibonacci)."""
  i = np.arange(count) + 0.5
  z, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
  ring = np.sqrt(1 - z**2)
  return radius * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], 1)


def generation(**fields):
  config = base.get_config("psgn")
  config.generation.update(fields)
  return config_lib.parse(config.to_dict()).generation


def method_of(output, points):
  def decode(variables, latent):
    faces = np.array([[0, 1, 2]])
    return (points[None], faces) if isinstance(output, Mesh) else points[None]

  return Method(None, None, None, decode, output, None)


class Tetrahedra:
  """A stand-in for the library: any points become one tetrahedron, wound inward."""

  PyMeshLabException = RuntimeError

  class Mesh:
    def __init__(self, vertex_matrix):
      self.points = vertex_matrix

  class MeshSet:
    def __init__(self, verbose):
      self.filters = []

    def add_mesh(self, mesh):
      self.mesh = mesh

    def compute_normal_for_point_clouds(self, k):
      self.filters.append(k)

    def generate_surface_reconstruction_screened_poisson(self, depth, threads):
      assert self.filters == [10]  # Poisson's method wants normals
      self.faces = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]

    def generate_surface_reconstruction_ball_pivoting(self, **settings):
      self.faces = [[0, 1, 2]]

    def current_mesh(self):
      corners = np.vstack([np.zeros(3), np.eye(3)])
      return types.SimpleNamespace(
        vertex_matrix=lambda: corners, face_matrix=lambda: np.array(self.faces)
      )


@pytest.fixture
def stand_in(monkeypatch):
  module = types.ModuleType("pymeshlab")
  vars(module).update({k: v for k, v in vars(Tetrahedra).items() if k[0] != "_"})
  module.PercentageValue = float
  monkeypatch.setitem(sys.modules, "pymeshlab", module)


def test_a_point_set_becomes_a_mesh_by_the_config(stand_in):
  points = on_a_sphere()
  for output in (Points(), Mesh(closed=False)):
    method = method_of(output, points)
    plain = to_mesh(method, {}, None, **settings_of(generation()))
    np.testing.assert_allclose(plain.vertices, points)
    closed, opened = (
      to_mesh(method, {}, None, **settings_of(generation(point_mesh=way)))
      for way in ("poisson", "ball_pivoting")
    )
    np.testing.assert_allclose(closed.volume, 1 / 6)  # turned outward
    assert "volume" not in closed.metadata
    assert len(opened.faces) == 1 and opened.metadata["volume"] is False


def test_too_few_points_have_no_surface(stand_in):
  method = method_of(Points(), np.eye(3))
  with pytest.raises(NoSurface, match="poisson finds no triangle among 3 points"):
    to_mesh(method, {}, None, point_mesh="poisson")
  empty = to_mesh(method, {}, None, point_mesh="poisson", on_empty="empty")
  assert len(empty.vertices) == len(empty.faces) == 0
  with pytest.raises(ValueError, match="not finite"):
    point_meshing.mesh_points(np.full((20, 3), np.nan), "poisson")


@pytest.mark.parametrize("output", [Field(0.0), Grid(0.0), Mesh(closed=True)])
def test_a_system_without_points_refuses(output):
  method = method_of(output, on_a_sphere())
  with pytest.raises(ValueError, match="predicts a closed surface and not points on"):
    to_mesh(method, {}, None, point_mesh="poisson")


def test_an_unknown_way_and_a_missing_library_are_refused_before_training(monkeypatch):
  with pytest.raises(
    ValueError, match="point_mesh is 'alpha'; want one of: none, ball"
  ):
    check(generation(point_mesh="alpha"))
  monkeypatch.setitem(sys.modules, "pymeshlab", None)  # import fails
  with pytest.raises(
    extras.MissingLibrary, match=r"pip install pymeshlab .*\[meshing\]"
  ):
    check(generation(point_mesh="poisson"))


@needs_library
def test_poisson_of_points_on_a_sphere_is_that_ball():
  vertices, faces = point_meshing.mesh_points(on_a_sphere(), "poisson")
  mesh = trimesh.Trimesh(vertices, faces)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * 0.4**3, rtol=0.02)


@needs_library
def test_ball_pivoting_keeps_the_points():
  points = on_a_sphere()
  vertices, faces = point_meshing.mesh_points(points, "ball_pivoting")
  assert len(faces) > 1000
  gaps = np.linalg.norm(vertices[:, None] - points[None, :], axis=-1).min(1)
  np.testing.assert_allclose(gaps, 0, atol=1e-6)


@needs_library
def test_points_on_a_line_have_no_surface():
  line = np.linspace(0, 1, 50)[:, None] * np.ones(3)
  for way in point_meshing.METHODS:
    _, faces = point_meshing.mesh_points(line, way)
    assert not len(faces) or np.isfinite(faces).all()
