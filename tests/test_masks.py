"""Segmentations through a network of voxels: finer meshes, in the patient's frame."""

import re

import numpy as np
import pytest
import trimesh

import occnet_jax
from configs import convonet
from occnet_jax.cli import process
from occnet_jax.data import user_grids
from occnet_jax.geometry.volumes import Volume
from occnet_jax.train import loop
from tests.geometry.test_volumes import AFFINE, write_nifti
from tests.helpers.occnet_command import failure, load, run

SIDES = np.array([40.0, 25.0, 30.0])  # of a box, in millimetres
CENTRE = np.array([5.0, -20.0, 60.0])


def box_mask(affine, shape):
  """Voxels whose centres are in the box, whose sides are along the patient's axes."""
  points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
  return (np.abs(points - CENTRE) < SIDES / 2).all(-1).astype(np.uint8)


def scanner(spacing, turned=False):
  """A volume's affine that has the box in its middle, and its shape."""
  affine, shape = np.eye(4), np.ceil(90 / np.array(spacing)).astype(int)
  axes = (
    AFFINE[:3, :3] / np.linalg.norm(AFFINE[:3, :3], axis=0) if turned else np.eye(3)
  )
  affine[:3, :3] = axes * spacing
  affine[:3, 3] = CENTRE - affine[:3, :3] @ ((shape - 1) / 2)
  return affine, shape


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 1.3, 2), (5, 2.5, 5)])
def test_a_mask_of_any_spacing_and_direction_is_the_same_grid(spacing, turned):
  affine, shape = scanner(spacing, turned)
  placed = user_grids.place_mask(Volume(box_mask(affine, shape), affine), 16)
  coarse = np.linalg.norm(spacing)  # by which a border may be off
  np.testing.assert_allclose(placed.loc, CENTRE, atol=coarse / 2)
  assert placed.scale == pytest.approx(SIDES.max(), abs=2 * coarse)
  cells = (np.indices((16,) * 3).reshape(3, -1).T + 0.5) / 16 - 0.5
  points = cells * placed.scale + placed.loc
  offset = (np.abs(points - CENTRE) - SIDES / 2).max(1)
  clear = np.abs(offset) > coarse
  np.testing.assert_array_equal(placed.grid.reshape(-1)[clear], offset[clear] < 0)


def test_a_mask_along_the_axes_is_exact():
  values = np.zeros((10, 9, 8), np.uint8)
  values[2:6, 3:5, 1:3] = 1
  affine = np.diag([2.0, 3.0, 4.0, 1.0])
  placed = user_grids.place_mask(Volume(values, affine), 8)
  # Voxels from 2 to 5 have their faces at 1.5 and 5.5 times their spacing.
  np.testing.assert_allclose(placed.loc, [7, 10.5, 6])
  assert placed.scale == 8
  # 8 x 6 x 8 mm in cells of 1 mm, but for its edges and corners, where the shares of
  # the voxels outside, mixed along each axis, come to more than one half.
  expected = np.zeros((8, 8, 8), bool)
  expected[:, 1:7, :] = True
  assert not placed.grid[~expected].any()
  middle = np.ix_(range(2, 6), range(2, 6), range(2, 6))
  assert placed.grid[middle].all() and placed.grid.sum() > 0.8 * expected.sum()


def test_what_is_no_mask_of_an_object_is_a_sentence():
  affine, shape = scanner((5, 5, 5))
  mask = box_mask(affine, shape)
  with pytest.raises(
    ValueError, match="values other than 0 and 1; want the mask of one"
  ):
    user_grids.place_mask(Volume(3 * mask, affine), 16)
  with pytest.raises(ValueError, match="a mask with nothing inside"):
    user_grids.place_mask(Volume(0 * mask, affine), 16)


@pytest.fixture(scope="module")
def voxel_run(made_once, tiny_data):
  """A run on grids of 16^3 of boxes and ellipsoids, trained until it tells a box."""
  config = convonet.get_config("voxel_3plane")
  config.prep.voxel_side = 16
  config.data.update(dir=str(tiny_data), points=256, workers=0)
  config.model.update(plane_resolution=16, unet_depth=2, unet_filters=8, c_dim=16)
  config.optim.update(learning_rate=3e-3)
  config.train.update(steps=60, batch_size=8, validate_every=30, save_every=60)
  config.train.preview_shapes = 0
  config.generation.update(resolution_0=16, upsampling_steps=1)
  return made_once("voxel_run", lambda path: loop.train(config.to_dict(), path))


@pytest.mark.parametrize("spacing", [(3, 3, 3), (2, 2, 6)])
def test_a_network_of_voxels_makes_a_finer_mesh_of_a_coarse_mask(voxel_run, spacing):
  affine, shape = scanner(spacing)
  volume = Volume(box_mask(affine, shape), affine)
  mesh = occnet_jax.restore(voxel_run).reconstruct(volume)
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.bounds.mean(0), CENTRE, atol=3)
  np.testing.assert_allclose(mesh.extents, SIDES, rtol=0.25)
  assert mesh.volume == pytest.approx(SIDES.prod(), rel=0.3)


def test_the_command_reconstructs_a_segmentation_by_a_run(
  voxel_run, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
  monkeypatch.chdir(tmp_path)
  affine, shape = scanner((3, 3, 3))
  (tmp_path / "masks").mkdir()
  write_nifti("masks/a.nii.gz", box_mask(affine, shape), affine)
  network = ("--workdir", voxel_run)
  run("reconstruct", "masks/a.nii.gz", *network, "-o", "a.ply", "--preview", "p.html")
  output = capsys.readouterr().out
  assert re.match(
    r"masks/a\.nii\.gz: a mask, as 16 cells of 2\.\d\d? mm a side\n", output
  )
  expected = occnet_jax.restore(voxel_run).reconstruct(
    occnet_jax.read_volume("masks/a.nii.gz")
  )
  np.testing.assert_allclose(load("a.ply").bounds, expected.bounds, atol=1e-3)
  run("reconstruct", "masks", *network, "-o", "out")
  np.testing.assert_allclose(load("out/a.glb").bounds, expected.bounds, atol=1e-3)
  write_nifti("ct.nii.gz")
  assert "ct.nii.gz: has values other than 0 and 1" in failure(
    "reconstruct", "ct.nii.gz", *network
  )
  assert trimesh.load("a.ply").is_watertight
