"""Libraries of Sweet Home 3D, written here as real ones are."""

import io
import shutil
import struct
import subprocess
import zipfile

import numpy as np
import pytest

from data_prep.sources import sh3f, table
from data_prep.sources.entry import MeshEntry
from occnet_jax.geometry import mesh_io

_CATALOGUE = "PluginFurnitureCatalog.properties"
_HEADER = (
  "# Copyright © by hand\n! name#9=no\nid=Test#Models\nprovider = www.example.org\n"
  "license=CC  BY \\\n   3.0 ©\n"
)
_SQUARE = b"mtllib a.mtl\nv 1 2 3\n v -1.5 0 2e-1\nv 0 0 1\nvt 0 0\nf 1/1 2/1 3/1\n"


def _library(path, models, members, header=_HEADER):
  """A library; models are dicts of keys without their number."""
  lines = [
    f"{key}#{number}={value}"
    for number, model in enumerate(models, 1)
    for key, value in model.items()
  ]
  path.parent.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as library:
    library.writestr(_CATALOGUE, (header + "\n".join(lines)).encode("latin-1"))
    library.writestr("icon.png", b"no mesh")
    for name, data in members.items():
      library.writestr(name, data)
  return path


def _chair(**changes):
  return {
    "id": "Test#armChair",
    "name": "Chair",
    "category": "Living room",
    "model": "/test/chair/chair.obj",
    "creator": "J. Doe",
    **changes,
  }


def test_models_are_unpacked_with_their_category_creator_and_licence(tmp_path):
  model = {"category": "K\\u00fcche", "model": "/test/t.OBJ", "license": "CC0"}
  members = {"test/chair/chair.obj": _SQUARE, "test/t.OBJ": _SQUARE, "no/one.obj": b""}
  _library(tmp_path / "Test.sh3f", [_chair(), model], members)
  out = tmp_path / "out"
  entries = sh3f.list_meshes(str(tmp_path / "Test.sh3f"), out)
  assert entries == [
    MeshEntry(
      "küche", "test-t", out / "küche/test-t.obj", "", "www.example.org", "CC0"
    ),
    MeshEntry(
      "living-room",
      "test-armchair",
      out / "living-room/test-armchair.obj",
      "",
      "J. Doe",
      "CC BY 3.0 ©",
    ),
  ]
  assert [entry.path.read_bytes() for entry in entries] == [_SQUARE, _SQUARE]
  found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
  assert found == {
    "meshes.csv",
    "küche/test-t.obj",
    "living-room/test-armchair.obj",
  }


def test_an_interrupted_call_continues_and_a_finished_one_is_kept(tmp_path):
  models = [_chair(), _chair(id="Test#b", model="/b.obj")]
  members = {"test/chair/chair.obj": _SQUARE, "b.obj": _SQUARE}
  _library(tmp_path / "a.sh3f", models, members)
  whole = sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out")
  (tmp_path / "out" / table.TABLE).unlink()
  whole[0].path.unlink()
  whole[1].path.write_bytes(b"as it was")
  assert sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out") == whole
  assert [entry.path.read_bytes() for entry in whole] == [_SQUARE, b"as it was"]
  (tmp_path / "a.sh3f").unlink()
  assert sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out") == whole


def test_a_folder_of_libraries_is_one_source_and_equal_names_get_numbers(tmp_path):
  for name in ("a", "deep/b"):
    members = {"test/chair/chair.obj": _SQUARE}
    _library(tmp_path / "in" / f"{name}.sh3f", [_chair()], members)
  entries = sh3f.list_meshes(str(tmp_path / "in"), tmp_path / "out")
  assert [entry.model_id for entry in entries] == ["test-armchair", "test-armchair-2"]


def test_a_model_in_a_zip_of_its_own_is_unpacked(tmp_path):
  inner = io.BytesIO()
  with zipfile.ZipFile(inner, "w") as packed:
    packed.writestr("chair.mtl", b"newmtl a")
    packed.writestr("parts/chair.obj", _SQUARE)
  members = {"chair.zip": inner.getvalue()}
  _library(tmp_path / "a.sh3f", [_chair(model="/chair.zip")], members)
  (entry,) = sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out")
  assert entry.path.name == "test-armchair.obj" and entry.path.read_bytes() == _SQUARE


def test_models_are_turned_upright_as_the_catalogue_says(tmp_path):
  turn = "1 0 0 0 0 -1 0 1 0"  # y becomes z, and z minus y
  members = {"test/chair/chair.obj": _SQUARE}
  _library(tmp_path / "a.sh3f", [_chair(modelRotation=turn)], members)
  (entry,) = sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out")
  vertices, faces = mesh_io.read_mesh(entry.path)
  np.testing.assert_allclose(vertices, [[1, -3, 2], [-1.5, -0.2, 0], [0, -1, 0]])
  np.testing.assert_array_equal(faces, [[0, 1, 2]])


def test_a_broken_or_missing_model_costs_itself_only(tmp_path):
  models = [
    _chair(),
    _chair(id="gone", model="/none.obj"),
    _chair(id="cut", model="/cut.obj"),
    _chair(id="packed", model="/packed.zip"),
    _chair(id="turned", model="/test/chair/chair.obj", modelRotation="1 0 0"),
  ]
  members = {
    "test/chair/chair.obj": _SQUARE,
    "cut.obj": 100 * b"# not what it was\n",
    "packed.zip": b"no archive",
  }
  path = _library(tmp_path / "a.sh3f", models, members)
  with zipfile.ZipFile(path) as library:
    place = library.getinfo("cut.obj").header_offset + 50
  data = bytearray(path.read_bytes())
  data[place] ^= 0xFF
  path.write_bytes(data)
  outcomes = {}
  for entry in sh3f.list_meshes(str(path), tmp_path / "out"):
    try:
      outcomes[entry.model_id] = len(mesh_io.read_mesh(entry.path)[1])
    except ValueError as error:
      outcomes[entry.model_id] = str(error).partition(": ")[2][:12]
  missing = dict.fromkeys(("gone", "cut", "turned"), "no such file")
  assert outcomes == {"test-armchair": 1, "packed": "suffix '.zip", **missing}


