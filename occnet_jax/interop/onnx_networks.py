"""Occupancy networks as ONNX graphs (host).

The encoder's graph does all that is done once a shape: the code c of the observation,
and from it what the decoder needs of c and z. Conditional batch norms are folded there,

  scale = gamma(c) / sqrt(var + epsilon),  shift = beta(c) - scale * mean,

which are linear in c, so that all of them are one product. The decoder then has a
product and a sum for each norm at a point. Its weights are constants.

Shape letters: b shapes, n input points, t query points, c code, z latent, k norms, h
features of the decoder.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from occnet_jax.interop import onnx_encoders
from occnet_jax.interop.onnx_encoders import fold_norm, fourier_features
from occnet_jax.interop.onnx_graph import Graph
from occnet_jax.nn.norm import EPSILON
from occnet_jax.types import Variables

# Features of a shape that the encoder's graph gives the decoder's.
FIRST, SCALES, SHIFTS = "first", "scales", "shifts"
_SLOPE = 0.2  # of the decoder's LeakyReLU
Norm = tuple[dict[str, Any], dict[str, Any]]  # params and running statistics


def graphs(
  model: Mapping[str, Any],
  variables: Variables,
  shape: tuple[int, ...],
  metadata: dict[str, str],
) -> tuple[Any, Any]:
  """Encoder and decoder of an occupancy network.

  The encoder takes `inputs`, such as clouds (b, n, 3), and `z` (b, z), as far as the
  network has them, and returns what the decoder takes beside `points` (b, t, 3): the
  shares of c and z in the first layer, `first` (b, h), and the folded norms, `scales`
  and `shifts` (b, k, h). The decoder returns `logits` (b, t).

  Args:
    model: the section `model` of the config.
    variables: of the network.
    shape: of the input of one shape.
    metadata: what both files say of themselves.

  Raises:
    ValueError: a network of another kind.
  """
  encoders = (*onnx_encoders.ENCODERS, "none")
  # Several images of a shape have one axis more than the encoder's inputs.
  if model["name"] != "onet" or model["encoder"] not in encoders or len(shape) > 3:
    encoder = f" with the encoder {model['encoder']}" if "encoder" in model else ""
    raise ValueError(
      f"ONNX is for occupancy networks of one observation (onet with an encoder of "
      f"{', '.join(encoders)}), this is {model['name']}{encoder} and inputs of shape "
      f"{shape}; --format=stablehlo has every network"
    )
  params = _as_numpy(variables["params"])
  statistics = _as_numpy(variables.get("batch_stats", {}))
  decoder, stats = params["decoder"], statistics.get("decoder", {})
  norms = _conditional_norms(model["decoder"], decoder, stats)
  has_first = any(name in decoder for name in ("fc_z", "fc_c")) and (
    model["decoder"] != "cbatchnorm2"
  )
  names = [FIRST] * has_first + [SCALES, SHIFTS] * bool(norms)
  shapes = {name: ("b", len(norms), model["hidden_size"]) for name in names}
  if has_first:
    shapes[FIRST] = ("b", model["hidden_size"])
  return (
    _encoder(model, (params, statistics), shape, norms, shapes, metadata),
    _decoder(model, decoder, stats, shapes, metadata),
  )


def _encoder(
  model: Mapping[str, Any],
  arrays: tuple[dict[str, Any], dict[str, Any]],
  shape: tuple[int, ...],
  norms: list[Norm],
  shapes: dict[str, Any],
  metadata: dict[str, str],
) -> Any:
  graph, inputs, c, z = Graph(), {}, None, None
  params, stats = arrays
  if model["encoder"] != "none":
    inputs["inputs"] = onnx_encoders.input_shape(shape)
    own = params["encoder"], stats.get("encoder", {})
    c = onnx_encoders.encode(graph, model, *own)
  if model["z_dim"]:
    inputs["z"] = ("b", model["z_dim"])
    z = "z"
  decoder, outputs = params["decoder"], {}
  if FIRST in shapes:
    codes = {"fc_z": z, "fc_c": c}
    terms = [
      graph.linear(code, decoder[name])
      for name, code in codes.items()
      if name in decoder and code
    ]
    outputs[FIRST] = terms[0] if len(terms) == 1 else graph.node("Add", *terms)
  elif z and "fc_z" in decoder:
    c = graph.node("Add", c, graph.linear(z, decoder["fc_z"]))
  if norms:
    size = np.array([0, len(norms), model["hidden_size"]])  # 0 keeps b
    folded = [_fold(*norm) for norm in norms]
    for which, name in enumerate((SCALES, SHIFTS)):
      weights = {
        key: np.concatenate([pair[which][key] for pair in folded], -1)
        for key in ("kernel", "bias")
      }
      y = graph.linear(c, weights)
      outputs[name] = graph.node("Reshape", y, graph.constant(size))
  return graph.model(
    inputs, {name: (y, shapes[name]) for name, y in outputs.items()}, metadata
  )


def _decoder(
  model: Mapping[str, Any],
  params: dict[str, Any],
  stats: dict[str, Any],
  shapes: dict[str, Any],
  metadata: dict[str, str],
) -> Any:
  kind, leaky = model["decoder"], model["decoder_leaky"]
  graph = Graph()
  norms = _Norms(graph, kind, params, stats)
  first, last = ("conv_p", "conv_out") if kind == "cbatchnorm2" else ("fc_p", "fc_out")
  features = fourier_features(graph, "points", model["fourier_octaves"])
  net = graph.linear(features, params[first])
  if FIRST in shapes:
    net = graph.node("Add", net, graph.unsqueeze(FIRST, np.array([1])))
  if kind == "cbatchnorm_noresnet":
    for i in range(5):
      net = _activate(graph, norms(net, f"bn_{i}"), leaky)
      net = graph.linear(net, params[f"fc_{i}"])
    net = norms(net, "bn_5")
  else:
    for path, block in _blocks(kind, params):
      dx = graph.node("Relu", norms(net, f"{path}/bn_0"))
      dx = graph.linear(dx, block["fc_0"])
      dx = graph.node("Relu", norms(dx, f"{path}/bn_1"))
      net = graph.node("Add", net, graph.linear(dx, block["fc_1"]))
    net = norms(net, "bn")
  logits = graph.linear(_activate(graph, net, leaky), params[last])
  logits = graph.node("Squeeze", logits, graph.constant(np.array([2])))
  inputs = {"points": ("b", "t", 3), **shapes}
  return graph.model(inputs, {"logits": (logits, ("b", "t"))}, metadata)


class _Norms:
  """The norms of a decoder, in the order in which they are applied."""

  def __init__(self, graph: Graph, kind: str, params: Any, stats: Any):
    self._graph, self._kind = graph, kind
    self._params, self._stats, self._count = params, stats, 0

  def __call__(self, x: str, path: str) -> str:
    if self._kind == "simple":
      return x
    if self._kind == "batchnorm":
      scale, shift = fold_norm(_at(self._params, path), _at(self._stats, path))
      return self._graph.affine(x, scale, shift)
    scale, shift = (self._graph.row(name, self._count) for name in (SCALES, SHIFTS))
    self._count += 1
    return self._graph.node("Add", self._graph.node("Mul", x, scale), shift)


def _conditional_norms(kind: str, params: Any, stats: Any) -> list[Norm]:
  """The conditional norms of a decoder, in the order of `_Norms`."""
  if kind in ("simple", "batchnorm"):
    return []
  if kind == "cbatchnorm_noresnet":
    paths = [f"bn_{i}" for i in range(6)]
  else:
    blocks = [path for path, _ in _blocks(kind, params)]
    paths = [f"{path}/bn_{i}" for path in blocks for i in range(2)] + ["bn"]
  return [(_at(params, path), _at(stats, path)) for path in paths]


def _blocks(kind: str, params: Any) -> list[tuple[str, Any]]:
  """Path and parameters of each residual block."""
  if kind == "cbatchnorm2":
    number = len(params["blocks"])
    return [(f"blocks/{i}", params["blocks"][str(i)]) for i in range(number)]
  return [(f"block{i}", params[f"block{i}"]) for i in range(5)]


def _fold(params: dict[str, Any], stats: dict[str, Any]) -> tuple[Any, Any]:
  """The linear maps of c to scale and to shift of a conditional norm, in float64."""
  mean, var = (np.float64(stats["bn"][name]) for name in ("mean", "var"))
  inverse = 1 / np.sqrt(var + EPSILON)
  gamma, beta = params["conv_gamma"], params["conv_beta"]
  scale = {key: gamma[key] * inverse for key in ("kernel", "bias")}
  shift = {key: beta[key] - scale[key] * mean for key in ("kernel", "bias")}
  return scale, shift


def _activate(graph: Graph, x: str, leaky: bool) -> str:
  if leaky:
    return graph.node("LeakyRelu", x, alpha=_SLOPE)
  return graph.node("Relu", x)


def _at(tree: Any, path: str) -> Any:
  for name in path.split("/"):
    tree = tree[name]
  return tree


def _as_numpy(tree: Any) -> Any:
  if isinstance(tree, Mapping):
    return {name: _as_numpy(value) for name, value in tree.items()}
  return np.asarray(tree)
