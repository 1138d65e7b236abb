"""The embedded data set against closed forms, winding numbers and laws (host)."""

import igl
import numpy as np
import pytest
import trimesh
from manifold3d import Manifold

from data_prep.sources import synthetic
from data_prep.sources.families import parts
from data_prep.sources.families.parts import Draw

PER_CATEGORY = 10


@pytest.fixture(scope="module")
def shapes():
  """The first shapes of every category, of seed 0."""
  return {
    category: [synthetic.make_shape(category, 0, i) for i in range(PER_CATEGORY)]
    for category in (*synthetic.CATEGORIES, "hollow")
  }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """Files of seed 3, written backwards by two other processes."""
  return synthetic.write_meshes(
    tmp_path_factory.mktemp("written"),
    per_category=1,
    seed=3,
    categories=synthetic.CATEGORIES[::-1],
    workers=2,
  )


def _mesh(vertices, faces):
  return trimesh.Trimesh(vertices, faces, process=False)


def _volume(solid: Manifold) -> float:
  return _mesh(*synthetic._to_arrays(solid)).volume


def _genus(vertices, faces) -> int:
  """Of one closed surface, by Euler: v - e + f = 2 - 2g, where 2 e = 3 f."""
  assert len(faces) % 2 == 0
  euler = len(vertices) - len(faces) // 2
  return (2 - euler) // 2


def test_there_are_at_least_twelve_sorted_categories_with_the_named_ones():
  named = "airplane bench bottle cabinet car chair lamp mug sofa table vessel display"
  assert set(named.split()) <= set(synthetic.CATEGORIES)
  assert list(synthetic.CATEGORIES) == sorted(set(synthetic.CATEGORIES))


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_every_edge_is_passed_once_in_each_direction(shapes, category):
  for vertices, faces in shapes[category]:
    assert np.isfinite(vertices).all()
    assert len(np.unique(vertices, axis=0)) == len(vertices)
    assert len(np.unique(faces)) == len(vertices)
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    there = np.unique(edges, axis=0)
    assert len(there) == len(edges)
    back = np.unique(edges[:, ::-1], axis=0)
    np.testing.assert_array_equal(there, back)


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_the_faces_around_every_vertex_are_one_fan(shapes, category):
  for _, faces in shapes[category]:
    assert igl.is_vertex_manifold(faces.astype(np.int64)).all()


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_volumes_are_positive_and_extents_are_solid_in_all_axes(shapes, category):
  for vertices, faces in shapes[category]:
    extents = np.ptp(vertices, axis=0)
    assert 0.4 < extents.max() < 2.5
    assert extents.min() > 0.08 * extents.max()
    assert 0.002 < _mesh(vertices, faces).volume / extents.prod() < 1
    assert 40 <= len(faces) <= 8000


@pytest.mark.parametrize("category", synthetic.CATEGORIES)
def test_no_part_overlaps_another_or_is_hidden_inside(shapes, category):
  rng = np.random.default_rng(0)
  for vertices, faces in shapes[category][:3]:
    low, high = vertices.min(0), vertices.max(0)
    near = vertices[rng.integers(len(vertices), size=100)]
    points = np.concatenate(
      [
        rng.uniform(low, high, (100, 3)),
        near + 0.01 * rng.standard_normal(near.shape),
      ]
    )
    winding = igl.winding_number(vertices, faces.astype(np.int64), points)
    distance = np.minimum(np.abs(winding), np.abs(winding - 1))
    assert distance.max() < 1e-3


def test_no_two_shapes_are_alike(shapes):
  for category, members in shapes.items():
    volumes = [_mesh(*member).volume for member in members]
    assert np.diff(np.sort(volumes)).min() > 1e-7, category
    assert len({len(faces) for _, faces in members}) > PER_CATEGORY // 3, category


def test_families_differ_in_topology_and_not_only_in_proportion(shapes):
  for category in ("bench", "chair", "table", "lamp", "cabinet", "airplane", "vessel"):
    assert len({_genus(*shape) for shape in shapes[category]}) >= 3, category


def test_every_mug_has_a_handle_and_is_open_at_the_top(shapes):
  for vertices, faces in shapes["mug"]:
    assert _genus(vertices, faces) >= 1
    # Down the axis from the top there is no wall before the floor.
    height = vertices[:, 1].min() + np.linspace(0.3, 1, 60) * np.ptp(vertices[:, 1])
    axis = np.stack([np.full(60, 1e-4), height, np.full(60, 2e-4)], 1)
    winding = igl.winding_number(vertices, faces.astype(np.int64), axis)
    np.testing.assert_allclose(winding, 0, atol=1e-6)


