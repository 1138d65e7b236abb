"""Splits and duplicates, settled before any mesh is read."""

import pytest

from data_prep.pipeline.splits import assign_splits
from data_prep.sources.entry import MeshEntry


def _plan(entries, *, val=0.25, test=0.25, drop=True):
  return assign_splits(
    entries, seed=0, val_fraction=val, test_fraction=test, drop_duplicates=drop
  )


def _entries(root, **contents):
  """Files of one category by name; each has the content that is given."""
  for name, content in contents.items():
    (root / name).write_text(content)
  return [MeshEntry("box", name, root / name) for name in sorted(contents)]


def _names(plan):
  return {
    split: [entry.model_id for entry in plan.splits[split]] for split in plan.splits
  }


def test_of_files_with_the_same_content_the_first_stays(tmp_path):
  entries = _entries(tmp_path, a="one", b="two", c="one", d="one", e="also")
  plan = _plan(entries, val=0.0, test=0.0)
  assert _names(plan) == {"train": ["a", "b", "e"], "val": [], "test": []}
  assert [(row["id"], row["outcome"], row["reason"]) for row in plan.duplicates] == [
    ("c", "duplicate", "same content as box/a"),
    ("d", "duplicate", "same content as box/a"),
  ]
  kept = _plan(entries, val=0.0, test=0.0, drop=False)
  assert len(kept.splits["train"]) == 5 and not kept.duplicates


def test_empty_and_missing_files_are_nobodys_duplicates(tmp_path):
  entries = _entries(tmp_path, a="", b="")
  entries += [MeshEntry("box", name, tmp_path / name) for name in ("x", "y")]
  assert not _plan(entries).duplicates


def test_gltf_files_in_different_folders_have_different_buffers(tmp_path):
  entries = []
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    path = tmp_path / name / "scene.gltf"
    path.write_text('{"buffers": [{"uri": "scene.bin"}]}')
    entries.append(MeshEntry("box", name, path))
  copy = tmp_path / "a" / "again.gltf"
  copy.write_text(path.read_text())
  plan = _plan([*entries, MeshEntry("box", "c", copy)])
  assert [row["reason"] for row in plan.duplicates] == ["same content as box/a"]


def test_a_fixed_split_is_kept_and_the_others_are_shared_out_among_themselves(tmp_path):
  contents = {f"m{i:02}": str(i) for i in range(12)}
  entries = [
    entry._replace(split="test" if i < 4 else "")
    for i, entry in enumerate(_entries(tmp_path, **contents))
  ]
  names = _names(_plan(entries))
  assert names["test"][:4] == ["m00", "m01", "m02", "m03"]
  assert {split: len(ids) for split, ids in names.items()} == {
    "train": 4,
    "val": 2,
    "test": 6,
  }
  assert {name for ids in names.values() for name in ids} == contents.keys()


@pytest.mark.parametrize(
  ("count", "want"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (8, (4, 2, 2))]
)
def test_train_comes_first_where_there_are_few(tmp_path, count, want):
  entries = _entries(tmp_path, **{f"m{i}": str(i) for i in range(count)})
  splits = _plan(entries).splits
  assert tuple(len(splits[split]) for split in ("train", "val", "test")) == want
