"""Depth images against the surfaces they were cast from, and files of every format."""

import sys

import igl
import numpy as np
import pytest
import trimesh
from PIL import Image

from occnet_jax.geometry import depth
from occnet_jax.geometry.depth_cameras import Camera
from tests.helpers import depth as images

CAMERA = Camera(**images.CAMERA, size=(320, 240), scale=images.SCALE)


def distances(mesh, points):
  """Distance of each point from a mesh, by libigl."""
  vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64)
  return np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])


def write_views(folder, mesh, azimuths, samples=1):
  """Files and poses of noisy views of the ring in a scene."""
  poses = [images.look(images.ring(), azimuth) for azimuth in azimuths]
  paths = [
    images.write_png(
      folder / f"{i}.png", images.sense(images.render(mesh, pose, samples), i)
    )
    for i, pose in enumerate(poses)
  ]
  return paths, poses


def test_views_from_all_sides_become_one_cloud_on_the_mesh_in_the_world(tmp_path):
  pytest.importorskip("embreex", reason="no Embree on this machine, so no rays to cast")
  ring = images.ring()
  paths, poses = write_views(tmp_path, ring, (0.0, 120.0, 240.0))
  points, _, pixels = depth.read_views(paths, CAMERA, poses)
  # No camera is farther from the ring than 1.15; five standard deviations of noise.
  assert distances(ring, points).max() < 5 * images.NOISE * 1.15**2
  # Cameras from above see the upper half of the ring, all around.
  upper = ring.triangles_center[ring.face_normals[:, 1] > 0.3]
  gaps = np.linalg.norm(upper[:, None] - points[None, ::20], axis=2).min(1)
  assert len(upper) > 100 and (gaps < 0.02).mean() > 0.95
  stored = [np.asarray(Image.open(path)) for path in paths]
  assert sum(pixels.values()) == 3 * 320 * 240
  assert pixels["without depth"] == sum((image == 0).sum() for image in stored)
  assert pixels["used"] == len(points) > 10_000
  assert pixels["out of range"] == pixels["outside of masks"] == 0


def test_normals_of_views_are_those_of_the_mesh_on_the_side_of_their_camera(tmp_path):
  pytest.importorskip("embreex", reason="no Embree on this machine, so no rays to cast")
  ring = images.ring()
  paths, poses = write_views(tmp_path, ring, (0.0, 120.0))
  points, directions, _ = depth.read_views(
    paths, CAMERA, poses, max_points=4000, with_normals=True
  )
  np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
  _, faces, _ = igl.point_mesh_squared_distance(points, ring.vertices, ring.faces)
  cosines = (directions * ring.face_normals[faces]).sum(1)
  assert np.median(cosines) > 0.97 and (cosines > 0.7).mean() > 0.95


def test_one_view_without_a_pose_is_in_the_frame_of_its_camera(tmp_path):
  pytest.importorskip("embreex", reason="no Embree on this machine, so no rays to cast")
  ring = images.ring()
  paths, (pose,) = write_views(tmp_path, ring, (70.0,))
  points, *_ = depth.read_views(paths, CAMERA)
  ring.apply_transform(np.linalg.inv(pose))
  assert distances(ring, points).max() < 5 * images.NOISE * 1.15**2
  assert points[:, 2].min() > 0.5  # before the camera, which looks along +z


def test_pixels_that_mix_two_surfaces_are_dropped_and_hardly_any_others(tmp_path):
  pytest.importorskip("embreex", reason="no Embree on this machine, so no rays to cast")
  floor = trimesh.creation.box((1.6, 0.01, 1.6)).apply_translation((2, -1.2, 3))
  scene = trimesh.util.concatenate([images.ring(), floor])
  paths, poses = write_views(tmp_path, scene, (0.0, 120.0), samples=3)
  for path, pose in zip(paths, poses, strict=True):
    z = depth.read_depth(path, images.SCALE)
    points = depth.to_cloud(z, CAMERA, pose)
    off = distances(scene, points)
    noise = images.NOISE * z[~np.isnan(z)] ** 2
    is_flying = off > 5 * noise
    is_edge = depth.find_edges(z)[~np.isnan(z)]
    assert is_flying.sum() > 100
    assert is_edge[is_flying].mean() > 0.98
    assert (~is_edge[~is_flying]).mean() > 0.95
    kept, *_ = depth.read_views([path], CAMERA, [pose])
    assert distances(scene, kept).max() < 8 * noise.max() < off.max()
    everything, *_ = depth.read_views([path], CAMERA, [pose], edge_jump=np.inf)
    np.testing.assert_allclose(everything, points)