def test_hollow_shapes_are_mostly_thin_walls(shapes):
  """Two faces bound a thin wall, so its volume is half of its area times thickness."""
  meshes = [_mesh(*shape) for shape in shapes["hollow"]]
  thickness = [2 * mesh.volume / mesh.area for mesh in meshes]
  assert max(thickness) < 0.09
  assert min(thickness) < 0.03
  assert "hollow" not in synthetic.CATEGORIES


def test_seed_and_index_change_the_shape():
  chair = synthetic.make_shape("chair", 0, 0)[0]
  assert not np.array_equal(chair, synthetic.make_shape("chair", 1, 0)[0])
  assert not np.array_equal(chair, synthetic.make_shape("chair", 0, 1)[0])


def test_other_processes_make_the_same_shapes_in_any_order(written):
  for category, name, path, *_ in written:
    vertices, faces = synthetic.make_shape(category, 3, int(name[-4:]))
    mesh = trimesh.load(path, process=False)
    np.testing.assert_array_equal(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.faces, faces)


def test_files_stay_closed_when_a_reader_welds_them(written):
  assert len(written) == len(synthetic.CATEGORIES)
  for _, _, path, *_ in written:
    raw, welded = (trimesh.load(path, process=weld) for weld in (False, True))
    assert welded.is_watertight and welded.volume > 0
    assert welded.faces.shape == raw.faces.shape
    assert welded.vertices.shape == raw.vertices.shape


def test_a_second_run_keeps_what_is_there_and_makes_what_is_missing(tmp_path):
  make = {"seed": 0, "categories": ["bench", "table"]}
  first = synthetic.write_meshes(tmp_path, per_category=2, **make)
  assert [entry.model_id for entry in first] == [
    "bench_0000",
    "bench_0001",
    "table_0000",
    "table_0001",
  ]
  first[0].path.write_text("kept")
  before = first[1].path.read_bytes()
  first[1].path.unlink()
  untouched = [entry.path.stat().st_mtime_ns for entry in first[2:]]
  again = synthetic.write_meshes(tmp_path, per_category=2, **make)
  assert again == first
  assert first[0].path.read_text() == "kept"
  assert first[1].path.read_bytes() == before
  assert [entry.path.stat().st_mtime_ns for entry in first[2:]] == untouched


@pytest.mark.parametrize("gap", [0.0, 0.1], ids=["touching in an edge", "apart"])
def test_parts_that_do_not_join_are_drawn_again(monkeypatch, gap):
  drawn = []

  def family(draw):
    drawn.append(draw)
    step = 1 + gap if len(drawn) < 3 else 0.5
    cube = parts.box((0, 1), (0, 1), (0, 1))
    return cube + cube.translate((step, step, 0))

  monkeypatch.setitem(synthetic._FAMILIES, "chair", family)
  vertices, faces = synthetic.make_shape("chair", 0, 0)
  assert len(drawn) == 3
  assert _mesh(vertices, faces).volume == pytest.approx(1.75)


def test_a_family_that_never_joins_is_reported(monkeypatch):
  monkeypatch.setitem(synthetic._FAMILIES, "chair", lambda draw: Manifold())
  with pytest.raises(RuntimeError, match="chair 4 of seed 2: none of 20 draws"):
    synthetic.make_shape("chair", 2, 4)


@pytest.mark.parametrize(
  ("category", "seed", "index", "message"),
  [
    ("chairs", 0, 0, "'chairs' is unknown; want some of airplane, bench"),
    ("chair", -1, 0, "seed is -1; want 0 or more"),
    ("chair", 0, -2, "index is -2; want 0 or more"),
  ],
)
def test_wrong_arguments_are_named(category, seed, index, message):
  with pytest.raises(ValueError, match=message):
    synthetic.make_shape(category, seed, index)


def test_a_count_of_zero_shapes_is_refused(tmp_path):
  with pytest.raises(ValueError, match="per_category is 0; want 1 or more"):
    synthetic.write_meshes(tmp_path, per_category=0, seed=0)


# The vocabulary -----------------------------------------------------------------------


def test_a_box_has_the_volume_of_its_spans():
  solid = parts.box((0, 2), (-1, 1), (0.5, 1))
  assert _volume(solid) == pytest.approx(2 * 2 * 0.5)
  low, high = np.split(np.array(solid.bounding_box()), 2)
  np.testing.assert_allclose([low, high], [[0, -1, 0.5], [2, 1, 1]])


