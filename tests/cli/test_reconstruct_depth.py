"""Depth images -> meshes, on the command line, by a network with random weights."""

import re
import shutil

import igl
import numpy as np
import pytest
import trimesh
from PIL import Image

from occnet_jax.cli import occnet, stages
from occnet_jax.data import user_inputs
from occnet_jax.data.user_depth import DepthInputs
from tests.helpers import ROOT
from tests.helpers.command_line import error_of
from tests.helpers.depth import write_json
from tests.helpers.pretrained import install, make_model

HEIGHT, WIDTH = 24, 32
CAMERA = {"K": [[30.0, 0, 15], [0, 28.0, 12], [0, 0, 1]], "depth_scale": 1000}
POSES = {  # a turn about y by 180 degrees has another side in view
  "a.png": [[1.0, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1]],
  "b.png": [[-1.0, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 1]],
}


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
  """The current directory, with views/ of two images, camera.json and poses.json."""
  install(model, tmp_path / "package", monkeypatch)
  folder = tmp_path / "here"
  (folder / "views").mkdir(parents=True)
  for name, curvature in (("a", 0.1), ("b", 0.3)):
    Image.fromarray(bowl(curvature)).save(folder / "views" / f"{name}.png")
  write_json(folder / "camera.json", CAMERA)
  write_json(folder / "poses.json", {"camera_to_world": POSES})
  monkeypatch.chdir(folder)
  return folder


def bowl(curvature):
  """Millimetres of a smooth surface, with some pixels missing."""
  v, u = np.indices((HEIGHT, WIDTH))
  z = 1000 + 1000 * curvature * (((u - 15) / 30) ** 2 + ((v - 12) / 28) ** 2)
  image = np.rint(z).astype(np.uint16)
  image[:, :3] = image[5, 6] = 0
  return image


def points_of(name, image=None, pose=None):
  """The cloud of an image, point by point, by the inverse of its camera matrix."""
  image = np.asarray(Image.open(f"views/{name}.png")) if image is None else image
  inverse = np.linalg.inv(CAMERA["K"])
  points = [
    image[v, u] / 1000 * (inverse @ [u, v, 1])
    for v, u in np.ndindex(HEIGHT, WIDTH)
    if image[v, u]
  ]
  if pose is None:
    return np.array(points)
  return np.array([(np.array(pose) @ [*point, 1])[:3] for point in points])


def run(*args):
  occnet.main([str(arg) for arg in args])


def failure(*args):
  with pytest.raises(SystemExit) as ended:
    run(*args)
  message = ended.value.code
  assert isinstance(message, str) and "\n" not in message
  return message


def check_mesh(path, expected):
  mesh = trimesh.load(path, force="mesh", process=False)
  np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-4)


def test_a_depth_image_becomes_a_mesh_in_the_frame_of_its_camera(here, capsys, model):
  run("reconstruct", "views/a.png", "--intrinsics", "camera.json")
  check_mesh(here / "a.glb", model.reconstruct(points_of("a")))
  used = HEIGHT * (WIDTH - 3) - 1
  assert re.fullmatch(
    rf"depth: {used} of {HEIGHT * WIDTH} pixels used; dropped: {3 * HEIGHT + 1} "
    r"without depth, 0 out of range, 0 outside of masks, 0 at edges\n"
    rf"views/a\.png: {used} points, 32 of them used, at random\n"
    r"a\.glb: [\d,]+ vertices, .*\n",
    capsys.readouterr().out,
  )


def test_a_pose_puts_the_mesh_into_the_world(here, model):
  options = ("--intrinsics", "camera.json", "--poses", "poses.json")
  run("reconstruct", "views/b.png", "-o", "b.ply", *options)
  cloud = points_of("b", pose=POSES["b.png"])
  check_mesh(here / "b.ply", model.reconstruct(cloud))


def test_images_of_a_folder_with_poses_are_one_object(here, capsys, model):
  options = ("--intrinsics", "camera.json", "--poses", "poses.json")
  run("reconstruct", "views", "-o", "mesh.ply", *options)
  clouds = [points_of(name, pose=POSES[f"{name}.png"]) for name in "ab"]
  expected = model.reconstruct(np.concatenate(clouds))
  check_mesh(here / "mesh.ply", expected)
  assert f" of {2 * HEIGHT * WIDTH} pixels used" in capsys.readouterr().out
  (here / "all").mkdir()
  shutil.copytree("views", "all/x")
  shutil.copytree("views", "all/y")
  run("reconstruct", "all", "-o", "out", *options)
  check_mesh(here / "out" / "x.glb", expected)
  check_mesh(here / "out" / "y.glb", expected)
  assert f" of {4 * HEIGHT * WIDTH} pixels used" in capsys.readouterr().out


def test_images_of_a_folder_without_poses_are_an_object_each(here, capsys, model):
  run("reconstruct", "views", "-o", "out", "--intrinsics", "camera.json")
  for name in "ab":
    check_mesh(here / "out" / f"{name}.glb", model.reconstruct(points_of(name)))
  output = capsys.readouterr().out
  assert "2 of 2 meshes" in output and output.count("depth: ") == 1
  made = (here / "out" / "a.glb").stat().st_mtime_ns
  run("reconstruct", "views", "-o", "out", "--intrinsics", "camera.json")
  assert (here / "out" / "a.glb").stat().st_mtime_ns == made
  assert "depth: " not in capsys.readouterr().out  # for none was read
  write_json(here / "camera.json", CAMERA | {"depth_scale": 500})
  run("reconstruct", "views", "-o", "out", "--intrinsics", "camera.json")
  check_mesh(here / "out" / "a.glb", model.reconstruct(2 * points_of("a")))


