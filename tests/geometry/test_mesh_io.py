"""Mesh files against closed forms, hand-written files and Trimesh's own reader."""

import json
import struct

import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import mesh_io, pointcloud_io
from tests.helpers.gltf import TRIANGLE, triangle_data, triangle_tree
from tests.helpers.meshes import l_prism, pentagon_prism, volume


def _ply(form, vertices, faces):
  """The header of a PLY that promises so many vertices and faces."""
  return (
    f"ply\nformat {form} 1.0\ncomment by hand\nelement vertex {vertices}\n"
    "property float x\nproperty uchar red\nproperty float y\nproperty float z\n"
    f"element face {faces}\nproperty list uchar int vertex_indices\n"
    "property short group\nend_header\n"
  ).encode()


def _ply_body(order, corners, polygons):
  vertex = [struct.pack(f"{order}fBff", x, 9, y, z) for x, y, z in corners]
  face = [
    struct.pack(f"{order}B{len(face)}ih", len(face), *face, -7) for face in polygons
  ]
  return b"".join(vertex + face)


def _glb(changes=lambda tree: None, *, corners=(0, 1, 2)):
  """A GLB of one triangle, its JSON changed."""
  data = triangle_data(corners) + b"\0\0"
  tree = triangle_tree({"byteLength": 44})
  changes(tree)
  text = json.dumps(tree).encode()
  text += b" " * (-len(text) % 4)
  chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
  chunks += struct.pack("<II", len(data), 0x004E4942) + data
  return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _draco(tree):
  name = "KHR_draco_mesh_compression"
  tree["extensionsUsed"] = tree["extensionsRequired"] = [name]
  packed = {"bufferView": 0, "attributes": {"POSITION": 0}}  # which is no Draco data
  tree["meshes"][0]["primitives"][0]["extensions"] = {name: packed}


def _meshopt(tree):
  tree["extensionsUsed"] = tree["extensionsRequired"] = ["EXT_meshopt_compression"]


def _without_data(tree):
  del tree["accessors"][0]["bufferView"]
  tree["accessors"][0]["count"] = 353_000_000_000


def _many(tree):
  tree["accessors"][0]["count"] = 353_000_000_000


def _sparse(tree):
  tree["accessors"][0]["sparse"] = {"count": 1}


def _quantised(tree):
  tree["accessors"][0] |= {"componentType": 5122, "normalized": True}


def _fan(tree):
  tree["meshes"][0]["primitives"][0]["mode"] = 6


def _points(tree):
  tree["meshes"][0]["primitives"][0]["mode"] = 0


def _off(corners, polygons, header="OFF\n"):
  lines = [" ".join(map(str, corner)) for corner in corners.tolist()]
  lines += [" ".join(map(str, [len(face), *face])) for face in polygons]
  return f"{header}{len(corners)} {len(polygons)} 0\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("header", ["OFF\n", "OFF", "# by hand\nOFF\n\n", "COFF\n"])
def test_off_polygons_of_any_size_enclose_their_volume(tmp_path, header):
  path = tmp_path / "prism.off"
  path.write_text(_off(*pentagon_prism(), header=header))
  vertices, faces = mesh_io.read_mesh(path)
  assert len(faces) == 2 * 3 + 5 * 2
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(volume(vertices, faces), pentagon, rtol=1e-12)


def test_obj_polygons_enclose_their_volume(tmp_path):
  corners, polygons = pentagon_prism()
  lines = [f"v {x} {y} {z}" for x, y, z in corners.tolist()]
  lines += ["f " + " ".join(str(i + 1) for i in face) for face in polygons]
  (tmp_path / "prism.obj").write_text("\n".join(lines))
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(
    volume(*mesh_io.read_mesh(tmp_path / "prism.obj")), pentagon, rtol=1e-6
  )


