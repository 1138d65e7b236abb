"""Textures: what a viewer shows at a place of the mesh is the colour of the cloud."""

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.geometry import mesh_io, texture
from occnet_jax.geometry.colours import Cloud
from tests.helpers.occnet_command import enter_directory, failure, run
from tests.helpers.pretrained import make_cloud, make_model


def ball_cloud(count=20_000):
  """A ball whose colours are its coordinates."""
  points = np.random.default_rng(0).standard_normal((count, 3))
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  return Cloud(points, np.rint(127.5 * (points + 1)).astype(np.uint8))


def shown(baked, face, weights):
  """What a sampler that mixes four texels shows within a triangle."""
  height, width = baked.image.shape[:2]
  place = weights @ baked.places[face] * [width, height] - 0.5
  low = np.floor(place).astype(int)
  share = place - low
  colour = np.zeros(3)
  for dx in (0, 1):
    for dy in (0, 1):
      weight = np.abs(1 - dx - share[0]) * np.abs(1 - dy - share[1])
      if weight > 1e-9:
        colour += weight * baked.image[low[1] + dy, low[0] + dx]
  return colour


@pytest.mark.parametrize("subdivisions", [0, 1, 3])
def test_every_place_of_a_mesh_shows_the_colour_of_the_cloud_there(subdivisions):
  mesh = trimesh.creation.icosphere(subdivisions)
  baked = texture.bake(mesh.vertices, mesh.faces, ball_cloud())
  rng = np.random.default_rng(1)
  corners = np.eye(3)
  edges = [[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]]
  for face in range(0, len(mesh.faces), max(1, len(mesh.faces) // 40)):
    for weights in (*corners, *edges, *rng.dirichlet(np.ones(3), 5)):
      point = weights @ mesh.vertices[mesh.faces[face]]
      expected = 127.5 * (point / np.linalg.norm(point) + 1)
      assert np.abs(shown(baked, face, weights) - expected).max() < 12


@pytest.mark.parametrize("cell", [4, 5, 6, 9, 16])
def test_the_triangles_of_a_cell_share_no_texel_and_fill_what_a_sampler_reads(cell):
  filled = [{tuple(t) for t in texture._fill(cell, half)[0]} for half in (0, 1)]
  assert not filled[0] & filled[1]
  for half in (0, 1):
    corners = texture._corners(cell)[half]
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), 500):
      low = np.floor(weights @ corners + 1e-9).astype(int)
      high = np.ceil(weights @ corners - 1e-9).astype(int)
      for x in {low[0], high[0]}:
        for y in {low[1], high[1]}:
          assert (x, y) in filled[half]


def test_a_texture_is_read_back_by_trimesh(tmp_path):
  mesh, cloud = trimesh.creation.icosphere(2), ball_cloud()
  path = tmp_path / "ball.glb"
  occnet_jax.write_mesh(path, mesh, texture_of=cloud)
  read = trimesh.load(path, force="mesh", process=False)
  assert read.visual.kind == "texture" and read.visual.uv.shape == (3 * 320, 2)
  colours = read.visual.material.to_color(read.visual.uv)[:, :3].astype(int)
  assert np.abs(colours - 127.5 * (read.vertices + 1)).max() < 12
  np.testing.assert_allclose(read.vertices[read.faces], mesh.triangles, atol=1e-6)
  (part,) = trimesh.load_scene(path, process=False).geometry.values()
  np.testing.assert_allclose(part.vertex_normals, part.vertices, atol=0.02)
  vertices, faces = mesh_io.read_mesh(path)
  assert trimesh.Trimesh(vertices, faces).is_watertight  # its corners are welded


def test_a_texture_of_a_mesh_far_away_keeps_its_place(tmp_path):
  mesh, cloud = trimesh.creation.icosphere(1), ball_cloud()
  place = np.array([5e5, 4e6, 0])
  mesh.apply_translation(place)
  moved = Cloud(cloud.points + place, cloud.colours)
  occnet_jax.write_mesh(tmp_path / "a.glb", mesh, texture_of=moved)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.glb")
  np.testing.assert_allclose(vertices[faces], mesh.triangles, atol=1e-6)


def test_what_has_no_texture_is_refused(tmp_path):
  mesh, cloud = trimesh.creation.box(), ball_cloud(100)
  with pytest.raises(ValueError, match=r"a\.ply: a texture is written to GLB"):
    occnet_jax.write_mesh(tmp_path / "a.ply", mesh, texture_of=cloud)
  with pytest.raises(ValueError, match="the input has none"):
    texture.bake(mesh.vertices, mesh.faces, Cloud(cloud.points))
  with pytest.raises(ValueError, match="these are points"):
    texture.bake(mesh.vertices, mesh.faces[:0], cloud)
  many = np.zeros((2_100_000, 3), np.int64)
  with pytest.raises(ValueError, match=r"2,100,000 faces, want at most 2,097,152"):
    texture.bake(mesh.vertices, many, cloud)


def test_the_command_writes_a_texture_on_request(tmp_path, monkeypatch):
  here = enter_directory(tmp_path, monkeypatch, make_model(), make_cloud())
  up = make_cloud()[:, 2:] > 0
  colours = np.where(up, [200, 10, 10], [10, 10, 200])
  (here / "scans").mkdir()
  np.savetxt("scans/ball.xyz", np.hstack([make_cloud(), colours]))
  run("reconstruct", "scans/ball.xyz", "--texture", "-o", "ball.glb")
  run("reconstruct", "scans", "--texture", "-o", "out")
  for path in ("ball.glb", "out/ball.glb"):
    mesh = trimesh.load(path, force="mesh", process=False)
    assert mesh.visual.kind == "texture"
    shades = mesh.visual.material.to_color(mesh.visual.uv)[:, :3].astype(int)
    above = mesh.vertices[:, 2] > 0.2 * mesh.vertices[:, 2].max()
    assert (shades[above, 0] > shades[above, 2]).mean() > 0.9
  message = failure("reconstruct", "scan.xyz", "--texture")
  assert message == "error: scan.xyz: has no colours for --texture; leave it out"
  message = failure("reconstruct", "scan.xyz", "--texture", "-o", "a.ply")
  assert message == "error: --texture: .ply has none; want a mesh file with .glb"
