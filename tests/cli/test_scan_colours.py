"""Colours of a scan, from its file to that of the mesh."""

import numpy as np
import pytest
import trimesh

import occnet_jax
from tests.helpers.occnet_command import enter_directory, load, run
from tests.helpers.pretrained import make_cloud, make_model


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
  return enter_directory(tmp_path, monkeypatch, model, make_cloud())


def write_coloured(path, count=200):
  """A ball that is red above and blue below, with normals."""
  points = make_cloud(count)
  up = points[:, 2:] > 0
  colours = np.where(up, [200, 10, 10], [10, 10, 200])
  rows = np.hstack([points * 10 + [100, 0, 0], points, colours])
  names = "x,y,z,nx,ny,nz,red,green,blue"
  np.savetxt(path, rows, header=names, delimiter=",", comments="")


@pytest.mark.parametrize("target", ["mesh.ply", "mesh.obj"])
def test_colours_of_a_scan_reach_the_mesh_and_what_is_left_out_is_said(
  here, target, capsys, model
):
  write_coloured(here / "ball.csv")
  run("reconstruct", "ball.csv", "-o", target)
  assert (
    "ball.csv: left out: normals (this network takes none)\n" in capsys.readouterr().out
  )
  mesh = load(here / target)
  shades = np.asarray(mesh.visual.vertex_colors)[:, :3]
  scan = occnet_jax.read_scan(here / "ball.csv")
  nearest = np.linalg.norm(mesh.vertices[:, None] - scan.points, axis=2).argsort(1)
  alike = (np.ptp(scan.colours[nearest[:, :3]], axis=1) == 0).all(1)  # all three
  np.testing.assert_array_equal(shades[alike], scan.colours[nearest[alike, 0]])
  assert len(np.unique(shades[alike], axis=0)) == 2
  other = model.reconstruct(scan)  # the API
  assert other.visual.kind == "vertex"
  occnet_jax.write_mesh(here / "api.ply", other)
  same = load(here / "api.ply")
  np.testing.assert_array_equal(same.visual.vertex_colors, other.visual.vertex_colors)


def test_a_format_without_colours_says_that_it_leaves_them_out(here, capsys):
  write_coloured(here / "ball.csv")
  run("reconstruct", "ball.csv", "-o", "mesh.stl")
  output = capsys.readouterr().out
  assert (
    "left out: normals (this network takes none), colours (.stl has none)\n" in output
  )


def test_meshes_of_a_folder_have_colours_and_the_report_says_what_is_left_out(here):
  (here / "scans").mkdir()
  write_coloured(here / "scans" / "ball.csv")
  run("reconstruct", "scans", "-o", "out")
  scene = trimesh.load_scene(here / "out" / "ball.glb", process=False)
  (mesh,) = scene.geometry.values()
  assert len(np.unique(mesh.visual.vertex_attributes["color"], axis=0)) > 1
  assert (
    "left out: normals (this network takes none)"
    in (here / "out" / "reconstruct_report.csv").read_text()
  )
