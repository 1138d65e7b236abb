"""Occupancy Networks at the reference's sizes: one variant per task and ablation.

  python main.py --config=configs/onet.py:image --workdir=runs/image

Tasks: pointcloud, image, images (several views, one code), voxels, unconditional,
autodecoder (representation power). image_legacy is the first published image model
(random crops). Ablations of the image model (paper, section 4.6): nocbn, noresnet,
sampling_64, sampling_equal, sampling_surface. --mode=import reads the published weights
of pointcloud, image, image_legacy, voxels and unconditional.

By default the data are 2,600 procedural shapes. For ShapeNet set config.prep.source and
config.prep.out. A data directory has one set of settings, so variants that need other
data have another default of config.prep.out.
"""

from configs import base

# The fields that a variant changes in configs/base.py, which is the point-cloud task.
_IMAGE = {
  "prep.out": "data/synthetic_views",
  "prep.views": 24,
  "data.inputs": "image",
  "model.encoder": "resnet18",
  "model.c_dim": 256,
}
_UNCONDITIONAL = {
  "data.inputs": "none",
  "model.encoder": "none",
  "model.c_dim": 0,
  "model.z_dim": 128,
  "model.decoder": "simple",
  "model.hidden_size": 128,
  "val.select": "loss",
  "test.threshold": 0.2,  # validation's best is of reconstructions, not of samples
  "generation.sample": True,
}
VARIANTS = {
  "pointcloud": {},
  "image": {**_IMAGE, "train.validate_every": 20_000},
  "image_legacy": {**_IMAGE, "data.image_crop": 0.75},
  "images": {**_IMAGE, "data.inputs": "images"},
  "voxels": {
    "data.inputs": "voxels",
    "data.points": 1024,
    "model.encoder": "voxel_simple",
    "model.c_dim": 256,
  },
  "unconditional": _UNCONDITIONAL,
  "autodecoder": {
    "data.inputs": "index",
    "data.points": 1024,
    "model.encoder": "code_table",
    "model.tau": 0.5,
    "val.split": "train",
    "test.split": "train",
  },
  "nocbn": {**_IMAGE, "model.decoder": "batchnorm"},
  "noresnet": {**_IMAGE, "model.decoder": "cbatchnorm_noresnet"},
  "sampling_64": {**_IMAGE, "data.points": 64},
  "sampling_equal": {**_IMAGE, "data.sampling": "equal"},
  "sampling_surface": {
    **_IMAGE,
    "prep.out": "data/synthetic_views_near",
    "prep.near_points": 100_000,
    "prep.near_sigmas": (0.01,),
    "data.near_fraction": 1.0,
  },
}


def get_config(variant: str = "pointcloud"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(
      f"configs/onet.py:{variant}: no such variant; want one of: {names}"
    )
  config = base.get_config()
  config.name = f"onet:{variant}"
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
