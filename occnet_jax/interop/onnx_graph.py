"""ONNX graphs, a node after another (host).

`onnx` is imported where a graph is made: it comes with the extra `onnx`. Tensors are
named by strings, as in the format; a layer returns the name of its result.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

OPSET, IR_VERSION = 18, 9  # of 2022 and 2023, which today's runtimes have
Weights = dict[str, Any]  # of a layer: {"kernel": (i, o), "bias": (o,)}


class Graph:
  """A graph that grows.

  Attributes:
    nodes: so far, in an order in which they can be computed.
    constants: the arrays in it.
  """

  def __init__(self) -> None:
    self.nodes: list[Any] = []
    self.constants: list[Any] = []

  def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
    """Adds an operator of the opset; the name of its result."""
    from onnx import helper

    name = f"{kind.lower()}_{len(self.nodes)}"
    self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
    return name

  def constant(self, array: Shaped[np.ndarray, "..."]) -> str:
    """Adds an array: integers as int64, other numbers as float32."""
    from onnx import numpy_helper

    array = np.asarray(array)
    dtype = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
    name = f"constant_{len(self.constants)}"
    self.constants.append(numpy_helper.from_array(array.astype(dtype), name))
    return name

  def linear(self, x: str, weights: Weights) -> str:
    """x @ kernel + bias along the last axis."""
    y = self.node("MatMul", x, self.constant(weights["kernel"]))
    if "bias" not in weights:
      return y
    return self.node("Add", y, self.constant(weights["bias"]))

  def affine(
    self, x: str, scale: Float[np.ndarray, " f"], shift: Float[np.ndarray, " f"]
  ) -> str:
    """scale * x + shift with constants for each feature."""
    y = self.node("Mul", x, self.constant(scale))
    return self.node("Add", y, self.constant(shift))

  def convolution(self, x: str, weights: Weights, *, stride: int, padding: int) -> str:
    """`nn.conv.Conv` of x (b, i, *s): kernel (*w, i, o), the same along every axis."""
    kernel = np.moveaxis(weights["kernel"], (-1, -2), (0, 1))
    axes = kernel.ndim - 2
    return self.node(
      "Conv",
      x,
      self.constant(kernel),
      self.constant(weights["bias"]),
      strides=[stride] * axes,
      pads=[padding] * 2 * axes,
    )

  def row(self, x: str, index: int) -> str:
    """(b, 1, f): the row `index` of x (b, k, f)."""
    return self.node("Gather", x, self.constant(np.array([index])), axis=1)

  def unsqueeze(self, x: str, axes: Int[np.ndarray, " k"]) -> str:
    return self.node("Unsqueeze", x, self.constant(axes))

  def max_over_points(self, x: str) -> str:
    """(b, 1, f): the largest value of each feature of x (b, n, f)."""
    return self.node("ReduceMax", x, self.constant(np.array([1])), keepdims=1)

  def model(
    self,
    inputs: dict[str, Sequence[int | str]],
    outputs: dict[str, tuple[str, Sequence[int | str]]],
    metadata: dict[str, str],
  ) -> Any:
    """The model, checked.

    Args:
      inputs: {name: shape}; a letter is a size that is free.
      outputs: {name: (name of the tensor, shape)}.
      metadata: what a reader may want to know of it.
    """
    import onnx
    from onnx import TensorProto, helper

    for name, (tensor, _) in outputs.items():
      self.nodes.append(helper.make_node("Identity", [tensor], [name]))
    number = TensorProto.FLOAT
    graph = helper.make_graph(
      self.nodes,
      "occnet",
      [helper.make_tensor_value_info(n, number, list(s)) for n, s in inputs.items()],
      [
        helper.make_tensor_value_info(n, number, list(s))
        for n, (_, s) in outputs.items()
      ],
      self.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
      graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="occnet-jax"
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
