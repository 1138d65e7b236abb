"""The whole stage on small boxes and tori: what comes out, and when it goes on."""

import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
import trimesh
from array_record.python import array_record_module

from data_prep.pipeline import prepare as prepare_lib
from data_prep.pipeline import report, shards, worker_pool
from data_prep.sources.entry import MeshEntry
from tests.helpers.small_data import SMALL, SPLITS, read_examples


def _files(directory):
  """Contents by name, without what tells the time."""
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in sorted(directory.rglob("*"))
    if path.is_file() and path.parent.name != "rows" and path.suffix != ".csv"
  }


def test_every_sound_mesh_becomes_an_example_and_every_bad_one_a_row(prepared):
  assert sum(prepared.shapes.values()) == 12 and prepared.rejected == 3
  text = (prepared.directory / "prepare_report.csv").read_text()
  rows = list(csv.DictReader(text.splitlines()))
  reasons = {row["id"]: row["reason"] for row in rows if row["outcome"] == "rejected"}
  assert reasons.keys() == {"line", "nan", "text"}
  assert "not finite" in reasons["nan"]
  accepted = {(row["split"], row["id"]) for row in rows if row["outcome"] == "ok"}
  assert accepted == set(read_examples(prepared.directory))
  assert all(float(row["seconds"]) > 0 for row in rows if row["outcome"] == "ok")


def test_each_category_is_split_by_the_fractions_with_one_at_least(prepared):
  split = {name: split for split, name in read_examples(prepared.directory)}
  for category, want in (("box", (5, 1, 2)), ("torus", (2, 1, 1))):
    members = [split[name] for name in split if name.startswith(category)]
    assert tuple(map(members.count, SPLITS)) == want


def test_examples_are_true_to_their_mesh(prepared):
  """A box of 2 by 1.3 by 0.5 at x = 3 has its frame and its labels."""
  builder = tfds.builder_from_directory(prepared.directory)
  found = {
    example["id"].decode(): example
    for split in builder.info.splits
    for example in builder.as_data_source(split)
  }
  example = found["box3"]
  np.testing.assert_allclose(example["loc"], (3, 0, 0), atol=1e-12)
  assert example["scale"] == 2 and example["category"] == b"box"
  points = example["points"]["points"].astype(np.float64)
  half = np.array([2, 1.3, 0.5]) / 4
  gap = (np.abs(points) - half).max(1)
  inside = np.unpackbits(example["points"]["occupancies"])[:400].astype(bool)
  np.testing.assert_array_equal(inside[np.abs(gap) > 1e-9], gap[np.abs(gap) > 1e-9] < 0)
  surface = example["pointcloud"]["points"].astype(np.float64)
  np.testing.assert_allclose((np.abs(surface) - half).max(1), 0, atol=3e-4)
  voxels = np.unpackbits(example["voxels"]).reshape(8, 8, 8)
  axis = np.abs((np.arange(8) + 0.5) / 8 - 0.5)
  kept = [axis < h for h in half]
  want = kept[0][:, None, None] & kept[1][None, :, None] & kept[2][None, None, :]
  np.testing.assert_array_equal(voxels.astype(bool), want)


def test_labelled_surfaces_are_kept_for_the_test_split_only(prepared):
  kept = {path.stem: path for path in prepared.directory.glob("solids/*/*.ply")}
  assert kept.keys() == {
    n for split, n in read_examples(prepared.directory) if split == "test"
  }
  for path in kept.values():
    mesh = trimesh.load_mesh(path)
    assert mesh.is_watertight and mesh.volume > 0
    np.testing.assert_allclose(np.abs(mesh.bounds).max(), 0.5, atol=1e-6)


def test_neither_worker_count_nor_shard_size_changes_an_example(
  prepared, source, tmp_path
):
  other = {**SMALL, "workers": 1, "shard_size": 100}
  prepare_lib.prepare(source=source, out=tmp_path, **other)
  assert read_examples(tmp_path) == read_examples(prepared.directory)


def test_an_example_is_the_same_in_any_subset_of_the_meshes(prepared, source, tmp_path):
  (tmp_path / "torus").mkdir()
  for i in (1, 3):
    name = f"torus{i}.obj"
    shutil.copy(f"{source.removeprefix('folder:')}/torus/{name}", tmp_path / "torus")
  part = prepare_lib.prepare(
    source=f"folder:{tmp_path}", out=tmp_path / "out", **{**SMALL, "test_fraction": 0.0}
  )
  whole = {
    name: example for (_, name), example in read_examples(prepared.directory).items()
  }
  for (_, name), example in read_examples(part.directory).items():
    assert {**example, "split": 0} == {**whole[name], "split": 0}
  assert sum(part.shapes.values()) == 2


