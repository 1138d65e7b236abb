"""820 artist-made pieces of furniture from Debian's Sweet Home 3D libraries.

  python main.py --config=configs/furniture.py --workdir=runs/furniture

Downloads 120 MB, prepares the pieces, trains the quickstart's small network on them,
and writes a test table and a report. Training takes minutes on two CPU cores; the
result is not the state of the art.
"""

from configs import quickstart


def get_config():
  config = quickstart.get_config("paper")
  config.name = "furniture"
  config.prep.update(
    source="sh3f:debian", out="data/furniture", val_fraction=0.1, test_fraction=0.1
  )
  config.train.update(steps=8000)
  return config
