"""PCD, LAS, LAZ, E57, Draco and 3MF, written by other libraries or by hand."""

import json
import struct
import sys
import zipfile

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.geometry import threemf

RNG = np.random.default_rng(0)
PLACE = np.array([500_000.0, 4_500_000.0, 100.0])
POINTS = RNG.uniform(-1, 1, (200, 3)).round(3)
COLOURS = RNG.integers(0, 256, (200, 3)).astype(np.uint8)
OPTIONAL = "is not installed: optional"


def write_pcd(path, encoding="binary", points=POINTS, extra=True):
  pypcd4 = pytest.importorskip("pypcd4", reason=f"pypcd4 {OPTIONAL}")
  packed = pypcd4.PointCloud.encode_rgb(COLOURS.astype(np.float32))
  columns = [*points.T.astype(np.float32), packed.reshape(-1)]
  fields, kinds = ["x", "y", "z", "rgb"], [np.float32] * 4
  if extra:
    columns.append(np.arange(200.0, dtype=np.float32))
    fields.append("intensity")
    kinds.append(np.float32)
  cloud = pypcd4.PointCloud.from_points(columns, fields, kinds)
  cloud.save(path, getattr(pypcd4.Encoding, encoding.upper()))
  return path


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_pcd_has_its_points_and_packed_colours(tmp_path, encoding):
  scan = occnet_jax.read_scan(write_pcd(tmp_path / "a.pcd", encoding))
  np.testing.assert_allclose(scan.points, POINTS, atol=1e-6)
  if encoding != "ascii":  # where numbers are rounded by whoever writes them
    np.testing.assert_array_equal(scan.colours, COLOURS)
  assert scan.left_out == ("intensity",)


def test_pcd_of_others_has_whole_colours_and_points_without_a_place(tmp_path):
  pytest.importorskip("pypcd4", reason=f"pypcd4 {OPTIONAL}")
  rows = [f"{x} {y} {z} {(255 << 24) + (7 << 16) + (8 << 8) + 9}" for x, y, z in POINTS]
  rows[5] = rows[9] = "nan nan nan 0"
  head = (
    "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgba\nSIZE 4 4 4 4\nTYPE F F F U\n"
    "COUNT 1 1 1 1\nWIDTH 100\nHEIGHT 2\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 200\n"
  )
  (tmp_path / "a.pcd").write_text(head + "DATA ascii\n" + "\n".join(rows) + "\n")
  scan = occnet_jax.read_scan(tmp_path / "a.pcd")
  assert scan.left_out == ("2 points without a place",)
  np.testing.assert_allclose(scan.points, np.delete(POINTS, [5, 9], 0), atol=1e-6)
  np.testing.assert_array_equal(scan.colours, [[7, 8, 9]] * 198)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("point_format", [2, 7])
@pytest.mark.parametrize("factor", [1, 257])
def test_las_is_scaled_and_keeps_large_coordinates(
  tmp_path, suffix, point_format, factor
):
  laspy = pytest.importorskip("laspy", reason=f"laspy {OPTIONAL}")
  pytest.importorskip("lazrs", reason=f"lazrs {OPTIONAL}")
  las = laspy.create(point_format=point_format)
  las.header.offsets, las.header.scales = PLACE, [1e-3] * 3
  las.x, las.y, las.z = (POINTS + PLACE).T
  las.red, las.green, las.blue = COLOURS.T.astype(np.uint16) * factor
  las.intensity = np.arange(200)
  las.write(tmp_path / f"a{suffix}")
  scan = occnet_jax.read_scan(tmp_path / f"a{suffix}")
  np.testing.assert_allclose(scan.points, POINTS + PLACE, atol=1e-6)
  np.testing.assert_array_equal(scan.colours, COLOURS)
  assert scan.left_out == ("intensity",)


def test_las_without_colours_has_none(tmp_path):
  laspy = pytest.importorskip("laspy", reason=f"laspy {OPTIONAL}")
  las = laspy.create(point_format=2)
  las.header.scales = [1e-3] * 3
  las.x, las.y, las.z = POINTS.T
  las.write(tmp_path / "a.las")
  assert occnet_jax.read_scan(tmp_path / "a.las").colours is None


