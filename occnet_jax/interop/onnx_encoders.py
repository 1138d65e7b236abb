"""Encoders of occupancy networks as ONNX graphs: observation -> code c (b, c) (host).

Batch norms that follow a convolution are folded into its kernel. Convolutions have
ONNX's order of axes, features before space.

Shape letters: b shapes, n input points, r grid side, h w image.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from occnet_jax.interop.onnx_graph import Graph
from occnet_jax.nn.conv import IMAGENET_DEVIATION, IMAGENET_MEAN
from occnet_jax.nn.norm import EPSILON
from occnet_jax.nn.resnet import BLOCKS, BOTTLENECK_DEPTHS

Tree = dict[str, Any]  # parameters or running statistics


def encode(graph: Graph, model: Mapping[str, Any], params: Tree, stats: Tree) -> str:
  """Adds the encoder that `model` names to a graph with the input `inputs`."""
  return ENCODERS[model["encoder"]](graph, model, params, stats)


def input_shape(shape: tuple[int, ...]) -> tuple[int | str, ...]:
  """The shape of a batch of inputs, of the shape of one; letters are free."""
  if len(shape) == 2:
    return "b", "n", 3
  return "b", *shape


def fourier_features(graph: Graph, points: str, octaves: int) -> str:
  """`nn.positional.fourier_features`."""
  if not octaves:
    return points
  waves = 2.0 ** np.arange(octaves) * np.pi
  # A matrix whose column 3 i + a is the wave i along the axis a.
  matrix = (waves[:, None, None] * np.eye(3)).transpose(1, 0, 2).reshape(3, -1)
  phases = graph.node("MatMul", points, graph.constant(matrix))
  both = [graph.node(name, phases) for name in ("Sin", "Cos")]
  return graph.node("Concat", points, *both, axis=-1)


def _resnet_pointnet(graph: Graph, model: Any, params: Tree, stats: Tree) -> str:
  """`nn.pointnet.ResnetPointnet`; the maximum's product is computed once a shape."""
  points = fourier_features(graph, "inputs", model["fourier_octaves"])
  net = graph.linear(points, params["fc_pos"])
  pooled = None
  for i in range(5):
    block = params[f"block_{i}"]
    active = [graph.node("Relu", part) for part in (net, pooled) if part]
    dx = graph.node("Relu", _join(graph, active, block["fc_0"]))
    dx = graph.linear(dx, block["fc_1"])
    shortcut = _join(graph, [part for part in (net, pooled) if part], block["shortcut"])
    net = graph.node("Add", shortcut, dx)
    pooled = graph.max_over_points(net)
  code = graph.linear(graph.node("Relu", pooled), params["fc_c"])
  return graph.node("Squeeze", code, graph.constant(np.array([1])))


def _simple_pointnet(graph: Graph, model: Any, params: Tree, stats: Tree) -> str:
  """`nn.pointnet.PointnetSimple`."""
  points = fourier_features(graph, "inputs", model["fourier_octaves"])
  parts = [graph.node("Relu", graph.linear(points, params["fc_pos"]))]
  for i in range(4):
    net = _join(graph, parts, params[f"fc_{i}"])
    pooled = graph.node("Relu", graph.max_over_points(net))
    parts = [graph.node("Relu", net), pooled]
  code = graph.linear(pooled, params["fc_c"])
  return graph.node("Squeeze", code, graph.constant(np.array([1])))


def _join(graph: Graph, parts: list[str], weights: Tree) -> str:
  """`nn.linear.Linear` of features (b, n, f) and, beside them, of maxima (b, 1, f)."""
  kernel = weights["kernel"]
  share = len(kernel) // len(parts)  # both have as many features
  products = [
    graph.node("MatMul", part, graph.constant(kernel[i * share : (i + 1) * share]))
    for i, part in enumerate(parts)
  ]
  y = products[0] if len(products) == 1 else graph.node("Add", *products)
  if "bias" not in weights:
    return y
  return graph.node("Add", y, graph.constant(weights["bias"]))


