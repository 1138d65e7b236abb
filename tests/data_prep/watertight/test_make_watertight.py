"""Solids from meshes that are not closed, against closed forms."""

import numpy as np
import pytest
import trimesh

from data_prep.sources import synthetic
from data_prep.watertight import solid as solids
from data_prep.watertight import winding
from data_prep.watertight.solid import RepairOptions
from tests.helpers.small_data import arrays, box, in_box

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))
THICK = RepairOptions().thickness


def _sheet(height, side=0.8):
  """A horizontal square of two triangles."""
  half = side / 2
  corners = [[-half, -half], [half, -half], [half, half], [-half, half]]
  vertices = np.array([[*corner, height] for corner in corners])
  return trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], process=False)


def _open_box(extent):
  """Without the two triangles of its top."""
  vertices, faces = arrays(box(extent))
  return vertices, faces[(vertices[faces][:, :, 2] < extent / 2).any(1)]


def _labels(mesh, **options):
  solid, quality = solids.make_watertight(*mesh, RepairOptions(**options))
  closed = trimesh.Trimesh(*solid, process=False)
  assert closed.is_watertight or len(solid.faces) > 12
  return winding.contains(solid, POINTS), quality


def test_a_closed_mesh_is_kept_as_it_is():
  inside, quality = _labels(arrays(box(0.9)))
  np.testing.assert_array_equal(inside, in_box(POINTS, 0.9))
  assert (quality.method, quality.watertight, quality.warning) == ("closed", True, "")
  np.testing.assert_allclose(
    [quality.volume_before, quality.volume_after], 0.9**3, rtol=1e-9
  )
  assert not any(
    [
      quality.accuracy,
      quality.completeness,
      quality.surface_added,
      quality.surface_lost,
    ]
  )


@pytest.mark.parametrize("missing", range(12))
def test_a_lost_triangle_comes_back(missing):
  vertices, faces = arrays(box(0.9))
  inside, quality = _labels((vertices, np.delete(faces, missing, axis=0)))
  np.testing.assert_array_equal(inside, in_box(POINTS, 0.9))
  assert (quality.method, quality.watertight) == ("filled", False)
  np.testing.assert_allclose(quality.volume_after, 0.9**3, rtol=1e-9)


def test_a_box_without_a_lid_is_filled_and_the_lid_is_measured():
  inside, quality = _labels(_open_box(0.9))
  np.testing.assert_array_equal(inside, in_box(POINTS, 0.9))
  # Points of a square are a sixth of its side from its border on average.
  np.testing.assert_allclose(quality.accuracy, 0.9 / 6 / 6, rtol=0.1)
  np.testing.assert_allclose(quality.surface_added, (0.86 / 0.9) ** 2 / 6, rtol=0.1)
  assert quality.completeness < 1e-9 and quality.surface_lost == 0


def test_a_vessel_keeps_its_hollow_if_so_much_may_not_be_added():
  inside, quality = _labels(_open_box(0.9), max_added=0.1)
  wall = np.abs(np.abs(POINTS).max(1) - 0.45) < THICK
  assert quality.method == "filled" and quality.open_sheets == 0
  # Mitred at the edges, where half a diagonal stands for the whole of it.
  clear = (np.abs(np.abs(POINTS) - 0.45) < 2 * THICK).sum(1) < 2
  top = POINTS[:, 2] > 0.45 - 2 * THICK
  np.testing.assert_array_equal(inside[clear & ~top].any(), True)
  thin = np.sqrt(1 / 3)  # corners of a box step along its diagonal
  core = np.abs(np.abs(POINTS).max(1) - 0.45) < thin * THICK * 0.9
  np.testing.assert_array_equal(inside[clear & ~top & core], True)
  np.testing.assert_array_equal(inside[clear & ~top & ~wall], False)


def test_two_sheets_become_slabs():
  mesh = arrays(_sheet(-0.2), _sheet(0.2))
  near = np.abs(POINTS[:, 2, None] - (-0.2, 0.2)) < THICK
  want = near.any(1) & (np.abs(POINTS[:, :2]) < 0.4).all(1)
  inside, quality = _labels(mesh, max_sheets=1.0)
  np.testing.assert_array_equal(inside, want)
  np.testing.assert_allclose(quality.open_sheets, 1)
  np.testing.assert_allclose(quality.volume_after, 2 * 0.8**2 * 2 * THICK, rtol=1e-6)


