"""A data set that several machines make together."""

import concurrent.futures

import pytest

from data_prep.pipeline import prepare as prepare_lib
from data_prep.pipeline import report, shards
from occnet_jax.cli import dispatch, occnet, parts
from tests.data_prep.pipeline.test_prepare import _files
from tests.helpers.small_data import SMALL


def test_parts_one_after_the_other_make_the_same_data_set(prepared, source, tmp_path):
  out = tmp_path / "out"
  made = [
    prepare_lib.prepare(source=source, out=out, **SMALL, part=(number, 3))
    for number in range(3)
  ]
  assert made[0].missing > made[1].missing > made[2].missing == 0
  assert not sum(made[0].shapes.values()) > sum(made[1].shapes.values())
  assert made[2].shapes == prepared.shapes and made[2].rejected == prepared.rejected
  assert _files(out) == _files(prepared.directory)
  kept = [(row["id"], row["outcome"]) for row in report.read(prepared.directory)]
  assert [(row["id"], row["outcome"]) for row in report.read(out)] == kept


def test_parts_at_the_same_time_leave_each_others_files(prepared, source, tmp_path):
  out = tmp_path / "out"
  settings = SMALL | {"workers": 1}
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    made = list(
      pool.map(
        lambda number: prepare_lib.prepare(
          source=source, out=out, **settings, part=(number, 2)
        ),
        range(2),
      )
    )
  assert any(not each.missing for each in made) and shards.is_complete(out)
  assert _files(out) == _files(prepared.directory)


def test_a_part_leaves_the_scratch_of_others(source, tmp_path):
  scratch = tmp_path / "out" / ".part-1-other"
  scratch.parent.mkdir()
  scratch.touch()
  prepare_lib.prepare(source=source, out=scratch.parent, **SMALL, part=(0, 9))
  assert scratch.exists()


def test_a_part_says_how_much_is_left(source, tmp_path, capsys):
  flags = [f"--config.prep.{name}={SMALL[name]}" for name in ("points", "workers")]
  flags += ["--config.prep.surface_points=300", "--config.prep.voxel_side=8"]
  flags += ["--config.prep.solid.thickness=0.0", "--shard=1/2"]
  occnet.main(["prepare", source, f"--out={tmp_path / 'out'}", *flags])
  assert "shards are left to the other parts of 2" in capsys.readouterr().out


@pytest.mark.parametrize("shard", ["2/2", "1", "-1/2", "a/b", "0/0", "1/2/3"])
def test_a_shard_that_does_not_exist_is_refused(shard):
  with pytest.raises(ValueError, match=f"--shard={shard}; want I/N with I from 0"):
    parts.parse(shard)


def test_the_whole_is_one_part():
  assert parts.parse(None) == (0, 1) and parts.parse("3/8") == (3, 8)


def test_training_is_not_divided_by_shards(tmp_path):
  with pytest.raises(ValueError, match=r"--shard=0/2 divides the shards .* out of tra"):
    dispatch.run("train", {}, str(tmp_path), shard="0/2")
