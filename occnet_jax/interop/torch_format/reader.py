"""Reads the pickles in PyTorch's files without running them (host, numpy).

A pickle is a program for a stack machine; Python's own machine calls whatever function
it names. The machine here knows the few instructions that tensors, numbers, strings and
containers need, and calls nothing but the functions of `ALLOWED`, which build plain
values. A `pickle.Unpickler` with another `find_class` would not do: a file could still
set attributes of objects (BUILD) and reserve memory without bounds (LONG_BINPUT,
BYTEARRAY8). The pure Python `pickle._Unpickler` is private, and would need almost every
instruction that is handled here to be replaced or removed.
"""

import collections
import io
import math
import pickletools
import struct
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
  "DoubleStorage": np.dtype("<f8"),
  "FloatStorage": np.dtype("<f4"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("i1"),
  "ByteStorage": np.dtype("u1"),
  "BoolStorage": np.dtype("?"),
}


PUSHED = {  # instructions that do no more than push their argument
  *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT"),
  *("BINFLOAT", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING"),
  *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
}
MAX_DIMENSIONS = 32
# Below this modulus an integer is its own hash. Others can be chosen to share one hash,
# and a dict of n such keys takes n^2 steps.
HASH_MODULUS = sys.hash_info.modulus


class Refusal(ValueError):
  """A file's content is well-formed but not accepted; the message names it."""


class Storage(NamedTuple):
  """The numbers that tensors are views of."""

  values: np.ndarray


class _StorageType(NamedTuple):
  dtype: np.dtype


class _Function(NamedTuple):
  call: Callable[..., Any]


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_) -> np.ndarray:
  """A read-only view of a storage; the remaining arguments concern gradients only.

  Raises:
    Refusal: the view would reach beyond its storage.
  """
  if not isinstance(storage, Storage):
    raise Refusal(f"holds a tensor of {short(storage)}, want one of a storage")
  size, stride, values = _size(size), _size(stride), storage.values
  if type(offset) is not int or offset < 0 or len(size) != len(stride):
    raise Refusal(
      f"holds a tensor of size {size}, stride {stride} from {short(offset)}"
    )
  last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
  if 0 in size:
    return np.empty(size, values.dtype)
  if last >= len(values):
    raise Refusal(
      f"holds a tensor of size {size}, stride {stride} and offset {offset} in a "
      f"storage of {len(values)} numbers; the file is damaged or forged"
    )
  if math.prod(size) > 2**48:
    raise Refusal(f"holds a tensor of size {size}, which no memory holds")
  steps = tuple(step * values.itemsize for step in stride)
  steps = tuple(0 if n == 1 else step for n, step in zip(size, steps, strict=True))
  return np.lib.stride_tricks.as_strided(values[offset:], size, steps, writeable=False)


def _parameter(data: Any, *_) -> Any:
  return data


def _ordered() -> collections.OrderedDict:
  return collections.OrderedDict()  # its items follow by SETITEMS


def _size(items: Any = ()) -> tuple[int, ...]:
  if (
    not isinstance(items, tuple | list)
    or len(items) > MAX_DIMENSIONS
    or not all(type(n) is int and 0 <= n < 2**48 for n in items)
  ):
    raise Refusal(f"holds a tensor of size or stride {short(items)}")
  return tuple(items)


def _device(kind: Any, index: Any = None) -> str:
  return short(kind, str) if index is None else f"{short(kind, str)}:{short(index)}"


def _bytes(text: Any, encoding: Any) -> bytes:
  if encoding != "latin1" or len(text) > 16:
    raise Refusal(f"holds bytes ({short(text)}), want tensors and numbers only")
  return text.encode("latin1")


def _dtype(name: Any, *_) -> np.dtype:
  if name not in ("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4"):
    raise Refusal(f"holds a NumPy number of type {short(name)}")
  return np.dtype(name)


def _scalar(dtype: Any, raw: Any) -> Any:
  if not isinstance(dtype, np.dtype) or len(raw) != dtype.itemsize:
    raise Refusal(f"holds a NumPy number of {len(raw)} bytes, {short(dtype)}")
  return np.frombuffer(raw, dtype)[0].item()


