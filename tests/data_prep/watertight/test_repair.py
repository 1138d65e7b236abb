"""Repairs of triangle soups against closed forms and brute force."""

import itertools

import numpy as np
import pytest
import trimesh

from data_prep.watertight import repair


def _edges(faces):
  """Signed count of every edge, one by one."""
  count = {}
  for face in faces.tolist():
    for tail, head in zip(face, face[1:] + face[:1], strict=True):
      key = min(tail, head), max(tail, head)
      count[key] = count.get(key, 0) + (1 if tail < head else -1)
  return {key: value for key, value in count.items() if value}


def _volume(vertices, faces):
  return trimesh.Trimesh(vertices, faces, process=False).volume


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_filled_is_closed(seed):
  """Random triangles of few corners: edges of any number of faces, holes that touch."""
  rng = np.random.default_rng(seed)
  vertices = rng.uniform(size=(12, 3))
  faces = np.array([rng.permutation(12)[:3] for _ in range(40)])
  assert _edges(faces)
  filled, closed = repair.fill_holes(vertices, faces)
  assert not _edges(closed)
  np.testing.assert_array_equal(closed[: len(faces)], faces)
  np.testing.assert_array_equal(filled[: len(vertices)], vertices)


def test_the_boundary_is_what_runs_more_often_one_way():
  rng = np.random.default_rng(0)
  faces = np.array([rng.permutation(7)[:3] for _ in range(30)])
  want = _edges(faces)
  found = {}
  for tail, head in repair.boundary_edges(faces).tolist():
    key = min(tail, head), max(tail, head)
    found[key] = found.get(key, 0) + (1 if tail < head else -1)
  assert found == want


def _polygon_areas(corners):
  """Areas of all triangulations of a polygon of five corners."""

  def area(*ears):
    return sum(
      np.linalg.norm(np.cross(corners[b] - corners[a], corners[c] - corners[a])) / 2
      for a, b, c in ears
    )

  turns = [[(i + k) % 5 for k in range(5)] for i in range(5)]
  return [area((a, b, c), (a, c, d), (a, d, e)) for a, b, c, d, e in turns]


@pytest.mark.parametrize("seed", range(4))
def test_holes_are_filled_at_the_least_area(seed):
  corners = np.random.default_rng(seed).normal(size=(5, 3))
  apex = np.concatenate([corners, [[0.0, 0.0, 9.0]]])
  cone = np.array([[i, (i + 1) % 5, 5] for i in range(5)])
  vertices, faces = repair.fill_holes(apex, cone)
  lid = trimesh.Trimesh(vertices, faces[5:], process=False)
  np.testing.assert_allclose(lid.area, min(_polygon_areas(corners)))


def test_a_flat_hole_that_is_not_convex_is_filled_without_error():
  outline = np.array([[0, 0], [2, 0], [2, 2], [1, 0.5], [0, 2]])
  vertices = np.array([[*point, height] for height in (0.0, 1.0) for point in outline])
  top = [[8, 9, 5], [8, 5, 6], [8, 6, 7]]
  sides = [[i, (i + 1) % 5, (i + 1) % 5 + 5, i + 5] for i in range(5)]
  walls = [[side[0], side[k], side[k + 1]] for side in sides for k in (1, 2)]
  closed = repair.fill_holes(vertices, np.array(top + walls))
  np.testing.assert_allclose(_volume(*closed), 2.5)  # a square of 4 less a notch of 1.5


def test_two_holes_that_touch_in_a_corner_are_filled_one_by_one():
  mesh = trimesh.creation.icosphere(2)
  vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, np.int64)
  around = np.flatnonzero((faces == 0).any(1))
  pair = next(
    [i, j]
    for i, j in itertools.combinations(around, 2)
    if len(set(faces[i]) & set(faces[j])) == 1
  )
  _, closed = repair.fill_holes(vertices, np.delete(faces, pair, axis=0))
  want = {frozenset(face) for face in faces[pair].tolist()}
  assert {frozenset(face) for face in closed[-2:].tolist()} == want


