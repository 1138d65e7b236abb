"""820 pieces of furniture that people made, from Debian's Sweet Home 3D libraries.

  python main.py --config=configs/furniture.py --workdir=runs/furniture

Downloads 120 MB, prepares them, and trains the quickstart's small network on them, with
a test table and a report as there: minutes of two CPU cores, not the state of the art.
"""

from configs import quickstart


def get_config():
  config = quickstart.get_config()
  config.name = "furniture"
  config.prep.update(
    source="sh3f:debian", out="data/furniture", val_fraction=0.1, test_fraction=0.1
  )
  config.train.update(steps=8000)
  return config