ALLOWED: dict[str, Any] = {
  "collections.OrderedDict": _Function(_ordered),
  "torch._utils._rebuild_tensor": _Function(rebuild_tensor),
  "torch._utils._rebuild_tensor_v2": _Function(rebuild_tensor),
  "torch._utils._rebuild_parameter": _Function(_parameter),
  "torch._utils._rebuild_parameter_with_state": _Function(_parameter),
  "torch.Size": _Function(_size),
  "torch.device": _Function(_device),
  "_codecs.encode": _Function(_bytes),
  "numpy.dtype": _Function(_dtype),
  "numpy.core.multiarray.scalar": _Function(_scalar),
  "numpy._core.multiarray.scalar": _Function(_scalar),
  **{f"torch.{name}": _StorageType(dtype) for name, dtype in STORAGES.items()},
  **{f"torch.cuda.{name}": _StorageType(dtype) for name, dtype in STORAGES.items()},
}
ALLOWED |= {
  f"torch.{name}": name
  for name in (
    *("float64", "float32", "float16", "bfloat16", "bool"),
    *("int64", "int32", "int16", "int8", "uint8"),
  )
}


def _is_key(value: Any) -> bool:
  """True for text and for numbers whose hashes a file cannot make collide."""
  if isinstance(value, int | float):
    return abs(value) < HASH_MODULUS
  return isinstance(value, str | None)