def test_rounding_keeps_the_spans_and_approaches_the_rounded_box_from_below():
  a, r = 1.0, 0.2
  solid = parts.box((0, a), (0, a), (0, a), rounding=r)
  b = a - 2 * r
  exact = b**3 + 6 * b**2 * r + 3 * np.pi * r**2 * b + 4 / 3 * np.pi * r**3
  assert 0.97 * exact < _volume(solid) < exact
  assert solid.bounding_box() == pytest.approx((0, 0, 0, a, a, a), abs=1e-6)


def test_rods_and_bars_are_prisms_in_any_direction():
  start, end = (0.1, 0.2, 0.3), (1.1, -0.4, 0.7)
  length = np.linalg.norm(np.subtract(end, start))
  n, r = 24, 0.1
  polygon = n / 2 * np.sin(2 * np.pi / n) * r**2
  assert _volume(parts.rod(start, end, r, sides=n)) == pytest.approx(
    polygon * length, rel=1e-3
  )
  assert _volume(parts.bar(start, end, 0.2)) == pytest.approx(0.04 * length, rel=1e-3)


def test_a_tapered_rod_is_a_frustum():
  n, a, b = 16, 0.3, 0.1
  share = n / 2 * np.sin(2 * np.pi / n)
  solid = parts.rod((0, 0, 0), (0, 2, 0), a, b, sides=n)
  assert _volume(solid) == pytest.approx(
    share * 2 / 3 * (a * a + a * b + b * b), rel=1e-3
  )


def test_a_closed_tube_is_a_torus():
  t = 2 * np.pi * np.arange(96) / 96
  circle = np.stack([np.cos(t), np.sin(t), 0 * t], -1)
  solid = parts.tube(circle, 0.2, sides=48, loop=True)
  assert solid.genus() == 1
  assert _volume(solid) == pytest.approx(2 * np.pi**2 * 0.2**2, rel=1e-2)


def test_a_lathe_and_a_shell_have_the_volumes_of_cone_and_cup():
  cone = parts.lathe([(0.5, 0), (0.25, 1)], sides=128)
  assert _volume(cone) == pytest.approx(np.pi / 3 * (0.25 + 0.125 + 0.0625), rel=1e-3)
  cup = parts.shell([(0.5, 0), (0.5, 1)], 0.1, floor=0.2, sides=128)
  assert cup.genus() == 0
  assert _volume(cup) == pytest.approx(np.pi * (0.25 - 0.16 * 0.8), rel=1e-3)


@pytest.mark.parametrize(
  ("along", "spans"),
  [
    ("x", [(5, 6), (2, 4), (0, 1)]),
    ("y", [(0, 1), (5, 6), (2, 4)]),
    ("z", [(0, 1), (2, 4), (5, 6)]),
  ],
)
def test_an_extrusion_lays_its_section_as_documented(along, spans):
  solid = parts.extrude(parts.rectangle((0, 1), (2, 4)), (5, 6), along)
  assert _volume(solid) == pytest.approx(2)
  low, high = np.split(np.array(solid.bounding_box()), 2)
  np.testing.assert_allclose(np.stack([low, high], -1), spans, atol=1e-6)


def test_copies_lie_where_their_names_say():
  part = parts.box((1, 2), (0, 1), (1, 2))
  assert _volume(parts.both_sides(part)) == pytest.approx(2)
  assert _volume(parts.four_corners(part)) == pytest.approx(4)
  arm = parts.box((1, 2), (0, 1), (-0.1, 0.1))
  assert len(parts.around(arm, 5).decompose()) == 5
  assert parts.spread(0, 1, 4) == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_a_rounded_path_keeps_its_ends_and_cuts_its_corners():
  path = parts.rounded_path([(0, 0, 0), (1, 0, 0), (1, 1, 0)], 0.3, 8)
  np.testing.assert_allclose(path[[0, -1]], [(0, 0, 0), (1, 1, 0)])
  np.testing.assert_allclose(path[[1, -2]], [(0.7, 0, 0), (1, 0.3, 0)])
  # The middle of a quadratic Bezier arc: a quarter, a half and a quarter.
  np.testing.assert_allclose(path[5], [0.925, 0.075, 0])


def test_an_oval_of_power_two_is_an_ellipse():
  ring = parts.oval((0, 1, 2), 4, 2)
  np.testing.assert_allclose((ring[:, 0] / 2) ** 2 + (ring[:, 1] - 1) ** 2, 1)
  np.testing.assert_array_equal(ring[:, 2], 2)


def test_dice_include_both_ends_of_a_count():
  draw = Draw(np.random.default_rng(0))
  assert {draw.count(2, 4) for _ in range(100)} == {2, 3, 4}
  assert {draw.one_of("a", "b") for _ in range(100)} == {"a", "b"}
