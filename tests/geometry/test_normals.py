"""Normals of clouds: from files, and which side they are on."""

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.data import scans
from occnet_jax.geometry import mesh_io, normals
from tests.helpers.gltf import write_points

RNG = np.random.default_rng(0)
DIRECTIONS = RNG.standard_normal((80, 3))
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
DIRECTIONS = DIRECTIONS.round(6)
POINTS = RNG.uniform(-1, 1, (80, 3)).round(4)
COLOURS = RNG.integers(0, 256, (80, 3))


def rows(*columns, separator=" ", start=""):
  table = np.hstack([column.astype(object) for column in columns])
  return "".join(start + separator.join(map(str, row)) + "\n" for row in table)


def ply(names):
  properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", *names))
  head = f"ply\nformat ascii 1.0\nelement vertex 80\n{properties}end_header\n"
  return head + rows(POINTS, 3 * DIRECTIONS)  # of any length


FILES = {
  "a.ply": ply(["nx", "ny", "nz"]),
  "b.ply": ply(["normal_x", "normal_y", "normal_z"]),
  "a.obj": rows(DIRECTIONS, start="vn ") + rows(POINTS, start="v "),
  "a.xyz": rows(POINTS, DIRECTIONS),
  "b.xyz": rows(POINTS, COLOURS, DIRECTIONS),
  "c.xyz": rows(POINTS, DIRECTIONS, COLOURS),
  "a.csv": "x,y,z,Normal X,Normal Y,Normal Z\n"
  + rows(POINTS, DIRECTIONS, separator=","),
  "b.csv": "nz;x;y;z;nx;ny\n"
  + rows(DIRECTIONS[:, 2:], POINTS, DIRECTIONS[:, :2], separator=";"),
  "c.csv": "Points:0,Points:1,Points:2,Normals:0,Normals:1,Normals:2\n"
  + rows(POINTS, DIRECTIONS, separator=","),
  "cc.txt": "//X Y Z R G B Nx Ny Nz\n80\n" + rows(POINTS, COLOURS, DIRECTIONS),
}


@pytest.mark.parametrize("name", FILES)
def test_normals_of_text_are_read_and_have_length_one(name, tmp_path):
  (tmp_path / name).write_text(FILES[name])
  scan = occnet_jax.read_scan(tmp_path / name)
  np.testing.assert_allclose(scan.points, POINTS, atol=1e-6)
  np.testing.assert_allclose(scan.normals, DIRECTIONS, atol=1e-5)
  assert scan.left_out == ()
  if name in ("b.xyz", "c.xyz", "cc.txt"):
    np.testing.assert_array_equal(scan.colours, COLOURS)


def test_normals_of_arrays_are_read(tmp_path):
  np.save(tmp_path / "a.npy", np.hstack([POINTS, DIRECTIONS]))
  np.savez(tmp_path / "a.npz", points=POINTS, normals=2 * DIRECTIONS)
  for name in ("a.npy", "a.npz"):
    scan = occnet_jax.read_scan(tmp_path / name)
    np.testing.assert_allclose(scan.normals, DIRECTIONS, atol=1e-5)
    assert scan.left_out == ()


def test_normals_of_pcd_and_las_are_read(tmp_path):
  pypcd4 = pytest.importorskip("pypcd4", reason="pypcd4 is not installed: optional")
  fields = ("x", "y", "z", "normal_x", "normal_y", "normal_z")
  columns = [c.astype(np.float32) for c in (*POINTS.T, *DIRECTIONS.T)]
  made = pypcd4.PointCloud.from_points(columns, fields, [np.float32] * 6)
  made.save(tmp_path / "a.pcd", pypcd4.Encoding.BINARY)
  laspy = pytest.importorskip("laspy", reason="laspy is not installed: optional")
  las = laspy.create(point_format=2)
  las.header.scales = [1e-4] * 3
  las.x, las.y, las.z = POINTS.T
  for axis, column in zip("XYZ", DIRECTIONS.T, strict=True):
    las.add_extra_dim(laspy.ExtraBytesParams(f"Normal{axis}", "float32"))
    las[f"Normal{axis}"] = column
  las.write(tmp_path / "a.las")
  for name in ("a.pcd", "a.las"):
    scan = occnet_jax.read_scan(tmp_path / name)
    np.testing.assert_allclose(scan.points, POINTS, atol=1e-6)
    np.testing.assert_allclose(scan.normals, DIRECTIONS, atol=1e-5)
    assert scan.left_out == ()


def test_normals_and_colours_of_gltf_turn_with_their_node(tmp_path):
  """A node that turns, mirrors and stretches: normals by the inverse's transpose."""
  turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])
  move = turn @ np.diag([-1.0, 2, 3, 1])
  path = write_points(tmp_path / "a.gltf", POINTS, DIRECTIONS, COLOURS, move)
  scan = occnet_jax.read_scan(path)
  np.testing.assert_allclose(
    scan.points, trimesh.transform_points(POINTS, move), atol=1e-5
  )
  expected = np.linalg.solve(move[:3, :3].T, DIRECTIONS.T).T
  expected /= np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(scan.normals, expected, atol=1e-5)
  np.testing.assert_array_equal(scan.colours, COLOURS)


