"""Convolutional Occupancy Networks at the published sizes: one variant per task.

  python main.py --config=configs/convonet.py:shapenet_3plane --workdir=runs/convonet

Objects from clouds of 3,000 points: shapenet_1plane, shapenet_3plane, shapenet_grid32,
shapenet_pointconv; shapenet_3plane_partial from the lower 70 to 100 % of a cloud along
some axis. Objects from 32^3 voxels: voxel_1plane, voxel_3plane, voxel_grid32.
Rooms from clouds of 10,000 points: room_1plane, room_3plane, room_grid32, room_grid64,
room_combine, room_pointconv. Windows of rooms, for scenes of any size
(Model.reconstruct_scene): crop_grid64.

By default the data are 2,600 procedural shapes, or 200 rooms of such. For ShapeNet set
config.prep.source and config.prep.out. Planes learn several times as fast as the
published grids on a CPU (a grid of patches, as in configs/quickstart.py, learns faster
still), and grids carry over better to shapes unlike those of the training (section 4.4
of the paper). docs/scenes.md is about rooms and windows. --mode=import reads published
weights (docs/published_weights.md).
"""

from configs import base

_PLANE = {"model.features": ("xz",)}
_GRID = {"model.features": ("grid",)}
_ROOMS = {
  "prep.source": "rooms:synthetic",
  "prep.out": "data/rooms",
  "prep.per_category": 40,
  "data.cloud_points": 10_000,
  "test.trim": 0.007,
}
_ROOM = {
  **_ROOMS,
  "model.plane_resolution": 128,
  "model.unet_depth": 5,
}
_POINTS = {"model.encoder": "pointnet_plus_plus"}
_VOXELS = {
  "data.inputs": "voxels",
  "data.points": 1024,
  "model.encoder": "voxel_simple_local",
  "train.batch_size": 64,
}
# The fields that a variant changes in the network of three planes for objects.
VARIANTS = {
  "shapenet_1plane": _PLANE,
  "shapenet_3plane": {},
  "shapenet_3plane_partial": {"data.cloud_share": 0.7},
  "shapenet_grid32": _GRID,
  "shapenet_pointconv": {**_POINTS, "train.batch_size": 24},
  "voxel_1plane": {**_VOXELS, **_PLANE},
  "voxel_3plane": _VOXELS,
  "voxel_grid32": {**_VOXELS, **_GRID},
  "room_1plane": {**_ROOM, **_PLANE},
  "room_3plane": _ROOM,
  "room_grid32": {**_ROOM, **_GRID},
  "room_grid64": {
    **_ROOM,
    **_GRID,
    "model.grid_resolution": 64,
    "model.unet3d_levels": 4,
    "train.batch_size": 6,
  },
  "room_combine": {
    **_ROOM,
    "model.features": ("xz", "xy", "yz", "grid"),
    "train.batch_size": 24,
  },
  "room_pointconv": {
    **_ROOM,
    **_POINTS,
    "model.hidden_size": 256,
    "train.batch_size": 20,
  },
  "crop_grid64": {
    **_ROOMS,
    "data.points": 1024,
    "data.crop": (0.125, 0.005),
    **_GRID,
    "model.grid_resolution": 88,
    "model.unet3d_levels": 4,
    "model.unit_size": 0.005,
    "model.query_cells": 25,
    "train.batch_size": 2,
    "train.preview_shapes": 0,
    "val.points": 1024,
  },
}


def get_config(variant: str = "shapenet_3plane"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/convonet.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("convonet")
  config.name = f"convonet:{variant}"
  config.data.cloud_points = 3000
  config.train.update(batch_size=32, validate_every=10_000)
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
