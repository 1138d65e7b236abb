"""The reference's method to make meshes watertight, from the same library primitives.

After Mescheder et al. 2019 and Stutz and Geiger 2018: 100 depth pictures of 640^2
pixels from a sphere around the mesh, moved towards the camera by 1.5 voxels and eroded,
are fused to a truncated signed distance on 256^3 voxels, and marching cubes cuts the
surface. The authors' code fuses in C++; this is NumPy on one core, so seconds are given
by stage.
"""

import time

import igl
import numpy as np
from scipy import ndimage

from data_prep.watertight import orientation, repair, surface_metrics
from occnet_jax.geometry import rendering, solids

_SIDE = 640  # of a picture; the focal length in pixels too
_VIEWS = 100
_FILLS = 0.9  # of the cube that the mesh takes up
_THICKER = 1.5  # voxels
_TRUNCATION = 10  # voxels


def cameras():
  """Rotations (view, 3, 3), rows right, down and forward; cameras look at the centre
  from a distance of 1."""
  forward = -orientation.sphere_directions(_VIEWS)
  right = np.cross(forward, [0.0, 0.0, 1.0])
  right /= np.linalg.norm(right, axis=1, keepdims=True)
  return np.stack([right, np.cross(forward, right), forward], axis=1)


def depth_pictures(mesh, rotations, side):
  """Distances along the viewing direction (view, h, w), thickened and eroded."""
  scene = rendering.Scene(mesh)
  axis = (np.arange(_SIDE) + 0.5 - _SIDE / 2) / _SIDE
  right, down = np.meshgrid(axis, axis)
  pixels = np.stack([right, down, np.ones_like(right)], -1).reshape(-1, 3)
  for rotation in rotations:
    directions = pixels @ rotation
    origins = np.broadcast_to(-rotation[2], directions.shape)
    face, along = scene.first_hit(origins, directions)
    depth = np.where(face >= 0, along, 1.75).reshape(_SIDE, _SIDE)
    depth = ndimage.grey_erosion(depth - _THICKER / side, (3, 3))
    yield depth.astype(np.float32)


def fuse(pictures, rotations, side):
  """Truncated signed distances (side, side, side), below 0 inside and where unseen."""
  axis = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
  truncation = _TRUNCATION / side
  values = np.full((side, side, side), -truncation, np.float32)
  for i, x in enumerate(axis):
    total, weight = np.zeros((2, side, side), np.float32)
    for rotation, depth in zip(rotations.astype(np.float32), pictures, strict=True):
      along = [
        x * row[0] + axis[:, None] * row[1] + axis[None, :] * row[2] for row in rotation
      ]
      z = along[2] + np.float32(1)
      column = (along[0] / z * _SIDE + _SIDE / 2).astype(np.int32)
      row = (along[1] / z * _SIDE + _SIDE / 2).astype(np.int32)
      pixel = row.clip(0, _SIDE - 1) * _SIDE + column.clip(0, _SIDE - 1)
      distance = depth.ravel()[pixel] - z
      observed = distance >= -truncation
      total += np.where(observed, np.minimum(distance, truncation), 0)
      weight += observed
    values[i] = np.where(weight > 0, total / np.maximum(weight, 1), -truncation)
  return values


def cut(values):
  """Marching cubes at 0, in the unit cube of the voxels' centres."""
  side = len(values)
  padded = np.pad(values, 1, constant_values=1e6).astype(np.float64)
  axis = (np.arange(side + 2) - 0.5) / side - 0.5
  grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
  vertices, faces, _ = igl.marching_cubes(
    padded.ravel(order="F"),
    grid.transpose(2, 1, 0, 3).reshape(-1, 3),
    *padded.shape,
    0.0,
  )
  return repair.drop_unused(vertices, faces)


def close(mesh, side):
  """The reference's surface of a mesh in the unit cube, and seconds by stage."""
  clock = [time.perf_counter()]
  rotations = cameras()
  small = solids.Solid(mesh.vertices * _FILLS, mesh.faces)
  pictures = list(depth_pictures(small, rotations, side))
  clock.append(time.perf_counter())
  values = fuse(pictures, rotations, side)
  clock.append(time.perf_counter())
  vertices, faces = cut(values)
  clock.append(time.perf_counter())
  return solids.Solid(vertices / _FILLS, faces), np.diff(clock)


def surface_error(mesh, exact, count=20_000):
  """Mean distance from either surface to the other, and the mean of both."""
  there = surface_metrics.point_to_mesh_distance(
    surface_metrics.stratified_samples(*mesh, count)[0], *exact
  ).mean()
  back = surface_metrics.point_to_mesh_distance(
    surface_metrics.stratified_samples(*exact, count)[0], *mesh
  ).mean()
  return (there + back) / 2
