"""Names and layouts: a linen tree and a PyTorch state_dict of the same network (host).

A path of linen modules, joined by dots, is the PyTorch module's name; the reference's
numbered layers ("layer1.0") are "layer1_0" here. Kernels are turned from (..., in, out)
to (out, in, ...). Layers over points are convolutions of width 1 in every decoder of
the reference but "simple", so that their weights have a trailing axis of size 1.
"""

import collections
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

LEAVES = {
  ("params", "kernel"): "weight",
  ("params", "bias"): "bias",
  ("params", "scale"): "weight",
  ("params", "embedding"): "weight",
  ("batch_stats", "mean"): "running_mean",
  ("batch_stats", "var"): "running_var",
}
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
SHOWN = 5
OTHER_METHODS = (  # what the names in state_dicts of other methods begin with
  ("ConvONet", r"encoder\.(unet|unet3d|blocks)\.|decoder\.fc_c\.\d"),
  ("3D-R2N2", r"decoder\.(fc_in|convtrp_\d)\."),
  ("Pixel2Mesh", r"decoder\.gc\d\."),
  ("PSGN", r"decoder\.(fc_branch|deconv_\d)\."),
  ("Deep Marching Cubes", r"decoder\.(encoder|decoder)\.(de)?conv"),
)
_SIMPLE = ("fc_p", "fc_z", "fc_c", "block", "fc_out")
_CONDITIONED = (
  *("fc_z", "fc_c", "fc_p", "conv_p", "block", "blocks", "fc_", "bn_", "bn"),
  *("fc_out", "conv_out"),
)
_LATENT = ("fc_pos", "fc_c", "fc_", "fc_mean", "fc_logstd")
_ENCODER = (
  *("features", "convnet", "conv_in", "conv", "conv_", "fc_pos", "block_", "fc_"),
  *("fc_c", "fc", "fc_out"),
)
_TOP = ("decoder", "encoder_latent", "encoder")
_BLOCK = (
  *("conv_gamma", "conv_beta", "bn_", "fc_", "convnet", "", "shortcut"),
  *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "bn", "layer", "downsample"),
)
_LEAF = ("weight", "bias", *BUFFERS)


def module_name(path: tuple[str, ...]) -> str:
  """("features", "layer1_0") -> "features.layer1.0"."""
  return re.sub(r"\b(layer\d+|downsample)_(\d+)", r"\1.\2", ".".join(path))


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """The reference's state_dict of an occupancy network, in the reference's order.

  The order counts: its optimiser numbers the parameters by it.

  Args:
    variables: {"params", "batch_stats"} with the modules "encoder", "decoder" and
      "encoder_latent" at the top, as many as there are.
  """
  flat = traverse_util.flatten_dict(dict(variables))
  simple = not any(path[:2] == ("batch_stats", "decoder") for path in flat)
  state = {}
  for (collection, *path, leaf), value in flat.items():
    module = module_name(tuple(path))
    array = np.asarray(value)
    if leaf == "kernel":
      array = np.moveaxis(array, (-1, -2), (0, 1))
      wide = not simple and path[0] == "decoder" and path[-1] not in ("fc_z", "fc_c")
      array = np.ascontiguousarray(array[..., None] if wide else array)
    state[f"{module}.{LEAVES[collection, leaf]}"] = array
    if leaf == "mean":
      state[f"{module}.num_batches_tracked"] = np.zeros((), np.int64)
  ordered = sorted(state, key=lambda name: _registration_order(name, simple))
  return collections.OrderedDict((name, state[name]) for name in ordered)


def parameters(state: Mapping[str, Any]) -> list[str]:
  """The names of a state_dict that an optimiser knows, in its order."""
  return [name for name in state if str(name).rpartition(".")[-1] not in BUFFERS]


