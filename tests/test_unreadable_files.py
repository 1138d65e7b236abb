"""Files that the system cannot read, which says nothing about what is in them."""

import builtins
import io
import os
import pathlib

import numpy as np
import pytest
import trimesh
from PIL import Image

from data_prep.sources import official
from occnet_jax import files
from occnet_jax.data import source, user_grids
from occnet_jax.geometry import depth, mesh_io, photos, pointcloud_io
from occnet_jax.interop.torch_format import file as torch_file

CLOUD = np.random.default_rng(0).normal(size=(50, 3))
BOX = trimesh.creation.box()


def write_dae(path):
  pytest.importorskip("collada")
  path.write_text("<COLLADA/>")


def read_grid(path):
  return user_grids.read_grid(path, 8)


def open_split(path):
  return source.open_split(path.parent, "train", {})


FILES = {  # name: how it is written, and read
  "a.xyz": (lambda path: np.savetxt(path, CLOUD), pointcloud_io.read_cloud),
  "a.npy": (lambda path: np.save(path, CLOUD), pointcloud_io.read_cloud),
  "a.npz": (lambda path: np.savez(path, points=CLOUD), pointcloud_io.read_cloud),
  "b.ply": (BOX.export, pointcloud_io.read_cloud),
  "c.ply": (BOX.export, mesh_io.read_mesh),
  "c.obj": (BOX.export, mesh_io.read_mesh),
  "c.stl": (BOX.export, mesh_io.read_mesh),
  "c.off": (BOX.export, mesh_io.read_mesh),
  "c.glb": (BOX.export, mesh_io.read_mesh),
  "c.dae": (write_dae, mesh_io.read_mesh),
  "d.png": (Image.new("RGB", (8, 8)).save, photos.read_photo),
  "e.png": (Image.new("L", (8, 8)).save, photos.read_mask),
  "f.png": (Image.new("I;16", (8, 8)).save, depth.read_depth),
  "g.npy": (lambda path: np.save(path, np.zeros((8, 8, 8))), read_grid),
  "h.npz": (
    lambda path: np.savez(path, points=CLOUD),
    lambda path: official.read_arrays(path, "points"),
  ),
  "i.pt": (lambda path: torch_file.write(path, {"a": CLOUD}), torch_file.read),
  "dataset_info.json": (lambda path: path.write_text("{}"), open_split),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("number", [13, 5])  # permission, and a fault of the disk
def test_a_file_that_the_system_cannot_read_is_not_called_broken(
  name, number, tmp_path, monkeypatch
):
  write, read = FILES[name]
  write(tmp_path / name)
  opened = io.open

  def refuse(file, *args, **kwargs):
    if isinstance(file, str | os.PathLike) and pathlib.Path(file).name == name:
      raise OSError(number, os.strerror(number), str(file))
    return opened(file, *args, **kwargs)

  monkeypatch.setattr(builtins, "open", refuse)
  monkeypatch.setattr(io, "open", refuse)
  with pytest.raises(OSError, match=f"{name}: cannot be read .*{os.strerror(number)}"):
    read(tmp_path / name)


def test_an_error_without_a_number_is_of_the_file(tmp_path):
  files.check_read(tmp_path, OSError("image file is truncated"))
  files.check_read(tmp_path, ValueError("no point"))
  files.check_read(tmp_path, OSError(22, "Invalid argument"))  # a seek before the file
  with pytest.raises(OSError, match="Input/output error"):
    files.check_read(tmp_path, OSError(5, "Input/output error"))