def test_depth_is_along_the_view_from_centres_of_pixels_at_whole_numbers():
  z = np.full((3, 4), np.nan)
  z[0, 0], z[2, 3] = 2.0, 4.0
  camera = Camera(fx=10.0, fy=20.0, cx=1.0, cy=0.5)
  points = depth.to_cloud(z, camera)
  np.testing.assert_allclose(points, [[-0.2, -0.05, 2.0], [0.8, 0.3, 4.0]])
  pose = np.array([[0, 0, 1, 5], [0, -1, 0, 6], [1, 0, 0, 7], [0, 0, 0, 1.0]])
  moved = depth.to_cloud(z, camera, pose)
  np.testing.assert_allclose(moved, [[7, 6.05, 6.8], [9, 5.7, 7.8]])


def test_an_edge_has_both_pixels_of_a_step_along_either_axis():
  z = np.ones((5, 6))
  z[:, 4:] = 1.2
  z[4, 0] = np.nan
  z[0, 0] = 1.02
  expected = np.zeros((5, 6), bool)
  expected[:, 3:5] = True
  np.testing.assert_array_equal(depth.find_edges(z, 0.1), expected)
  np.testing.assert_array_equal(depth.find_edges(z.T, 0.1), expected.T)
  expected[0, :2] = expected[1, 0] = True
  np.testing.assert_array_equal(depth.find_edges(z, 0.019), expected)


def test_ranges_masks_and_chance_choose_among_the_points(tmp_path):
  z = np.tile(np.linspace(1.0, 1.5, 64), (48, 1))  # less than an edge per column
  path = images.write_png(tmp_path / "a.png", z)
  camera = Camera(50.0, 50.0, 32.0, 24.0, scale=images.SCALE, near=1.1, far=1.3)
  mask = np.zeros((48, 64), np.uint8)
  mask[10:20] = 7
  Image.fromarray(mask).save(tmp_path / "mask.png")
  points, _, pixels = depth.read_views([path], camera, masks=[tmp_path / "mask.png"])
  stored = np.rint(images.SCALE * z) / images.SCALE
  is_near = (stored >= 1.1) & (stored <= 1.3)
  assert pixels == {
    "used": is_near[10:20].sum(),
    "without depth": 0,
    "out of range": (~is_near).sum(),
    "outside of masks": (is_near & (mask == 0)).sum(),
    "at edges": 0,
  }
  np.testing.assert_allclose(points[:, 2], stored[10:20][is_near[10:20]])
  few, same = (depth.read_views([path], camera, max_points=50) for _ in range(2))
  other = depth.read_views([path], camera, max_points=50, seed=1)
  np.testing.assert_array_equal(few.points, same.points)
  assert len(np.unique(few.points, axis=0)) == 50
  assert not np.array_equal(few.points, other.points)
  every = {tuple(point) for point in depth.read_views([path], camera).points}
  assert {tuple(point) for point in few.points} <= every


def test_every_format_gives_the_same_depths(tmp_path):
  rng = np.random.default_rng(0)
  millimetres = rng.integers(300, 60_000, (7, 5))
  millimetres[2, 3] = 0
  metres = millimetres / 1000
  expected = np.where(millimetres, metres, np.nan)
  Image.fromarray(millimetres.astype(np.uint16)).save(tmp_path / "a.png")
  Image.fromarray(millimetres.astype(np.uint16)).save(tmp_path / "a.tif")
  Image.fromarray(millimetres.astype(np.int32)).save(tmp_path / "b.tiff")
  np.save(tmp_path / "a.npy", millimetres)
  for name in ("a.png", "a.tif", "b.tiff", "a.npy"):
    np.testing.assert_array_equal(depth.read_depth(tmp_path / name, 1000.0), expected)
    with pytest.raises(ValueError, match="integers without a unit; want depth_scale"):
      depth.read_depth(tmp_path / name)
  odd = metres.copy()
  odd[0, :4] = np.nan, np.inf, -np.inf, -1.0
  expected[0, :4] = np.nan
  Image.fromarray(odd.astype(np.float32)).save(tmp_path / "c.tif")
  np.save(tmp_path / "c.npy", odd)
  np.testing.assert_array_equal(depth.read_depth(tmp_path / "c.npy"), expected)
  z = depth.read_depth(tmp_path / "c.tif")
  np.testing.assert_allclose(z, expected, rtol=1e-7)
  np.testing.assert_allclose(depth.read_depth(tmp_path / "c.tif", 10.0), z / 10)


