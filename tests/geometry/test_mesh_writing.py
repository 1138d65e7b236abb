"""Mesh files that are written, and the frame that meshes are moved to."""

import json
import struct

import numpy as np
import pytest
import trimesh

from occnet_jax import api
from occnet_jax.geometry import frames, mesh_io, pointcloud_io


def _cube():
  cube = trimesh.creation.box(extents=(1, 2, 4))
  return np.array(cube.vertices), np.array(cube.faces, np.int64)


@pytest.mark.parametrize("suffix", mesh_io.WRITTEN_SUFFIXES)
def test_a_written_mesh_reads_back_the_same(tmp_path, suffix):
  vertices, faces = _cube()
  path = tmp_path / f"cube{suffix}"
  mesh_io.write_mesh(path, vertices, faces)
  read_vertices, read_faces = mesh_io.read_mesh(path)
  np.testing.assert_allclose(read_vertices[read_faces], vertices[faces], atol=1e-6)
  assert read_vertices.dtype == np.float64 and read_faces.dtype == np.int64
  assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_vertex_normals_are_written_where_the_format_has_them(tmp_path):
  vertices, faces = _cube()
  normals = np.tile([[0.6, 0.0, 0.8]], (len(vertices), 1))
  mesh_io.write_mesh(tmp_path / "a.obj", vertices, faces, normals)
  lines = (tmp_path / "a.obj").read_text().splitlines()
  rows = [line.split()[1:] for line in lines if line.startswith("vn ")]
  np.testing.assert_allclose(np.array(rows, float), normals, atol=1e-6)
  mesh_io.write_mesh(tmp_path / "a.ply", vertices, faces, normals)
  body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")[2]
  rows = np.frombuffer(body[: 24 * len(vertices)], "<f4").reshape(-1, 6)
  np.testing.assert_allclose(rows[:, 3:], normals, atol=1e-6)
  mesh_io.write_mesh(tmp_path / "a.glb", vertices, faces, normals)
  blob = (tmp_path / "a.glb").read_bytes()
  header = json.loads(blob[20 : 20 + struct.unpack("<I", blob[12:16])[0]])
  assert "NORMAL" in header["meshes"][0]["primitives"][0]["attributes"]


FAR = np.array([500_000.0, 4_500_000.0, 100.0])


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".off", ".ply"])
@pytest.mark.parametrize("with_normals", [False, True])
def test_a_small_ball_far_from_the_origin_keeps_its_form(
  tmp_path, suffix, with_normals
):
  ball = trimesh.creation.icosphere(4)
  unit, faces = np.array(ball.vertices), np.array(ball.faces, np.int64)
  path = tmp_path / f"a{suffix}"
  mesh_io.write_mesh(path, 0.5 * unit + FAR, faces, unit if with_normals else None)
  vertices, read_faces = mesh_io.read_mesh(path)
  radii = np.linalg.norm(vertices - FAR, axis=1)
  np.testing.assert_allclose(radii, 0.5, rtol=1e-6)
  corners = vertices[read_faces]
  areas = np.linalg.norm(
    np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
  )
  assert len(read_faces) == len(faces) and areas.min() > 1e-5
  loaded = trimesh.load_mesh(path, process=False)  # as other programs would
  np.testing.assert_allclose(loaded.bounds, [FAR - 0.5, FAR + 0.5], atol=1e-6)


def test_a_far_mesh_keeps_its_normals(tmp_path):
  vertices, faces = _cube()
  normals = np.tile([[0.6, 0.0, 0.8]], (len(vertices), 1))
  place = FAR + 0.1
  mesh_io.write_mesh(tmp_path / "a.glb", vertices + place, faces, normals)
  scene = trimesh.load_scene(tmp_path / "a.glb", process=False)
  (mesh,) = scene.geometry.values()
  np.testing.assert_allclose(mesh.vertex_normals, normals, atol=1e-6)
  mesh_io.write_mesh(tmp_path / "a.ply", vertices + place, faces, normals)
  body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")[2]
  row = np.dtype([("position", "<f8", 3), ("normal", "<f4", 3)])
  rows = np.frombuffer(body, row, len(vertices))
  np.testing.assert_array_equal(rows["position"], vertices + place)
  np.testing.assert_allclose(rows["normal"], normals, atol=1e-6)