def test_a_seed_changes_the_samples(prepared, source, tmp_path):
  prepare_lib.prepare(source=source, out=tmp_path, seed=1, **SMALL)
  first, second = read_examples(prepared.directory), read_examples(tmp_path)
  for key in first.keys() & second.keys():
    assert first[key]["points"] != second[key]["points"]


def test_a_finished_directory_is_left_as_it_is(prepared, source, monkeypatch):
  monkeypatch.setattr(worker_pool, "run_tasks", None)
  before = {path: path.stat().st_mtime_ns for path in prepared.directory.rglob("*")}
  again = prepare_lib.prepare(source=source, out=prepared.directory, **SMALL)
  assert again == prepared
  after = {path: path.stat().st_mtime_ns for path in prepared.directory.rglob("*")}
  assert after == before


def test_other_settings_on_the_same_directory_are_refused(prepared, source):
  changed = {**SMALL, "points": 500}
  with pytest.raises(ValueError, match=r"points is 500, there 400\); choose another"):
    prepare_lib.prepare(source=source, out=prepared.directory, **changed)


def test_an_interrupted_run_goes_on_to_the_same_data(
  prepared, source, tmp_path, monkeypatch
):
  write, written = shards.write_shard, []

  def interrupt(path, records):
    if len(written) == 2:
      raise KeyboardInterrupt
    written.append(path)
    write(path, records)

  monkeypatch.setattr(shards, "write_shard", interrupt)
  with pytest.raises(KeyboardInterrupt):
    prepare_lib.prepare(source=source, out=tmp_path, **SMALL)
  assert not shards.is_complete(tmp_path)
  kept = {path: path.stat().st_mtime_ns for path in written}
  (tmp_path / ".part-left-over").touch()
  monkeypatch.setattr(shards, "write_shard", write)
  resumed = prepare_lib.prepare(source=source, out=tmp_path, **SMALL)
  assert resumed.shapes == prepared.shapes
  assert {path: path.stat().st_mtime_ns for path in written} == kept
  assert read_examples(tmp_path) == read_examples(prepared.directory)
  assert _files(tmp_path).keys() == _files(prepared.directory).keys()


def read_records(path):
  reader = array_record_module.ArrayRecordReader(str(path))
  return reader.read_all()


def _cut(path):
  path.write_bytes(path.read_bytes()[:-1000])


def _exchange(path):
  """Another shard in its place, of as many examples."""
  shutil.copy(path.with_name(path.name.replace("-00000-", "-00001-")), path)


def _shorten(path):
  """Leaves a whole shard, of one record."""
  [record, *_] = read_records(path)
  shards.write_shard(path, [record])


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize(
  ("name", "damage"),
  [
    ("occnet-train.array_record-00001-of-00003", _cut),
    ("occnet-train.array_record-00000-of-00003", lambda path: path.write_bytes(b"")),
    ("occnet-train.array_record-00000-of-00003", _shorten),
    ("occnet-train.array_record-00000-of-00003", lambda path: path.unlink()),
    ("occnet-train.array_record-00000-of-00003", _exchange),
    ("rows/train-00001.json", _cut),
    ("rows/test-00000.json", lambda path: path.write_text("[{}]")),
    ("rows/test-00000.json", lambda path: path.write_text("5")),
  ],
)
def test_what_a_full_disk_cut_is_made_again(
  prepared, source, tmp_path, name, damage, is_finished
):
  out = shutil.copytree(prepared.directory, tmp_path / "out")
  damage(out / name)
  if not is_finished:
    (out / "dataset_info.json").unlink()
  again = prepare_lib.prepare(source=source, out=out, **SMALL)
  assert again.shapes == prepared.shapes
  assert _files(out) == _files(prepared.directory)


def test_names_like_formulas_are_read_back_from_the_report_as_they_were(tmp_path):
  names = ["=1+1", "'=1", "-chair", "a=b", "'"]
  entries = [MeshEntry("@home", name, tmp_path) for name in names]
  report.write(tmp_path, [report.make_row(entry, "train", "ok") for entry in entries])
  text = (tmp_path / report.FILE).read_text()
  assert not any(line.startswith(("=", "-")) for line in text.splitlines())
  rows = report.read(tmp_path)
  assert [(row["category"], row["id"]) for row in rows] == [
    ("@home", name) for name in names
  ]


@pytest.mark.parametrize(
  "text",
  ["id,category\na,b\n", "{head}a,b\n", "{head}" + "x," * 99 + "\n", '{head}"a\n'],
)
def test_a_damaged_report_is_named(prepared, source, tmp_path, text):
  out = shutil.copytree(prepared.directory, tmp_path / "out")
  head = (out / report.FILE).read_text().partition("\n")[0] + "\n"
  (out / report.FILE).write_text(text.format(head=head))
  with pytest.raises(ValueError, match=r"prepare_report\.csv: cannot be read"):
    prepare_lib.prepare(source=source, out=out, **SMALL)


