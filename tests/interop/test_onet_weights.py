"""Whole checkpoints of the reference, against what PyTorch computed from them."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax.interop import onet_weights, resnet_weights
from occnet_jax.interop.torch_format import file
from occnet_jax.nn.decoders import CBatchNormDecoder
from occnet_jax.nn.pointnet import ResnetPointnet
from occnet_jax.nn.resnet import ResnetFeatures

DATA = pathlib.Path(__file__).parent / "data"


class Network(nn.Module):
  """The network of data/checkpoint_*.pt."""

  def setup(self):
    self.encoder = ResnetPointnet(8, 6)
    self.decoder = CBatchNormDecoder(12)

  def __call__(self, points, inputs):
    return self.decoder(points, None, self.encoder(inputs, train=False), train=False)


@pytest.fixture(scope="module")
def truth():
  with np.load(DATA / "checkpoint_truth.npz") as arrays:
    return {
      name: jnp.asarray(arrays[name]) if name in ("points", "inputs") else arrays[name]
      for name in arrays
    }


@pytest.fixture(scope="module")
def template(truth):
  args = truth["points"], truth["inputs"]
  return jax.eval_shape(lambda: Network().init(jax.random.PRNGKey(0), *args))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_an_imported_network_computes_what_it_did_in_pytorch(form, truth, template):
  found = onet_weights.read_checkpoint(DATA / f"checkpoint_{form}.pt", template)
  apply = jax.jit(Network().apply)
  logits = apply(found.variables, truth["points"], truth["inputs"])
  np.testing.assert_allclose(logits, truth["logits"], rtol=1e-5, atol=1e-6)
  assert (found.step, found.epoch, found.best) == (1234, 3, 0.5)
  assert (found.adam is None) == (form == "zip")


def test_an_exported_state_is_the_one_that_was_imported(truth, template):
  found = onet_weights.read_checkpoint(DATA / "checkpoint_zip.pt", template)
  state = onet_weights.to_state_dict(found.variables)
  assert list(state) == truth["state_names"].tolist()
  counters = [
    np.full(1, 3.0) if a.dtype == np.int64 else a.ravel() for a in state.values()
  ]
  np.testing.assert_array_equal(np.concatenate(counters), truth["model"])


def test_the_moments_of_adam_belong_to_their_parameters(truth, template):
  adam = onet_weights.read_checkpoint(DATA / "checkpoint_legacy.pt", template).adam
  assert adam["count"] == 3
  for kind in ("mu", "nu"):
    state = onet_weights.to_state_dict(
      {"params": adam[kind], "batch_stats": {"decoder": {}}}
    )
    found = np.concatenate([state[name].ravel() for name in truth["names"]])
    np.testing.assert_array_equal(found, truth[kind])


def identical(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_importing_an_export_is_the_identity(tmp_path, template):
  found = onet_weights.read_checkpoint(DATA / "checkpoint_legacy.pt", template)
  out = tmp_path / "out.pt"
  rest = {"epoch": found.epoch, "best": found.best, "adam": found.adam}
  onet_weights.write_checkpoint(out, found.variables, step=found.step, **rest)
  again = onet_weights.read_checkpoint(out, template)
  identical(again, found)
  group = file.read(out)["optimizer"]["param_groups"][0]
  assert group["betas"] == (0.9, 0.999) and group["params"] == list(range(97))


def test_an_export_without_adam_has_no_optimizer(tmp_path, template):
  found = onet_weights.read_checkpoint(DATA / "checkpoint_zip.pt", template)
  onet_weights.write_checkpoint(tmp_path / "out.pt", found.variables, step=7)
  content = file.read(tmp_path / "out.pt")
  assert list(content) == ["model", "epoch_it", "it"] and content["it"] == 7
  again = onet_weights.read_checkpoint(tmp_path / "out.pt", template)
  assert again.best is None and again.adam is None


def test_a_bare_state_dict_is_imported(tmp_path, template):
  content = file.read(DATA / "checkpoint_zip.pt")
  file.write(tmp_path / "bare.pt", content["model"])
  found = onet_weights.read_checkpoint(tmp_path / "bare.pt", template)
  wanted = onet_weights.read_checkpoint(DATA / "checkpoint_zip.pt", template)
  identical(found.variables, wanted.variables)
  assert found[1:] == (0, 0, None, None)


def edited(path, **changes):
  """data/checkpoint_legacy.pt with other entries; None takes one out."""
  content = file.read(DATA / "checkpoint_legacy.pt") | changes
  file.write(path, {k: v for k, v in content.items() if v is not None})
  return path


def test_parameters_by_address_and_without_updates_are_imported(tmp_path, template):
  """PyTorch before 1.5 numbered parameters by their address in memory."""
  optimizer = file.read(DATA / "checkpoint_legacy.pt")["optimizer"]
  addresses = [140_000_000_000_000 - 72 * i for i in range(97)]
  state = dict(zip(addresses, optimizer["state"].values(), strict=True))
  del state[addresses[-1]]  # the encoder's fc_c.bias
  groups = [{"params": addresses}]
  path = edited(tmp_path / "x.pt", optimizer={"state": state, "param_groups": groups})
  found = onet_weights.read_checkpoint(path, template).adam
  wanted = onet_weights.read_checkpoint(DATA / "checkpoint_legacy.pt", template).adam
  wanted["mu"]["encoder"]["fc_c"]["bias"] = np.zeros(8, np.float32)
  wanted["nu"]["encoder"]["fc_c"]["bias"] = np.zeros(8, np.float32)
  identical(found, wanted)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model": None}, "holds the keys 'optimizer', .*want .* 'model'"),
    ({"model": {}}, r"does not fit .*lacks decoder\..*in all"),
    ({"it": "many"}, "it is a str, want a number"),
    ({"it": float("inf")}, "it is inf, want a whole number"),
    (
      {"optimizer": {"state": {0: {"exp_avg": 1}}, "param_groups": [3]}},
      "its optimizer lists no parameters",
    ),
    (
      {"optimizer": {"state": {0: {"exp_avg": 1}}, "param_groups": [{"params": [0]}]}},
      "its optimizer has 1 parameters, its model 97",
    ),
    (
      {
        "optimizer": {
          "state": {0: {"exp_avg": np.zeros(3, np.float32), "step": 1}},
          "param_groups": [{"params": list(range(97))}],
        }
      },
      r"its optimizer does not fit .*fc_p\.weight has shape \(3,\)",
    ),
  ],
)
def test_a_checkpoint_that_makes_no_sense_is_refused(
  tmp_path, template, changes, message
):
  path = edited(tmp_path / "x.pt", **changes)
  with pytest.raises(ValueError, match=rf"x\.pt: {message}"):
    onet_weights.read_checkpoint(path, template)


def test_an_optimizer_other_than_adam_and_a_best_of_infinity_are_ignored(
  tmp_path, template
):
  optimizer = {"state": {0: {"momentum_buffer": np.zeros(3)}}, "param_groups": []}
  path = edited(tmp_path / "x.pt", optimizer=optimizer, loss_val_best=-float("inf"))
  found = onet_weights.read_checkpoint(path, template)
  assert found.adam is None and found.best is None


def test_torchvisions_weights_are_imported_without_their_classifier(tmp_path):
  net = ResnetFeatures(18)
  image = jnp.zeros((1, 64, 64, 3))
  template = jax.eval_shape(lambda: net.init(jax.random.PRNGKey(0), image, train=False))
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda leaf: rng.uniform(0.5, 1, leaf.shape).astype(np.float32), template
  )
  prefixed = {kind: {"encoder": {"features": tree}} for kind, tree in variables.items()}
  state = onet_weights.to_state_dict(prefixed)
  state = {k.removeprefix("encoder.features."): v for k, v in state.items()}
  assert {"conv1.weight", "layer4.0.downsample.1.running_var"} < state.keys()
  state |= {"fc.weight": np.zeros((1000, 512)), "fc.bias": np.zeros(1000)}
  file.write(tmp_path / "resnet18.pth", state)
  identical(
    resnet_weights.read_torchvision(tmp_path / "resnet18.pth", template), variables
  )
  encoder = {k: {"features": template[k], "fc": k} for k in variables}
  made = resnet_weights.with_pretrained_features(tmp_path / "resnet18.pth", encoder)
  identical({k: tree["features"] for k, tree in made.items()}, variables)
  assert {k: tree["fc"] for k, tree in made.items()} == {k: k for k in variables}
  assert encoder["params"]["features"] is template["params"]
  with pytest.raises(ValueError, match=r"resnet18\.pth, but .*encoder is no ResNet"):
    resnet_weights.with_pretrained_features(
      tmp_path / "resnet18.pth", {"params": {"conv1": 0}, "batch_stats": {}}
    )
  del state["bn1.bias"]
  file.write(tmp_path / "resnet18.pth", state)
  with pytest.raises(ValueError, match=r"resnet18\.pth: .*lacks bn1\.bias"):
    resnet_weights.read_torchvision(tmp_path / "resnet18.pth", template)
