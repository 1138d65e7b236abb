"""Pixel2Mesh: a sphere deformed in three steps to what one view shows.

  python main.py --config=configs/pix2mesh.py:image --workdir=runs/pix2mesh

The input is a view with its camera, the target points of the true surface with their
normals, drawn anew each time. The mesh has 2,466 vertices and is closed.
"""

from configs import base

VARIANTS = {"image": {}}


def get_config(variant: str = "image"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/pix2mesh.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("pix2mesh")
  config.name = f"pix2mesh:{variant}"
  config.prep.out = "data/synthetic_views"  # as the image variants of configs/onet.py
  config.prep.views = 24
  config.data.inputs = "image_camera"
  config.data.targets = ("surface",)
  config.data.points = 8000  # of the target
  config.val.points = 0  # all points of the surface
  config.val.select = "loss"
  config.train.batch_size = 12
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