def test_a_sheet_on_a_post_is_thickened_and_the_post_stays_sharp():
  post = (0.2, 0.2, 0.5)
  want = in_box(POINTS, post, (0, 0, -0.3)) | (
    (np.abs(POINTS[:, 2] - 0.3) < THICK) & (np.abs(POINTS[:, :2]) < 0.2).all(1)
  )
  inside, quality = _labels(arrays(box(post, (0, 0, -0.3)), _sheet(0.3, 0.4)))
  np.testing.assert_array_equal(inside, want)
  np.testing.assert_allclose(quality.open_sheets, 0.16 / (0.16 + 0.4 + 0.08), rtol=1e-6)


def test_sheets_are_refused_where_they_are_too_many_or_have_no_thickness():
  with pytest.raises(ValueError, match=r"100.0% .* sheets .* at most 50.0%"):
    solids.make_watertight(*arrays(_sheet(-0.2), _sheet(0.2)))
  table = arrays(box((0.2, 0.2, 0.5), (0, 0, -0.3)), _sheet(0.3, 0.4))
  with pytest.raises(ValueError, match=r"25.* of the mesh are .* thickness"):
    solids.make_watertight(*table, RepairOptions(thickness=0.0))


def test_an_open_cylinder_is_solid_if_long_and_a_ring_if_short():
  def tube(height):
    mesh = trimesh.creation.cylinder(0.3, height, sections=64)
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    radius = np.linalg.norm(vertices[:, :2], axis=1)
    return vertices, faces[(radius[faces] > 0.1).all(1)]

  radius = np.linalg.norm(POINTS[:, :2], axis=1)
  off = np.abs(radius - 0.3) > 2 * THICK
  for height, inner in ((0.9, True), (0.2, False)):
    inside, quality = _labels(tube(height))
    want = (radius < 0.3) & (np.abs(POINTS[:, 2]) < height / 2) & inner
    np.testing.assert_array_equal(inside[off], want[off])
    assert quality.method == "filled"
  at_wall = np.abs(radius - 0.3) < 0.9 * THICK
  np.testing.assert_array_equal(inside[at_wall], np.abs(POINTS[at_wall, 2]) < 0.1)


def test_faces_seen_from_both_sides_count_once():
  vertices, faces = arrays(box(0.9))
  double = np.concatenate([faces, faces[:, ::-1]])
  inside, quality = _labels((vertices, double))
  np.testing.assert_array_equal(inside, in_box(POINTS, 0.9))
  assert quality.method == "filled" and quality.open_sheets == 0


def test_a_wall_between_two_rooms_is_no_surface():
  left, right = box((0.4, 0.5, 0.5), (-0.2, 0, 0)), box((0.4, 0.5, 0.5), (0.2, 0, 0))
  inside, quality = _labels(arrays(left, right))
  np.testing.assert_array_equal(inside, in_box(POINTS, (0.8, 0.5, 0.5)))
  assert quality.method == "closed" and quality.surface_lost == 0


def test_a_cavity_survives_a_lost_triangle():
  inner = box(0.5)
  inner.invert()
  vertices, faces = arrays(box(0.9), inner)
  want = in_box(POINTS, 0.9) & ~in_box(POINTS, 0.5)
  for missing in (0, 12):  # of the outer and of the inner box
    inside, _ = _labels((vertices, np.delete(faces, missing, axis=0)))
    np.testing.assert_array_equal(inside, want)


