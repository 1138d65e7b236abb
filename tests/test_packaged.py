"""The networks that the package brings: small, described, and good at plain shapes."""

import json

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax import pretrained
from occnet_jax.cli import user_mesh
from occnet_jax.data import scans
from occnet_jax.geometry import colours

NAMES = ("scan", "scan-partial")
SETTINGS = {"resolution_0": 16, "upsampling_steps": 1}


def make_solid():
  """A mug without its hollow: a cylinder and a handle, in millimetres."""
  body = trimesh.creation.cylinder(40, 90, sections=48)
  handle = trimesh.creation.torus(28, 6).apply_transform(
    trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0])
  )
  return body, handle.apply_translation([42, 0, 0])


def draw_points(rng):
  """Noisy points with normals on the outside of the solid."""
  body, handle = make_solid()
  points, normals = [], []
  for mesh, other in ((body, handle), (handle, body)):
    own, faces = trimesh.sample.sample_surface(mesh, 3000, seed=0)
    outside = ~other.contains(own)
    points.append(own[outside])
    normals.append(mesh.face_normals[faces[outside]])
  points, normals = np.concatenate(points), np.concatenate(normals)
  return points + 0.4 * rng.standard_normal(points.shape), normals


def inside(points):
  body, handle = make_solid()
  return body.contains(points) | handle.contains(points)


def iou(mesh, frame):
  """Of a mesh in the scanner's frame, by points in the box of the solid."""
  points = np.random.default_rng(1).uniform([-60, -60, -60], [95, 60, 60], (20_000, 3))
  truth = inside(points)
  made = mesh.contains(trimesh.transform_points(points, frame))
  return (truth & made).sum() / (truth | made).sum()


def test_the_package_brings_these_and_they_are_small():
  assert pretrained.names() == list(NAMES)
  files = [path for path in pretrained.DIRECTORY.rglob("*.*") if path.is_file()]
  assert sum(path.stat().st_size for path in files) < 8e6
  for name in NAMES:
    directory = pretrained.DIRECTORY / name
    card = (directory / "README.md").read_text()
    for word in (
      "license: mit",
      "## Data" if name == "scan" else "The data",
      "## Limits",
    ):
      assert word in card
    config = json.loads((directory / "config.json").read_text())["config"]
    assert '"/' not in json.dumps(config)


@pytest.mark.parametrize("name", NAMES)
def test_a_scan_in_any_frame_becomes_its_solid(name):
  rng = np.random.default_rng(0)
  frame = trimesh.transformations.random_rotation_matrix(rng.random(3))
  frame[:3, 3] = 5000, -3000, 100
  points, _ = draw_points(rng)
  cloud = trimesh.transform_points(points, frame)
  model = occnet_jax.from_pretrained(name)
  mesh = model.reconstruct(cloud[rng.permutation(len(cloud))[:3000]], **SETTINGS)
  assert mesh.is_watertight
  assert iou(mesh, frame) > 0.9
  # The hole of the handle stays open.
  assert not mesh.contains(trimesh.transform_points([[58.0, 0, 0]], frame))[0]


def test_the_partial_network_completes_one_view():
  points, normals = (
    x.astype(np.float32) for x in draw_points(np.random.default_rng(0))
  )
  camera = np.array([[0.3, -0.9, 0.3]]) / np.linalg.norm([0.3, -0.9, 0.3])
  view = points[scans.visible(points / 150, normals, camera)]
  assert len(view) < 0.5 * len(points)
  mesh = occnet_jax.from_pretrained("scan-partial").reconstruct(view, **SETTINGS)
  assert mesh.is_watertight
  assert iou(mesh, np.eye(4)) > 0.5


def test_normals_of_a_cup_say_that_it_is_hollow(tmp_path):
  """From a file to the mesh; those that point to either side do no harm."""
  profile = [[0, 0], [1, 0], [1, 2], [0.9, 2], [0.9, 0.1], [0, 0.1]]
  cup = trimesh.creation.revolve(profile, sections=64)
  points, faces = trimesh.sample.sample_surface(cup, 3000, seed=0)
  outward = cup.face_normals[faces]
  queries = np.random.default_rng(1).uniform(
    [-1.2, -1.2, -0.2], [1.2, 1.2, 2.2], (20_000, 3)
  )
  truth = cup.contains(queries)
  model = occnet_jax.from_pretrained("scan")

  def made_of(*columns):
    np.save(tmp_path / "cup.npy", np.hstack([points, *columns]))
    scan = occnet_jax.read_scan(tmp_path / "cup.npy")
    mesh = model.reconstruct(scan, **SETTINGS | {"resolution_0": 32})
    inside = mesh.contains(queries)
    return (truth & inside).sum() / (truth | inside).sum(), mesh

  without, plain = made_of()
  with_normals, _ = made_of(outward)
  turned, _ = made_of(-outward)
  assert with_normals > without + 0.04 and turned == with_normals
  either = outward * np.random.default_rng(2).choice([-1, 1], (3000, 1))
  np.testing.assert_array_equal(made_of(either)[1].vertices, plain.vertices)


def test_normals_that_finetuning_leaves_out_are_not_called_used():
  model = occnet_jax.from_pretrained("scan")
  sphere = trimesh.creation.icosphere(subdivisions=3)
  scan = colours.Cloud(np.array(sphere.vertices), normals=np.array(sphere.vertices))
  assert user_mesh.use_of_normals(model, scan) == "normals are used"
  generation = model.settings.generation._replace(finetune_steps=2)
  model.settings = model.settings._replace(generation=generation)
  assert "normals are not used" in user_mesh.use_of_normals(model, scan)
  with_normals, plain = (
    model.reconstruct(observed, **SETTINGS) for observed in (scan, scan.points)
  )
  np.testing.assert_array_equal(with_normals.vertices, plain.vertices)
