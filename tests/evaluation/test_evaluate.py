"""Meshes of a split and their figures: which mesh is compared with which shape."""

import copy
import csv
import threading
from concurrent import futures

import pytest
import trimesh

from occnet_jax.cli import stages
from occnet_jax.config import parse
from occnet_jax.evaluation import evaluate, reconstructions, resume_log
from tests.helpers.box_split import box_shape, exact, make_split

DATA = {"dir": "data/boxes", "points": 128, "placement": "auto", "workers": 2}
TEST = evaluate.make_origin("test", DATA)


def generate(shapes, directory, reconstruct=exact, origin=TEST, **settings):
  evaluate.generate(
    shapes,
    range(len(shapes)),
    reconstruct,
    directory,
    form="ply",
    origin=origin,
    settings={"step": 1, **settings},
  )


def measure(shapes, directory, origin=TEST):
  return evaluate.evaluate(
    shapes, range(len(shapes)), directory, form="ply", origin=origin, samples=2000
  )


def test_exact_meshes_have_the_figures_of_exact_meshes(tmp_path):
  shapes = make_split("a")
  generate(shapes, tmp_path)
  rows = measure(shapes, tmp_path)
  assert [(row["split"], row["id"], row["iou"]) for row in rows] == [
    ("test", "a0", 1),
    ("test", "a1", 1),
    ("test", "a2", 1),
  ]
  with (tmp_path / "evaluation" / "per_mesh.csv").open() as file:
    assert [row["iou"] for row in csv.DictReader(file)] == ["1"] * 3


@pytest.mark.parametrize(
  "other",
  [
    evaluate.make_origin("train", DATA),
    evaluate.make_origin("test", {**DATA, "dir": "data/others"}),
  ],
  ids=["split", "data set"],
)
def test_meshes_of_another_split_or_data_set_are_not_measured(tmp_path, other):
  shapes, others = make_split("a"), make_split("b")[::-1]
  generate(shapes, tmp_path)
  for _ in range(2):
    with pytest.raises(ValueError, match=r"0 of 3 meshes of split .* --mode=generate"):
      measure(others, tmp_path, other)
    assert [row["iou"] for row in measure(shapes, tmp_path)] == [1, 1, 1]
  generate(others, tmp_path, origin=other)
  assert [row["iou"] for row in measure(others, tmp_path, other)] == [1, 1, 1]
  with pytest.raises(ValueError, match="0 of 3 meshes"):
    measure(shapes, tmp_path)


def test_trimmed_figures_are_of_what_is_within_the_sides_of_the_shape(tmp_path):
  def sunk(shape, index):
    return exact(shape, index).apply_translation((0, -0.3, 0))

  shapes = make_split("a")
  generate(shapes, tmp_path, sunk)
  whole = measure(shapes, tmp_path)
  options = {"form": "ply", "origin": TEST, "samples": 2000}
  trimmed = evaluate.evaluate(shapes, range(3), tmp_path, **options, trim=0.007)
  for before, after in zip(whole, trimmed, strict=True):
    assert after["accuracy"] < 0.8 * before["accuracy"] and after["iou"] < 1
  assert measure(shapes, tmp_path) == whole  # measured again, without


def test_placement_and_workers_do_not_make_another_data_set():
  assert evaluate.make_origin("test", {**DATA, "placement": "host"}) == TEST
  assert evaluate.make_origin("test", {**DATA, "workers": 0}) == TEST


def test_a_data_set_that_changed_under_its_name_is_an_error_until_it_is_generated(
  tmp_path,
):
  before = make_split("a")
  after = [box_shape("new", 0.9), *before[:2]]  # every index means another shape
  generate(before, tmp_path)
  with pytest.raises(ValueError, match=r"box a0 is no longer shape 0 .*generate again"):
    measure(after, tmp_path)
  with pytest.raises(ValueError, match="box a2 is no longer shape 2"):
    evaluate.evaluate(
      before[:2], range(3), tmp_path, form="ply", origin=TEST, samples=100
    )
  generate(after, tmp_path)
  rows = measure(after, tmp_path)
  assert [(row["id"], row["index"], row["iou"]) for row in rows] == [
    ("a0", 1, 1),
    ("a1", 2, 1),
    ("new", 0, 1),
  ]