def write_e57(path):
  pye57 = pytest.importorskip("pye57", reason=f"pye57 {OPTIONAL}")
  turn = np.array([np.cos(0.3), 0, 0, np.sin(0.3)])  # about z by 0.6
  with pye57.E57(str(path), mode="w") as file:
    for start, place in ((0, [0.0, 0, 0]), (100, [5.0, 6, 7])):
      part = slice(start, start + 100)
      data = {f"cartesian{a}": c for a, c in zip("XYZ", POINTS[part].T, strict=True)}
      names = ("colorRed", "colorGreen", "colorBlue")
      data |= dict(zip(names, COLOURS[part].T, strict=True))
      data["intensity"] = np.linspace(0, 1, 100)
      rotation = turn if start else np.array([1.0, 0, 0, 0])
      file.write_scan_raw(data, rotation=rotation, translation=np.array(place))
  return path


def test_the_scans_of_an_e57_stand_where_their_poses_put_them(tmp_path):
  scan = occnet_jax.read_scan(write_e57(tmp_path / "a.e57"))
  c, s = np.cos(0.6), np.sin(0.6)
  moved = POINTS[100:] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + [5, 6, 7]
  np.testing.assert_allclose(scan.points, [*POINTS[:100], *moved], atol=1e-6)
  np.testing.assert_array_equal(scan.colours, COLOURS)
  assert scan.left_out == ("intensity",)


def write_draco(path, moved=(10.0, 0.0, 0.0)):
  """A box of 1 x 2 x 3 whose only primitive is compressed, moved by a node."""
  library = pytest.importorskip("DracoPy", reason=f"DracoPy {OPTIONAL}")
  box = trimesh.creation.box((1, 2, 3))
  vertices, faces = np.array(box.vertices), np.array(box.faces).astype(np.uint32)
  data = library.encode(vertices, faces, quantization_bits=14)
  name = "KHR_draco_mesh_compression"
  packed = {"bufferView": 0, "attributes": {"POSITION": 0}}
  primitive = {
    "attributes": {"POSITION": 0},
    "indices": 1,
    "extensions": {name: packed},
  }
  accessors = [
    {"componentType": 5126, "count": 8, "type": "VEC3"},
    {"componentType": 5123, "count": 36, "type": "SCALAR"},
  ]
  tree = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0, "translation": list(moved)}],
    "meshes": [{"primitives": [primitive]}],
    "accessors": accessors,
    "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": len(data)}],
    "buffers": [{"byteLength": len(data)}],
    "extensionsUsed": [name],
    "extensionsRequired": [name],
  }
  if path.suffix == ".gltf":
    tree["buffers"][0]["uri"] = "a.bin"
    path.with_name("a.bin").write_bytes(data)
    path.write_text(json.dumps(tree))
    return path
  head = json.dumps(tree).encode()
  head += b" " * (-len(head) % 4)
  body = data + bytes(-len(data) % 4)
  chunks = struct.pack("<I4s", len(head), b"JSON") + head
  chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
  path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
  return path


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_a_mesh_compressed_by_draco_is_where_its_node_puts_it(tmp_path, suffix):
  mesh = occnet_jax.read_mesh(write_draco(tmp_path / f"a{suffix}"))
  np.testing.assert_allclose(mesh.volume, 6, rtol=1e-3)
  expected = [[9.5, -1, -1.5], [10.5, 1, 1.5]]
  np.testing.assert_allclose(mesh.bounds, expected, atol=1e-3)


BOX = trimesh.creation.box((1, 2, 3))


def mesh_xml(name, kind="model"):
  corners = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in BOX.vertices)
  faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in BOX.faces)
  return (
    f'<object id="{name}" type="{kind}"><mesh><vertices>{corners}</vertices>'
    f"<triangles>{faces}</triangles></mesh></object>"
  )


def write_3mf(path, resources, build, parts=()):
  core = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
  production = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
  head = f'<model unit="inch" xmlns="{core}" xmlns:p="{production}">'
  relation = (
    f'<Relationship Target="/3D/start.model" Id="r" Type="{threemf.MODEL_TYPE}"/>'
  )
  names = "http://schemas.openxmlformats.org/package/2006/relationships"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr(
      "_rels/.rels", f'<Relationships xmlns="{names}">{relation}</Relationships>'
    )
    body = f"<resources>{resources}</resources><build>{build}</build>"
    archive.writestr("3D/start.model", f"{head}{body}</model>")
    for name, content in parts:
      text = f"{head}<resources>{content}</resources><build/></model>"
      archive.writestr(name, text)
  return path


