"""Files in the published layout of IF-Net become runs, and runs such files."""

import collections

import numpy as np
import pytest

import occnet_jax
from configs import ifnet
from occnet_jax.interop import runs
from occnet_jax.interop.torch_format import file as torch_file
from tests.helpers import ifnet_twin

LEVELS = [
  [("conv_in", 2)],
  [("conv_0", 3), ("conv_0_1", 4)],
  [("conv_1", 4), ("conv_1_1", 5)],
]
MODULES = (  # as the published classes register them
  *("conv_in", "conv_0", "conv_0_1", "conv_1", "conv_1_1"),
  *("fc_0", "fc_1", "fc_2", "fc_out"),
  *("conv_in_bn", "conv0_1_bn", "conv1_1_bn"),
)
RNG = np.random.default_rng(0)


def make_config(**changed):
  config = ifnet.get_config("shapenetpoints")
  config.model.update(
    levels=((2,), (3, 4), (4, 5)), resolution=8, hidden_sizes=(6, 7, 8)
  )
  config.update_from_flattened_dict(changed)
  return config.to_dict()


def make_state():
  drawn = ifnet_twin.draw_state(RNG, levels=LEVELS, hidden_sizes=(6, 7, 8))
  state = collections.OrderedDict()
  for module in MODULES:
    state |= {k: a for k, a in drawn.items() if k.rpartition(".")[0] == module}
  assert state.keys() == drawn.keys()
  return state


def make_adam(state):
  """Adam's moments of every parameter, which have its number as their value."""
  buffers = ("running_mean", "running_var", "num_batches_tracked")
  names = [name for name in state if not name.endswith(buffers)]
  return {
    "state": {
      i: {
        "step": 1234,
        "exp_avg": np.full(state[name].shape, i, np.float32),
        "exp_avg_sq": np.full(state[name].shape, i + 0.5, np.float32),
      }
      for i, name in enumerate(names)
    },
    "param_groups": [{"lr": 1e-4, "params": list(range(len(names)))}],
  }


def test_an_imported_run_has_the_field_of_the_file_and_exports_it(tmp_path):
  state = make_state()
  optimizer = make_adam(state)
  content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimizer}
  path = tmp_path / "checkpoint_epoch_3.tar"
  torch_file.write(path, content)
  runs.import_torch(make_config(), tmp_path / "run", str(path))

  model = occnet_jax.restore(tmp_path / "run")
  assert model.record["step"] == 1234 and model.level == 0
  cloud = RNG.uniform(-0.5, 0.5, (1, 20, 3))
  points = RNG.uniform(-0.55, 0.55, (1, 12, 3))
  grid = np.zeros((1, 8, 8, 8))
  grid[0, *np.rint((cloud[0] + 0.5) * 7).astype(int).T] = 1
  volumes = ifnet_twin.encode(state, grid, LEVELS)
  logits = ifnet_twin.decode(
    state, volumes, points, displacement=0.0722, outside="border"
  )
  ours = model.decode(model.encode(cloud), points)
  np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4)

  runs.export_torch(tmp_path / "run", str(tmp_path / "again.tar"))
  again = torch_file.read(tmp_path / "again.tar")
  assert list(again["model_state_dict"]) == list(state)
  for name, array in again["model_state_dict"].items():
    if not name.endswith("num_batches_tracked"):
      np.testing.assert_array_equal(array, state[name])
  adam = optimizer["state"]
  moments = again["optimizer_state_dict"]["state"]
  assert moments.keys() == adam.keys() and moments[0]["step"] == 1234
  for i, record in adam.items():
    for name in ("exp_avg", "exp_avg_sq"):
      np.testing.assert_array_equal(moments[i][name], record[name])


def test_a_bare_state_dict_starts_at_step_0(tmp_path):
  torch_file.write(tmp_path / "bare.tar", make_state())
  runs.import_torch(make_config(), tmp_path / "run", str(tmp_path / "bare.tar"))
  assert occnet_jax.restore(tmp_path / "run").record["step"] == 0


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"model.levels": ((2,), (3, 4))}, r"fc_0\.weight has shape"),
    ({"model.levels": ((3, 4), (4, 5))}, r"lacks conv_2\.bias"),
    ({"model.hidden_sizes": (6, 7)}, r"beyond the network's own"),
  ],
)
def test_a_file_of_other_sizes_is_refused_by_its_name(tmp_path, changed, message):
  torch_file.write(tmp_path / "x.tar", {"epoch": 1, "model_state_dict": make_state()})
  with pytest.raises(ValueError, match=rf"x\.tar: .*{message}"):
    runs.import_torch(make_config(**changed), tmp_path / "run", str(tmp_path / "x.tar"))
  assert not (tmp_path / "run").exists()
