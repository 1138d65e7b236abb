"""Mesh files against closed forms, hand-written files and Trimesh's own reader."""

import json
import struct

import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import meshes


def _cube():
  cube = trimesh.creation.box(extents=(1, 2, 4))
  return np.array(cube.vertices), np.array(cube.faces, np.int64)


def _volume(vertices, faces):
  a, b, c = vertices[faces].transpose(1, 0, 2)
  return np.einsum("fk,fk", a, np.cross(b, c)) / 6


def _pentagon_prism():
  """Corners and polygons of an upright prism, wound outward."""
  turn = 2 * np.pi * np.arange(5) / 5
  ring = np.stack([np.cos(turn), np.sin(turn)], 1)
  corners = np.concatenate([np.c_[ring, np.zeros(5)], np.c_[ring, np.ones(5)]])
  sides = [[i, (i + 1) % 5, (i + 1) % 5 + 5, i + 5] for i in range(5)]
  return corners, [[4, 3, 2, 1, 0], [5, 6, 7, 8, 9], *sides]


def _off(corners, polygons, header="OFF\n"):
  lines = [" ".join(map(str, corner)) for corner in corners.tolist()]
  lines += [" ".join(map(str, [len(face), *face])) for face in polygons]
  return f"{header}{len(corners)} {len(polygons)} 0\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("suffix", meshes.WRITTEN_SUFFIXES)
def test_a_written_mesh_reads_back_the_same(tmp_path, suffix):
  vertices, faces = _cube()
  path = tmp_path / f"cube{suffix}"
  meshes.write_mesh(path, vertices, faces)
  read_vertices, read_faces = meshes.read_mesh(path)
  np.testing.assert_allclose(read_vertices[read_faces], vertices[faces], atol=1e-6)
  assert read_vertices.dtype == np.float64 and read_faces.dtype == np.int64
  assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_vertex_normals_are_written_where_the_format_has_them(tmp_path):
  vertices, faces = _cube()
  normals = np.tile([[0.6, 0.0, 0.8]], (len(vertices), 1))
  meshes.write_mesh(tmp_path / "a.obj", vertices, faces, normals)
  lines = (tmp_path / "a.obj").read_text().splitlines()
  rows = [line.split()[1:] for line in lines if line.startswith("vn ")]
  np.testing.assert_allclose(np.array(rows, float), normals, atol=1e-6)
  meshes.write_mesh(tmp_path / "a.ply", vertices, faces, normals)
  body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")[2]
  rows = np.frombuffer(body[: 24 * len(vertices)], "<f4").reshape(-1, 6)
  np.testing.assert_allclose(rows[:, 3:], normals, atol=1e-6)
  meshes.write_mesh(tmp_path / "a.glb", vertices, faces, normals)
  blob = (tmp_path / "a.glb").read_bytes()
  header = json.loads(blob[20 : 20 + struct.unpack("<I", blob[12:16])[0]])
  assert "NORMAL" in header["meshes"][0]["primitives"][0]["attributes"]


@pytest.mark.parametrize("header", ["OFF\n", "OFF", "# by hand\nOFF\n\n", "COFF\n"])
def test_off_polygons_of_any_size_enclose_their_volume(tmp_path, header):
  path = tmp_path / "prism.off"
  path.write_text(_off(*_pentagon_prism(), header=header))
  vertices, faces = meshes.read_mesh(path)
  assert len(faces) == 2 * 3 + 5 * 2
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(_volume(vertices, faces), pentagon, rtol=1e-12)


def test_obj_polygons_enclose_their_volume(tmp_path):
  corners, polygons = _pentagon_prism()
  lines = [f"v {x} {y} {z}" for x, y, z in corners.tolist()]
  lines += ["f " + " ".join(str(i + 1) for i in face) for face in polygons]
  (tmp_path / "prism.obj").write_text("\n".join(lines))
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(
    _volume(*meshes.read_mesh(tmp_path / "prism.obj")), pentagon, rtol=1e-6
  )


def test_the_parts_of_a_scene_are_put_together_where_they_stand(tmp_path):
  scene = trimesh.Scene()
  scene.add_geometry(trimesh.creation.box())
  shift = trimesh.transformations.translation_matrix((3, 0, 0))
  scene.add_geometry(trimesh.creation.box(), transform=shift)
  scene.export(tmp_path / "two.glb")
  vertices, faces = meshes.read_mesh(tmp_path / "two.glb")
  np.testing.assert_allclose(vertices.max(0) - vertices.min(0), (4, 1, 1))
  np.testing.assert_allclose(_volume(vertices, faces), 2)


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "1 vertices are not finite"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\n", "no faces"),
    ("a.off", b"OFF\n0 0 0\n", "no faces"),
    ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "0 to 7"),
    ("a.off", b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "1 of 2 faces"),
    ("a.off", b"\xff\x00\x01binary", "cannot be read"),
    ("a.off", b"", "does not start with OFF"),
    ("a.ply", b"", "cannot be read"),
    ("a.stl", b"solid nothing\n", "no faces"),
    ("a.glb", b"glTF\2\0\0\0", "cannot be read"),
    ("a.glb", b'glTF{"extensionsUsed":["KHR_draco_mesh_compression"]}', "Draco"),
    ("a.txt", b"hello", "want one of"),
  ],
)
def test_a_file_that_is_no_sound_mesh_is_refused(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=message):
    meshes.read_mesh(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no such file"):
    meshes.read_mesh(tmp_path / "none.obj")


def test_an_unknown_format_is_not_written(tmp_path):
  with pytest.raises(ValueError, match="cannot write"):
    meshes.write_mesh(tmp_path / "a.step", *_cube())


def test_the_unit_cube_frame_centres_and_scales_by_the_largest_extent():
  vertices, _ = _cube()
  loc, scale = meshes.unit_cube_frame(3 * vertices + (5, -1, 2))
  np.testing.assert_allclose(loc, (5, -1, 2))
  assert scale == pytest.approx(12)


@pytest.mark.parametrize("vertices", [np.zeros((0, 3)), np.ones((4, 3))])
def test_a_frame_needs_an_extent(vertices):
  with pytest.raises(ValueError, match="want"):
    meshes.unit_cube_frame(vertices)