def test_exr_is_read_by_its_depth_channel(tmp_path):
  openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed: optional")
  z = np.random.default_rng(0).uniform(1, 2, (6, 4)).astype(np.float32)
  header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
  for names in ("Z", "Y", "RGB"):
    pixels = np.stack([z, 2 * z, 3 * z], -1) if names == "RGB" else z
    channels = {names: pixels} | ({"A": 5 * z} if names == "Z" else {})
    openexr.File(header, channels).write(str(tmp_path / "a.exr"))
    np.testing.assert_array_equal(depth.read_depth(tmp_path / "a.exr"), z)
  openexr.File(header, {"B": z}).write(str(tmp_path / "a.exr"))
  with pytest.raises(ValueError, match="channels B; want Z"):
    depth.read_depth(tmp_path / "a.exr")


def test_exr_without_its_library_has_a_way_out(tmp_path, monkeypatch):
  (tmp_path / "a.exr").write_bytes(b"")
  monkeypatch.setitem(sys.modules, "OpenEXR", None)
  with pytest.raises(ValueError, match=r"pip install OpenEXR, or convert .* TIFF"):
    depth.read_depth(tmp_path / "a.exr")


def test_a_file_that_is_no_depth_image_is_one_sentence(tmp_path):
  grey = np.full((4, 5), 9, np.uint8)
  Image.fromarray(grey).save(tmp_path / "grey.png")
  Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "colour.png")
  np.save(tmp_path / "bytes.npy", grey)
  np.save(tmp_path / "views.npy", np.ones((2, 4, 5)))
  np.save(tmp_path / "bool.npy", grey > 0)
  (tmp_path / "torn.png").write_bytes(b"\x89PNG and no more")
  (tmp_path / "a.jpg").write_bytes(b"")
  for name, words in (
    ("grey.png", "8 bits a pixel are a preview of depths; want 16-bit PNG"),
    ("bytes.npy", "8 bits a pixel"),
    ("colour.png", r"shape \(4, 5, 3\) of uint8 is no depth image"),
    ("views.npy", r"shape \(2, 4, 5\) of float64 is no depth image"),
    ("bool.npy", "of bool is no depth image"),
    ("torn.png", "cannot be read as a depth image"),
    ("a.jpg", r"suffix '\.jpg'; want 16-bit PNG"),
    ("no.png", "no such file"),
  ):
    with pytest.raises(ValueError, match=words) as raised:
      depth.read_depth(tmp_path / name, 1000.0)
    assert "\n" not in str(raised.value) and name in str(raised.value)


def test_views_that_do_not_fit_are_one_sentence(tmp_path):
  a = images.write_png(tmp_path / "a.png", np.ones((4, 5)))
  b = images.write_png(tmp_path / "b.png", np.ones((4, 5)))
  Image.fromarray(np.ones((5, 4), np.uint8)).save(tmp_path / "mask.png")
  camera = Camera(9.0, 9.0, 2.0, 2.0, scale=images.SCALE)
  with pytest.raises(ValueError, match=r"2 depth images of one object without poses"):
    depth.read_views([a, b], camera)
  with pytest.raises(ValueError, match=r"a\.png: an image of 5 x 4 pixels, want 4 x 5"):
    depth.read_views([a], camera._replace(size=(4, 5)))
  with pytest.raises(ValueError, match=r"mask of 4 x 5 pixels, want 5 x 4"):
    depth.read_views([a], camera, masks=[tmp_path / "mask.png"])
  with pytest.raises(ValueError, match=r"a\.png: has no mask"):
    depth.read_views([a], camera, masks=[tmp_path / "none.png"])
  with pytest.raises(ValueError, match=r"no depth is left: 0 of 20 .* 20 out of range"):
    depth.read_views([a], camera._replace(far=0.5))
  with pytest.raises(ValueError, match=r"a\.png: the pose is mirrored"):
    depth.read_views([a], camera, [np.diag([1.0, 1, -1, 1])])