def test_the_parts_of_a_scene_are_put_together_where_they_stand(tmp_path):
  scene = trimesh.Scene()
  scene.add_geometry(trimesh.creation.box())
  shift = trimesh.transformations.translation_matrix((3, 0, 0))
  scene.add_geometry(trimesh.creation.box(), transform=shift)
  scene.export(tmp_path / "two.glb")
  vertices, faces = mesh_io.read_mesh(tmp_path / "two.glb")
  np.testing.assert_allclose(vertices.max(0) - vertices.min(0), (4, 1, 1))
  np.testing.assert_allclose(volume(vertices, faces), 2)


def test_the_nodes_of_a_gltf_move_and_scale_what_they_hold(tmp_path):
  def tree_of_nodes(tree):
    tree["nodes"] = [
      {"children": [1, 2], "translation": [0, 0, 5]},
      {"mesh": 0, "scale": [2, 2, 2]},
      {"mesh": 0, "translation": [10, 0, 0]},
    ]
    tree["meshes"][0]["name"] = "draco, the dragon"

  (tmp_path / "a.glb").write_bytes(_glb(tree_of_nodes))
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.glb")
  found = sorted(vertices[faces].tolist())
  small = [[10, 0, 5], [11, 0, 5], [10, 1, 5]]
  np.testing.assert_allclose(found, [[[0, 0, 5], [2, 0, 5], [0, 2, 5]], small])


def test_obj_groups_textures_and_lines_leave_the_faces_as_they_are(tmp_path):
  (tmp_path / "a.obj").write_bytes(
    "# caf\u00e9\nmtllib none.mtl\no one\ng left\nusemtl red\n"
    "v 0 0 0 1 0 0\nv 1 0 0\nv\t1 1 0\r\n  v 0 1 0 # last\nvt 0 0\nvn 0 0 1\n"
    "f 1/1/1 2/1/1 \\\n3/1/1 4/1/1 # a square\nl 1 2\np 1\n"
    "g right\nusemtl blue\nf 1//1 3//1 2//1\nf 1/1 2/1\n".encode("latin-1")
  )
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.obj")
  square = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
  np.testing.assert_array_equal(vertices, square)
  np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [0, 2, 1]])


def test_relative_obj_indices_count_from_where_they_stand(tmp_path):
  (tmp_path / "a.obj").write_text(
    "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -4 -3 -2 -1\n"
    "v 5 5 5\nv 6 5 5\nv 6 6 5\nf -3/-1 -2/-1 -1/-1\nf 1 -1 2\n"
  )
  _, faces = mesh_io.read_mesh(tmp_path / "a.obj")
  np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [4, 5, 6], [0, 6, 1]])


@pytest.mark.parametrize(
  ("form", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")]
)
def test_binary_ply_polygons_of_any_size_enclose_their_volume(tmp_path, form, order):
  corners, polygons = pentagon_prism()
  body = _ply_body(order, corners, polygons)
  (tmp_path / "a.ply").write_bytes(_ply(form, len(corners), len(polygons)) + body)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.ply")
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(volume(vertices, faces), pentagon, rtol=1e-6)
  quads = polygons[2:]  # all of one size
  body = _ply_body(order, corners, quads)
  (tmp_path / "a.ply").write_bytes(_ply(form, len(corners), len(quads)) + body)
  _, faces = mesh_io.read_mesh(tmp_path / "a.ply")
  np.testing.assert_array_equal(faces[:2], [[0, 1, 6], [0, 6, 5]])
  assert len(faces) == 10


def test_text_ply_polygons_of_any_size_enclose_their_volume(tmp_path):
  corners, polygons = pentagon_prism()
  lines = [f"{x} 9 {y} {z}" for x, y, z in corners.tolist()]
  lines += [" ".join(map(str, [len(face), *face, -7])) for face in polygons]
  head = _ply("ascii", len(corners), len(polygons))
  (tmp_path / "a.ply").write_bytes(head + "\n".join(lines).encode())
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(
    volume(*mesh_io.read_mesh(tmp_path / "a.ply")), pentagon, rtol=1e-6
  )


def test_text_ply_whose_rows_span_two_lines_is_read(tmp_path):
  corners, polygons = pentagon_prism()
  lines = [f"{x} 9\n{y} {z}" for x, y, z in corners.tolist()]
  lines += [" ".join(map(str, [len(face), *face])) + "\n-7" for face in polygons]
  head = _ply("ascii", len(corners), len(polygons))
  (tmp_path / "a.ply").write_bytes(head + "\n".join(lines).encode())
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.ply")
  np.testing.assert_allclose(volume(vertices, faces), pentagon, rtol=1e-6)
  (tmp_path / "a.ply").write_bytes(head + "\n".join(lines[:12]).encode())
  with pytest.raises(ValueError, match="promises 7 elements 'face', but ends after 2"):
    mesh_io.read_mesh(tmp_path / "a.ply")


def _write_polygons(path, corners, polygons):
  if path.suffix == ".off":
    path.write_text(_off(corners, polygons))
  elif path.suffix == ".obj":
    lines = [f"v {x} {y} {z}" for x, y, z in corners.tolist()]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in polygons]
    path.write_text("\n".join(lines))
  else:
    head = _ply("binary_little_endian", len(corners), len(polygons))
    path.write_bytes(head + _ply_body("<", corners, polygons))