def test_overlapping_open_boxes_turned_at_random_are_their_union():
  other = box(0.4, (0.2, 0.15, 0.1))
  other.invert()
  vertices, faces = arrays(box(0.6), other)
  faces = np.delete(faces, [3, 17], axis=0)
  turned = np.random.default_rng(1).random((len(faces), 1)) < 0.5
  inside, _ = _labels((vertices, np.where(turned, faces[:, ::-1], faces)))
  want = in_box(POINTS, 0.6) | in_box(POINTS, 0.4, (0.2, 0.15, 0.1))
  np.testing.assert_array_equal(inside, want)


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_a_twentieth_of_the_faces_may_be_missing(category):
  vertices, faces = synthetic.make_shape(category, 0, 3)
  vertices = vertices - (vertices.max(0) + vertices.min(0)) / 2
  vertices /= np.ptp(vertices, axis=0).max()
  exact = winding.contains(solids.close(vertices, faces.astype(np.int64)), POINTS)
  kept = np.random.default_rng(0).permutation(len(faces))[len(faces) // 20 :]
  inside, quality = _labels((vertices, faces[kept].astype(np.int64)))
  assert quality.method == "filled"
  assert (inside == exact).mean() > 0.999


def test_faces_torn_apart_are_joined_by_voxels():
  mesh = trimesh.creation.icosphere(3, radius=0.45)
  soup = mesh.vertices[mesh.faces]
  shifts = np.random.default_rng(0).normal(size=(len(soup), 1, 3))
  vertices = (soup + 2e-3 * shifts).reshape(-1, 3)
  faces = np.arange(len(vertices)).reshape(-1, 3)
  inside, quality = _labels((vertices, faces), resolution=48, thickness=0.0)
  assert quality.method == "volume" and quality.ambiguous < 0.03
  radius = np.linalg.norm(POINTS, axis=1)
  clear = np.abs(radius - 0.448) > 0.01
  np.testing.assert_array_equal(inside[clear], (radius < 0.448)[clear])
  with pytest.raises(ValueError, match=r"closed: 3840 open edges.*filled: .* want"):
    solids.make_watertight(vertices, faces, RepairOptions(resolution=0))


@pytest.mark.parametrize(
  ("vertices", "faces", "message"),
  [
    (np.zeros((0, 3)), np.zeros((0, 3), int), "0 faces"),
    (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), "not finite"),
    (np.ones((3, 3)), np.array([[0, 1, 2]]), "one place"),
    (np.eye(3), np.array([[0, 1, 2]]), r"100.0% .* sheets"),
    (np.eye(3), np.array([[0, 1, 2], [1, 0, 2]]), r"100.0% .* sheets"),
    (np.eye(3), np.array([[0, 1, 1]]), "no face"),
    (np.outer([0, 0.3, 0.7], [1, 1, 1]), np.array([[0, 1, 2]]), "area"),
    (30 * np.eye(3), np.array([[0, 1, 2]]), "30 large; put it into the unit cube"),
  ],
)
def test_what_encloses_nothing_is_refused(vertices, faces, message):
  with pytest.raises(ValueError, match=message):
    solids.make_watertight(vertices, faces)


def test_what_lies_far_away_is_told_and_can_be_cropped():
  vertices, faces = arrays(box(1.0), box(0.01, (50, 0, 0)))
  _, quality = solids.make_watertight(vertices / 51, faces)
  assert quality.warning.startswith("12 of 24 faces lie so far away")
  left, right = solids.crop_outliers(vertices, faces)
  np.testing.assert_allclose(np.abs(left), 0.5)
  assert right.shape == (12, 3)
  vertices, faces = arrays(box(1.0), box(0.01, (1.2, 0, 0)))  # near enough
  assert solids.crop_outliers(vertices, faces)[1].shape == (24, 3)


def test_the_same_mesh_gives_the_same_solid():
  vertices, faces = arrays(trimesh.creation.torus(0.35, 0.1))
  faces = np.delete(faces, range(0, len(faces), 7), axis=0)
  first, second = (solids.make_watertight(vertices, faces) for _ in range(2))
  np.testing.assert_array_equal(first[0].vertices, second[0].vertices)
  np.testing.assert_array_equal(first[0].faces, second[0].faces)
  assert first[1] == second[1]


def _with_fin():
  """A box of side 0.4 and a fin of 0.3 x 0.2 with two sides, a tenth of the area."""
  corners = [[0.2, 0, 0], [0.5, 0, 0], [0.5, 0.2, 0], [0.2, 0.2, 0]]
  faces = [[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]]
  return arrays(box(0.4), trimesh.Trimesh(corners, faces, process=False))


@pytest.mark.parametrize(
  ("mesh", "strict", "lenient"),
  [
    (_with_fin(), {}, {"max_lost": 0.12}),
    (_with_fin(), {}, {"tolerance": 0.31}),
    (_open_box(0.8), {"max_ambiguous": 0.1}, {"max_ambiguous": 0.2}),
  ],
)
def test_each_limit_decides_what_is_accepted(mesh, strict, lenient):
  plain = {"resolution": 0, "thickness": 0.0}
  with pytest.raises(ValueError, match="want at most"):
    solids.make_watertight(*mesh, RepairOptions(**plain, **strict))
  solids.make_watertight(*mesh, RepairOptions(**plain, **lenient))