def test_a_3mf_is_what_its_build_places(tmp_path):
  turned = "0 1 0 -1 0 0 0 0 1 0 20 0"
  mirrored = "-1 0 0 0 1 0 0 0 1 0 0 40"
  resources = (
    mesh_xml(1) + '<object id="2"><components><component objectid="1" '
    'transform="1 0 0 0 1 0 0 0 1 10 0 0"/>'
    f'<component objectid="1" transform="{turned}"/></components></object>'
    + mesh_xml(3)  # in no item
    + mesh_xml(4, "support")
    + '<object id="5" type="support"><components><component objectid="77"/>'
    "</components></object>"  # of no object, which does not matter
  )
  build = (
    '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 0 0 5"/>'
    f'<item objectid="1" transform="{mirrored}"/><item objectid="4"/>'
    '<item objectid="5"/>'
  )
  mesh = occnet_jax.read_mesh(write_3mf(tmp_path / "a.3mf", resources, build))
  assert len(mesh.faces) == 3 * 12
  np.testing.assert_allclose(mesh.volume, 18)  # also of the mirrored one
  bounds = sorted(part.bounds.round(6).tolist() for part in mesh.split())
  assert bounds == [
    [[-1.0, 19.5, 3.5], [1.0, 20.5, 6.5]],
    [[-0.5, -1.0, 38.5], [0.5, 1.0, 41.5]],
    [[9.5, -1.0, 3.5], [10.5, 1.0, 6.5]],
  ]


def test_objects_in_other_parts_of_a_3mf_are_those_that_are_named(tmp_path):
  parts = [("3D/Objects/o.model", mesh_xml(1) + mesh_xml(2))]
  resources = (
    '<object id="9"><components>'
    '<component p:path="/3D/Objects/o.model" objectid="2"/></components></object>'
  )
  path = write_3mf(tmp_path / "a.3mf", resources, '<item objectid="9"/>', parts)
  assert len(occnet_jax.read_mesh(path).faces) == 12


def test_a_3mf_that_holds_itself_or_doubles_for_ever_ends(tmp_path):
  loop = '<object id="1"><components><component objectid="1"/></components></object>'
  path = write_3mf(tmp_path / "a.3mf", loop, '<item objectid="1"/>')
  with pytest.raises(ValueError, match="part of itself"):
    occnet_jax.read_mesh(path)
  doubled = "".join(
    f'<object id="{i}"><components><component objectid="{i - 1}"/>'
    f'<component objectid="{i - 1}"/></components></object>'
    for i in range(1, 30)
  )
  empty = '<object id="0"><mesh><vertices/><triangles/></mesh></object>'
  for first in (mesh_xml(0), empty):
    path = write_3mf(tmp_path / "b.3mf", first + doubled, '<item objectid="29"/>')
    with pytest.raises(ValueError, match="too many components"):
      occnet_jax.read_mesh(path)
  chain = mesh_xml(0) + "".join(
    f'<object id="{i}"><components><component objectid="{i - 1}"/></components>'
    "</object>"
    for i in range(1, 40)
  )
  items = "".join(f'<item objectid="{i}"/>' for i in range(40))  # from the inside out
  path = write_3mf(tmp_path / "c.3mf", chain, items)
  with pytest.raises(ValueError, match="of too many others"):
    occnet_jax.read_mesh(path)


WRITERS = {".pcd": write_pcd, ".e57": write_e57, ".glb": write_draco}
LIBRARIES = {  # suffix: module, extra
  ".pcd": ("pypcd4", "scans"),
  ".las": ("laspy", "scans"),
  ".laz": ("lazrs", "scans"),
  ".e57": ("pye57", "e57"),
  ".glb": ("DracoPy", "draco"),
  ".dae": ("collada", "dae"),
}


@pytest.mark.parametrize("suffix", LIBRARIES)
def test_a_missing_library_is_a_line_for_pip(tmp_path, monkeypatch, suffix):
  path = tmp_path / f"a{suffix}"
  if suffix in WRITERS:
    WRITERS[suffix](path)
  else:
    path.write_bytes(b"LASF" + bytes(400))
  module, extra = LIBRARIES[suffix]
  if suffix == ".laz":
    pytest.importorskip("laspy", reason=f"laspy {OPTIONAL}")
  monkeypatch.setitem(sys.modules, module, None)  # so that importing it raises
  with pytest.raises(
    ValueError, match=rf"pip install .*occnet-jax\[{extra}\]"
  ) as raised:
    occnet_jax.read_cloud(path)
  assert "\n" not in str(raised.value) and "cannot be read" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".pcd", ".e57", ".glb"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_a_sentence(tmp_path, suffix, share):
  path = WRITERS[suffix](tmp_path / f"a{suffix}")
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  with pytest.raises(ValueError, match="cannot be read"):
    occnet_jax.read_cloud(path)