def _voxel_simple(graph: Graph, model: Any, params: Tree, stats: Tree) -> str:
  """`nn.voxel_encoder.VoxelSimple`."""
  net = graph.unsqueeze("inputs", np.array([1]))
  net = graph.convolution(net, params["conv_in"], stride=1, padding=1)
  for i in range(4):
    net = graph.node("Relu", net)
    net = graph.convolution(net, params[f"conv_{i}"], stride=2, padding=1)
  net = graph.node("Flatten", graph.node("Relu", net), axis=1)
  return graph.linear(net, params["fc"])


def _simple_conv(graph: Graph, model: Any, params: Tree, stats: Tree) -> str:
  """`nn.image_encoders.SimpleConv`."""
  net = graph.node("Transpose", "inputs", perm=[0, 3, 1, 2])
  net = graph.convolution(net, params["conv0"], stride=2, padding=0)
  for i in range(1, 5):
    net = graph.node("Relu", net)
    net = graph.convolution(net, params[f"conv{i}"], stride=2, padding=0)
  pooled = graph.node("Flatten", graph.node("GlobalAveragePool", net), axis=1)
  return graph.linear(graph.node("Relu", pooled), params["fc_out"])


def _resnet(depth: int) -> Callable[..., str]:
  """`nn.resnet.Resnet` of a depth."""

  def make(graph: Graph, model: Any, params: Tree, stats: Tree) -> str:
    deviation = np.array(IMAGENET_DEVIATION)
    net = graph.affine("inputs", 1 / deviation, -np.array(IMAGENET_MEAN) / deviation)
    net = graph.node("Transpose", net, perm=[0, 3, 1, 2])
    own, known = params["features"], stats["features"]
    net = graph.node("Relu", _conv_norm(graph, net, own, known, "conv1", "bn1", 2))
    sides = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    net = graph.node("MaxPool", net, **sides)
    for i, count in enumerate(BLOCKS[depth]):
      for j in range(count):
        name = f"layer{i + 1}_{j}"
        stride = 2 if i > 0 and j == 0 else 1
        net = _block(graph, net, own[name], known[name], stride, depth)
    net = graph.node("Flatten", graph.node("GlobalAveragePool", net), axis=1)
    return graph.linear(net, params["fc"]) if "fc" in params else net

  return make


def _block(
  graph: Graph, x: str, params: Tree, stats: Tree, stride: int, depth: int
) -> str:
  """`nn.resnet.BasicBlock` or `Bottleneck`, whose strides stand at different places."""
  strides = (1, stride, 1) if depth in BOTTLENECK_DEPTHS else (stride, 1)
  net = x
  for i, step in enumerate(strides, 1):
    net = _conv_norm(graph, net, params, stats, f"conv{i}", f"bn{i}", step)
    if i < len(strides):
      net = graph.node("Relu", net)
  if "downsample_0" in params:
    names = "downsample_0", "downsample_1"
    x = _conv_norm(graph, x, params, stats, *names, stride)
  return graph.node("Relu", graph.node("Add", net, x))


def _conv_norm(
  graph: Graph, x: str, params: Tree, stats: Tree, conv: str, norm: str, stride: int
) -> str:
  """A convolution without bias and the batch norm behind it, as one convolution."""
  scale, shift = fold_norm(params[norm], stats[norm])
  kernel = params[conv]["kernel"] * scale
  weights = {"kernel": kernel, "bias": shift}
  return graph.convolution(x, weights, stride=stride, padding=kernel.shape[0] // 2)


def fold_norm(params: Tree, stats: Tree) -> tuple[Any, Any]:
  """Factor and summand of a batch norm with running statistics, in float64."""
  scale = params["scale"] / np.sqrt(np.float64(stats["var"]) + EPSILON)
  return scale, params["bias"] - scale * stats["mean"]


ENCODERS = {
  "pointnet_resnet": _resnet_pointnet,
  "pointnet_simple": _simple_pointnet,
  "voxel_simple": _voxel_simple,
  "simple_conv": _simple_conv,
  **{f"resnet{depth}": _resnet(depth) for depth in BLOCKS},
}
