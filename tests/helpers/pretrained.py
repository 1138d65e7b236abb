"""A small network with random weights and a fitting level, and its files by hand."""

import json
import struct

import jax
import numpy as np

from configs import base
from occnet_jax import pretrained
from occnet_jax.cli import process
from occnet_jax.interop import weights
from occnet_jax.trained_model import Model

SEEDS = (3, 8)  # of random codes for which `make_random_model` has a surface


def make_cloud(count=200):
  """Points on a ball of radius 0.4."""
  points = np.random.default_rng(0).standard_normal((count, 3))
  return 0.4 * points / np.linalg.norm(points, axis=1, keepdims=True)


def make_config():
  config = base.get_config()
  config.name = "small"
  config.data.update(cloud_points=32)
  config.model.update(encoder_hidden_size=8, c_dim=8, hidden_size=16)
  config.generation.update(resolution_0=8, upsampling_steps=1)
  return json.loads(json.dumps(config.to_dict()))  # lists for tuples, as in files


def make_model():
  """A network of clouds for which half of the cube is inside a ball's surface."""
  config, record = make_config(), {"step": 12, "iou": 0.5, "loss": 300.0}
  method, specs = weights.build(config, record)
  model = Model(method, random_variables(specs), config, record)
  points = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 500, 3))
  values = model.decode(model.encode(make_cloud()[None]), points)
  record["level"] = float(np.median(values))
  method, _ = weights.build(config, record)
  return Model(method, model.variables, config, record)


def make_random_model(inputs):
  """A network with a random code z, for which half of the cube or more is inside."""
  config, record = make_config(), {"step": 1}
  config["model"].update(z_dim=4, decoder="cbatchnorm")
  if inputs == "none":
    config["data"]["inputs"] = "none"
    config["model"].update(encoder="none", c_dim=0, decoder="simple")
  method, specs = weights.build(config, record)
  model = Model(method, random_variables(specs), config, record)
  observed = None if inputs == "none" else make_cloud(32)[None]
  points = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 500, 3))
  medians = [
    np.median(model.decode(model.prior(1, seed=seed, inputs=observed), points))
    for seed in SEEDS
  ]
  record["level"] = float(min(medians))
  return Model(weights.build(config, record)[0], model.variables, config, record)


def random_variables(specs, seed=0):
  """Numbers of the size of trained ones; variances are positive."""
  rng = np.random.default_rng(seed)

  def draw(path, spec):
    values = 0.2 * rng.standard_normal(spec.shape)
    values = 1 + np.abs(values) if path[-1].key == "var" else values
    return values.astype(spec.dtype)

  return jax.tree_util.tree_map_with_path(draw, specs)


def read_safetensors(path):
  """Header and bytes of the arrays, after the description of the format."""
  content = path.read_bytes()
  (length,) = struct.unpack("<Q", content[:8])
  return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_safetensors(path, header, data, length=None):
  """The inverse; `length` is what the file says of its header."""
  text = json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", length or len(text)) + text + data)


def install(model, folder, monkeypatch):
  """Makes a model the only one of the package, named scan, for commands run in here."""
  model.save_pretrained(folder / "scan", dtype="float32")
  monkeypatch.setattr(pretrained, "DIRECTORY", folder)
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.setattr(process, "enable_compilation_cache", lambda: None)