@pytest.mark.parametrize("field", ["id", "category"])
@pytest.mark.parametrize("name", [b"../../escaped", b"..", b"/tmp/escaped", b""])
def test_a_data_set_with_names_of_other_folders_writes_nothing(tmp_path, field, name):
  shapes = [{**shape, field: name} for shape in make_split("a")]
  workdir = tmp_path / "runs" / "run"
  with pytest.raises(ValueError, match="want names without a leading dot, slashes"):
    generate(shapes, workdir)
  assert not list(tmp_path.rglob("*.ply"))


def test_only_what_is_missing_is_generated(tmp_path):
  shapes, made = make_split("a"), []

  def reconstruct(shape, index):
    made.append(index)
    return exact(shape, index)

  generate(shapes[:2], tmp_path, reconstruct)
  generate(shapes, tmp_path, reconstruct)
  assert made == [0, 1, 2]
  reconstructions.mesh_path(tmp_path, "box", "a1", "ply").unlink()
  generate(shapes, tmp_path, reconstruct)
  assert made == [0, 1, 2, 1]
  generate(shapes, tmp_path, reconstruct, step=2)
  assert made == [0, 1, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("name", ["index", "faces", "id", "split"])
@pytest.mark.parametrize("ledger", [evaluate.GENERATED, evaluate.MEASURED])
def test_a_row_that_lost_a_field_is_made_again(tmp_path, ledger, name):
  shapes = make_split("a")
  generate(shapes, tmp_path)
  whole = measure(shapes, tmp_path)
  path = tmp_path / ledger
  settings, first, *others = path.read_text().splitlines()
  damaged = first.replace(f'"{name}"', '"other"')
  assert damaged != first
  path.write_text("\n".join([settings, damaged, *others]) + "\n")
  generate(shapes, tmp_path)
  rows = measure(shapes, tmp_path)
  assert [(row["id"], row["iou"]) for row in rows] == [
    (row["id"], row["iou"]) for row in whole
  ]


def test_a_shape_that_fails_is_a_row_and_the_others_are_measured(tmp_path):
  def reconstruct(shape, index):
    if index == 1:
      raise ValueError("the field is NaN")
    return exact(shape, index)

  shapes = make_split("a")
  generate(shapes, tmp_path, reconstruct)
  reconstructions.mesh_path(tmp_path, "box", "a2", "ply").write_text("no mesh")
  good, failed, broken = measure(shapes, tmp_path)
  assert good["iou"] == 1
  assert (failed["missing"], failed["reason"]) == (True, "the field is NaN")
  assert broken["missing"] and "a2.ply" in broken["reason"]


def fail(shape, index):
  raise ValueError("the field is NaN")


def test_a_run_of_which_every_shape_fails_is_one_sentence_and_not_a_row_less(tmp_path):
  shapes = make_split("a")
  for _ in range(2):  # a second call tries again, and fails again
    with pytest.raises(ValueError, match=r"all 3 shapes failed.*box/a0: the field is"):
      generate(shapes, tmp_path, fail)
    assert len(resume_log.read(tmp_path / evaluate.GENERATED)[1]) == 3
    assert all(row["missing"] for row in measure(shapes, tmp_path))
  generate(shapes, tmp_path)
  assert [row["iou"] for row in measure(shapes, tmp_path)] == [1, 1, 1]


def test_every_process_learns_that_all_shapes_failed(tmp_path):
  shapes, origin = make_split("a", 4), evaluate.make_origin("test", DATA)
  barrier = threading.Barrier(2, timeout=60)

  def run(number):
    with pytest.raises(ValueError, match="all 4 shapes failed"):
      evaluate.generate(
        shapes,
        range(4),
        fail,
        tmp_path,
        form="ply",
        origin=origin,
        settings={},
        part=(number, 2),
        wait=lambda name: barrier.wait(),
      )

  with futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(run, range(2)))


