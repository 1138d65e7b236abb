"""3D-R2N2 as the paper of occupancy networks compares it: a grid of 32^3 cells.

  python main.py --config=configs/r2n2.py:image --workdir=runs/r2n2

Variants: image (one view) and pointcloud (300 noisy points). The target is the stored
grid of config.prep.voxel_side cells a side; a cell is occupied if its centre is inside.
"""

from configs import base

VARIANTS = {
  "pointcloud": {},
  "image": {
    "prep.out": "data/synthetic_views",  # as the image variants of configs/onet.py
    "prep.views": 24,
    "data.inputs": "image",
    "model.encoder": "resnet18",
    "model.c_dim": 256,
  },
}


def get_config(variant: str = "pointcloud"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/r2n2.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("r2n2")
  config.name = f"r2n2:{variant}"
  config.data.targets = ("voxels",)
  config.data.points = 64  # only the IoU that training logs depends on them
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
