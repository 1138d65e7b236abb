"""Occupancy Networks at the reference's sizes.

  python main.py --config=configs/onet.py:pointcloud --workdir=runs/pointcloud

Variants: pointcloud.
"""

from configs import base


def get_config(variant: str = "pointcloud"):
  if variant != "pointcloud":
    raise ValueError(f"configs/onet.py:{variant}: no such variant; want: pointcloud")
  config = base.get_config()
  config.name = f"onet:{variant}"
  return config
