"""Writes a tree of plain values as the pickle that PyTorch loads (host, numpy)."""

import collections
import struct
from typing import Any

import numpy as np

from occnet_jax.interop.torch_format.reader import STORAGES

NAMES = {dtype: name for name, dtype in STORAGES.items()}


class _Writer:
  """Collects the instructions in `out` and the arrays behind the tensors in order."""

  def __init__(self):
    self.out = bytearray(b"\x80\x02")  # protocol 2, PyTorch's own
    self.arrays: list[np.ndarray] = []

  def text(self, value: str) -> None:
    raw = value.encode("utf-8")
    self.out += b"X" + struct.pack("<I", len(raw)) + raw

  def number(self, value: int) -> None:
    if 0 <= value < 256:
      self.out += b"K" + struct.pack("<B", value)
    elif -(2**31) <= value < 2**31:
      self.out += b"J" + struct.pack("<i", value)
    else:
      raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
      self.out += b"\x8a" + struct.pack("<B", len(raw)) + raw

  def named(self, module: str, name: str) -> None:
    self.out += f"c{module}\n{name}\n".encode()

  def numbers(self, values: tuple[int, ...]) -> None:
    self.out += b"("
    for value in values:
      self.number(value)
    self.out += b"t"

  def tensor(self, array: np.ndarray) -> None:
    if array.dtype.newbyteorder("<") not in NAMES:
      raise ValueError(
        f"an array of dtype {array.dtype}; a PyTorch file holds "
        f"{', '.join(sorted(str(dtype) for dtype in NAMES))}"
      )
    dtype = array.dtype.newbyteorder("<")
    array = np.asarray(array, dtype, order="C")
    self.named("torch._utils", "_rebuild_tensor_v2")
    self.out += b"(("  # the arguments, and the storage's record within them
    self.text("storage")
    self.named("torch", NAMES[dtype])
    self.text(str(len(self.arrays)))
    self.text("cpu")
    self.number(array.size)
    self.out += b"tQ"
    self.number(0)
    self.numbers(array.shape)
    self.numbers(tuple(step // array.itemsize for step in array.strides))
    self.out += b"\x89"  # needs no gradient
    self.named("collections", "OrderedDict")
    self.out += b")RtR"
    self.arrays.append(array)

  def value(self, value: Any) -> None:
    match value:
      case None | True | False:
        self.out += {None: b"N", True: b"\x88", False: b"\x89"}[value]
      case np.ndarray():
        self.tensor(value)
      case np.generic():
        self.value(value.item())
      case int():
        self.number(value)
      case float():
        self.out += b"G" + struct.pack(">d", value)
      case str():
        self.text(value)
      case dict():
        self.items(value)
      case list():
        self.out += b"]("
        for item in value:
          self.value(item)
        self.out += b"e"
      case tuple():
        self.out += b"("
        for item in value:
          self.value(item)
        self.out += b"t"
      case _:
        raise ValueError(
          f"a value of type {type(value).__name__}; a PyTorch file is written from "
          "dicts, lists, tuples, text, numbers and NumPy arrays"
        )

  def items(self, value: dict[Any, Any]) -> None:
    if isinstance(value, collections.OrderedDict):
      self.named("collections", "OrderedDict")
      self.out += b")R"
    else:
      self.out += b"}"
    self.out += b"("
    for key, item in value.items():
      if not isinstance(key, str | int | float | None):
        raise ValueError(f"a dict with the key {key!r}; want text or numbers")
      self.value(key)
      self.value(item)
    self.out += b"u"


def dump(tree: Any) -> tuple[bytes, list[np.ndarray]]:
  """The pickle of a tree, and the arrays that its storages "0", "1", ... hold.

  Args:
    tree: nested dicts, lists, tuples, text, numbers and arrays.

  Raises:
    ValueError: a value or a dtype that such a file cannot hold.
  """
  writer = _Writer()
  writer.value(tree)
  return bytes(writer.out + b"."), writer.arrays
