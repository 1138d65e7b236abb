"""Files by the public names of the package."""

import numpy as np
import pytest
import trimesh

import occnet_jax


def test_the_points_of_a_file_are_those_that_were_written(tmp_path):
  cloud = np.random.default_rng(0).normal(size=(50, 3))
  np.savetxt(tmp_path / "a.xyz", cloud)
  points = occnet_jax.read_cloud(tmp_path / "a.xyz")
  np.testing.assert_allclose(points, cloud)
  trimesh.creation.box((1, 2, 3)).export(tmp_path / "b.stl")
  drawn = occnet_jax.read_cloud(str(tmp_path / "b.stl"), seed=1)
  assert np.isclose(np.abs(drawn), (0.5, 1, 1.5)).any(1).all()


@pytest.mark.parametrize("suffix", ["glb", "ply", "obj", "off", "stl"])
def test_a_written_mesh_is_read_back_with_its_volume(tmp_path, suffix):
  mesh = trimesh.creation.icosphere(2).apply_translation((7, 8, 9))
  occnet_jax.write_mesh(tmp_path / f"a.{suffix}", mesh)
  read = occnet_jax.read_mesh(tmp_path / f"a.{suffix}")
  assert isinstance(read, trimesh.Trimesh) and len(read.faces) == len(mesh.faces)
  np.testing.assert_allclose(read.volume, mesh.volume, rtol=1e-5)
  np.testing.assert_allclose(read.bounds, mesh.bounds, rtol=1e-6)


def test_the_public_names_of_files_say_what_is_wrong(tmp_path):
  for read in (occnet_jax.read_cloud, occnet_jax.read_mesh):
    with pytest.raises(ValueError, match="no such file"):
      read(tmp_path / "none.ply")
  with pytest.raises(ValueError, match=r"cannot write '\.step'"):
    occnet_jax.write_mesh(tmp_path / "a.step", trimesh.creation.box())


def test_every_public_name_is_there():
  for name in occnet_jax.__all__:
    assert callable(getattr(occnet_jax, name)) or name == "__version__"
