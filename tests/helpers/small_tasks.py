"""Small forms of the paper's tasks, one for each kind of input."""

from configs import onet


def make_config(variant, data, **changed):
  """A variant of configs/onet.py, small enough to train in seconds; nested dicts."""
  config = onet.get_config(variant)
  fields = {
    "prep.voxel_side": 16,
    "data.dir": str(data),
    "data.points": 64,
    "data.workers": 0,
    "data.image_side": 64,
    "data.image_views": 2,
    "model.hidden_size": 16,
    "optim.learning_rate": 3e-3,
    "train.steps": 12,
    "train.log_every": 3,
    "train.batch_size": 4,
    "train.validate_every": 12,
    "val.batch_size": 4,
    "test.samples": 500,
    "generation.resolution_0": 8,
    "generation.upsampling_steps": 1,
    "report.shapes": 2,
  }
  if variant != "unconditional":
    fields["model.c_dim"] = 16
  if variant == "autodecoder":
    fields["train.steps"] = 60  # fitting starts from codes that mean something
  if "image" in variant:
    fields["model.encoder"] = "simple_conv"  # compiles sooner than a ResNet
  config.update_from_flattened_dict({**fields, **changed})
  return config.to_dict()
