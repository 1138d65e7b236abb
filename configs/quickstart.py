"""The whole road on two CPU cores in a quarter of an hour, on embedded data.

python main.py --mode=all --config=configs/quickstart.py --workdir=runs/quickstart
"""

from configs import base


def get_config():
  config = base.get_config()
  config.name = "quickstart"
  config.prep.update(
    out="data/quickstart", per_category=100, val_fraction=0.06, test_fraction=0.08
  )
  config.data.update(points=256, workers=0)
  config.model.update(encoder_hidden_size=64, c_dim=128, hidden_size=64, tau=0.4)
  config.optim.update(
    learning_rate=2e-3, schedule="cosine", warmup_steps=100, ema_decay=0.99
  )
  config.train.update(
    steps=6000, batch_size=16, log_every=20, save_every=500, validate_every=1000
  )
  config.val.points = 8192
  return config
