"""Shape As Points at the published sizes: oriented points and a Poisson solver.

  python main.py --config=configs/sap.py:noise_small --workdir=runs/sap

Variants: noise_small and noise_large, clouds of 3,000 points with noise of 0.005 and of
0.025. The published variants for clouds with outliers make 1, 3, 5 or 7 points of each
(config.model.offsets); there is no option for outliers in the data here, but their
weights can be read.

A step solves for the fields of 100,000 true points a shape, at 128^3 nodes, so this is
for an accelerator. On a CPU, config.model.poisson_resolution=64 and planes
(config.model.features) cost a tenth.

By default the data are 2,600 procedural shapes. For ShapeNet set config.prep.source and
config.prep.out. The published configs count 400,000 passes over the data, beyond any
training; 300,000 steps are those of occupancy networks.
"""

from configs import base

VARIANTS = {
  "noise_small": {},
  "noise_large": {"data.cloud_sigma": 0.025},
}


def get_config(variant: str = "noise_small"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/sap.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("sap")
  config.name = f"sap:{variant}"
  # As many surface points make the target field.
  config.data.update(cloud_points=3000, points=100_000, targets=("surface",))
  config.optim.learning_rate = 5e-4
  config.train.update(batch_size=32, validate_every=5000)
  config.val.select = "loss"
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
