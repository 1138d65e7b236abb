"""PSGN as the paper of occupancy networks compares it: 1,024 points on the surface.

  python main.py --config=configs/psgn.py:image --workdir=runs/psgn

Variants: image (one view), pointcloud (300 noisy points) and two_branch (the original
network, of images of 192 pixels a side). The target is points of the true surface,
drawn anew each time. What is predicted are points, so no IoU is measured.
"""

from configs import base

_IMAGE = {
  "prep.out": "data/synthetic_views",  # as the image variants of configs/onet.py
  "prep.views": 24,
  "data.inputs": "image",
  "model.encoder": "resnet18",
  "model.c_dim": 256,
}
VARIANTS = {
  "pointcloud": {},
  "image": _IMAGE,
  "two_branch": {
    **_IMAGE,
    "data.image_side": 192,
    "model.encoder": "two_branch",
    "model.decoder": "two_branch",
    "model.c_dim": 512,
  },
}


def get_config(variant: str = "pointcloud"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/psgn.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("psgn")
  config.name = f"psgn:{variant}"
  config.data.targets = ("surface",)
  config.data.points = 1024  # of the target
  config.val.points = 0  # all points of the surface
  config.val.select = "loss"
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
