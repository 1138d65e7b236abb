"""Sheets of pictures: the content of every tile."""

import numpy as np
import pytest
import trimesh

from occnet_jax.viz.panes import ReportShape

pytest.importorskip("embreex")
from occnet_jax.viz import sheets
from tests.helpers import read_picture

_BOX = trimesh.creation.box((0.8, 0.4, 0.4))
_MESH = np.asarray(_BOX.vertices), np.asarray(_BOX.faces)
_EMPTY = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
_CLOUD = np.asarray(_BOX.sample(300, seed=0))


def _tiles(path, shapes):
  sheets.write_shapes(path, shapes, side=64)
  sheet = read_picture(path).astype(int)
  rows = [np.split(row, 6, axis=1) for row in np.split(sheet, len(sheet) // 64)]
  return [tile for row in rows for tile in row]


def _shape(observation, reconstruction=_MESH, **truth):
  return ReportShape("a", "box", {}, observation, reconstruction, **truth)


def test_every_shape_has_its_input_its_reconstruction_and_the_truth(tmp_path):
  views = np.zeros((2, 9, 9, 3))
  views[0] = 0.2, 0.4, 0.6
  shapes = [
    _shape(_CLOUD, truth=_MESH),
    _shape(views, truth_points=_CLOUD),
    _shape(None, _EMPTY, truth=_MESH),
    _shape(_MESH, None, truth=_MESH),
  ]
  tiles = _tiles(tmp_path / "shapes.png", shapes)
  blank = [bool((tile == 255).all()) for tile in tiles]
  assert blank == [False] * 6 + [True, True, False, False, True, False]
  np.testing.assert_allclose(tiles[3].reshape(-1, 3), [[51, 102, 153]] * 64**2, atol=1)
  for number in (2, 4, 8, 9, 11):  # meshes, and all of the same box
    np.testing.assert_array_equal(tiles[number], tiles[1])
  covered = [(tile < 255).any(2) for tile in (tiles[0], tiles[1])]
  assert 0.2 < covered[0].sum() / covered[1].sum() < 1  # a cloud has gaps


def test_predicted_points_look_like_the_cloud_of_them(tmp_path):
  shape = _shape(_CLOUD, (_CLOUD, np.zeros((0, 3), np.int64)), truth=_MESH)
  cloud, points, _ = _tiles(tmp_path / "shapes.png", [shape])[:3]
  assert (points < 255).any()
  np.testing.assert_array_equal(points, cloud)


def test_points_without_faces_are_seen_in_every_picture(tmp_path):
  points = trimesh.Trimesh(_CLOUD, process=False)
  sheets.write_sheet(tmp_path / "points.png", [points], columns=1)
  pictures = [read_picture(tmp_path / "points.png")]
  pictures += sheets.draw_front_and_back(points).values()
  solid = sheets.draw_front_and_back(_BOX)
  assert len(pictures) == 3
  for picture in pictures:
    assert (picture < 255).any(2).mean() > 0.02
  covered = [(picture < 255).any(2) for picture in (pictures[1], solid["front"])]
  assert (covered[0] & ~covered[1]).mean() < 0.02  # balls reach over the edge a little