@pytest.mark.parametrize("suffix", [".obj", ".off", ".ply"])
@pytest.mark.parametrize("start", range(6))
def test_a_concave_polygon_is_covered_from_whichever_corner_it_begins(
  tmp_path, start, suffix
):
  path = tmp_path / f"a{suffix}"
  _write_polygons(path, *l_prism(start))
  mesh = trimesh.Trimesh(*mesh_io.read_mesh(path), process=False)
  np.testing.assert_allclose(mesh.area, 2 * 3 + 8)
  np.testing.assert_allclose(mesh.volume, 3)
  points = pointcloud_io.read_cloud(path)
  assert not ((points[:, 0] > 1.001) & (points[:, 1] > 1.001)).any()


def test_stl_is_read_as_text_or_binary_whatever_its_first_word(tmp_path):
  row = np.concatenate([[[0, 0, 1]], TRIANGLE]).astype("<f4").tobytes() + b"\0\0"
  (tmp_path / "a.stl").write_bytes(
    b"solid made by a CAD".ljust(80) + struct.pack("<I", 2) + row + row
  )
  (tmp_path / "b.stl").write_text(
    "solid b\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\n"
    "vertex 0 1 0\nendloop\nendfacet\nendsolid b\n"
  )
  for name, count in (("a", 2), ("b", 1)):
    vertices, faces = mesh_io.read_mesh(tmp_path / f"{name}.stl")
    assert len(faces) == count
    np.testing.assert_array_equal(vertices[faces[-1]], TRIANGLE)


