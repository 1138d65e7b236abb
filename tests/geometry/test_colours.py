"""Colours from files of clouds to the vertices of meshes and into their files."""

import json
import struct

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.geometry import colours, mesh_io

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-1, 1, (60, 3)).round(4)
COLOURS = RNG.integers(0, 256, (60, 3)).astype(np.uint8)


def text(*columns, separator=" "):
  table = np.hstack([column.astype(object) for column in columns])
  return "".join(separator.join(map(str, row)) + "\n" for row in table)


def ply(kind, values, form="ascii"):
  names = "".join(f"property {kind} {name}\n" for name in ("red", "green", "blue"))
  head = (
    f"ply\nformat {form} 1.0\nelement vertex 60\nproperty float x\nproperty float y\n"
    f"property float z\nproperty float nx\n{names}end_header\n"
  ).encode()
  normals = np.zeros((60, 1))
  if form == "ascii":
    return head + text(POINTS, normals, values).encode()
  types = {"uchar": "u1", "float": ">f4", "ushort": ">u2"}
  row = np.dtype([("p", ">f4", 4), ("c", types[kind], 3)])
  table = np.zeros(60, row)
  table["p"], table["c"] = np.hstack([POINTS, normals]), values
  return head + table.tobytes()


BIG = "binary_big_endian"
FILES = {  # content, and what is left out
  "a.ply": (ply("uchar", COLOURS), ("nx",)),
  "b.ply": (ply("uchar", COLOURS, BIG), ("nx",)),
  "c.ply": (ply("float", COLOURS / 255, BIG), ("nx",)),
  "d.ply": (ply("ushort", COLOURS * np.uint16(257), BIG), ("nx",)),
  "a.obj": ("v " + text(POINTS, COLOURS / 255).strip().replace("\n", "\nv "), ()),
  "a.csv": ("x,y,z,Red,Green,Blue,i\n" + text(POINTS, COLOURS, POINTS[:, :1], separator=","), ("i",)),  # noqa: E501
  "b.csv": ("b;g;r;z;y;x\n" + text(COLOURS[:, ::-1], POINTS[:, ::-1], separator=";"), ()),  # noqa: E501
  "cc.txt": ("//X Y Z R G B\n60\n" + text(POINTS, COLOURS), ()),
  "a.xyz": (text(POINTS, COLOURS), ()),
  "a.pts": ("60\n" + text(POINTS, COLOURS[:, :1] - 128.0, COLOURS), ("column 4",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_colours_are_read_and_what_is_left_out_is_named(name, tmp_path):
  content, left_out = FILES[name]
  content = content.encode() if isinstance(content, str) else content
  (tmp_path / name).write_bytes(content)
  scan = occnet_jax.read_scan(tmp_path / name)
  np.testing.assert_allclose(scan.points, POINTS, atol=1e-6)
  np.testing.assert_array_equal(scan.colours, COLOURS)
  assert scan.left_out == left_out


def test_columns_that_are_neither_colours_nor_normals_are_left_out(tmp_path):
  (tmp_path / "c.xyz").write_text(text(POINTS, np.zeros((60, 3), int)))
  (tmp_path / "d.xyz").write_text(text(POINTS, 2 * POINTS))
  for name in ("c.xyz", "d.xyz"):
    scan = occnet_jax.read_scan(tmp_path / name)
    assert scan.colours is None and scan.normals is None
    assert scan.left_out == ("column 4", "column 5", "column 6")


def test_arrays_have_colours_by_name(tmp_path):
  np.savez(tmp_path / "a.npz", points=POINTS, colors=COLOURS / 255, labels=POINTS)
  scan = occnet_jax.read_scan(tmp_path / "a.npz")
  np.testing.assert_array_equal(scan.colours, COLOURS)
  assert scan.left_out == ("labels",)


def test_points_on_a_coloured_mesh_have_the_colour_of_the_nearest_vertex(tmp_path):
  box = trimesh.creation.box()
  shades = RNG.integers(0, 256, (8, 3)).astype(np.uint8)
  box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=shades)
  box.export(tmp_path / "a.ply")
  scan = occnet_jax.read_scan(tmp_path / "a.ply")
  distances = np.linalg.norm(scan.points[:, None] - box.vertices, axis=2)
  np.testing.assert_array_equal(scan.colours, shades[distances.argmin(1)])


def test_a_vertex_has_the_colours_around_it_by_inverse_distance():
  cloud = colours.Cloud(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 5, 0], [0, 0, 90]]),
    np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8),
  )
  at = colours.at_vertices(np.array([[0.25, 0, 0], [1, 0, 0]]), cloud)
  weights = 1 / np.array([0.25, 0.75, np.hypot(0.25, 5)])
  np.testing.assert_array_equal(at[0], np.rint(255 * weights / weights.sum()))
  np.testing.assert_array_equal(at[1], [0, 255, 0])


