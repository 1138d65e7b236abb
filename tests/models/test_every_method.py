"""The same battery for every published system, and for one of somebody else's."""

import csv
import importlib
import textwrap

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import occnet_jax
from configs import base
from occnet_jax import config as config_lib
from occnet_jax.cli import stages
from occnet_jax.data import batches as batches_lib
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import registry
from occnet_jax.train import metric_log
from occnet_jax.types import Field, Grid, Mesh, Points

pytestmark = pytest.mark.usefixtures("plain_convolutions")

SMALL = {  # what makes each system small, and what it needs of the data
  "atlasnet": {
    "data.targets": ("surface",),
    "val.select": "loss",
    "model.c_dim": 16,
    "model.patches": 2,
    "model.hidden_size": 16,
    "model.layers": 1,
    "model.n_points": 128,
  },
  "convonet": {
    "model.features": ("xz", "grid"),
    "model.plane_resolution": 8,
    "model.grid_resolution": 4,
    "model.c_dim": 8,
    "model.encoder_hidden_size": 8,
    "model.unet_depth": 2,
    "model.unet_filters": 8,
    "model.unet3d_levels": 2,
    "model.unet3d_filters": 8,
    "model.hidden_size": 8,
    "model.knn": 4,
    "model.fourier_octaves": 2,
  },
  "deepsdf": {
    "data.inputs": "index",
    "data.targets": ("distances",),
    "model.c_dim": 8,
    "model.hidden_sizes": (32, 32, 32),
    "model.skip_layers": (2,),
    "model.dropout_rate": 0.0,
    "val.split": "train",
    "test.split": "train",
  },
  "dmc": {
    "data.targets": ("surface",),
    "val.select": "loss",
    "train.batch_size": 2,
    "model.resolution": 8,
    "model.c_dim": 4,
  },
  "ifnet": {
    "model.resolution": 8,
    "model.levels": ((4,), (8, 8)),
    "model.hidden_sizes": (16, 16),
  },
  "onet": {
    "model.encoder_hidden_size": 16,
    "model.c_dim": 16,
    "model.hidden_size": 16,
  },
  "pix2mesh": {
    "data.inputs": "image_camera",
    "data.image_side": 32,
    "data.targets": ("surface",),
    "val.select": "loss",
    "model.c_dim": 32,
    "model.hidden_size": 8,
    "model.template_vertices": 12,
  },
  "poco": {"model.c_dim": 8, "model.hidden_size": 8, "model.knn": 8},
  "psgn": {
    "data.targets": ("surface",),
    "val.select": "loss",
    "model.encoder_hidden_size": 16,
    "model.c_dim": 16,
    "model.hidden_size": 32,
    "model.n_points": 100,
  },
  "r2n2": {
    "data.targets": ("voxels",),
    "model.encoder_hidden_size": 16,
    "model.c_dim": 16,
    "model.channels": (8, 8, 8),
  },
  "sap": {
    "data.targets": ("surface",),
    "model.grid_resolution": 4,
    "model.c_dim": 8,
    "model.encoder_hidden_size": 8,
    "model.unet3d_levels": 2,
    "model.unet3d_filters": 8,
    "model.hidden_size": 8,
    "model.offsets": 2,
    "model.poisson_resolution": 16,
  },
  "scan": {
    "data.scan.points": (20, 32),
    "data.targets": ("cloud_normals",),
    "model.grid_resolution": 4,
    "model.c_dim": 8,
    "model.hidden_size": 8,
    "model.unet3d_levels": 2,
    "model.unet3d_filters": 8,
    "model.moment_sides": (8, 32),
    "model.poisson_side": 16,
    "model.fine_poisson_side": 32,
    "model.decoder_blocks": 1,
  },
  "single": {
    "data.inputs": "none",
    "model.hidden_size": 16,
    "model.hidden_layers": 2,
    "model.fourier_features": 16,
  },
  "siren": {
    "data.inputs": "none",
    "data.targets": ("surface",),
    "model.hidden_size": 16,
    "model.omega": 5.0,  # smooth from the start: few triangles
  },
}


def make_config(name, data):
  config = base.get_config(name)
  config.update_from_flattened_dict(
    {
      "data.dir": str(data),
      "prep.voxel_side": 16,
      "data.points": 128,
      "data.cloud_points": 32,
      "data.workers": 0,
      "data.placement": "stream",
      "optim.learning_rate": 3e-3,
      "train.steps": 24,
      "train.batch_size": 8,
      "train.log_every": 4,
      "train.save_every": 12,
      "train.validate_every": 12,
      "train.preview_shapes": 0,
      "val.points": 500,
      "val.shapes": 4,
      "val.mesh_shapes": 2,
      "test.shapes": 1,  # each device compiles; test_variants.py uses both
      "test.samples": 2000,
      "generation.resolution_0": 8,
      "generation.upsampling_steps": 1,
      **SMALL[name],
    }
  )
  return config.to_dict()


@pytest.fixture(params=sorted(registry.METHODS))
def config(request, tiny_data):
  data = tiny_data
  if SMALL[request.param].get("data.inputs", "").startswith("image"):
    data = request.getfixturevalue("tiny_views")
  return make_config(request.param, data)


def test_every_system_has_a_small_form_here_and_a_file_of_fields():
  assert SMALL.keys() == registry.METHODS.keys()
  for name in registry.METHODS:
    fields = importlib.import_module(f"configs.models.{name}").get_config()
    assert fields.name == name