def from_state_dict(state: Mapping[str, Any], template: Mapping[str, Any]) -> Any:
  """The linen variables that a state_dict describes.

  Accepts the older names fc_gamma and fc_beta, the prefix "module." of parallel
  training, and linear weights of shape (out, in) and (out, in, 1) alike.

  Args:
    state: name -> array.
    template: variables (arrays or jax.ShapeDtypeStruct), or a part of them; gives the
      form of the result.

  Raises:
    ValueError: listing what is missing, left over, of another shape, or not finite.
  """
  given = {_canonical(name): value for name, value in state.items()}
  given = {k: v for k, v in given.items() if not k.endswith("num_batches_tracked")}
  flat = traverse_util.flatten_dict(dict(template), keep_empty_nodes=True)
  result, problems, lacking = {}, [], []
  for key, leaf in flat.items():
    if leaf is traverse_util.empty_node:
      result[key] = leaf
      continue
    name = ".".join(p for p in (module_name(key[1:-1]), LEAVES[key[0], key[-1]]) if p)
    if name not in given:
      lacking.append(name)
      continue
    array, wanted = given.pop(name), tuple(leaf.shape)
    if problem := _shape_problem(array, key[-1], wanted):
      problems.append(f"{name} {problem}")
      continue
    if key[-1] == "kernel":
      array = array.reshape(array.shape[: max(len(wanted), 2)])
      array = np.moveaxis(array, (0, 1), (-1, -2))
    result[key] = np.array(array, leaf.dtype, order="C")
  if lacking or given or problems:
    raise ValueError(_error_message(state, lacking, list(given), problems))
  return traverse_util.unflatten_dict(result)


def _canonical(name: Any) -> str:
  parts = [part for part in str(name).split(".") if part != "module"]
  renamed = {"fc_gamma": "conv_gamma", "fc_beta": "conv_beta"}
  return ".".join(renamed.get(part, part) for part in parts)


def _shape_problem(array: Any, leaf: str, wanted: tuple[int, ...]) -> str:
  """What keeps an array from standing for a leaf of a shape; "" if nothing."""
  shapes = [wanted]
  if leaf == "kernel":
    shapes = [(*wanted[:-3:-1], *wanted[:-2])]
    if len(wanted) == 2:
      shapes.append((*shapes[0], 1))
  if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
    return "is no tensor of numbers"
  if array.shape not in shapes:
    return f"has shape {array.shape}, want {' or '.join(map(str, shapes))}"
  return "" if np.isfinite(array).all() else "holds NaN or Inf"


def _error_message(
  state: Mapping[str, Any], lacking: list[str], beyond: list[str], problems: list[str]
) -> str:
  names = [_canonical(name) for name in state]
  for method, pattern in OTHER_METHODS:
    if marks := [name for name in names if re.match(pattern, name)]:
      return (
        f"this is a checkpoint of {method} (it has {_shorten(marks)}), not of an "
        "occupancy network; import one that the onet method of the reference trained"
      )
  if "decoder.fc_0.weight" in names and "decoder.fc_p.weight" not in names:
    return (
      "this is a checkpoint of PSGN (it has decoder.fc_0.weight and no "
      "decoder.fc_p.weight), not of an occupancy network; import one that the onet "
      "method of the reference trained"
    )
  parts = [f"lacks {_shorten(lacking)}"] if lacking else []
  parts += [f"has {_shorten(beyond)} beyond the network's own"] if beyond else []
  parts += [_shorten(problems, "; ")] if problems else []
  return (
    f"does not fit the network: {'; '.join(parts)}; use the config that it was "
    "trained with (encoder, decoder, c_dim, z_dim, hidden sizes), or another file"
  )


def _shorten(names: list[str], separator: str = ", ") -> str:
  shown = separator.join(name[:80] for name in names[:SHOWN])
  return shown if len(names) <= SHOWN else f"{shown}, ... ({len(names)} in all)"


def _registration_order(name: str, simple: bool) -> list[tuple[int, int]]:
  """Where the reference registers a module or parameter, component by component."""
  parts = name.split(".")
  decoder = _SIMPLE if simple else _CONDITIONED
  second = {"decoder": decoder, "encoder_latent": _LATENT, "encoder": _ENCODER}
  ranks = []
  for depth, part in enumerate(parts):
    table = _TOP if depth == 0 else second.get(parts[0], _BLOCK)
    if depth == len(parts) - 1:
      table = _LEAF
    elif depth > 1:
      table = _BLOCK
    stem, number = re.fullmatch(r"(.*?)(\d*)", part).groups()
    exact = part in table
    key = part if exact else stem
    position = table.index(key) if key in table else len(table)
    ranks.append((position, 0 if exact or not number else int(number)))
  return ranks