def test_a_mesh_that_cannot_be_made_again_is_not_left_from_before(tmp_path):
  shapes = make_split("a")
  generate(shapes, tmp_path)

  def reconstruct(shape, index):
    return fail(shape, index) if index == 1 else exact(shape, index)

  generate(shapes, tmp_path, reconstruct, step=2)
  assert sorted(path.stem for path in tmp_path.rglob("*.ply")) == ["a0", "a2"]


def test_processes_measure_what_one_process_does(tmp_path, monkeypatch):
  shapes = make_split("a", evaluate.MIN_FOR_PROCESSES)
  generate(shapes, tmp_path)
  together = measure(shapes, tmp_path)
  (tmp_path / evaluate.MEASURED).unlink()
  monkeypatch.setattr(evaluate, "MIN_FOR_PROCESSES", 100)
  assert measure(shapes, tmp_path) == together


def test_a_shape_that_was_generated_twice_is_measured_once(tmp_path):
  shapes = make_split("a")
  generate(shapes, tmp_path)
  path = tmp_path / evaluate.GENERATED
  text = path.read_text()
  path.write_text(text + text.split("\n", 1)[1])
  assert len(resume_log.read(path)[1]) == 3
  assert len(measure(shapes, tmp_path)) == 3


def test_the_stage_measures_meshes_of_its_own_split_and_data_set_only(
  tiny_config, tmp_path
):
  settings = parse(tiny_config)
  shapes = stages.open_test_split(settings)()
  evaluate.generate(
    shapes,
    range(len(shapes)),
    lambda shape, index: trimesh.creation.box(),
    tmp_path,
    form="ply",
    origin=evaluate.make_origin("test", settings.data._asdict()),
    settings={"step": 1},
  )
  stages.evaluate(tiny_config, tmp_path)
  before = (tmp_path / evaluate.MEASURED).read_text()
  for section, field, value in (("test", "split", "val"), ("data", "points", 64)):
    other = copy.deepcopy(tiny_config)
    other[section][field] = value
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r": 0 of \d+ meshes of split"):
      stages.evaluate(other, tmp_path)
  assert (tmp_path / evaluate.MEASURED).read_text() == before


@pytest.mark.parametrize("form", ["ply", "glb"])
def test_a_mesh_that_was_deleted_or_cut_is_made_again(tmp_path, form):
  shapes, options = make_split("a"), {"form": form, "origin": TEST, "settings": {}}
  made = []

  def reconstruct(shape, index):
    made.append(index)
    return exact(shape, index)

  def make():
    evaluate.generate(shapes, range(3), reconstruct, tmp_path, **options)

  make()
  paths = [tmp_path / "meshes" / "box" / f"a{i}.{form}" for i in range(3)]
  paths[0].unlink()
  paths[2].write_bytes(paths[2].read_bytes()[:-5])
  make()
  assert made == [0, 1, 2, 0, 2]
  rows = evaluate.evaluate(
    shapes, range(3), tmp_path, form=form, origin=TEST, samples=9
  )
  assert [row["iou"] for row in rows] == [1, 1, 1]
  header = (tmp_path / "evaluation" / "per_mesh.csv").read_text().splitlines()[0]
  assert "stored" not in header


def test_a_mesh_with_another_digit_is_not_measured(tmp_path):
  shapes = make_split("a")
  generate(shapes, tmp_path)
  path = tmp_path / "meshes" / "box" / "a1.ply"
  content = bytearray(path.read_bytes())
  content[-60] ^= 1
  path.write_bytes(content)
  rows = measure(shapes, tmp_path)
  assert [row.get("missing", False) for row in rows] == [False, True, False]
  assert "a1.ply: is not the file that was generated; remove it" in rows[1]["reason"]
  path.unlink()
  generate(shapes, tmp_path)
  assert [row["iou"] for row in measure(shapes, tmp_path)] == [1, 1, 1]
