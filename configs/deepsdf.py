"""DeepSDF at its published size: one code per training shape, signed distances.

  python main.py --config=configs/deepsdf.py --workdir=runs/deepsdf

Validation and test read the training split, because only its shapes have codes. For new
shapes `Model.fit(points, distances)` finds a code. The published code trains for 2,001
epochs, this config for 300,000 steps.
"""

from configs import base


def get_config():
  config = base.get_config("deepsdf")
  config.name = "deepsdf"
  config.prep.update(
    near_points=100_000, near_sigmas=(0.05, 0.016), distances=True, out="data/deepsdf"
  )
  config.data.update(
    inputs="index", targets=("distances",), points=16_384, near_fraction=0.94
  )
  config.optim.update(
    learning_rate=5e-4, code_rate=2.0, schedule="halve", halve_every=75_000
  )
  config.val.update(split="train", points=16_384, shapes=256)
  config.test.split = "train"
  return config