FAR = np.array([500_000.0, 4_500_000.0, 100.0])


@pytest.mark.parametrize("place", [np.zeros(3), FAR])
@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_written_colours_come_back_in_another_reader(suffix, place, tmp_path):
  ball = trimesh.creation.icosphere(2)
  vertices, faces = np.array(ball.vertices) + place, np.array(ball.faces, np.int64)
  shades = RNG.integers(0, 256, (len(vertices), 3)).astype(np.uint8)
  path = tmp_path / f"a{suffix}"
  normals = np.tile([[0.6, 0.0, 0.8]], (len(vertices), 1))  # not those of the faces
  mesh_io.write_mesh(path, vertices, faces, normals, shades)
  loaded = trimesh.load_mesh(path, process=False)
  np.testing.assert_allclose(loaded.vertices, vertices, atol=1e-6)
  if suffix == ".glb":
    (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
    np.testing.assert_allclose(mesh.vertex_normals, normals, atol=1e-6)
  else:
    mark = b"property float nx\n" if suffix == ".ply" else b"vn 0.6"
    assert mark in path.read_bytes()
  if suffix != ".glb":  # sRGB as it is
    np.testing.assert_array_equal(loaded.visual.vertex_colors[:, :3], shades)


def test_glb_has_linear_light_of_16_bits(tmp_path):
  ball = trimesh.creation.icosphere(2)
  count = len(ball.vertices)
  shades = np.repeat((np.arange(count) % 256).astype(np.uint8)[:, None], 3, axis=1)
  vertices, faces = np.array(ball.vertices), np.array(ball.faces, np.int64)
  mesh_io.write_mesh(tmp_path / "a.glb", vertices, faces, vertices, shades)
  data = (tmp_path / "a.glb").read_bytes()
  length = struct.unpack("<I", data[12:16])[0]
  tree = json.loads(data[20 : 20 + length])
  primitive = tree["meshes"][0]["primitives"][0]
  accessor = tree["accessors"][primitive["attributes"]["COLOR_0"]]
  assert (accessor["componentType"], accessor["normalized"]) == (5123, True)
  start = 28 + length + tree["bufferViews"][accessor["bufferView"]]["byteOffset"]
  linear = np.frombuffer(data, "<u2", 4 * count, start).reshape(-1, 4) / 65535
  # The inverse of the sRGB curve gives the bytes back, the darkest ones too.
  curve = np.where(
    linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
  )
  np.testing.assert_array_equal(np.rint(255 * curve)[:, :3], shades)
  assert (linear[:, 3] == 1).all()


def test_materials_and_textures_of_meshes_are_named_as_left_out(tmp_path):
  box = trimesh.creation.box()
  uv = np.zeros((8, 2))
  picture = trimesh.visual.texture.SimpleMaterial()
  box.visual = trimesh.visual.TextureVisuals(uv, picture)
  box.export(tmp_path / "a.obj", mtl_name="a.mtl")
  assert occnet_jax.read_scan(tmp_path / "a.obj").left_out == ("materials",)
  vertices, faces = np.array(box.vertices), np.array(box.faces, np.int64)
  shades = np.zeros((8, 3), np.uint8)
  mesh_io.write_mesh(tmp_path / "a.glb", vertices, faces, None, shades)
  scan = occnet_jax.read_scan(tmp_path / "a.glb")
  assert scan.left_out == () and (scan.colours == 0).all()
