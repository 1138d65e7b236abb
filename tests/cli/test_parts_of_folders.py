"""Folders that several machines reconstruct together."""

import csv
import shutil

import pytest

from tests.helpers.occnet_command import enter_directory, failure, run
from tests.helpers.pretrained import make_cloud, make_model


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, model):
  directory = enter_directory(tmp_path, monkeypatch, model, make_cloud())
  (directory / "scans").mkdir()
  for name in "abcd":
    shutil.copy("scan.xyz", directory / "scans" / f"{name}.xyz")
  (directory / "scans" / "broken.xyz").write_text("nothing")
  return directory


def test_parts_make_all_meshes_once_and_the_whole_makes_the_page(here, capsys):
  out = here / "reconstructions"
  run("reconstruct", "scans", "--shard=0/2")
  assert "2 of the 3 meshes of this part in reconst" in capsys.readouterr().out
  assert {path.name for path in out.glob("*.glb")} == {"a.glb", "d.glb"}
  assert not (out / "index.html").exists()
  run("reconstruct", "scans", "--shard=1/2")
  assert "2 of the 2 meshes of this part" in capsys.readouterr().out
  times = {path: path.stat().st_mtime_ns for path in out.glob("*.glb")}
  run("reconstruct", "scans")
  assert "4 of 5 meshes, 1 failed" in capsys.readouterr().out
  assert times == {path: path.stat().st_mtime_ns for path in out.glob("*.glb")}
  with (out / "reconstruct_report.csv").open() as stream:
    rows = {row["file"]: row["outcome"] for row in csv.DictReader(stream)}
  made = dict.fromkeys((f"{name}.xyz" for name in "abcd"), "mesh")
  assert rows == made | {"broken.xyz": "failed"}
  assert all(f">{name}<" in (out / "index.html").read_text() for name in rows)


def test_other_choices_make_the_meshes_of_parts_again(here):
  run("reconstruct", "scans", "--shard=0/2")
  made = (here / "reconstructions" / "a.glb").stat().st_mtime_ns
  run("reconstruct", "scans", "--seed=1")
  assert (here / "reconstructions" / "a.glb").stat().st_mtime_ns != made


def test_one_file_has_no_parts(here):
  message = failure("reconstruct", "scan.xyz", "--shard=0/2")
  assert message == "error: --shard=0/2 divides a folder; leave it out for scan.xyz"


def test_a_folder_of_which_nothing_becomes_a_mesh_ends_with_an_error_and_a_report(here):
  for name in "abcd":
    (here / "scans" / f"{name}.xyz").write_text("nothing")
  message = failure("reconstruct", "scans", "-o", "out")
  assert message.startswith("error: scans: 0 of 5 meshes, 5 failed (reconstruct_report")
  assert (here / "out" / "index.html").exists()
  assert (here / "out" / "reconstruct_report.csv").read_text().count("failed") == 5
