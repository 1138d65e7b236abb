"""Files in the published layout of DeepSDF become runs, and runs such files."""

import json
import pathlib

import numpy as np
import pytest

import occnet_jax
from configs import deepsdf
from occnet_jax.interop import runs
from occnet_jax.interop.torch_format import file as torch_file
from tests.helpers.parity import SPEC, load, state_dict

CASE = "deepsdf_small"  # a recording of the published decoder
SCALE = 2 / 1.1


def make_config(**changed):
  config = deepsdf.get_config()
  # The recorded decoder had longer codes than those in a table may be.
  config.model.update(c_dim=16, hidden_sizes=(64,) * 8, code_max_norm=1e3)
  config.update_from_flattened_dict(changed)
  return config.to_dict()


@pytest.fixture
def experiment(tmp_path):
  """Files as the published training writes them; the path of that of the decoder."""
  drawn = state_dict(SPEC[CASE])
  rows = SPEC[CASE]["modules"]  # in the order of registration, as are their tensors
  names = [f"{row['module']}.{leaf}" for row in rows for leaf in row["tensors"]]
  state = {f"module.{name}": drawn[name] for name in names}
  codes = {"weight": load(CASE, "in/")["codes"]}
  for folder, content in (
    ("ModelParameters", {"model_state_dict": state}),
    ("LatentCodes", {"latent_codes": codes}),
  ):
    (tmp_path / folder).mkdir()
    torch_file.write(tmp_path / folder / "2000.pth", {"epoch": 2000, **content})
  return str(tmp_path / "ModelParameters" / "2000.pth")


@pytest.mark.parametrize("scale", [1.0, SCALE])
def test_an_imported_network_has_the_distances_of_the_published_code(
  experiment, tmp_path, scale
):
  runs.import_torch(make_config(**{"model.scale": scale}), tmp_path / "run", experiment)
  model = occnet_jax.restore(tmp_path / "run")
  given = load(CASE, "in/")
  latent = model.encode(np.arange(len(given["codes"])))
  # One point of each code, in cube units, and its negated distance in them.
  values = model.decode(latent, given["xyz"][:, None] / scale)
  recorded = load(CASE, "eval/")["sdf"]
  np.testing.assert_allclose(-scale * np.asarray(values), recorded, atol=2e-6)


def test_an_exported_run_has_the_tensors_of_the_file_in_their_order(
  experiment, tmp_path
):
  runs.import_torch(make_config(), tmp_path / "run", experiment)
  again = tmp_path / "again" / "ModelParameters" / "7.pth"
  runs.export_torch(tmp_path / "run", str(again))
  before, after = (torch_file.read(path) for path in (experiment, again))
  assert list(after) == ["epoch", "model_state_dict"]
  before, after = before["model_state_dict"], after["model_state_dict"]
  assert list(after) == list(before)
  for name, array in before.items():
    np.testing.assert_array_equal(after[name], array)
  codes = torch_file.read(tmp_path / "again" / "LatentCodes" / "7.pth")
  expected = load(CASE, "in/")["codes"]
  np.testing.assert_array_equal(codes["latent_codes"]["weight"], expected)


def test_the_number_of_codes_is_that_of_the_file(experiment, tmp_path):
  runs.import_torch(make_config(), tmp_path / "run", experiment)
  config = json.loads((tmp_path / "run" / "config.json").read_text())
  assert config["model"]["codes"] == len(load(CASE, "in/")["codes"])


def test_layer_norms_have_their_place(tmp_path):
  config = make_config(
    **{"model.weight_norm": False, "model.skip_layers": (), "model.codes": 3}
  )
  config["model"] |= {"hidden_sizes": (12, 12), "c_dim": 4}
  rng = np.random.default_rng(0)
  shapes = {
    "lin0.weight": (12, 7),
    "lin0.bias": (12,),
    "bn0.weight": (12,),
    "bn0.bias": (12,),
    "lin1.weight": (12, 12),
    "lin1.bias": (12,),
    "bn1.weight": (12,),
    "bn1.bias": (12,),
    "lin2.weight": (1, 12),
    "lin2.bias": (1,),
  }
  state = {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
  path = tmp_path / "ModelParameters" / "latest.pth"
  path.parent.mkdir()
  torch_file.write(path, {"epoch": 1, "model_state_dict": state})
  codes = {"weight": rng.standard_normal((3, 4)).astype(np.float32)}
  (tmp_path / "LatentCodes").mkdir()
  content = {"epoch": 1, "latent_codes": codes}
  torch_file.write(tmp_path / "LatentCodes" / "latest.pth", content)
  runs.import_torch(config, tmp_path / "run", str(path))
  again = tmp_path / "again" / "ModelParameters" / "latest.pth"
  runs.export_torch(tmp_path / "run", str(again))
  after = torch_file.read(again)["model_state_dict"]
  assert list(after) == [f"module.{name}" for name in shapes]
  for name, array in state.items():
    np.testing.assert_array_equal(after[f"module.{name}"], array)


def test_files_that_do_not_go_together_are_one_sentence(experiment, tmp_path):
  def refuse(match, config=None, path=experiment):
    with pytest.raises(ValueError, match=match):
      runs.import_torch(config or make_config(), tmp_path / "run", path)
    assert not (tmp_path / "run").exists()

  alone = tmp_path / "2000.pth"
  alone.write_bytes(pathlib.Path(experiment).read_bytes())
  refuse(r"is two files; want the one in a folder ModelParameters", path=str(alone))
  refuse(r"weight has shape \(64, 19\), want", make_config(**{"model.c_dim": 8}))
  refuse(r"scale is 0.0; want a factor above 0", make_config(**{"model.scale": 0.0}))
  codes = tmp_path / "LatentCodes" / "2000.pth"
  content = torch_file.read(codes)
  torch_file.write(codes, content | {"epoch": 1999})
  refuse(r"2000.pth: is of epoch 2000, its codes of epoch 1999; take two")
  torch_file.write(codes, {"epoch": 2000})
  refuse(r"2000.pth: holds no codes; want a file of LatentCodes")
