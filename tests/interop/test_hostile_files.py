"""Files made to run code, to read beyond their bytes or to exhaust memory: refused."""

import os
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from occnet_jax.interop.torch_format import file, reader

DATA = pathlib.Path(__file__).parent / "data"


def wrap(path, pickled, storages=()):
  """A zip as torch.save writes it, around any pickle."""
  with zipfile.ZipFile(path, "w") as out:
    out.writestr("m/data.pkl", pickled)
    for key, content in enumerate(storages):
      out.writestr(f"m/data/{key}", content)
    out.writestr("m/version", b"3\n")
  return path


def wrap_legacy(path, pickled):
  start = pickle.dumps(file.MAGIC, 2) + pickle.dumps(file.VERSION, 2)
  system = pickle.dumps({"little_endian": True, "protocol_version": 1001}, 2)
  path.write_bytes(start + system + pickled + pickle.dumps([], 2))
  return path


class Calls:
  """Pickles as a call of a function."""

  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


def call(name, args):
  """The same with any name, by hand: GLOBAL, the arguments, REDUCE."""
  module, _, function = name.rpartition(".")
  return f"\x80\x02c{module}\n{function}\n".encode("latin1") + args + b"R."


@pytest.mark.parametrize("container", [wrap, wrap_legacy])
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_runs_nothing(tmp_path, container, protocol):
  marker = tmp_path / "marker"
  command = f"touch {marker}"
  for evil in (
    Calls(os.system, command),
    Calls(eval, f"__import__('os').system('{command}')"),
    Calls(exec, f"open({str(marker)!r}, 'w')"),
    Calls(open, str(marker), "w"),
    Calls(getattr, {}, "clear"),
  ):
    pickled = pickle.dumps({"model": [{"weight": evil}]}, protocol)
    path = container(tmp_path / "evil.pt", pickled)
    with pytest.raises(ValueError, match=r"evil\.pt: holds code \("):
      file.read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
  "name",
  [
    *("os.system", "builtins.eval", "__builtin__.eval", "posix.system"),
    *("torch.load", "torch.hub.load", "torch.storage._load_from_bytes"),
    *("torch._utils._import_dotted_name", "torch._utils.__builtins__"),
    *("numpy.load", "numpy.core.multiarray._reconstruct", "functools.partial"),
    *("collections.OrderedDict.fromkeys", "copyreg._reconstructor"),
    *("occnet_jax.interop.torch_format.file.write", "torch.nn.modules.linear.Linear"),
  ],
)
def test_only_listed_names_are_known(tmp_path, name):
  path = wrap(tmp_path / "evil.pt", call(name, b"(X\x02\x00\x00\x00idt"))
  with pytest.raises(ValueError, match=r"holds code .*plain containers only"):
    file.read(path)


@pytest.mark.parametrize(
  "pickled",
  [
    b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.",  # INST
    b"\x80\x02cbuiltins\nlist\n(o.",  # OBJ
    b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # NEWOBJ
    b"\x80\x02\x82\x01.",  # EXT1
    b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x00.",  # BYTEARRAY8
    b"\x80\x02Pos.system\n.",  # PERSID
  ],
)
def test_other_instructions_are_refused(tmp_path, pickled):
  with pytest.raises(ValueError, match=r"evil\.pt: "):
    file.read(wrap(tmp_path / "evil.pt", pickled))


def test_the_state_of_functions_cannot_be_set(tmp_path):
  before = dict(vars(reader.rebuild_tensor)), reader.ALLOWED.copy()
  state = b"}(X\x0c\x00\x00\x00__defaults__)u"
  for name in ("torch._utils._rebuild_tensor_v2", "torch.FloatStorage"):
    module, _, function = name.rpartition(".")
    pickled = f"\x80\x02c{module}\n{function}\n".encode("latin1") + state + b"b."
    with pytest.raises(ValueError, match="sets the state"):
      file.read(wrap(tmp_path / "evil.pt", pickled))
  assert before == (dict(vars(reader.rebuild_tensor)), reader.ALLOWED)


def integers(*values):
  longs = (b"\x8a\x08" + struct.pack("<q", value) for value in values)
  return b"(" + b"".join(longs) + b"t"


def tensor(size, stride, offset, count, kind="FloatStorage"):
  record = b"(X\x07\x00\x00\x00storagectorch\n" + kind.encode() + b"\n"
  record += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + integers(count)[1:-1] + b"tQ"
  args = b"(" + record + integers(offset)[1:-1] + integers(*size) + integers(*stride)
  return call("torch._utils._rebuild_tensor_v2", args + b"\x89)t")


