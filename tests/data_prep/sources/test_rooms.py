"""Rooms put together from objects, and the layout of the published ones."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
import trimesh

from data_prep import sources
from data_prep.pipeline import report
from data_prep.pipeline.prepare import prepare
from data_prep.sampling import surface as surface_lib
from data_prep.sources import official_rooms, rooms
from data_prep.sources.entry import MeshEntry
from data_prep.watertight import winding
from occnet_jax.geometry.solids import Solid

CUBE = trimesh.creation.box((1.0, 0.8, 0.6))
OBJECT = Solid(np.array(CUBE.vertices), np.array(CUBE.faces, np.int64))
SETTINGS = {
  "points": 4000,
  "surface_points": 3000,
  "voxel_side": 16,
  "workers": 1,
  "shard_size": 8,
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
  """Boxes of two of the categories that rooms take, and of one they leave."""
  root = tmp_path_factory.mktemp("objects")
  for category in ("chair", "table", "airplane"):
    (root / category).mkdir()
    for number in range(4):
      shape = trimesh.creation.box((1.0, 0.5 + 0.1 * number, 0.7))
      shape.export(root / category / f"{category}{number}.off")
  return root


@pytest.fixture(scope="module")
def prepared(objects, tmp_path_factory):
  out = tmp_path_factory.mktemp("rooms")
  return prepare(source=f"rooms:folder:{objects}", out=out, per_category=3, **SETTINGS)


def read_rooms(directory):
  """The examples of all splits by category and id."""
  builder = tfds.builder_from_directory(directory)
  examples = [e for split in builder.info.splits for e in builder.as_data_source(split)]
  return {(e["category"].decode(), e["id"].decode()): e for e in examples}


def parts_of(room):
  """The connected parts of a room, as arrays of vertices: objects first."""
  labels = winding.components(room.solid)
  return [room.solid.vertices[room.solid.faces[labels == i]] for i in np.unique(labels)]


@pytest.mark.parametrize("count", rooms.SCALES)
def test_objects_stand_on_the_floor_without_overlap(count):
  smallest, largest = rooms.SCALES[count]
  walls = 0
  for seed in range(6):
    rng = np.random.default_rng([count, seed])
    room = rooms.make_room([OBJECT] * count, rooms.SCALES[count], rng)
    boxes = [(p.min((0, 1)), p.max((0, 1))) for p in parts_of(room)]
    placed, (floor, *others) = boxes[:count], boxes[count:]
    np.testing.assert_allclose([floor[0][0], floor[1][0]], [-0.5, 0.5])
    np.testing.assert_allclose([floor[0][1], floor[1][1]], [-0.51, -0.5])
    assert 0.3 <= floor[1][2] - floor[0][2] <= 1
    walls += len(others)
    for lower, upper in placed:
      np.testing.assert_allclose(lower[1], -0.5, atol=1e-12)
      # The height is .8 of the largest extent, which turning about y leaves alone.
      assert smallest <= (upper[1] - lower[1]) / 0.8 <= largest
      assert (lower[[0, 2]] >= floor[0][[0, 2]] - 1e-9).all()
      assert (upper[[0, 2]] <= floor[1][[0, 2]] + 1e-9).all()
    for i, a in enumerate(placed):
      for b in placed[i + 1 :]:
        apart = (a[0] >= b[1] - 1e-9) | (b[0] >= a[1] - 1e-9)
        assert apart[[0, 2]].any()
  assert 0 < walls < 4 * 6


def test_walls_are_outside_the_floor_and_as_high_as_each_other():
  for seed in range(20):
    rng = np.random.default_rng(seed)
    room = rooms.make_room([OBJECT] * 4, rooms.SCALES[4], rng)
    boxes = [(p.min((0, 1)), p.max((0, 1))) for p in parts_of(room)]
    floor, *walls = boxes[4:]
    for lower, upper in walls:
      assert 0.2 <= upper[1] + 0.5 <= 0.4
      outside = (lower >= floor[1] - 1e-9) | (upper <= floor[0] + 1e-9)
      assert outside[[0, 2]].sum() == 1
      np.testing.assert_allclose((upper - lower)[outside], 0.01)
    assert np.abs(room.solid.vertices).max() <= 0.51 + 1e-9


def test_labels_are_the_union_of_the_parts():
  rng = np.random.default_rng(3)
  room = rooms.make_room([OBJECT] * 5, rooms.SCALES[5], rng)
  points = rng.uniform(-0.55, 0.55, (4000, 3))
  points[:2000, 1] = rng.uniform(-0.52, -0.3, 2000)
  inside = winding.contains(room.solid, points)
  expected = np.zeros(len(points), bool)
  labels = winding.components(room.solid)
  for part in np.unique(labels):
    expected |= winding.contains(
      Solid(room.solid.vertices, room.solid.faces[labels == part]), points
    )
  assert 100 < expected.sum() < 3000
  np.testing.assert_array_equal(inside, expected)


def test_floor_and_walls_have_a_fifth_of_the_points_on_their_inner_sides():
  rng = np.random.default_rng(4)
  room = rooms.make_room([OBJECT] * 4, rooms.SCALES[4], rng)
  points, normals = surface_lib.surface_points(
    room.solid, rng, count=20_000, dtype="float32", weights=room.weights
  )
  boxes = [(p.min((0, 1)), p.max((0, 1))) for p in parts_of(room)]
  floor = boxes[4]
  on_floor = np.abs(points[:, 1] + 0.5) < 1e-6
  np.testing.assert_allclose(normals[on_floor], [[0, 1, 0]] * on_floor.sum(), atol=1e-6)
  # Nothing below the floor, nor on the outer sides of walls.
  assert points[:, 1].min() >= -0.5 - 1e-6
  # (Walls reach a thickness beyond the floor, where they close a corner.)
  assert np.abs(points[:, 0]).max() <= 0.51 + 1e-6
  assert np.abs(points[:, 2]).max() <= floor[1][2] + 0.01 + 1e-6
  # Densities: the floor between the objects, and the objects' tops.
  tops, free = 0.0, 1.0 * (floor[1][2] - floor[0][2])
  labels = winding.components(room.solid)
  on_top = np.zeros(len(points), bool)
  for part in range(4):
    own = Solid(room.solid.vertices, room.solid.faces[labels == part])
    mesh = trimesh.Trimesh(own.vertices, own.faces)
    top = mesh.vertices[:, 1].max()
    area = mesh.area_faces[mesh.face_normals[:, 1] > 0.99].sum()
    tops, free = tops + area, free - area
    on_top |= (np.abs(points[:, 1] - top) < 1e-6) & (normals[:, 1] > 0.99)
  ratio = (on_floor.sum() / free) / (on_top.sum() / tops)
  np.testing.assert_allclose(ratio, 0.2, rtol=0.1)


def test_a_data_set_of_rooms_has_their_splits_and_frame(prepared):
  assert prepared.shapes == {"train": 5, "val": 5, "test": 5} and not prepared.rejected
  examples = read_rooms(prepared.directory)
  assert set(examples) == {
    (f"rooms_{count:02}", f"{number:08}")
    for count in rooms.SCALES
    for number in range(3)
  }
  for example in examples.values():
    assert example["scale"] == 1 and not example["loc"].any()
    assert "quality" not in example
    surface = example["pointcloud"]["points"].astype(float)
    np.testing.assert_allclose(surface[:, 1].min(), -0.5, atol=1e-3)
    np.testing.assert_allclose(np.ptp(surface[:, 0]), 1, atol=0.1)
  settings = json.loads((prepared.directory / "prepare.json").read_text())
  assert settings["per_category"] == 3


def test_objects_of_the_test_are_not_those_of_training(objects):
  entries = sources.collect(
    f"folder:{objects}", objects / "none", per_category=1, seed=0, workers=1
  )
  pools = rooms._split_objects(entries, seed=0)
  assert not set(pools["train"]) & set(pools["test"])
  assert not set(pools["val"]) & (set(pools["test"]) | set(pools["train"]))
  few = rooms._split_objects(entries[:1], seed=0)
  assert few["train"] == few["test"] == [entries[0].path]


def test_objects_that_are_no_solids_are_replaced_or_named(tmp_path):
  sheet = tmp_path / "sheet.off"
  sheet.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
  box = tmp_path / "box.off"
  CUBE.export(box)
  solid = {"thickness": 0.0}
  entries = [MeshEntry("things", path.stem, path) for path in (sheet, box)]
  made = rooms.write_rooms(entries, tmp_path, per_count=1, seed=0, solid=solid)
  assert len(made) == 5 and all(entry.path.exists() for entry in made)
  with pytest.raises(ValueError, match=r"0 of 4 objects of rooms_04/00000000 could be"):
    rooms.write_rooms(entries[:1], tmp_path / "b", per_count=1, seed=0, solid=solid)
  with pytest.raises(ValueError, match="0 objects; want some"):
    rooms.write_rooms([], tmp_path, per_count=1, seed=0, solid=solid)


def test_objects_too_large_for_a_floor_and_broken_files_are_one_sentence(tmp_path):
  rng = np.random.default_rng(0)
  with pytest.raises(
    ValueError, match=r"3 objects of extents 0\.9 to 0\.95 did not fit"
  ):
    rooms.make_room([OBJECT] * 3, (0.9, 0.95), rng)
  (tmp_path / "room.npz").write_bytes(b"no room")
  with pytest.raises(ValueError, match=r"room\.npz: cannot be read as a room"):
    rooms.read_room(tmp_path / "room.npz")


def test_rooms_of_rooms_are_no_source(tmp_path):
  for source in ("rooms:rooms:synthetic", "rooms:official:/x", "rooms:"):
    with pytest.raises(ValueError, match=r"want one of|no such|is ''"):
      sources.collect(source, tmp_path, per_category=1, seed=0, workers=1)


def test_what_is_written_in_the_published_layout_comes_back(prepared, tmp_path):
  layout, out = tmp_path / "layout", tmp_path / "out"
  official_rooms.write_layout(prepared.directory, layout)
  [first, *_] = sorted(layout.glob("rooms_04/*/"))
  names = sorted(p.name for p in first.glob("points_iou/*"))
  assert names == [f"points_iou_{i:02}.npz" for i in range(10)]
  made = prepare(source=f"official_rooms:{layout}", out=out, **SETTINGS)
  assert made.shapes == prepared.shapes and not made.rejected
  before, after = read_rooms(prepared.directory), read_rooms(out)
  assert before.keys() == after.keys()
  for key, example in after.items():
    expected = before[key]
    for kind in ("points", "pointcloud"):
      # Dealt to ten files and put one after the other: the same rows in another order.
      rows = [np.lexsort(e[kind]["points"].T) for e in (example, expected)]
      for name in example[kind]:
        if name == "occupancies":
          arrays = [np.unpackbits(e[kind][name])[:4000] for e in (example, expected)]
        else:
          arrays = [e[kind][name] for e in (example, expected)]
        pairs = [array[order] for array, order in zip(arrays, rows, strict=True)]
        np.testing.assert_array_equal(*pairs)
    # A cell has the label of the point nearest to its centre.
    points, cells = example["points"]["points"].astype(float), [40, 1000, 2222]
    centres = (np.stack(np.unravel_index(cells, (16,) * 3), -1) + 0.5) / 16 - 0.5
    nearest = np.linalg.norm(centres[:, None] - points, axis=-1).argmin(1)
    np.testing.assert_array_equal(
      np.unpackbits(example["voxels"])[cells],
      np.unpackbits(example["points"]["occupancies"])[nearest],
    )


def test_files_that_hold_too_little_are_named(prepared, tmp_path):
  official_rooms.write_layout(prepared.directory, tmp_path / "layout")
  source = f"official_rooms:{tmp_path / 'layout'}"
  for number, (more, message) in enumerate(
    (
      ({"points": 4001}, "4000 points in 10 files, want 4001"),
      ({"views": 2}, "rooms of this layout have neither"),
    )
  ):
    out = tmp_path / str(number)
    with pytest.raises(ValueError, match="none of 15 meshes could be used"):
      prepare(source=source, out=out, **{**SETTINGS, **more})
    assert all(message in row["reason"] for row in report.read(out))
  with pytest.raises(ValueError, match="no rooms; want rooms_04/"):
    official_rooms.list_examples(tmp_path)