def test_stl_text_of_several_solids_is_read_whole_or_refused(tmp_path):
  text = trimesh.creation.box().export(file_type="stl_ascii")
  (tmp_path / "a.stl").write_text(text + text)
  assert len(mesh_io.read_mesh(tmp_path / "a.stl")[1]) == 24
  for cut in (text[: len(text) // 2], text[: text.rindex("endsolid")]):
    for whole in ("", text):
      (tmp_path / "a.stl").write_text(whole + cut)
      with pytest.raises(ValueError, match=r"begins [12] solids, but ends [01]; "):
        mesh_io.read_mesh(tmp_path / "a.stl")


def test_coordinates_far_from_the_origin_keep_their_digits(tmp_path):
  (tmp_path / "a.obj").write_text(
    "v 500000.1234567 4500000.7654321 1e30\nv 500001 4500000 0\nv 500000 0 0\nf 1 2 3\n"
  )
  vertices, _ = mesh_io.read_mesh(tmp_path / "a.obj")
  assert vertices[0].tolist() == [500000.1234567, 4500000.7654321, 1e30]


_GIGA = 353_000_000_000
_BODY = _ply_body("<", TRIANGLE, [[0, 1, 2]])
_LINES = b"0 9 0 0\n1 9 0 0\n0 9 1 0\n"
_STL = bytes(80) + struct.pack("<I", 4_000_000_000) + bytes(50)
_LITTLE = "binary_little_endian"


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.obj", b"", "no faces"),
    ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "1 vertices are not finite"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "0 to 8"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -9\n", "-6 to 2"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "names vertex 0"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0,5 1 0\nf 1 2 3\n", "cannot be read"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\n", "no faces"),
    ("a.off", b"OFF\n0 0 0\n", "no faces"),
    ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "0 to 7"),
    ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n5 0 1 2\n", "3 of 5 vertices"),
    ("a.off", b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "2 faces, but .* 1"),
    ("a.off", b"OFF\n-3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "-3 vertices"),
    ("a.off", f"OFF\n{_GIGA} 1 0\n0 0 0\n".encode(), "353,000,000,000 vertices"),
    ("a.off", f"OFF\n1 {_GIGA} 0\n0 0 0\n".encode(), "353,000,000,000 faces"),
    ("a.off", b"\xff\x00\x01binary", "cannot be read"),
    ("a.off", b"", "is empty"),
    ("a.ply", b"", "cannot be read"),
    ("a.ply", _ply(_LITTLE, _GIGA, 1) + _BODY, "353,000,000,000 elements 'vertex'"),
    ("a.ply", _ply(_LITTLE, 3, _GIGA) + _BODY, "353,000,000,000 elements 'face'"),
    ("a.ply", _ply(_LITTLE, 3, 2) + _BODY, "2 elements 'face', but ends after 1"),
    ("a.ply", _ply(_LITTLE, 3, 1) + _BODY[:-5], "cannot be read"),
    ("a.ply", _ply(_LITTLE, 3, 0) + _BODY, "no faces"),
    ("a.ply", _ply("ascii", _GIGA, 1) + _LINES, "353,000,000,000 elements 'vertex'"),
    ("a.ply", _ply("ascii", 3, 2) + _LINES + b"3 0 1 2 0", "but ends after 1"),
    ("a.ply", _ply("ascii", 3, 1) + _LINES + b"3 0 1 3 0", "0 to 3"),
    ("a.ply", _ply("ascii", 3, 1) + _LINES + b"3 0 1 -1 0", "-1 to 1"),
    ("a.ply", _ply("ascii", 3, 0) + _LINES, "no faces"),
    ("a.stl", b"", "no faces"),
    ("a.stl", b"solid nothing\n", "no faces"),
    ("a.stl", _STL, "4,000,000,000 faces, but ends after 1"),
    ("a.glb", b"", "cannot be read"),
    ("a.glb", b"glTF\2\0\0\0", "cannot be read"),
    ("a.glb", _glb()[:-9], "ends after"),
    ("a.glb", _glb(corners=(0, 1, 3)), "0 to 3"),
    ("a.glb", _glb(_draco), "KHR_draco_mesh_compression|cannot be read"),
    ("a.glb", _glb(_meshopt), "EXT_meshopt_compression"),
    ("a.glb", _glb(_without_data), "no plain data"),
    ("a.glb", _glb(_many), "cannot be read"),
    ("a.glb", _glb(_sparse), "no plain data"),
    ("a.glb", _glb(_quantised), "quantised"),
    ("a.glb", _glb(_fan), "fans"),
    ("a.glb", _glb(_points), "no faces"),
    ("a.gltf", b"{}", "no faces"),
    ("a.txt", b"hello", "want one of"),
  ],
)
def test_a_file_that_is_no_sound_mesh_is_refused(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=message):
    mesh_io.read_mesh(tmp_path / name)


def test_a_missing_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no such file"):
    mesh_io.read_mesh(tmp_path / "none.obj")
