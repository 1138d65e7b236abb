"""Linen trees against the reference's state_dicts, as parity/spec.json lists them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from occnet_jax.interop.onet_weights import from_state_dict, to_state_dict
from occnet_jax.nn import (
  decoders,
  embedding,
  image_encoders,
  latent_encoder,
  pointnet,
  resnet,
  voxel_encoder,
)
from tests.helpers import ROOT

SPEC = json.loads((ROOT / "tests" / "parity" / "spec.json").read_text())
COUNTER = "num_batches_tracked"
P, C, Z = jnp.zeros((2, 5, 3)), jnp.zeros((2, 24)), jnp.zeros((2, 16))
IMAGE = jnp.zeros((2, 224, 224, 3))
CASES = {  # case of the spec -> where it stands, the module, what it takes
  "dec_Decoder_0": ("decoder", decoders.SimpleDecoder(32), (P, Z, C)),
  "dec_Decoder_2": ("decoder", decoders.SimpleDecoder(32), (P, Z, None)),
  "dec_DecoderCBatchNorm_0": ("decoder", decoders.CBatchNormDecoder(32), (P, Z, C)),
  "dec_DecoderCBatchNorm_1": ("decoder", decoders.CBatchNormDecoder(32), (P, None, C)),
  "dec_DecoderCBatchNorm_2": ("decoder", decoders.CBatchNormDecoder(32), (P, Z, C)),
  "dec_DecoderCBatchNorm2_0": ("decoder", decoders.CBatchNormDecoder2(32), (P, Z, C)),
  "dec_DecoderCBatchNormNoResnet_0": (
    *("decoder", decoders.CBatchNormNoResnetDecoder(32)),
    (P, Z, C),
  ),
  "dec_DecoderBatchNorm_0": ("decoder", decoders.BatchNormDecoder(32), (P, Z, C)),
  "latent_Encoder_0": (
    "encoder_latent",
    latent_encoder.LatentEncoder(16),
    (P, P[..., 0], C),
  ),
  "enc_pointnet_resnet": ("encoder", pointnet.ResnetPointnet(24, 32), (P,)),
  "enc_pointnet_simple": ("encoder", pointnet.PointnetSimple(24, 32), (P,)),
  "enc_simple_conv": ("encoder", image_encoders.SimpleConv(24), (IMAGE,)),
  "enc_r2n2_resnet": (
    "encoder",
    image_encoders.R2N2Resnet(24),
    (IMAGE[:, :127, :127],),
  ),
  "enc_resnet34": ("encoder", resnet.Resnet(34, 24), (IMAGE,)),
  "enc_voxel_simple": (
    "encoder",
    voxel_encoder.VoxelSimple(24),
    (jnp.zeros((2, 32, 32, 32)),),
  ),
}


def template_of(name, module, args):
  made = jax.eval_shape(lambda: module.init(jax.random.PRNGKey(0), *args, train=False))
  stats = {name: made["batch_stats"]} if "batch_stats" in made else {}
  return {"params": {name: made["params"]}, "batch_stats": stats}


def reference_state(case, prefix):
  """Random numbers under the reference's names, in its order and shapes."""
  rng, state = np.random.default_rng(0), {}
  for row in SPEC[case]["modules"]:
    name = f"{prefix}.{row['module']}"
    for leaf in [leaf for leaf in row["tensors"] if leaf != COUNTER]:
      numbers = rng.normal(size=row["tensors"][leaf])
      state[f"{name}.{leaf}"] = numbers.astype(np.float32)
    if "running_var" in row["tensors"]:
      state[f"{name}.{COUNTER}"] = np.zeros((), np.int64)
  return state


@pytest.fixture(scope="module", params=CASES)
def case(request):
  return template_of(*CASES[request.param]), reference_state(
    request.param, CASES[request.param][0]
  )


def test_a_state_of_the_reference_comes_back_in_its_order_bit_for_bit(case):
  template, state = case
  variables = from_state_dict(state, template)
  assert jax.tree.structure(variables) == jax.tree.structure(template)
  back = to_state_dict(variables)
  newer = [
    n.replace("fc_gamma", "conv_gamma").replace("fc_beta", "conv_beta") for n in state
  ]
  assert list(back) == newer
  for (name, found), wanted in zip(back.items(), state.values(), strict=True):
    assert found.dtype == wanted.dtype, name
    if list(state) == newer:
      assert found.shape == wanted.shape, name
    np.testing.assert_array_equal(found.ravel(), wanted.ravel(), err_msg=name)


