"""glTF files whose data lie in another file, or that Trimesh would read wrongly."""

import json
import tracemalloc

import numpy as np
import pytest

from occnet_jax.geometry import gltf, mesh_io, pointcloud_io
from tests.helpers.gltf import TRIANGLE, triangle_data, triangle_tree


def write(path, change=lambda tree: None, *, uri="data.bin", data_name="data.bin"):
  """Writes a triangle as JSON, changed, with its data beside it."""
  data = triangle_data()
  tree = triangle_tree({"byteLength": len(data), "uri": uri})
  change(tree)
  path.write_text(json.dumps(tree))
  (path.parent / data_name).write_bytes(data)
  return path


@pytest.mark.parametrize(
  ("uri", "name"),
  [
    ("data.bin", "data.bin"),
    ("my%20data.bin", "my data.bin"),
    ("st%C3%BChle.bin", "stühle.bin"),
    ("50%25.bin", "50%.bin"),
    ("100%.bin", "100%.bin"),
    ("./data.bin", "data.bin"),
  ],
)
def test_data_are_read_from_the_file_that_the_uri_names(tmp_path, uri, name):
  path = write(tmp_path / "a.gltf", uri=uri, data_name=name)
  vertices, faces = mesh_io.read_mesh(path)
  np.testing.assert_array_equal(vertices[faces], TRIANGLE[None])


def test_a_file_of_the_same_name_elsewhere_is_not_taken_for_the_data(tmp_path):
  path = write(tmp_path / "a.gltf", uri="parts/data.bin")
  with pytest.raises(ValueError, match=r"names the file parts/data\.bin"):
    mesh_io.read_mesh(path)


def test_data_that_are_cut_off_are_refused(tmp_path):
  path = write(tmp_path / "a.gltf")
  (tmp_path / "data.bin").write_bytes(TRIANGLE.tobytes()[:20])
  with pytest.raises(ValueError, match=r"42 bytes in data\.bin, but ends after 20"):
    mesh_io.read_mesh(path)


def use(name, *, required):
  def change(tree):
    tree["extensionsUsed"] = [name]
    if required:
      tree["extensionsRequired"] = [name]
    tree["nodes"][0]["extensions"] = {name: {"attributes": {"TRANSLATION": 0}}}

  return change


def bend(tree):
  tree["nodes"] = [{"mesh": 0, "skin": 0}, {}]
  tree["skins"] = [{"joints": [1]}]


def morph(tree, weight=0.5):
  tree["meshes"][0]["weights"] = [weight]
  tree["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": 0}]


def morph_in_a_node(tree):
  morph(tree, 0.0)
  tree["nodes"][0]["weights"] = [1.0]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (use("EXT_mesh_gpu_instancing", required=True), "EXT_mesh_gpu_instancing"),
    (use("EXT_mesh_gpu_instancing", required=False), "EXT_mesh_gpu_instancing"),
    (use("XYZ_curved_surfaces", required=True), "requires XYZ_curved_surfaces"),
    (bend, "has bones"),
    (morph, "has morph targets"),
    (morph_in_a_node, "has morph targets"),
  ],
)
def test_a_scene_that_would_be_read_as_another_is_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    mesh_io.read_mesh(write(tmp_path / "a.gltf", change))


@pytest.mark.parametrize(
  "change",
  [
    use("KHR_materials_unlit", required=True),
    use("EXT_texture_webp", required=True),
    use("KHR_lights_punctual", required=True),
    use("XYZ_curved_surfaces", required=False),
    lambda tree: morph(tree, 0.0),
  ],
)
def test_what_leaves_the_shape_as_it_is_does_not_matter(tmp_path, change):
  vertices, faces = mesh_io.read_mesh(write(tmp_path / "a.gltf", change))
  np.testing.assert_array_equal(vertices[faces], TRIANGLE[None])


@pytest.mark.parametrize("place", [0.0, 5e6])
def test_points_that_were_written_are_read_back_where_they_lie(tmp_path, place):
  rng = np.random.default_rng(0)
  points = rng.uniform(-1, 1, (50, 3)) + place
  colours = rng.integers(0, 256, (50, 3)).astype(np.uint8)
  path = tmp_path / "points.glb"
  mesh_io.write_mesh(path, points, np.zeros((0, 3), np.int64), colours=colours)
  cloud = pointcloud_io.read_scan(path)
  np.testing.assert_allclose(cloud.points, points, atol=1e-6)
  np.testing.assert_array_equal(cloud.colours, colours)
  assert cloud.left_out == ()
  with pytest.raises(ValueError, match="has no faces"):
    mesh_io.read_mesh(path)


def test_points_beside_triangles_are_left_out(tmp_path):
  def add_points(tree):
    points = {"attributes": {"POSITION": 0}, "mode": 0}
    tree["meshes"][0]["primitives"].append(points)

  path = write(tmp_path / "a.gltf", add_points)
  vertices, faces = mesh_io.read_mesh(path)
  np.testing.assert_array_equal(vertices[faces], TRIANGLE[None])


def test_points_stand_where_their_nodes_are(tmp_path):
  def place(tree):
    tree["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}, "mode": 0}]
    tree["nodes"] = [
      {"mesh": 0},
      {"mesh": 0, "translation": [5, 0, 0], "scale": [2] * 3},
    ]
    tree["scenes"] = [{"nodes": [0, 1]}]

  points = pointcloud_io.read_cloud(write(tmp_path / "a.gltf", place))
  expected = np.concatenate([TRIANGLE, 2 * TRIANGLE + [5, 0, 0]])
  assert sorted(map(tuple, points)) == sorted(map(tuple, expected))


@pytest.mark.parametrize("more", [{}, {"bufferView": 0}])
def test_accessors_that_promise_more_than_the_buffers_hold_are_refused(tmp_path, more):
  def add(tree):
    normals = {"componentType": 5126, "count": 150_000_000, "type": "VEC3"} | more
    tree["accessors"].append(normals)
    tree["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = 2

  path = write(tmp_path / "a.gltf", add)
  tracemalloc.start()
  with pytest.raises(ValueError, match=r"promises 1,800,000,000 bytes of an accessor"):
    mesh_io.read_mesh(path)
  assert tracemalloc.get_traced_memory()[1] < 10_000_000
  tracemalloc.stop()


def test_the_colours_of_a_part_are_read_without_a_copy_of_the_file():
  tree = {
    "accessors": [{"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"}],
    "bufferViews": [{"buffer": 0, "byteOffset": 4, "byteLength": 96}],
  }
  buffers = [bytes(4) + np.ones((8, 3), "<f4").tobytes() + bytes(20_000_000)]
  tracemalloc.start()
  try:
    table = gltf._read_attribute(
      tree, buffers, {"attributes": {"COLOR_0": 0}}, "COLOR_0"
    )
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  np.testing.assert_array_equal(table, np.ones((8, 3)))
  assert peak < 1_000_000
