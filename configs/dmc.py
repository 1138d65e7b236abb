"""Deep Marching Cubes as the paper of occupancy networks compares it.

  python main.py --config=configs/dmc.py --workdir=runs/dmc

From 300 noisy points to a grid of 32^3 cells, each of which chooses the triangles that
pass it. The target is 3,000 points of the true surface, drawn anew each time; neither
occupancies nor a closed shape are needed. A step takes a second a shape on a CPU.
"""

from configs import base

VARIANTS = {"pointcloud": {}}


def get_config(variant: str = "pointcloud"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/dmc.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("dmc")
  config.name = f"dmc:{variant}"
  config.data.targets = ("surface",)
  config.data.points = 3000  # of the target
  config.val.points = 3000
  config.val.select = "loss"
  config.train.batch_size = 8
  return config