def test_the_hand_written_tensor_is_one(tmp_path):
  numbers = np.arange(6, dtype=np.float32)
  path = wrap(tmp_path / "t.pt", tensor((2, 2), (3, 1), 1, 6), [numbers.tobytes()])
  assert file.read(path).tolist() == [[1, 2], [4, 5]]


@pytest.mark.parametrize(
  ("size", "stride", "offset", "count"),
  [
    ((7,), (1,), 0, 6),
    ((6,), (1,), 1, 6),
    ((2, 2), (5, 1), 0, 6),
    ((2,), (-1,), 1, 6),
    ((-2,), (1,), 0, 6),
    ((1,), (1,), -1, 6),
    ((2**62,), (4,), 0, 6),
    ((2, 2), (1,), 0, 6),
    ((2**40, 2**40), (0, 0), 0, 6),
    ((2,), (2**62,), 0, 6),
    ((1,) * 99, (1,) * 99, 0, 6),
    ((2,), (1,), 0, 2**60),
    ((2,), (1,), 0, -1),
    ((2,), (1,), 0, 5),
    ((0, 2**47), (1, 1), 0, 7),
  ],
)
def test_a_view_never_reaches_beyond_its_storage(tmp_path, size, stride, offset, count):
  path = wrap(tmp_path / "t.pt", tensor(size, stride, offset, count), [bytes(24)])
  with pytest.raises(ValueError, match=r"t\.pt: (holds|is)"):
    file.read(path)


def test_a_storage_has_one_type(tmp_path):
  first = tensor((2,), (1,), 0, 6)[:-1]
  second = tensor((2,), (1,), 0, 6, "IntStorage")[2:-1]
  path = wrap(tmp_path / "t.pt", first + second + b"\x86.", [bytes(24)])
  with pytest.raises(ValueError, match="two types"):
    file.read(path)


def nested_twins(depth):
  """((x, x), (x, x)), ...: short to write, 2^depth long to print or to hash."""
  return b"\x80\x02)" + b"q\x00h\x00\x86" * depth


@pytest.mark.parametrize(
  "pickled",
  [
    b"\x80\x02}" + nested_twins(60)[2:] + b"Ns.",  # as a key
    nested_twins(60) + b")R.",  # as a function
    nested_twins(60) + b"Q.",  # as a record
    call("torch.Size", b"(" + nested_twins(60)[2:] + b"t"),
    b"\x80\x02Nr\xff\xff\xff\xff" + b"X\xff\xff\xff\x7f.",  # memo, text
    b"\x80\x02\x8b\xff\xff\xff\x7f.",  # LONG4
  ],
)
def test_little_input_takes_little_memory(tmp_path, pickled):
  path = wrap(tmp_path / "bomb.pt", pickled)
  tracemalloc.start()
  try:
    with pytest.raises(ValueError, match=r"bomb\.pt: "):
      file.read(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize("key", [2**61 - 1, 1 - 2**61, 5 * (2**61 - 1), 2.0**61])
def test_keys_that_could_share_one_hash_are_refused(tmp_path, key):
  path = wrap(tmp_path / "keys.pt", pickle.dumps({key: 1}, 2))
  with pytest.raises(ValueError, match=r"keys\.pt: holds a dict with the key"):
    file.read(path)


@pytest.mark.parametrize("key", [0, -1, 2**48 + 7, 2**61 - 2, 0.5, True, None, "text"])
def test_other_keys_are_read(tmp_path, key):
  path = wrap(tmp_path / "keys.pt", pickle.dumps({key: 1}, 2))
  assert file.read(path) == {key: 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pickletools, of escapes
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_read_or_refused(tmp_path, seed):
  """Any change of a few bytes ends in a value or a ValueError, and in no other way."""
  rng = np.random.default_rng(seed)
  legacy = (DATA / "mixed_legacy.pt").read_bytes()
  with zipfile.ZipFile(DATA / "mixed_zip.pt") as whole:
    root = whole.namelist()[0].split("/")[0]
    pickled = whole.read(f"{root}/data.pkl")
    count = sum(name.startswith(f"{root}/data/") for name in whole.namelist())
    storages = [whole.read(f"{root}/data/{i}") for i in range(count)]
  whole_zip = (DATA / "mixed_zip.pt").read_bytes()
  refused = 0
  for _ in range(100):
    for source in (legacy, pickled, whole_zip):
      changed = bytearray(source)
      for at in rng.integers(20, len(source), 3):
        changed[at] = rng.integers(256)
      path = tmp_path / "changed.pt"
      if source is not pickled:
        path.write_bytes(changed)
      else:
        wrap(path, bytes(changed), storages)
      try:
        file.read(path)
      except ValueError as error:
        assert str(path) in str(error) and len(str(error)) < len(str(path)) + 500
        refused += 1
  assert refused > 50