def test_a_wide_hole_becomes_a_fan():
  mesh = trimesh.creation.cylinder(1.0, 2.0, sections=400)
  vertices, faces = np.array(mesh.vertices), np.array(mesh.faces, np.int64)
  top = (vertices[faces][:, :, 2] > 0.5).all(1)
  vertices, closed = repair.fill_holes(vertices, faces[~top])
  np.testing.assert_allclose(_volume(vertices, closed), mesh.volume)
  np.testing.assert_allclose(vertices[-1], (0, 0, 1), atol=1e-12)


def test_only_lost_triangles_are_filled_beyond_the_widest():
  box = trimesh.creation.box()
  vertices, faces = np.array(box.vertices), np.array(box.faces, np.int64)
  assert not _edges(repair.fill_holes(vertices, faces[1:], widest=0.0)[1])
  top = (vertices[faces][:, :, 2] > 0).all(1)
  assert len(repair.fill_holes(vertices, faces[~top], widest=0.5)[1]) == 10
  assert len(repair.fill_holes(vertices, faces[~top], widest=1.0)[1]) == 12


@pytest.mark.parametrize("turned", [0.2, 0.8])
def test_neighbours_agree_as_most_of_their_area_did(turned):
  mesh = trimesh.creation.icosphere(3)
  faces = np.array(mesh.faces, np.int64)
  wrong = np.random.default_rng(0).random((len(faces), 1)) < turned
  agreed, patch = repair.make_winding_consistent(
    np.array(mesh.vertices), np.where(wrong, faces[:, ::-1], faces)
  )
  assert not _edges(agreed) and patch.max() == 0
  volume = _volume(mesh.vertices, agreed)
  np.testing.assert_allclose(volume, mesh.volume * (1 if turned < 0.5 else -1))


def test_pairs_of_opposite_faces_are_found_whatever_their_first_corner():
  faces = np.array([[0, 1, 2], [2, 1, 0], [0, 1, 2], [3, 4, 5], [4, 5, 3], [6, 7, 8]])
  np.testing.assert_array_equal(repair.has_opposite_twin(faces), [1, 1, 0, 0, 0, 0])
  np.testing.assert_array_equal(repair.unique_faces(faces), faces[[0, 3, 5]])


def test_sheets_and_vessels_are_told_from_what_has_an_inside():
  sphere = trimesh.creation.icosphere(3)
  shapes = []
  for shift, lowest in ((0, -0.9), (3, 0.0), (6, 0.95)):  # filled, vessel, sheet
    kept = (sphere.triangles_center[:, 2] > lowest).nonzero()[0]
    shapes.append(sphere.submesh([kept], append=True).apply_translation([shift, 0, 0]))
  mesh = trimesh.util.concatenate(shapes)
  count = len(mesh.faces)
  vertices, faces = repair.fill_holes(
    np.array(mesh.vertices), np.array(mesh.faces, np.int64)
  )
  sheet, vessel = repair.find_open_patches(vertices, faces, count, 0.3)
  place = np.round(vertices[faces].mean((1, 2)) * 0 + vertices[faces][:, 0, 0] / 3)
  np.testing.assert_array_equal(vessel, place == 1)
  np.testing.assert_array_equal(sheet, place == 2)


def test_a_slab_has_the_volume_of_its_sheet_times_its_thickness():
  grid = np.stack(np.meshgrid(*2 * [np.arange(5.0)], indexing="ij"), -1).reshape(-1, 2)
  bent = np.column_stack([grid, 0.02 * grid[:, 0] ** 2])
  cells = np.array([5 * i + j for i in range(4) for j in range(4)])
  faces = np.concatenate(
    [
      np.stack([cells, cells + 5, cells + 6], 1),
      np.stack([cells, cells + 6, cells + 1], 1),
    ]
  )
  vertices, closed = repair.thicken_sheets(bent, faces, 0.1)
  assert not _edges(closed)
  area = trimesh.Trimesh(bent, faces).area
  np.testing.assert_allclose(_volume(vertices, closed), area * 0.2, rtol=0.01)
