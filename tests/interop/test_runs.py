"""Runs from checkpoints of the reference, and back."""

import runpy

import jax
import numpy as np
import pytest

import occnet_jax
from configs import base
from occnet_jax.config import parse
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop import onet_weights, runs
from occnet_jax.models import registry
from occnet_jax.train import checkpoint, loop
from tests.helpers import ROOT

ONET = runpy.run_path(str(ROOT / "configs" / "onet.py"))
RNG = np.random.default_rng(0)


def make_config(**changed):
  config = ONET["get_config"]("pointcloud")
  config.model.update(encoder_hidden_size=8, c_dim=6, hidden_size=8)
  config.update_from_flattened_dict(changed)
  return config.to_dict()


def random_variables(config):
  method = registry.build(config["model"])
  forms = registry.variable_specs(method, example_batch(parse(config).data))
  return jax.tree.map(
    lambda form: RNG.random(form.shape, "f4") * np.float32(0.1), forms
  )


@pytest.fixture
def file(tmp_path):
  """A checkpoint in the reference's layout, Adam's moments included."""
  config = make_config()
  variables = random_variables(config)
  moments = {name: random_variables(config)["params"] for name in ("mu", "nu")}
  path = tmp_path / "onet.pt"
  adam = {"count": 1235, **moments}
  onet_weights.write_checkpoint(
    path, variables, step=1234, epoch=3, best=0.5, adam=adam
  )
  return path, variables, adam


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def test_an_imported_run_is_used_like_ones_own(file, tmp_path):
  path, variables, _ = file
  runs.import_torch(make_config(), tmp_path / "run", str(path))
  model = occnet_jax.restore(tmp_path / "run")
  assert_same(jax.device_get(model.variables), variables)
  assert model.record["step"] == 1234 and model.record["iou"] == 0.5
  np.testing.assert_allclose(model.level, np.log(0.25), rtol=1e-6)
  clouds = RNG.uniform(-0.5, 0.5, (2, 300, 3))
  logits = model.decode(model.encode(clouds), RNG.uniform(-0.5, 0.5, (2, 9, 3)))
  assert np.isfinite(logits).all()


def test_export_of_import_is_the_same_file(file, tmp_path):
  path, _, _ = file
  config = make_config()
  runs.import_torch(config, tmp_path / "run", str(path))
  runs.export_torch(tmp_path / "run", str(tmp_path / "again.pt"))
  template = registry.variable_specs(
    registry.build(config["model"]), example_batch(parse(config).data)
  )
  first = onet_weights.read_checkpoint(path, template)
  second = onet_weights.read_checkpoint(tmp_path / "again.pt", template)
  assert_same(first.variables, second.variables)
  assert_same(first.adam, second.adam)
  assert (first.step, first.best) == (second.step, second.best)


def test_an_imported_run_trains_on(file, tmp_path, tiny_config):
  path, _, adam = file
  config = tiny_config
  config["model"].update(encoder="pointnet_resnet", encoder_hidden_size=8)
  config["model"].update(c_dim=6, hidden_size=8)
  config["optim"]["ema_decay"] = 0.0
  config["train"].update(steps=1236, validate_every=10_000)
  config["val"]["shapes"] = 4
  runs.import_torch(config, tmp_path / "run", str(path))
  saved = checkpoint.restore(tmp_path / "run", 1234).state
  assert int(saved["opt_state"]["0"]["count"]) == adam["count"]
  assert_same(saved["opt_state"]["0"]["mu"], adam["mu"])
  loop.train(config, tmp_path / "run")
  assert ("latest", 1236) in checkpoint.available(tmp_path / "run")


def test_a_directory_that_holds_a_run_is_left_alone(file, tmp_path):
  runs.import_torch(make_config(), tmp_path / "run", str(file[0]))
  with pytest.raises(ValueError, match=r"holds a run already \(step 1234\)"):
    runs.import_torch(make_config(), tmp_path / "run", str(file[0]))


def test_a_checkpoint_of_another_size_leaves_nothing_behind(file, tmp_path):
  config = make_config(**{"model.hidden_size": 16})
  with pytest.raises(ValueError, match="decoder"):
    runs.import_torch(config, tmp_path / "run", str(file[0]))
  assert not (tmp_path / "run").exists()


def test_a_truncated_file_leaves_nothing_behind(file, tmp_path):
  path, _, _ = file
  path.write_bytes(path.read_bytes()[:-2000])
  with pytest.raises(ValueError, match=r"onet\.pt"):
    runs.import_torch(make_config(), tmp_path / "run", str(path))
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("system", ["poco", "scan"])
def test_other_systems_have_no_place_in_the_reference(system, tmp_path):
  config = base.get_config(system).to_dict()
  systems = (
    "'atlasnet', 'convonet', 'deepsdf', 'dmc', 'ifnet', 'onet', 'pix2mesh', 'psgn', "
    "'r2n2', 'sap'"
  )
  with pytest.raises(ValueError, match=f"is '{system}', want one of {systems}: --mode"):
    runs.import_torch(config, tmp_path, "any.pt")


def test_a_network_of_points_is_imported_without_a_level(tmp_path):
  config = base.get_config("psgn")
  config.data.targets, config.val.select = ("surface",), "loss"
  config.model.update(encoder_hidden_size=8, c_dim=6, hidden_size=8, n_points=20)
  config, path = config.to_dict(), tmp_path / "psgn.pt"
  variables = random_variables(config)
  runs.FILES["psgn"].write(path, variables, step=3, best=0.5)
  runs.import_torch(config, tmp_path / "run", str(path))
  model = occnet_jax.restore(tmp_path / "run")
  assert model.level is None and "level" not in model.record
  assert model.record["step"] == 3 and model.record["loss"] == 0.5
  mesh = model.reconstruct(RNG.random((50, 3)))
  assert mesh.vertices.shape == (20, 3) and not len(mesh.faces)


def test_fourier_features_have_no_place_in_the_reference(file, tmp_path):
  config = make_config(**{"model.fourier_octaves": 3})
  with pytest.raises(ValueError, match=r"fourier_octaves is 3, want 0"):
    runs.import_torch(config, tmp_path / "run", str(file[0]))


def test_a_path_that_cannot_be_read_or_written_is_one_sentence(file, tmp_path):
  config, run = make_config(), tmp_path / "run"
  with pytest.raises(ValueError, match=r"is a directory; want a file that torch.save"):
    runs.import_torch(config, run, str(tmp_path))
  runs.import_torch(config, run, str(file[0]))
  for target, reason in (
    (tmp_path, "Is a directory"),
    (file[0] / "a.pt", "File exists"),
  ):
    with pytest.raises(
      ValueError, match=rf"{target}: cannot be written \({reason}\); w"
    ):
      runs.export_torch(run, str(target))
  assert not list(tmp_path.rglob(".part-*"))
