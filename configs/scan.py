"""A network that makes a closed mesh of any scan of an object.

  python main.py --config=configs/scan.py --workdir=runs/scan

Trained on clouds as scanners make them: 300 to 10,000 points, turned at random, noisy,
with outliers, uneven, three in ten with a part cut off. Its shapes are procedural ones,
hollow ones, Debian's furniture and PyBullet's objects (about 250 MB of downloads), each
prepared in a directory of its own. Meshes of yours take the place of one of them by

  --config.prep.others.pybullet.source=folder:PATH
  --config.prep.others.pybullet.out=data/scan-mine
  --config.data.mixture="(('data/scan-hollow', 1), ('data/scan-furniture', 1), \
    ('data/scan-mine', 2))"

where 2 is how often each shape is in an epoch.

The packaged network `scan` is of this recipe, but with 2,055 low-poly models (CC0) in
place of the furniture and PyBullet's objects.

configs/scan.py:partial is for scans of some sides of an object: three quarters of its
clouds show what one to three cameras see, or lack a part. It starts with the weights of
the packaged network of whole scans.
"""

import ml_collections

from configs import base


def get_config(variant: str = "whole"):
  if variant not in ("whole", "partial"):
    raise ValueError(f"configs/scan.py:{variant}: unknown; want whole or partial")
  config = base.get_config("scan")
  config.name = "scan" if variant == "whole" else "scan-partial"
  config.prep.update(
    out="data/scan",
    seed=5,
    per_category=60,
    points=40_000,
    near_points=20_000,
    surface_points=40_000,
    val_fraction=0.05,
    test_fraction=0.05,
  )
  others = {
    "hollow": {"source": "hollow", "out": "data/scan-hollow", "per_category": 600},
    "furniture": {"source": "sh3f:debian", "out": "data/scan-furniture"},
    "pybullet": {"source": "pybullet", "out": "data/scan-pybullet"},
  }
  config.prep.others = ml_collections.ConfigDict(others)
  config.data.mixture = tuple((own["out"], 1) for own in others.values())
  config.data.update(
    points=1024,
    near_fraction=0.4,
    random_stretch=0.5,
    targets=("cloud_normals",),
    cloud_points=3000,
  )
  config.data.scan.update(points=(300, 10_000), cut=0.3, viewed=0.05, extent=0.95)
  config.optim.update(
    name="muon_conv",
    learning_rate=1e-2,
    schedule="wsd",  # so that more steps can be added until its last fifth
    warmup_steps=100,
    clip_norm=1.0,
    ema_decay=0.995,
  )
  config.train.update(
    steps=3600,
    batch_size=8,
    log_every=50,
    save_every=500,
    validate_every=500,
    preview_shapes=0,
  )
  config.val.update(points=4096, shapes=96, select="loss")
  config.generation.update(least_part=0.001, smooth_steps=20)  # against noise
  if variant == "partial":
    config.data.scan.update(cut=0.25, viewed=0.5, extent=0.75)
    config.train.update(start_from="scan", steps=1000)
  return config