def test_colours_of_a_glb_mesh_are_those_that_were_written(tmp_path):
  ball = trimesh.creation.icosphere(2)
  shades = RNG.integers(0, 256, (len(ball.vertices), 3)).astype(np.uint8)
  arrays = np.array(ball.vertices), np.array(ball.faces, np.int64)
  mesh_io.write_mesh(tmp_path / "a.glb", *arrays, None, shades)
  geometry = mesh_io.read_geometry(tmp_path / "a.glb")
  np.testing.assert_allclose(geometry.vertices, arrays[0], atol=1e-6)
  np.testing.assert_array_equal(geometry.faces, arrays[1])
  np.testing.assert_array_equal(geometry.colours, shades)


def test_points_on_a_mesh_have_the_normals_of_their_faces(tmp_path):
  trimesh.creation.box().export(tmp_path / "a.stl")
  scan = occnet_jax.read_scan(tmp_path / "a.stl")
  side = np.abs(scan.points).argmax(1)
  expected = np.sign(scan.points) * (np.arange(3) == side[:, None])
  np.testing.assert_allclose(scan.normals, expected, atol=1e-9)


@pytest.mark.parametrize(
  "columns", [np.zeros((80, 3)), np.full((80, 3), np.nan), 2 * DIRECTIONS]
)
def test_columns_without_a_name_or_a_direction_are_no_normals(columns, tmp_path):
  np.save(tmp_path / "a.npy", np.hstack([POINTS, columns]))
  scan = occnet_jax.read_scan(tmp_path / "a.npy")
  assert scan.normals is None
  assert scan.left_out == ("column 4", "column 5", "column 6")


def test_tiny_and_huge_normals_get_length_one_and_missing_ones_zero():
  table = np.concatenate([1e-300 * DIRECTIONS, 1e300 * DIRECTIONS])
  table[3], table[90] = np.nan, 0
  unit = normals.to_unit(table)
  expected = np.tile(DIRECTIONS, (2, 1))
  expected[[3, 90]] = 0
  np.testing.assert_allclose(unit, expected, atol=1e-5)
  assert normals.to_unit(np.zeros((5, 3))) is None


def shapes():
  """Closed surfaces whose outward normals are known, thin and hollow ones too."""
  shell = trimesh.creation.annulus(0.45, 0.5, 1.0)
  cup = trimesh.util.concatenate(
    [shell, trimesh.creation.cylinder(0.5, 0.05).apply_translation([0, 0, -0.5])]
  )
  legs = [
    trimesh.creation.box((0.1, 0.1, 1)).apply_translation([x, y, 0])
    for x in (-0.5, 0.5)
    for y in (-0.3, 0.3)
  ]
  top = trimesh.creation.box((1.2, 0.8, 0.04)).apply_translation([0, 0, 0.5])
  return {
    "ball": trimesh.creation.icosphere(3),
    "cup": cup,
    "table": trimesh.util.concatenate([top, *legs]),
    "ring": trimesh.creation.torus(1, 0.2),
  }


@pytest.mark.parametrize("name", shapes())
@pytest.mark.parametrize("place", [0.0, 1e6])
def test_the_side_of_normals_is_found_by_the_outermost_points(name, place):
  mesh = shapes()[name]
  points, faces = trimesh.sample.sample_surface(mesh, 3000, seed=0)
  points = points + np.random.default_rng(1).normal(0, 0.005, points.shape) + place
  outward = np.array(mesh.face_normals[faces])
  kept, words = normals.orient(points, outward)
  np.testing.assert_array_equal(kept, outward)
  assert words == "normals are used"
  turned, words = normals.orient(points, -outward)
  np.testing.assert_array_equal(turned, outward)
  assert "turned round" in words
  either = outward * np.random.default_rng(2).choice([-1, 1], (3000, 1))
  assert normals.orient(points, either)[0] is None
  # As of planes that were fitted, all to one side.
  upward = outward * np.where(outward @ [[1], [2], [3]] < 0, -1, 1)
  assert normals.orient(points, upward)[0] is None
  assert normals.orient(points, np.zeros_like(outward))[0] is None


@pytest.mark.parametrize("name", ["ball", "table", "ring"])
def test_the_side_of_normals_is_found_where_one_camera_sees_the_shape(name):
  mesh = shapes()[name]
  points, faces = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
  outward = np.array(mesh.face_normals[faces])
  camera = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5])
  arrays = (a.astype(np.float32) for a in (points, outward))
  seen = np.flatnonzero(scans.visible(*arrays, camera[None].astype(np.float32)))[:3000]
  points = points[seen] + np.random.default_rng(1).normal(0, 0.005, (len(seen), 3))
  kept, _ = normals.orient(points, outward[seen])
  np.testing.assert_array_equal(kept, outward[seen])
  either = outward[seen] * np.random.default_rng(2).choice([-1, 1], (len(seen), 1))
  assert normals.orient(points, either)[0] is None
  fitted = normals.estimate(points, 10 * camera)
  assert (fitted @ camera > -0.3).all()
  cosines = np.abs((fitted * outward[seen]).sum(1))
  assert np.median(cosines) > 0.95


def test_normals_of_points_that_span_no_plane_are_zero():
  assert not normals.estimate(np.ones((2, 3)), np.zeros(3)).any()
  assert normals.estimate(np.zeros((0, 3)), np.zeros(3)).shape == (0, 3)


def test_normals_that_face_cameras_need_no_check():
  points = np.random.default_rng(0).standard_normal((50, 3))
  kept, words = normals.orient(points, points[::-1], outward=True)
  assert kept is not None and "face the cameras" in words
