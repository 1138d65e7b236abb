"""POCO at the published sizes: features on the input points, attention to the nearest.

  python main.py --config=configs/poco.py:shapenet --workdir=runs/poco

Variants: shapenet (objects, clouds of 3,000 points) and rooms (clouds of 10,000). A
query costs 25 times as much as that of three planes (0.8 MFLOP), so this is for an
accelerator. `config.model.knn` of configs/convonet.py has a light form of its decoder
beside planes, for a CPU.

By default the data are 2,600 procedural shapes, or 200 rooms of such. For ShapeNet set
config.prep.source and config.prep.out. (The published configs name 600,000 steps, but
its training stops at 100,000 because it reads another field.)
"""

from configs import base

VARIANTS = {
  "shapenet": {},
  "rooms": {
    "prep.source": "rooms:synthetic",
    "prep.out": "data/rooms",
    "prep.per_category": 40,
    "data.cloud_points": 10_000,
    "train.batch_size": 8,
    "test.trim": 0.007,
  },
}


def get_config(variant: str = "shapenet"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/poco.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("poco")
  config.name = f"poco:{variant}"
  config.data.cloud_points = 3000
  config.optim.learning_rate = 1e-3
  config.train.update(steps=100_000, batch_size=16, validate_every=10_000)
  # A query has 64 neighbours of 64 weights: 100,000 points a shape would not fit.
  config.val.update(points=8192, batch_size=2)
  config.generation.points_per_batch = 8192
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