def test_points_without_faces_are_not_written_as_an_empty_stl(tmp_path):
  points, none = _cube()[0], np.zeros((0, 3), np.int64)
  with pytest.raises(ValueError, match=r"a\.stl: STL is for faces.*want \.ply"):
    mesh_io.write_mesh(tmp_path / "a.stl", points, none)


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj"])
@pytest.mark.parametrize("move", [0, FAR])
@pytest.mark.parametrize("coloured", [False, True])
def test_points_without_faces_read_back_in_every_format(
  tmp_path, suffix, move, coloured
):
  points, none, path = _cube()[0] + move, np.zeros((0, 3), np.int64), f"a{suffix}"
  colours = np.arange(24, dtype=np.uint8).reshape(8, 3) if coloured else None
  mesh_io.write_mesh(tmp_path / path, points, none, np.zeros((8, 3)), colours)
  if suffix == ".glb":
    cloud = trimesh.load(tmp_path / path).to_geometry()
    assert isinstance(cloud, trimesh.PointCloud)
    cloud = np.asarray(cloud.vertices)
  else:
    cloud = pointcloud_io.read_cloud(tmp_path / path)
  np.testing.assert_allclose(cloud, points, rtol=0, atol=1e-5)


def test_stl_is_refused_where_its_numbers_would_change_the_form(tmp_path):
  vertices, faces = _cube()
  with pytest.raises(ValueError, match=r"a\.stl: STL keeps float32, .*want \.ply"):
    mesh_io.write_mesh(tmp_path / "a.stl", vertices + FAR + 0.1, faces)
  assert not list(tmp_path.iterdir())
  mesh_io.write_mesh(tmp_path / "b.stl", vertices + 100, faces)
  read_vertices, read_faces = mesh_io.read_mesh(tmp_path / "b.stl")
  np.testing.assert_allclose(
    read_vertices[read_faces], vertices[faces] + 100, atol=1e-5
  )


@pytest.mark.parametrize("suffix", mesh_io.WRITTEN_SUFFIXES)
def test_a_mesh_of_a_micrometre_in_metres_keeps_its_form(tmp_path, suffix):
  vertices, faces = _cube()
  mesh_io.write_mesh(tmp_path / f"a{suffix}", 1e-6 * vertices, faces)
  read_vertices, read_faces = mesh_io.read_mesh(tmp_path / f"a{suffix}")
  np.testing.assert_allclose(
    1e6 * read_vertices[read_faces], vertices[faces], atol=1e-6
  )


def test_names_with_spaces_and_of_any_script_are_read(tmp_path):
  path = tmp_path / "Stühle & Tische" / "椅子 (1).obj"
  mesh_io.write_mesh(path, *_cube())
  assert len(mesh_io.read_mesh(path)[1]) == 12


@pytest.mark.parametrize("suffix", ["glb", "ply", "obj", "off", "stl"])
@pytest.mark.parametrize(
  ("coordinate", "message"),
  [(np.nan, "1 of 8 vertices are not finite"), (np.inf, "1 of 8 vertices")],
)
def test_vertices_that_no_program_could_read_are_not_written(
  tmp_path, suffix, coordinate, message
):
  vertices, faces = _cube()
  vertices[3, 1] = coordinate
  with pytest.raises(ValueError, match=message):
    mesh_io.write_mesh(tmp_path / f"mesh.{suffix}", vertices, faces)
  assert not list(tmp_path.iterdir())


def test_an_empty_mesh_and_one_beyond_float32_are_not_written(tmp_path):
  with pytest.raises(ValueError, match=r"mesh\.glb: the mesh has 0 vertices"):
    api.write_mesh(tmp_path / "mesh.glb", trimesh.Trimesh())
  vertices, faces = _cube()
  for suffix in ("glb", "stl"):
    with pytest.raises(ValueError, match=r"float32 has no number; want \.ply"):
      mesh_io.write_mesh(tmp_path / f"mesh.{suffix}", 1e300 * vertices, faces)
  assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_not_written(tmp_path):
  with pytest.raises(ValueError, match="cannot write"):
    mesh_io.write_mesh(tmp_path / "a.step", *_cube())


def test_the_unit_cube_frame_centres_and_scales_by_the_largest_extent():
  vertices, _ = _cube()
  loc, scale = frames.unit_cube_frame(3 * vertices + (5, -1, 2))
  np.testing.assert_allclose(loc, (5, -1, 2))
  assert scale == pytest.approx(12)


@pytest.mark.parametrize(
  "vertices",
  [np.zeros((0, 3)), np.ones((4, 3)), 1e308 * np.array([[-1.0, 0, 0], [1, 0, 0]])],
)
def test_a_frame_needs_an_extent(vertices):
  with pytest.raises(ValueError, match="want"):
    frames.unit_cube_frame(vertices)