def test_damaged_settings_are_named(prepared, source, tmp_path):
  out = shutil.copytree(prepared.directory, tmp_path / "out")
  _cut(out / prepare_lib.SETTINGS_FILE)
  with pytest.raises(ValueError, match=r"prepare\.json: holds no JSON"):
    prepare_lib.prepare(source=source, out=out, **SMALL)


def test_a_shard_without_records_is_whole(tmp_path):
  shards.write_shard(tmp_path / "empty", [])
  assert shards.count_records(tmp_path / "empty") == 0


def test_a_source_without_one_sound_mesh_is_refused(source, tmp_path):
  bad = f"{source}/bad"
  with pytest.raises(ValueError, match="none of 3 meshes could be used"):
    prepare_lib.prepare(source=bad, out=tmp_path / "out", **SMALL)


@pytest.mark.parametrize(
  ("setting", "message"),
  [
    ({"source": "web"}, "source is 'web', want one of: synthetic, "),
    ({"points": 0}, "points is 0, want at least 1"),
    ({"dtype": "float8"}, "want float16 or float32"),
    ({"val_fraction": 0.5, "test_fraction": 0.5}, "want a sum below 1"),
    ({"views": -1}, "views is -1, want at least 0"),
    ({"views": 2, "view_side": 0}, "view_side is 0, want at least 1"),
    ({"workers": -1}, "workers is -1"),
    ({"time_limit": float("nan")}, "time_limit is nan, want 0"),
    ({"val_fraction": float("nan")}, "val_fraction is nan, want at least 0"),
    ({"padding": float("inf")}, "padding is inf, want at least 0"),
    ({"near_sigmas": (0.1, -1.0)}, r"near_sigmas has -1\.0, want at least 0"),
    ({"solid": {"resolution": -1}}, r"solid\.resolution is -1, want at least 0"),
    ({"solid_splits": ("dev",)}, "solid_splits"),
    ({"source": "official:x", "distances": True}, "no meshes to measure them from"),
    ({"source": "official:x", "single_shape": True}, "same samples in all splits"),
  ],
)
def test_a_setting_out_of_range_is_refused(source, tmp_path, setting, message):
  with pytest.raises(ValueError, match=message):
    prepare_lib.prepare(**{"source": source, "out": tmp_path, **SMALL, **setting})


def test_a_call_that_failed_before_it_made_anything_claims_no_directory(
  source, tmp_path
):
  out = tmp_path / "new" / "out"
  with pytest.raises(ValueError, match="no such"):
    prepare_lib.prepare(source=f"{source}x", out=out, **SMALL)
  assert not out.parent.exists()
  out.mkdir(parents=True)  # of the user, so it stays
  with pytest.raises(ValueError, match="no such"):
    prepare_lib.prepare(source=f"{source}x", out=out, **SMALL)
  assert prepare_lib.prepare(source=source, out=out, **SMALL).rejected == 3


def _as_earlier_format(out):
  """Gives a prepared directory the names of format 2, which has the same arrays."""
  path = out / prepare_lib.SETTINGS_FILE
  settings = json.loads(path.read_text())
  settings["format"] = 2
  settings["solid"]["max_denied"] = settings["solid"].pop("max_contradicted")
  path.write_text(json.dumps(settings))
  table = out / report.FILE
  head, newline, rest = table.read_text().partition("\n")
  for before, now in {
    "denied": "contradicted",
    "sheets": "open_sheets",
    "added": "surface_added",
    "lost": "surface_lost",
  }.items():
    head = head.replace(now, before)
  table.write_text(head + newline + rest)


def test_complete_data_of_the_earlier_format_are_used_but_never_extended(
  prepared, source, tmp_path
):
  out = tmp_path / "out"
  shutil.copytree(prepared.directory, out)
  rows = report.read(out)
  _as_earlier_format(out)
  before = _files(out)
  found = prepare_lib.prepare(source=source, out=out, **SMALL)
  assert found.shapes == prepared.shapes and _files(out) == before
  assert report.read(out) == rows
  with pytest.raises(ValueError, match="format is 3, there 2"):
    prepare_lib.prepare(source=source, out=out, **SMALL, retry=True)
  assert shards.is_complete(out) and _files(out) == before
  shards.metadata_path(out).unlink()
  with pytest.raises(ValueError, match="format is 3, there 2"):
    prepare_lib.prepare(source=source, out=out, **SMALL)


def test_an_interruption_while_meshes_are_collected_leaves_no_scratch(
  source, tmp_path, monkeypatch
):
  def collect(source, out, **settings):
    (out / "meshes").mkdir()
    (out / "meshes" / ".part-1.off").touch()  # of a worker that is killed
    raise KeyboardInterrupt

  monkeypatch.setattr(prepare_lib.sources, "collect", collect)
  with pytest.raises(KeyboardInterrupt):
    prepare_lib.prepare(source=source, out=tmp_path, **SMALL)
  assert not list(tmp_path.rglob(".part-*"))