@pytest.mark.parametrize("name", ["//etc/passwd", "/a/../../b.obj", "/..\\b.obj"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path, name):
  _library(tmp_path / "a.sh3f", [_chair(model=name.replace("\\", "\\\\"))], {})
  with pytest.raises(ValueError, match="leads out of the archive"):
    sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out")
  assert not list(tmp_path.glob("out/**/*.obj"))


def test_hostile_ids_and_categories_become_plain_names(tmp_path):
  model = _chair(id="../../x/.hidden", category="/etc", creator="a\\nb")
  _library(tmp_path / "a.sh3f", [model], {"test/chair/chair.obj": _SQUARE})
  (entry,) = sh3f.list_meshes(str(tmp_path / "a.sh3f"), tmp_path / "out")
  assert entry.path == tmp_path / "out" / "etc" / "x-.hidden.obj"
  assert entry.attribution == "a b" and entry.path.exists()


def test_a_model_of_a_gigabyte_is_refused_before_it_is_unpacked(tmp_path):
  members = {"test/chair/chair.obj": _SQUARE}
  path = _library(tmp_path / "a.sh3f", [_chair()], members)
  data = bytearray(path.read_bytes())
  entry = data.rindex(b"PK\1\2")  # the last member in the directory of the archive
  data[entry + 24 : entry + 28] = struct.pack("<I", 2**30)
  path.write_bytes(data)
  with pytest.raises(ValueError, match=r"unpacks to 1,073,741,824 bytes"):
    sh3f.list_meshes(str(path), tmp_path / "out")


def test_many_pieces_of_one_name_are_counted_on(tmp_path):
  models = [_chair(id="chair") for _ in range(4)] + [_chair(id="chair-2")]
  path = _library(tmp_path / "a.sh3f", models, {})
  entries = sh3f.list_meshes(str(path), tmp_path / "out")
  names = sorted(entry.model_id for entry in entries)
  assert names == ["chair", "chair-2", "chair-2-2", "chair-3", "chair-4"]


def test_a_catalogue_beyond_all_measure_is_not_read(tmp_path):
  header = "# " + "x" * sh3f._LARGEST_CATALOGUE + "\n"
  path = _library(tmp_path / "a.sh3f", [_chair()], {}, header)
  with pytest.raises(ValueError, match=r"a\.sh3f: a catalogue of 4,19.*want at most"):
    sh3f.list_meshes(str(path), tmp_path / "out")


def test_a_model_too_large_to_be_turned_costs_itself_only(tmp_path, monkeypatch):
  monkeypatch.setattr(sh3f, "_LARGEST_TURNED", 10)
  models = [_chair(model="/a.obj", modelRotation="1 0 0 0 1 0 0 0 1")]
  path = _library(tmp_path / "a.sh3f", models, {"a.obj": "v 0 0 0\nv 1 0 0\n"})
  [entry] = sh3f.list_meshes(str(path), tmp_path / "out")
  assert not entry.path.exists()


def test_what_is_no_library_is_refused(tmp_path):
  with pytest.raises(ValueError, match="no ZIP file"):
    sh3f.list_meshes(str(tmp_path / "none.sh3f"), tmp_path / "out")
  (tmp_path / "text.sh3f").write_text("hello")
  with pytest.raises(ValueError, match="no ZIP file"):
    sh3f.list_meshes(str(tmp_path / "text.sh3f"), tmp_path / "out")
  with zipfile.ZipFile(tmp_path / "other.sh3f", "w") as other:
    other.writestr("a.obj", _SQUARE)
  with pytest.raises(ValueError, match="no catalogue"):
    sh3f.list_meshes(str(tmp_path / "other.sh3f"), tmp_path / "out")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match=r"no \.sh3f files"):
    sh3f.list_meshes(str(tmp_path / "empty"), tmp_path / "out")


def test_debian_is_asked_for_only_where_it_is(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(ValueError, match=r"apt-get is not installed.*packages\.debian"):
    sh3f.list_meshes("debian", tmp_path / "out")
  assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(
  shutil.which("dpkg-deb") is None,
  reason="builds its package with dpkg-deb, which only Debian has",
)
def test_a_debian_package_of_libraries_is_unpacked(tmp_path):
  root = tmp_path / "root"
  members = {"test/chair/chair.obj": _SQUARE}
  _library(root / "usr/share/furniture/a.sh3f", [_chair()], members)
  (root / "DEBIAN").mkdir()
  (root / "DEBIAN" / "control").write_text(
    "Package: test\nVersion: 1\nArchitecture: all\nMaintainer: J <j@example.org>\n"
    "Description: test\n"
  )
  package = tmp_path / "a.deb"
  subprocess.run(
    ["dpkg-deb", "--build", "--root-owner-group", root, package],
    check=True,
    capture_output=True,
  )
  (entry,) = sh3f.list_meshes(str(package), tmp_path / "out")
  assert entry.path.read_bytes() == _SQUARE
  assert not list((tmp_path / "out").glob(".part-*"))
  (tmp_path / "text.deb").write_text("hello")
  with pytest.raises(ValueError, match=r"dpkg-deb -x .* failed"):
    sh3f.list_meshes(str(tmp_path / "text.deb"), tmp_path / "other")