def test_a_batch_is_as_promised_and_scores_are_per_shape(config):
  settings = config_lib.parse(config)
  size = settings.train.batch_size
  examples = batches_lib.open_train(settings.data)
  batch = next(batches_lib.read_host_batches(settings, examples, 0))
  example = example_batch(settings.data, size)
  chex.assert_trees_all_equal_shapes_and_dtypes(
    jax.tree.map(jnp.asarray, batch), example
  )

  config = config_lib.with_codes(config, len(examples))
  method = registry.build(config["model"])
  variables = jax.eval_shape(method.init, jax.random.key(0), example)
  # A step returns strong types: of weak ones it would be compiled a second time.
  assert not any(leaf.weak_type for leaf in jax.tree.leaves(variables))
  scores = jax.eval_shape(method.score, variables, example)
  assert scores["loss"].shape == (size,)
  if isinstance(method.output, Field) and method.output.candidates:
    assert scores["iou"].shape == (size, len(method.output.candidates))
  elif isinstance(method.output, Field | Grid):
    assert scores["iou"].shape == (size,)
  else:
    assert "iou" not in scores


def test_steps_lower_a_finite_loss_and_what_was_saved_is_what_is_loaded(
  config, tmp_path
):
  stages.train(config, tmp_path)
  rows = metric_log.read(tmp_path / "logs" / "metrics.jsonl")
  steps, losses = metric_log.curve(rows, "train/loss")  # each a mean over four steps
  assert steps[-1] == 24 and np.isfinite(losses).all()
  early, late = np.mean(losses[: len(losses) // 2]), np.mean(losses[len(losses) // 2 :])
  assert late < early
  stages.generate(config, tmp_path)
  stages.evaluate(config, tmp_path)
  stages.report(config, tmp_path)
  with (tmp_path / "evaluation" / "per_mesh.csv").open() as stream:
    rows = list(csv.DictReader(stream))
  assert len(rows) == 1 and 0 < float(rows[0]["chamfer_l1"]) < 2
  model, again = occnet_jax.restore(tmp_path), occnet_jax.restore(tmp_path)
  has_volume = model.method.output not in (Points(), Mesh(closed=False))
  assert not has_volume or 0 <= float(rows[0]["iou"]) <= 1
  assert ("iou" in rows[0]) == has_volume
  assert model.method.decode is again.method.decode  # nothing is compiled twice
  assert {"loss", "chamfer_l1", "step"} <= model.record.keys()
  inputs = example_batch(model.settings.data)["inputs"]
  latent = model.encode(inputs)
  jax.tree.map(np.testing.assert_array_equal, latent, again.encode(inputs))
  model.save_pretrained(tmp_path / "model", dtype="float32")
  shared = occnet_jax.from_pretrained(tmp_path / "model")
  jax.tree.map(np.testing.assert_array_equal, latent, shared.encode(inputs))
  mesh = model.extract(latent, on_empty="empty")
  assert np.isfinite(mesh.vertices).all()
  if not isinstance(model.method.output, Field):
    with pytest.raises(ValueError, match="has no values at points"):
      model.decode(latent, np.zeros((1, 5, 3)))
    with pytest.raises(ValueError, match="no points whose labels"):
      model.fit(np.zeros((1, 5, 3)), np.zeros((1, 5)))
    return
  assert model.decode(latent, np.zeros((1, 5, 3))).shape == (1, 5)
  if model.method.fidelity is not None:  # else a latent has nothing to be fitted
    fitted = model.fit(np.zeros((1, 5, 3)), np.zeros((1, 5)), steps=2)
    assert jax.tree.structure(fitted) == jax.tree.structure(latent)


OWN = """
  import jax.numpy as jnp
  from occnet_jax import losses
  from occnet_jax.types import Field, Method

  def build(model, options):
    def decode(variables, latent, points):
      return variables["params"]["sharpness"] * (latent - (points**2).sum(-1) ** 0.5)

    def encode(variables, inputs):
      return variables["params"]["scale"] * (inputs**2).sum(-1).mean(-1, keepdims=True)

    def init(key, batch):
      start = jnp.float32(model["start"])
      return {"params": {"scale": start, "sharpness": jnp.ones(())}}

    def loss(variables, batch, key, train):
      logits = decode(variables, encode(variables, batch["inputs"]), batch["points"])
      value = losses.occupancy_cross_entropy(logits, batch["occupancies"])
      iou = losses.batch_iou(logits, batch["occupancies"], 0.0)
      return value, ({}, {"loss": value, "iou": iou})

    def score(variables, batch):
      values = decode(variables, encode(variables, batch["inputs"]), batch["points"])
      inside = batch["occupancies"]
      return {
        "loss": ((values > 0) != (inside > 0.5)).sum(-1) * 1.0,
        "iou": losses.iou_at_levels(values, inside, (0.0,))[:, 0],
      }

    return Method(init, loss, encode, decode, Field(0.0), score)
"""


def test_a_system_in_a_file_of_its_own_trains_and_restores(
  tiny_data, tmp_path, monkeypatch
):
  (tmp_path / "own_balls.py").write_text(textwrap.dedent(OWN))
  monkeypatch.syspath_prepend(tmp_path)
  config = make_config("onet", tiny_data)
  config["model"] = {"name": "own_balls:build", "start": 1.0}
  stages.train(config, tmp_path / "run")
  model = occnet_jax.restore(tmp_path / "run")
  angles = np.random.default_rng(0).standard_normal((300, 3))
  ball = 0.4 * angles / np.linalg.norm(angles, axis=1, keepdims=True)
  mesh = model.reconstruct(ball, normalise=False)
  radius = float(model.encode(ball[None].astype(np.float32))[0, 0])
  np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), radius, rtol=1e-2)
  with pytest.raises(ValueError, match=r"'own_balls:make'.*want a module"):
    registry.build({"name": "own_balls:make"})
  assert jnp.isfinite(model.record["loss"])
