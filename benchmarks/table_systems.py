"""The systems of benchmarks.tables in small, and the figures that were published.

A system is a recipe of configs/, its variant, and what makes it small. All have batches
of 8 shapes and the quickstart's optimiser: Muon for matrices; `_KERNELS` is for
systems that consist of convolutions, whose kernels are matrices for it, too.
"""

from typing import Any, NamedTuple

from benchmarks.learning import PLANES
from configs import atlasnet, dmc, onet, pix2mesh, psgn, quickstart, r2n2

METRICS = ("iou", "chamfer_l1_x10", "normal_consistency", "f_score_1pct")


class System(NamedTuple):
  """One row of a table.

  Attributes:
    recipe: module of configs/.
    variant: variant of it.
    changes: fields that make it small.
    kernels: whether it has the optimiser for convolutions.
  """

  recipe: Any
  variant: str
  changes: dict[str, Any]
  kernels: bool = False


_CLOUD = {
  "model.encoder": "pointnet_resnet",
  "model.encoder_hidden_size": 64,
  "model.c_dim": 128,
  "model.fourier_octaves": 5,
}
_VIEW = {
  "data.image_side": 64,
  "model.encoder": "simple_conv",
  "model.c_dim": 128,
}
_GRID = {"model.channels": (64, 32, 8, 4)}
_SET = {"model.hidden_size": 256}
_PATCHES = {"model.hidden_size": 64, "data.points": 1000}
_FIELD = {"data.points": 256, "data.near_fraction": 0.5, "model.hidden_size": 64}
_OCTAVES = {"model.fourier_octaves": 5, "model.tau": 0.3}

TABLES: dict[str, dict[str, System]] = {
  "table1": {
    "3D-R2N2": System(r2n2, "image", _VIEW | _GRID),
    "PSGN": System(psgn, "image", _VIEW | _SET, kernels=True),
    "Pixel2Mesh": System(
      pix2mesh,
      "image",
      {
        "data.image_side": 64,
        "data.points": 1000,
        "model.c_dim": 128,
        "model.hidden_size": 48,
        "model.template_vertices": 42,
      },
    ),
    "AtlasNet": System(atlasnet, "image", _VIEW | _PATCHES),
    "ONet": System(onet, "image", _VIEW | _FIELD | _OCTAVES),
  },
  "table2": {
    "3D-R2N2": System(r2n2, "pointcloud", _CLOUD | _GRID),
    "PSGN": System(psgn, "pointcloud", _CLOUD | _SET),
    "DMC": System(  # half a CPU second a step even so
      dmc,
      "pointcloud",
      {"model.resolution": 12, "data.points": 1000, "train.batch_size": 2},
      kernels=True,
    ),
    "AtlasNet, squares": System(atlasnet, "squares", _CLOUD | _PATCHES),
    "AtlasNet, sphere": System(
      atlasnet, "sphere", _CLOUD | _PATCHES | {"model.n_points": 1000}
    ),
    "ONet": System(quickstart, "paper", {}),
    "three planes": System(quickstart, "patches", PLANES, kernels=True),
  },
}
INPUTS = {"table1": "one view of 64 x 64 pixels", "table2": "300 noisy points"}

# IoU, Chamfer-L1 x 10 and normal consistency. Clouds: Table 2 of the paper. Images: the
# table by class of the authors' repository, whose network is a later one than the
# paper's (Table 1: Pixel2Mesh .441, .230, .727; ONet .564, .229, .832).
PUBLISHED: dict[str, dict[str, tuple[float | None, ...]]] = {
  "table1": {
    "3D-R2N2": (0.493, 0.278, 0.695),
    "PSGN": (None, 0.215, None),
    "Pixel2Mesh": (0.480, 0.216, 0.772),
    "AtlasNet": (None, 0.175, 0.811),
    "ONet": (0.593, 0.194, 0.840),
  },
  "table2": {
    "3D-R2N2": (0.565, 0.169, 0.719),
    "PSGN": (None, 0.202, None),
    "DMC": (0.645, 0.126, 0.835),
    "ONet": (0.762, 0.087, 0.891),
  },
}
# Chamfer-L1 x 10 of images by those classes that the procedural shapes have, too.
PUBLISHED_CLASSES: dict[str, dict[str, float]] = {
  system: dict(
    zip(
      (
        "airplane",
        "bench",
        "cabinet",
        "car",
        "chair",
        "display",
        "lamp",
        "loudspeaker",
        "sofa",
        "table",
        "vessel",
      ),
      figures,
      strict=True,
    )
  )
  for system, figures in {
    "3D-R2N2": (
      *(0.227, 0.194, 0.217, 0.213, 0.270, 0.314, 0.778, 0.318, 0.229, 0.239, 0.238),
    ),
    "PSGN": (
      *(0.137, 0.181, 0.215, 0.169, 0.247, 0.284, 0.314, 0.316, 0.224, 0.222, 0.188),
    ),
    "Pixel2Mesh": (
      *(0.187, 0.201, 0.196, 0.180, 0.265, 0.239, 0.308, 0.285, 0.212, 0.218, 0.212),
    ),
    "AtlasNet": (
      *(0.104, 0.138, 0.175, 0.141, 0.209, 0.198, 0.305, 0.245, 0.177, 0.190, 0.151),
    ),
    "ONet": (
      *(0.134, 0.150, 0.153, 0.149, 0.206, 0.258, 0.368, 0.266, 0.181, 0.182, 0.201),
    ),
  }.items()
}


def configure(
  table: str, name: str, fields: dict[str, Any], steps: int, checks: int
) -> dict[str, Any]:
  """The config of a system's run, as nested dicts.

  Args:
    table: table1 (images) or table2 (clouds).
    name: system of that table.
    fields: fields that all systems have alike, such as data.dir.
    steps: steps of the run, a multiple of `checks`.
    checks: validations of it, and checkpoints.
  """
  system = TABLES[table][name]
  config = system.recipe.get_config(system.variant)
  optimiser = quickstart.get_config("patches" if system.kernels else "paper")
  config.optim.update(optimiser.optim)
  config.update_from_flattened_dict(
    {
      "data.cloud_points": 300,
      "train.batch_size": 8,
      "train.steps": steps,
      "train.validate_every": steps // checks,
      "train.save_every": steps // checks,
      "train.log_every": 50,
      "train.preview_shapes": 0,
      "val.points": 4096,
      "generation.upsampling_steps": 2,
      **system.changes,
      **fields,
      "data.random_stretch": 0.0,  # neither views nor grids of cells can be stretched
    }
  )
  return config.to_dict()