def test_a_network_of_scans_takes_the_side_of_the_camera_for_the_outside(here, capsys):
  """Of a ball it sees half, at a depth that is known in closed form."""
  v, u = np.indices((48, 64))
  rays = np.stack([(u - 31.5) / 60, (v - 23.5) / 60, np.ones(u.shape)], -1)
  a, b = (rays**2).sum(-1), rays[..., 2]  # |t ray - (0, 0, 1)| = 0.3
  root = b**2 - a * (1 - 0.3**2)
  depth = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
  np.save("ball.npy", depth.astype(np.float32))
  write_json(here / "ball.json", {"fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5})
  model = f"--model={ROOT / 'occnet_jax' / 'pretrained' / 'scan-partial'}"
  options = ("--intrinsics", "ball.json", model, "--resolution=32")
  run("reconstruct", "ball.npy", "-o", "with.ply", *options, "--camera-normals")
  assert "normals that face the cameras are used" in capsys.readouterr().out
  run("reconstruct", "ball.npy", "-o", "without.ply", *options)
  assert "are used" not in capsys.readouterr().out
  given, none = (trimesh.load(f"{name}.ply") for name in ("with", "without"))
  true = 4 / 3 * np.pi * 0.3**3
  assert abs(given.volume - true) < abs(none.volume - true)
  inside = igl.winding_number(given.vertices, given.faces, np.array([[0, 0, 0.8]]))
  assert inside == pytest.approx(1, abs=1e-3)


def test_normals_of_cameras_want_depth_images_and_a_network_that_takes_them(here):
  command = ("reconstruct", "views/a.png", "--camera-normals")
  assert "--camera-normals is for depth images; want --intr" in failure(*command)
  message = failure(*command, "--intrinsics", "camera.json")
  assert "this one takes no normals; leave it out" in message


def test_a_mask_keeps_the_object_alone(here, capsys, model):
  mask = np.zeros((HEIGHT, WIDTH), np.uint8)
  mask[4:20, 8:24] = 1
  Image.fromarray(mask).save("mask.png")
  options = ("--intrinsics", "camera.json", "--masks", "mask.png")
  run("reconstruct", "views/a.png", *options)
  image = np.where(mask, bowl(0.1), 0)
  check_mesh(here / "a.glb", model.reconstruct(points_of("a", image)))
  assert "depth: 256 of 768 pixels used" in capsys.readouterr().out


def test_main_takes_the_same_options(here, model):
  stages.reconstruct(
    None, "views", "mesh.ply", intrinsics="camera.json", poses="poses.json"
  )
  clouds = [points_of(name, pose=POSES[f"{name}.png"]) for name in "ab"]
  check_mesh(here / "mesh.ply", model.reconstruct(np.concatenate(clouds)))
  write_json(here / "few.json", {"camera_to_world": {"a.png": POSES["a.png"]}})
  command = ("--mode=reconstruct", "--input=views", "--output=x.ply")
  message = error_of(*command, "--intrinsics=camera.json", "--poses=few.json")
  assert message == (
    "error: few.json: has no pose of 1 of 2 images (b.png); want one for each, under "
    "its name"
  )
  message = error_of(*command, "--poses=poses.json")
  assert message == (
    "error: --poses=poses.json: is for depth images; want --intrinsics=camera.json "
    "with it"
  )


def test_options_that_do_not_fit_are_one_sentence(here):
  message = failure("reconstruct", "views/a.png")
  assert "this network wants a point cloud" in message
  assert message.endswith("; for depth images give --intrinsics=camera.json")
  assert "no such file" in failure("reconstruct", "views", "--intrinsics", "no.json")
  options = ("--intrinsics", "camera.json")
  message = failure("reconstruct", "camera.json", *options)
  assert "wants depth images (.exr .npy .png .tif .tiff), found 1 file (" in message
  write_json(here / "small.json", CAMERA | {"width": 31, "height": 24})
  message = failure("reconstruct", "views/a.png", "--intrinsics", "small.json")
  assert "a.png: an image of 32 x 24 pixels, want 31 x 24 as in the camera" in message
  unit = {name: value for name, value in CAMERA.items() if name != "depth_scale"}
  write_json(here / "unit.json", unit)
  message = failure("reconstruct", "views/a.png", "--intrinsics", "unit.json")
  assert "want depth_scale in the camera file" in message
  Image.fromarray(np.full((HEIGHT, WIDTH), 9, np.uint8)).save("preview.png")
  assert "8 bits" in failure("reconstruct", "preview.png", *options)


@pytest.mark.parametrize("kind", ["image", "images", "voxels"])
def test_depth_images_are_for_networks_of_clouds(here, kind):
  depth = DepthInputs("camera.json")
  with pytest.raises(
    ValueError, match=f"for networks of clouds, this one wants {kind}"
  ):
    user_inputs.find_items(here / "views", here / "out", kind, depth=depth)


def test_a_pose_is_that_of_the_path_or_else_of_the_name(here):
  by_path = {"x/a.png": POSES["b.png"], "a.png": POSES["a.png"]}
  write_json(here / "paths.json", {"camera_to_world": by_path})
  for folder in ("x", "y"):
    (here / "all" / folder).mkdir(parents=True)
    shutil.copy("views/a.png", here / "all" / folder)
  depth = DepthInputs("camera.json", "paths.json")
  items = user_inputs.find_items(here / "all", here / "out", "cloud", depth=depth)
  assert [item.name for item in items] == ["x", "y"]
  for item, name in zip(items, ("b.png", "a.png"), strict=True):
    np.testing.assert_array_equal(item.poses, [POSES[name]])
