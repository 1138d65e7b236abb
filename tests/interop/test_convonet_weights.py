"""Published files of convolutional occupancy networks, made from recorded weights."""

import jax
import numpy as np
import pytest

import occnet_jax
from configs import convonet
from occnet_jax.config import parse
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop import convonet_weights, runs
from occnet_jax.interop.torch_format import file
from occnet_jax.models import registry
from tests.helpers import parity

CASE = "conv_cloud_3plane"
RNG = np.random.default_rng(0)


def make_config(variant="shapenet_3plane", **fields):
  config = convonet.get_config(variant)
  small = {
    "data.cloud_points": 512,
    "model.plane_resolution": 16,
    "model.grid_resolution": 8,
    "model.c_dim": 16,
    "model.encoder_hidden_size": 16,
    "model.unet_depth": 3,
    "model.unet_filters": 8,
    "model.unet3d_filters": 8,
    "model.hidden_size": 16,
  }
  config.update_from_flattened_dict({**small, **fields})
  return config.to_dict()


def variable_specs(config):
  method = registry.build(config["model"])
  return registry.variable_specs(method, example_batch(parse(config).data))


def draw(specs):
  return jax.tree.map(lambda spec: RNG.random(spec.shape, "f4"), specs)


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(x, y)


def write(path, case):
  weights = parity.state_dict(parity.SPEC[case])
  file.write(path, {"model": weights, "epoch_it": 3, "it": 1234, "loss_val_best": 0.5})
  return path


def test_an_imported_network_gives_the_recorded_logits(tmp_path):
  source = write(tmp_path / "published.pt", CASE)
  runs.import_torch(make_config(), tmp_path / "run", str(source))
  model = occnet_jax.restore(tmp_path / "run")
  assert model.record["step"] == 1234 and model.record["iou"] == 0.5
  given = parity.load(CASE, "in/")
  logits = model.decode(model.encode(given["inputs"]), given["p"])
  expected = parity.load(CASE, "eval/")["logits"]
  np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_a_file_of_another_depth_is_one_sentence(tmp_path):
  source = write(tmp_path / "published.pt", CASE)
  with pytest.raises(ValueError, match=r"lacks encoder\.unet.*use the config that it"):
    config = make_config(**{"model.unet_depth": 4})
    runs.import_torch(config, tmp_path / "run", str(source))


@pytest.mark.parametrize(
  "variant", ["room_combine", "shapenet_pointconv", "voxel_grid32"]
)
def test_an_exported_run_is_the_imported_one(tmp_path, variant):
  config = make_config(variant)
  specs = variable_specs(config)
  variables = draw(specs)
  adam = {"count": 8, "mu": draw(specs["params"]), "nu": draw(specs["params"])}
  source, target = tmp_path / "source.pt", tmp_path / "target.pt"
  convonet_weights.write_checkpoint(source, variables, step=7, best=0.5, adam=adam)
  runs.import_torch(config, tmp_path / "run", str(source))
  runs.export_torch(tmp_path / "run", str(target))
  again = convonet_weights.read_checkpoint(target, specs)
  assert_same(again.variables, variables)
  assert_same(again.adam, adam)
  assert (again.step, again.best) == (7, 0.5)


@pytest.mark.parametrize(
  "case", ["conv_cloud_combine", "conv_pointconv", "conv_voxels_grid"]
)
def test_a_written_state_dict_has_the_names_shapes_and_order_of_the_reference(case):
  published, modules = (
    parity.state_dict(parity.SPEC[case]),
    parity.SPEC[case]["modules"],
  )
  written = convonet_weights.to_state_dict(parity.as_variables(published))
  names = [f"{m['module']}.{tensor}" for m in modules for tensor in m["tensors"]]
  assert list(written) == names
  for name in names:
    if not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(written[name], published[name], name)


@pytest.mark.parametrize(
  ("case", "variant", "message"),
  [
    (
      "conv_cloud_grid",
      "shapenet_3plane",
      r"holds an encoder of clouds and a U-Net of a grid, but the config's network has "
      r"an encoder of clouds and a U-Net of planes; choose the variant",
    ),
    (
      "conv_voxels_grid",
      "shapenet_grid32",
      r"holds an encoder of voxels and a U-Net of a grid, but .* has an encoder of "
      r"clouds and a U-Net of a grid; choose the variant",
    ),
    (
      "conv_cloud_3plane",
      "shapenet_pointconv",
      r"holds an encoder of clouds and a U-Net of planes, but .* has PointNet\+\+; "
      r"choose the variant",
    ),
    (
      "unconditional_onet_chairs",
      "shapenet_3plane",
      r"lacks decoder\.fc_c\.0, which all .* have; import it with the config of its",
    ),
  ],
)
def test_a_file_of_another_variant_is_refused(tmp_path, case, variant, message):
  source = write(tmp_path / "x.pt", case)
  with pytest.raises(ValueError, match=rf"x\.pt: it {message}"):
    runs.import_torch(make_config(variant), tmp_path / "run", str(source))
  assert not (tmp_path / "run").exists()
