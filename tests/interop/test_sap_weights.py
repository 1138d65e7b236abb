"""Published files of Shape As Points, made from recorded weights."""

import jax
import numpy as np
import pytest

import occnet_jax
from configs import sap
from occnet_jax.config import parse
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop import runs, sap_weights
from occnet_jax.interop.torch_format import file
from occnet_jax.models import registry
from tests.helpers import parity, parity_sap

CASE = "sap_small_3plane"
BOX = 2.0  # so that points of the unit cube are exact in cube units, too


def make_config(**fields):
  config = sap.get_config()
  small = {
    "model.features": ("xz", "xy", "yz"),
    "model.plane_resolution": 16,
    "model.grid_resolution": 16,
    "model.c_dim": 16,
    "model.encoder_hidden_size": 16,
    "model.unet_depth": 3,
    "model.unet_filters": 8,
    "model.unet3d_levels": 2,
    "model.unet3d_filters": 16,
    "model.hidden_size": 16,
    "model.offsets": 3,
    "model.poisson_resolution": 32,
    "model.poisson_box": BOX,
  }
  config.update_from_flattened_dict({**small, **fields})
  return config.to_dict()


def write(path, case=CASE, prefix=""):
  weights = parity.state_dict(parity.SPEC[case])
  named = {f"{prefix}{name}": array for name, array in weights.items()}
  counts = {"epoch": 3, "it": 1234, "loss_val_best": 0.5}
  file.write(path, {**counts, "state_dict": named})
  return path


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imported_network_gives_the_recorded_field(tmp_path, prefix):
  source = write(tmp_path / "published.pt", prefix=prefix)
  runs.import_torch(make_config(), tmp_path / "run", str(source))
  model = occnet_jax.restore(tmp_path / "run")
  assert model.record["step"] == 1234 and model.record["loss"] == 0.5
  given = parity.load(CASE, "in/")
  latent = model.encode((given["inputs"] - np.float32(0.5)) * np.float32(BOX))
  expected = parity.load(CASE, "eval/")["psr_1024"]
  field = -parity_sap.take(np.asarray(latent["grid"]), 1024)  # ours is larger inside
  np.testing.assert_allclose(field, expected, atol=1e-5 * np.abs(expected).max())


def test_an_exported_run_is_the_imported_one(tmp_path):
  config = make_config()
  method = registry.build(config["model"])
  specs = registry.variable_specs(method, example_batch(parse(config).data))
  rng = np.random.default_rng(0)
  drawn = jax.tree.map(lambda spec: rng.random(spec.shape, "f4"), specs)
  source, target = tmp_path / "source.pt", tmp_path / "target.pt"
  sap_weights.write_checkpoint(source, drawn, step=7, best=0.25)
  runs.import_torch(config, tmp_path / "run", str(source))
  runs.export_torch(tmp_path / "run", str(target))
  again = sap_weights.read_checkpoint(target, specs)
  assert jax.tree.structure(again.variables) == jax.tree.structure(drawn)
  jax.tree.map(np.testing.assert_array_equal, again.variables, drawn)
  assert (again.step, again.best) == (7, 0.25)
  assert list(file.read(target)) == ["epoch", "it", "loss_val_best", "state_dict"]


def test_a_bare_state_dict_starts_at_step_0(tmp_path):
  file.write(tmp_path / "bare.pt", parity.state_dict(parity.SPEC[CASE]))
  runs.import_torch(make_config(), tmp_path / "run", str(tmp_path / "bare.pt"))
  assert occnet_jax.restore(tmp_path / "run").record["step"] == 0


@pytest.mark.parametrize("case", ["sap_small", "sap_small_3plane"])
def test_a_written_state_dict_has_the_names_shapes_and_order_of_the_reference(case):
  published = parity.state_dict(parity.SPEC[case])
  modules = parity.SPEC[case]["modules"]
  written = sap_weights.to_state_dict(parity.as_variables(published))
  assert list(written) == [
    f"{m['module']}.{leaf}" for m in modules for leaf in m["tensors"]
  ]
  for name, array in written.items():
    np.testing.assert_array_equal(array, published[name], name)


@pytest.mark.parametrize(
  ("case", "fields", "message"),
  [
    (
      CASE,
      {"model.offsets": 7},
      r"it makes 3 points of each, but .* network 7; set co",
    ),
    (CASE, {"model.features": ("grid",)}, r"lacks encoder\.unet3d.* use the config"),
    (
      "conv_cloud_3plane",
      {},
      r"it lacks decoder_offset\.fc_out\.weight, which all net",
    ),
  ],
)
def test_a_file_of_another_network_is_refused(tmp_path, case, fields, message):
  source = write(tmp_path / "x.pt", case)
  with pytest.raises(ValueError, match=rf"x\.pt: .*{message}"):
    runs.import_torch(make_config(**fields), tmp_path / "run", str(source))
  assert not (tmp_path / "run").exists()
