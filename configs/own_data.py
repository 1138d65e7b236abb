"""Prepares your own meshes in one command, and trains a network on them.

  occnet run folder:meshes --out=data/mine --workdir=runs/mine

prepares, trains and evaluates; or a stage at a time:

  occnet prepare folder:meshes --out=data/mine
  occnet train --config=own_data --data=data/mine --workdir=runs/mine

Sub-folders are categories; configs/base.py lists the other sources under `prep.source`.
The network is the paper's for point clouds, in a size that a few hundred shapes and a
CPU can train, with the optimiser of configs/quickstart.py.
"""

from configs import base, quickstart


def get_config():
  config = base.get_config()
  config.name = "own_data"
  config.prep.update(
    source="folder:meshes",
    out="data/own",
    near_points=4096,
    val_fraction=0.1,
    test_fraction=0.1,
  )
  config.data.update(points=512, near_fraction=0.5, random_stretch=0.3)
  config.model.update(
    encoder_hidden_size=128, c_dim=256, hidden_size=128, fourier_octaves=5, tau=0.3
  )
  config.optim.update(quickstart.OPTIM)
  config.train.update(
    steps=20_000, batch_size=8, log_every=50, save_every=1000, validate_every=2000
  )
  config.val.points = 8192
  return config
