"""Random objects out of a wheel, written here as the real one is."""

import zipfile

import pytest

from data_prep.sources import pybullet
from data_prep.sources.entry import MeshEntry

_METADATA = "Metadata-Version: 2.1\nName: pybullet\nAuthor: A, B\nLicense: zlib\n\nText"


def _wheel(path, members):
  with zipfile.ZipFile(path, "w") as wheel:
    for name, data in members.items():
      wheel.writestr(name, data)
  return str(path)


def test_objects_are_unpacked_with_the_licence_of_the_package(tmp_path):
  folder = "pybullet_data/random_urdfs"
  members = {
    f"{folder}/007/007.obj": "seven",
    f"{folder}/001/001.obj": "one",
    f"{folder}/001/001.mtl": "no mesh",
    f"{folder}/001/002.obj": "another name",
    "pybullet_data/duck.obj": "no random object",
    "pybullet-3.2.7.dist-info/METADATA": _METADATA,
  }
  out = tmp_path / "out"
  entries = pybullet.list_meshes(_wheel(tmp_path / "a.whl", members), out)
  about = ("", "PyBullet: A, B", "zlib")
  assert entries == [
    MeshEntry("random", "001", out / "random/001.obj", *about),
    MeshEntry("random", "007", out / "random/007.obj", *about),
  ]
  assert [entry.path.read_text() for entry in entries] == ["one", "seven"]
  (tmp_path / "a.whl").unlink()
  assert pybullet.list_meshes(str(tmp_path / "a.whl"), out) == entries


def test_another_wheel_is_refused(tmp_path):
  wheel = _wheel(tmp_path / "a.whl", {"numpy-2.dist-info/METADATA": "Name: numpy\n"})
  with pytest.raises(ValueError, match="no random objects"):
    pybullet.list_meshes(wheel, tmp_path / "out")
  with pytest.raises(ValueError, match="no ZIP file"):
    pybullet.list_meshes(str(tmp_path / "none.whl"), tmp_path / "out")


def test_a_failed_download_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
  monkeypatch.setenv("PIP_NO_INDEX", "1")
  with pytest.raises(ValueError, match="download the wheel"):
    pybullet.list_meshes("", tmp_path / "out")
  assert not list((tmp_path / "out").iterdir())
