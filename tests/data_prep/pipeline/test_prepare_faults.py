"""Preparation under kills, limits and bad files: each costs one mesh, and says so."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest
import tensorflow_datasets as tfds
import trimesh

from data_prep.pipeline import report, shards
from data_prep.pipeline.prepare import prepare
from tests.helpers.small_data import SMALL, wait_until

_CHILD = """
import json
import signal
import sys
from data_prep.pipeline.prepare import prepare
if __name__ == "__main__":
  # A shell's background job ignores Ctrl-C, and hands that down to its children.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  prepare(**json.loads(sys.argv[1]))
  assert not {"jax", "flax", "tensorflow"} & sys.modules.keys(), "imported"
"""


def _start(source, out, **changed):
  script = out.parent / f"{out.name}.py"
  script.write_text(_CHILD)
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  settings = {"source": source, "out": str(out), **SMALL, **changed}
  return subprocess.Popen(
    [sys.executable, str(script), json.dumps(settings)],
    env=environment,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def test_a_killed_run_leaves_whole_shards_and_goes_on_to_the_same_data(
  prepared, source, tmp_path
):
  out = tmp_path / "out"
  with _start(source, out) as process:
    wait_until(lambda: list(out.glob("occnet-*")))
    process.kill()
  wait_until(lambda: not _group_is_alive(process.pid))
  for path in out.glob("occnet-*"):
    assert path.read_bytes() == (prepared.directory / path.name).read_bytes()
  with _start(source, out) as process:
    _, errors = process.communicate(timeout=120)
  assert process.returncode == 0, errors
  for path in prepared.directory.glob("occnet-*"):
    assert (out / path.name).read_bytes() == path.read_bytes()
  assert not list(out.rglob(".part-*"))


def _group_is_alive(group):
  try:
    os.killpg(group, 0)
  except ProcessLookupError:
    return False
  return True


def test_control_c_ends_every_process(source, tmp_path):
  out = tmp_path / "out"
  with _start(source, out, points=500_000) as process:  # enough work to interrupt
    wait_until((out / "prepare.json").exists)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
  assert "KeyboardInterrupt" in errors
  wait_until(lambda: not _group_is_alive(process.pid))
  assert not shards.is_complete(out) and not list(out.rglob(".part-*"))


@pytest.mark.parametrize(
  ("limit", "outcome", "reason"),
  [
    ({"time_limit": 1.0}, "timeout", "not done after 1 s; see prep.time_limit"),
    ({"memory_limit": 0.3}, "memory", "more than 0.3; see prep.memory_limit"),
  ],
)
def test_a_mesh_beyond_a_limit_is_a_row_and_the_others_go_on(
  soup, tmp_path, limit, outcome, reason
):
  prepare(source=soup, out=tmp_path, **SMALL, **limit)
  rows = {row["id"]: row for row in report.read(tmp_path)}
  assert rows["box"]["outcome"] == "ok"
  assert rows["soup"]["outcome"] == outcome and reason in rows["soup"]["reason"]
  assert float(rows["soup"]["seconds"]) > 0


def test_a_mesh_that_was_lost_is_taken_up_again_on_demand(soup, tmp_path):
  source, out = tmp_path / "source", tmp_path / "out"
  shutil.copytree(soup.removeprefix("folder:"), source)
  settings = {"source": f"folder:{source}", "out": out, **SMALL}
  assert prepare(**settings, memory_limit=0.3).rejected == 1
  trimesh.creation.box((1, 2, 3)).export(source / "soup.stl")
  assert prepare(**settings).rejected == 1
  found = prepare(**settings, retry=True)
  assert sum(found.shapes.values()) == 2 and found.rejected == 0


def test_a_worker_that_is_killed_costs_its_mesh(soup, tmp_path):
  with _start(soup, tmp_path / "out") as process:
    parent = psutil.Process(process.pid)

    def large():
      """Processes amid the large mesh."""
      below = parent.children(recursive=True)
      return [child for child in below if child.memory_info().rss > 2**28]

    wait_until(large)[0].kill()
    _, errors = process.communicate(timeout=120)
  assert process.returncode == 0, errors
  rows = {row["id"]: row for row in report.read(tmp_path / "out")}
  assert rows["box"]["outcome"] == "ok" and rows["soup"]["outcome"] == "crash"
  assert "killed, perhaps because" in rows["soup"]["reason"]


def _off(vertices, faces):
  rows = [" ".join(map(str, row)) for row in vertices]
  rows += [" ".join(map(str, (len(face), *face))) for face in faces]
  return "\n".join(["OFF", f"{len(vertices)} {len(faces)} 0", *rows])


def _prism(sides):
  """Vertices and polygons of a prism."""
  angles = np.arange(sides) * 2 * np.pi / sides
  x, z = np.cos(angles), np.sin(angles)
  vertices = [*zip(x, 0 * x, z, strict=True), *zip(x, 0 * x + 1, z, strict=True)]
  floor, roof = list(range(sides)), list(range(2 * sides - 1, sides - 1, -1))
  walls = [(i, i + sides, i + 1 + sides, i + 1) for i in range(sides - 1)]
  return vertices, [floor, roof, *walls, (sides - 1, 2 * sides - 1, sides, 0)]


_BOX = trimesh.creation.box((1, 2, 3))
_FAR = trimesh.creation.box(bounds=((90, 0, 0), (90.1, 0.1, 0.1)))
_POINTS = trimesh.PointCloud(np.eye(3))
_HEADER = """ply
format binary_little_endian 1.0
element vertex 29416666666
property float x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
"""
_DRACO = """{"asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}],
"nodes": [{"mesh": 0}],
"accessors": [{"componentType": 5126, "count": 3, "type": "VEC3"}],
"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "extensions":
{"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}}]}],
"extensionsUsed": ["KHR_draco_mesh_compression"],
"extensionsRequired": ["KHR_draco_mesh_compression"]}"""
_TRIANGLE = _off(np.eye(3), [(0, 1, 2)])
# What users bring: what the file holds, its outcome, and part of the reason.
FILES = {
  "box.off": (_off(_BOX.vertices, _BOX.faces), "ok", ""),
  "same.off": (_off(_BOX.vertices, _BOX.faces), "duplicate", "same content as files/"),
  "box.obj": (_BOX.export(file_type="obj"), "ok", ""),
  "Stühle und 椅子 (2).ply": (_BOX.export(file_type="ply"), "ok", ""),
  "polygons.off": (_off(*_prism(7)), "ok", ""),
  "huge.off": (_off(1e30 * _BOX.vertices, _BOX.faces), "ok", ""),
  "outlier.ply": ((_BOX + _FAR).export(file_type="ply"), "ok", ""),
  "empty.obj": ("", "rejected", "no faces"),
  "text.ply": ("hello", "rejected", "cannot be read as a mesh"),
  "cut.off": (_off(_BOX.vertices, _BOX.faces)[:-9], "rejected", "cannot be read"),
  "header.ply": (_HEADER, "rejected", "29,416,666,666"),
  "draco.gltf": (_DRACO, "rejected", "Draco"),
  "nan.obj": ("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "rejected", "not finite"),
  "points.ply": (
    _POINTS.export(file_type="ply"),
    "rejected",
    "no faces",
  ),
  "range.off": (_off(np.eye(3), [(0, 1, 9)]), "rejected", "there are 3"),
  "face.off": (_TRIANGLE, "rejected", ""),
  "line.off": (_off([(i, 0, 0) for i in range(3)], [(0, 1, 2)]), "rejected", ""),
  "flat.off": (_off(_BOX.vertices * (1, 1, 0), _BOX.faces), "rejected", ""),
  "vast.off": (_off(1e308 * _BOX.vertices, _BOX.faces), "rejected", "extent is inf"),
}


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
  """The rows of FILES, by name."""
  root = tmp_path_factory.mktemp("brought")
  for name, (content, *_) in FILES.items():
    path = root / "files" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  out = root / "out"
  prepare(source=f"folder:{root / 'files'}", out=out, **SMALL)
  return {row["id"]: row for row in report.read(out)}


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_the_outcome_that_its_user_understands(brought, name):
  _, outcome, reason = FILES[name]
  stem = name.rpartition(".")[0]
  row = brought.get(name) or brought[stem]  # two boxes differ in the suffix only
  assert row["outcome"] == outcome, row["reason"]
  assert reason in row["reason"] and bool(row["reason"]) == (outcome != "ok")
  assert len(brought) == len(FILES)


def test_a_far_away_part_is_warned_of_and_can_be_cropped(brought, tmp_path):
  assert "far" in brought["outlier"]["warning"]
  (tmp_path / "outlier.ply").write_bytes(FILES["outlier.ply"][0])
  (tmp_path / "box.off").write_text(FILES["box.off"][0])
  cropping = {**SMALL, "solid": {"crop_outliers": True}}
  found = prepare(source=f"folder:{tmp_path}", out=tmp_path / "out", **cropping)
  assert sum(found.shapes.values()) == 2
  builder = tfds.builder_from_directory(found.directory)
  for split in builder.info.splits:
    for example in builder.as_data_source(split):
      assert example["scale"] == 3 and example["quality"]["warning"] == b""
      np.testing.assert_allclose(example["loc"], 0, atol=1e-9)