def test_exported_variables_come_back_bit_for_bit(case):
  template, _ = case
  rng = np.random.default_rng(1)
  variables = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), template
  )
  back = from_state_dict(to_state_dict(variables), template)
  jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_kernels_are_transposed():
  template = template_of(*CASES["enc_resnet34"])
  state = reference_state("enc_resnet34", "encoder")
  params = from_state_dict(state, template)["params"]["encoder"]
  np.testing.assert_array_equal(params["fc"]["kernel"], state["encoder.fc.weight"].T)
  block = params["features"]["layer2_0"]
  np.testing.assert_array_equal(
    block["downsample_0"]["kernel"][0, 0],
    state["encoder.features.layer2.0.downsample.0.weight"][:, :, 0, 0].T,
  )
  weight = state["encoder.features.layer2.0.conv1.weight"]  # (out, in, h, w)
  np.testing.assert_array_equal(
    block["conv1"]["kernel"][2, 1, 5, 7], weight[7, 5, 2, 1]
  )
  norm = state["encoder.features.layer2.0.downsample.1.weight"]
  np.testing.assert_array_equal(block["downsample_1"]["scale"], norm)


@pytest.fixture
def pointnet_case():
  case = "enc_pointnet_simple"
  return template_of(*CASES[case]), reference_state(case, "encoder")


def test_prefixes_of_parallel_training_and_width_one_are_accepted(pointnet_case):
  template, state = pointnet_case
  wrapped = {f"module.{name}": array for name, array in state.items()}
  wrapped["module.encoder.fc_0.weight"] = state["encoder.fc_0.weight"][..., None]
  jax.tree.map(
    np.testing.assert_array_equal,
    from_state_dict(wrapped, template),
    from_state_dict(state, template),
  )


def test_a_code_table_is_an_embedding():
  module = embedding.CodeTable(7, 4)
  template = template_of("encoder", module, (jnp.zeros(2, jnp.int32),))
  table = np.arange(28, dtype=np.float32).reshape(7, 4)
  variables = from_state_dict({"encoder.weight": table}, template)
  found = module.apply(
    {"params": variables["params"]["encoder"]}, jnp.array([5, 0]), train=False
  )
  np.testing.assert_array_equal(found, table[[5, 0]])
  assert list(to_state_dict(variables)) == ["encoder.weight"]


def test_missing_counters_of_batches_are_tolerated():
  case = "dec_DecoderBatchNorm_0"
  template, state = template_of(*CASES[case]), reference_state(case, "decoder")
  older = {k: v for k, v in state.items() if not k.endswith(COUNTER)}
  assert len(older) < len(state)
  flat = traverse_util.flatten_dict(from_state_dict(older, template))
  assert flat["batch_stats", "decoder", "bn", "mean"].shape == (32,)


def change(state, *, drop=(), add=(), **new):
  kept = {name: array for name, array in state.items() if name not in drop}
  more = dict.fromkeys(add, np.zeros(3, np.float32))
  return kept | more | {name.replace("__", "."): array for name, array in new.items()}


def with_one(value):
  array = np.zeros((24, 32), np.float32)
  array[3, 4] = value
  return array


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"drop": ["encoder.fc_1.bias"]}, r"lacks encoder\.fc_1\.bias; use"),
    ({"add": ["encoder.fc_9.bias"]}, r"has encoder\.fc_9\.bias beyond"),
    (
      {"encoder__fc_c__weight": np.zeros((8, 32), np.float32)},
      r"fc_c\.weight has shape \(8, 32\), want \(24, 32\) or \(24, 32, 1\)",
    ),
    ({"encoder__fc_c__weight": with_one(np.nan)}, r"fc_c\.weight holds NaN or Inf"),
    ({"encoder__fc_c__weight": with_one(-np.inf)}, r"fc_c\.weight holds NaN or Inf"),
    ({"encoder__fc_c__weight": "text"}, r"fc_c\.weight is no tensor"),
    (
      {"add": [f"extra.{i}" for i in range(9)], "drop": ["encoder.fc_0.bias"]},
      r"lacks encoder\.fc_0\.bias; has extra\.0, .*extra\.4, \.\.\. \(9 in all\)",
    ),
  ],
)
def test_all_that_does_not_fit_is_named(pointnet_case, changes, message):
  template, state = pointnet_case
  with pytest.raises(ValueError, match=message):
    from_state_dict(change(state, **changes), template)


@pytest.mark.parametrize(
  ("name", "method"),
  [
    ("encoder.unet.down_convs.0.conv1.weight", "ConvONet"),
    ("decoder.fc_c.0.weight", "ConvONet"),
    ("decoder.convtrp_0.weight", "3D-R2N2"),
    ("decoder.fc_0.weight", "PSGN"),
    ("decoder.gc2.0.0.lin.weight", "Pixel2Mesh"),
    ("decoder.encoder.conv1_1.weight", "Deep Marching Cubes"),
  ],
)
def test_checkpoints_of_other_methods_are_recognised(pointnet_case, name, method):
  template, state = pointnet_case
  with pytest.raises(ValueError, match=f"a checkpoint of {method} .*{name}"):
    from_state_dict(change(state, add=[name]), template)
