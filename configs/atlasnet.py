"""AtlasNet: 25 squares or a sphere, deformed to the surface.

  python main.py --config=configs/atlasnet.py:squares --workdir=runs/atlasnet

Variants: squares (patches, open at their borders, so that no IoU is measured), sphere
(closed), and image and image_sphere (one view in place of a cloud). The target is
points of the true surface, drawn anew each time.
"""

from configs import base

_IMAGE = {
  "prep.out": "data/synthetic_views",  # as the image variants of configs/onet.py
  "prep.views": 24,
  "data.inputs": "image",
  "model.encoder": "resnet18",
}
VARIANTS = {
  "squares": {},
  "sphere": {"model.template": "sphere"},
  "image": _IMAGE,
  "image_sphere": {**_IMAGE, "model.template": "sphere"},
}


def get_config(variant: str = "squares"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/atlasnet.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("atlasnet")
  config.name = f"atlasnet:{variant}"
  config.data.cloud_points = 2500
  config.data.targets = ("surface",)
  config.data.points = 2500  # of the target
  config.val.points = 0  # all points of the surface
  config.val.select = "loss"
  config.train.batch_size = 32
  config.optim.learning_rate = 1e-3
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
