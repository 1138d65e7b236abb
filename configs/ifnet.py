"""IF-Net at its published sizes: shapes completed from voxels or sparse clouds.

  python main.py --config=configs/ifnet.py:shapenetpoints --workdir=runs/ifnet

Variants: shapenetpoints (3,000 points without noise, made a grid of 128^3),
shapenet32vox and shapenet128vox (occupancy grids), and svr, a grid of 256^3 nodes and a
decoder that sees coordinates. The published svr completes the points that one depth
image shows; here its input is a cloud of the whole surface, and a cloud of one side has
to be given at use.

All labelled points of training lie near the surface, half of them with a deviation of
0.1 and half of 0.01. Validation and test read the points that are uniform in the cube.
--mode=import reads published weights (docs/published_weights.md).
"""

from configs import base

_CLOUD = {"data.cloud_points": 3000, "data.cloud_sigma": 0.0}
_VOXELS = {"data.inputs": "voxels", "model.outside": "zeros"}
VARIANTS = {
  "shapenetpoints": _CLOUD,
  "shapenet32vox": {
    **_VOXELS,
    "model.resolution": 32,
    "model.levels": ((32, 64), (128, 128), (128, 128)),
    "model.displacement": 0.035,
    "model.hidden_sizes": (512, 256, 256),
  },
  "shapenet128vox": {
    **_VOXELS,
    "prep.out": "data/ifnet_128",
    "prep.voxel_side": 128,
  },
  "svr": {
    **_CLOUD,
    "data.cloud_points": 10_000,
    "model.resolution": 256,
    "model.levels": ((16,), (32, 32), (64, 64), (128, 128), (128, 128), (128, 128)),
    "model.coordinates": True,
    "model.hidden_sizes": (512, 256, 256),
  },
}


def get_config(variant: str = "shapenetpoints"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/ifnet.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("ifnet")
  config.name = f"ifnet:{variant}"
  config.prep.update(near_points=100_000, near_sigmas=(0.1, 0.01), out="data/ifnet")
  config.data.update(points=50_000, near_fraction=1.0)
  config.train.batch_size = 6
  config.val.points = 10_000
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