class _Machine:
  """Runs one pickle; `storage(dtype, key, count)` gives the storages it asks for."""

  def __init__(self, storage: Callable[[np.dtype, str, int], Storage]):
    self.storage = storage
    self.stack: list[Any] = []
    self.marks: list[int] = []  # heights of the stack
    self.memo: dict[int, Any] = {}

  def since_mark(self) -> list[Any]:
    start = self.marks.pop()
    items = self.stack[start:]
    del self.stack[start:]
    return items

  def named(self, name: str) -> None:
    if name not in ALLOWED:
      raise Refusal(
        f"holds code ({short(name, str)}), want tensors and plain containers only; "
        "where you trust it, load it in PyTorch and save model.state_dict() alone"
      )
    self.stack.append(ALLOWED[name])

  def call(self) -> None:
    args, function = self.stack.pop(), self.stack.pop()
    if not isinstance(function, _Function) or not isinstance(args, tuple):
      raise Refusal(f"calls {short(function)}, which is no function")
    self.stack.append(function.call(*args))

  def build(self) -> None:
    """Drops the state of an object: a state_dict's versions, a dtype's byte order."""
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, np.dtype):
      if state[1] not in ("<", "|"):
        raise Refusal(f"holds a NumPy number in byte order {short(state[1])}, want <")
    elif not isinstance(target, collections.OrderedDict):
      raise Refusal(f"sets the state of {short(target)}, want plain containers only")

  def persistent(self) -> None:
    record = self.stack.pop()
    if not isinstance(record, tuple) or len(record) < 5 or record[0] != "storage":
      kind = record[0] if isinstance(record, tuple) and record else record
      raise Refusal(
        f"holds code (a record of kind {short(kind)}), want tensors and plain "
        "containers only; load it in PyTorch and save model.state_dict() alone"
      )
    kind, key, count = record[1], record[2], record[4]
    view = record[5] if len(record) > 5 else None
    if not isinstance(kind, _StorageType) or view is not None:
      raise Refusal(f"holds a storage of kind {short(kind)} and view {short(view)}")
    if type(key) is not str or type(count) is not int or count < 0:
      raise Refusal(f"holds a storage {short(key)} of {short(count)} numbers")
    self.stack.append(self.storage(kind.dtype, key, count))

  def set_items(self, items: list[Any]) -> None:
    target = self.stack[-1]
    if not isinstance(target, dict) or len(items) % 2:
      raise Refusal(f"puts items into {short(target)}, want a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
      if not _is_key(key):
        raise Refusal(
          f"holds a dict with the key {short(key)}, want text or numbers below 2^61"
        )
      target[key] = value

  def append(self, items: list[Any]) -> None:
    target = self.stack[-1]
    if not isinstance(target, list):
      raise Refusal(f"appends to {short(target)}, want a list")
    target.extend(items)

  def step(self, name: str, arg: Any) -> None:
    stack, memo = self.stack, self.memo
    match name:
      case "PROTO" | "FRAME" | "STOP":
        pass
      case "NONE":
        stack.append(None)
      case "NEWTRUE" | "NEWFALSE":
        stack.append(name == "NEWTRUE")
      case pushed if pushed in PUSHED:
        stack.append(arg)
      case "MARK":
        self.marks.append(len(stack))
      case "EMPTY_DICT":
        stack.append({})
      case "EMPTY_LIST":
        stack.append([])
      case "EMPTY_TUPLE":
        stack.append(())
      case "TUPLE1" | "TUPLE2" | "TUPLE3":
        self.marks.append(len(stack) - int(name[-1]))
        stack.append(tuple(self.since_mark()))
      case "TUPLE":
        stack.append(tuple(self.since_mark()))
      case "LIST":
        stack.append(self.since_mark())
      case "DICT":
        items = self.since_mark()
        stack.append({})
        self.set_items(items)
      case "SETITEMS":
        self.set_items(self.since_mark())
      case "SETITEM":
        value, key = stack.pop(), stack.pop()
        self.set_items([key, value])
      case "APPENDS":
        self.append(self.since_mark())
      case "APPEND":
        item = stack.pop()
        self.append([item])
      case "PUT" | "BINPUT" | "LONG_BINPUT":
        memo[arg] = stack[-1]
      case "MEMOIZE":
        memo[len(memo)] = stack[-1]
      case "GET" | "BINGET" | "LONG_BINGET":
        stack.append(memo[arg])
      case "GLOBAL":
        self.named(arg.replace(" ", ".", 1))
      case "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        self.named(f"{short(module, str)}.{short(attribute, str)}")
      case "REDUCE":
        self.call()
      case "BUILD":
        self.build()
      case "BINPERSID":
        self.persistent()
      case _:
        raise Refusal(
          f"holds code (the pickle instruction {name}), want tensors and plain "
          "containers only; load it in PyTorch and save model.state_dict() alone"
        )


_BROKEN_PICKLE = (  # errors of instructions whose operands are not there or do not fit
  ValueError,
  LookupError,
  TypeError,
  AttributeError,
  ArithmeticError,
  struct.error,
  MemoryError,
  RecursionError,
)


def load(
  stream: io.BytesIO, storage: Callable[[np.dtype, str, int], Storage] | None = None
) -> Any:
  """The value that one pickle describes; the stream then stands behind the pickle.

  Args:
    stream: stream of bytes, at the start of the pickle.
    storage: (dtype, key, count) -> Storage, for the tensors; None if there may be none.

  Raises:
    Refusal: the pickle holds more than tensors, numbers, strings and containers.
    ValueError: the stream holds no pickle, or part of one.
  """
  machine = _Machine(storage or _no_storage)
  try:
    for opcode, arg, _ in pickletools.genops(stream):
      machine.step(opcode.name, arg)
    (result,) = machine.stack
  except Refusal:
    raise
  except _BROKEN_PICKLE as error:
    raise ValueError(f"no whole pickle: {short(str(error), str)}") from error
  return result


def _no_storage(dtype: np.dtype, key: str, count: int) -> Storage:
  raise Refusal(f"asks for storage {short(key)} where no tensor belongs")


def short(value: Any, form: Callable[[Any], str] = repr) -> str:
  """A value from a file, short enough for one line of a message."""
  if not isinstance(value, str | int | float | bytes | np.dtype | None):
    return f"a {type(value).__name__}"  # nested tuples can be long beyond measure
  text = form(value[:200] if isinstance(value, str | bytes) else value)
  text = text.splitlines()[0] if text else text
  return text if len(text) <= 80 else f"{text[:77]}..."
