"""PyTorch's files against what PyTorch itself wrote (data/README.md)."""

import collections
import io
import pathlib
import zipfile

import ml_dtypes
import numpy as np
import pytest

from occnet_jax.interop.torch_format import file

DATA = pathlib.Path(__file__).parent / "data"
FORMATS = ["zip", "zip_protocol4", "legacy"]


@pytest.fixture(params=FORMATS)
def mixed(request):
  return file.read(DATA / f"mixed_{request.param}.pt")


def test_tensors_of_every_type_and_stride_are_read(mixed):
  with np.load(DATA / "mixed_truth.npz") as truth:
    assert list(mixed["tensors"]) == truth.files
    for name in truth.files:
      found = mixed["tensors"][name]
      assert found.dtype == truth[name].dtype, name
      np.testing.assert_array_equal(found, truth[name], err_msg=name)


def test_plain_values_are_read(mixed):
  rest = {name: value for name, value in mixed.items() if name != "tensors"}
  half = rest["nested"]["list"].pop()
  np.testing.assert_array_equal(half[0], mixed["tensors"]["half"])
  assert rest == {
    "nested": {"list": [1, -2.5, "text é", None, True], "tuple": (2**70, (1,), ())},
    "size": (3, 4),
    "dtype": "float32",
    "numpy": 0.1,
    "device": "cpu",
    5: "five",
    "big": -(2**31),
  }


def test_tensors_of_one_storage_share_it_and_are_read_only(mixed):
  tensors = mixed["tensors"]
  assert np.shares_memory(tensors["shared_a"], tensors["shared_b"])
  assert np.shares_memory(tensors["transposed"], tensors["row"])
  assert not np.shares_memory(tensors["plain"], tensors["row"])
  assert not any(t.flags.writeable for t in tensors.values() if t.size)


def tree():
  rng = np.random.default_rng(0)
  return {
    "state": collections.OrderedDict(
      transposed=rng.normal(size=(3, 4)).astype(np.float32).T,
      empty=np.zeros((0, 2), np.float16),
      count=np.array(3),
      flags=np.array([True, False]),
      swapped=np.arange(3, dtype=">f8"),
    ),
    "values": [0.1, None, True, "ü", (1, -5, 2**40, -(2**70)), {}, [], ()],
    256: np.arange(4, dtype=np.uint8),
  }


def test_what_is_written_is_read_back(tmp_path):
  file.write(tmp_path / "tree.pt", tree())
  found, wanted = file.read(tmp_path / "tree.pt"), tree()
  assert isinstance(found["state"], collections.OrderedDict)
  assert found["values"] == wanted["values"]
  arrays = {**wanted["state"], "bytes": wanted[256]}
  for name, array in {**found["state"], "bytes": found[256]}.items():
    assert array.dtype == arrays[name].dtype.newbyteorder("<"), name
    np.testing.assert_array_equal(array, arrays[name], err_msg=name)


def test_bfloat16_is_read_as_float32(tmp_path):
  numbers = np.array([1.5, -2.0], ml_dtypes.bfloat16)
  file.write(tmp_path / "b.pt", {"b": numbers})
  found = file.read(tmp_path / "b.pt")["b"]
  assert found.dtype == np.float32 and found.tolist() == [1.5, -2.0]


def test_the_same_tree_gives_the_same_bytes(tmp_path):
  for name in ("a.pt", "b.pt"):
    file.write(tmp_path / name, tree())
  assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (np.zeros(2, np.complex64), "complex64"),
    (np.array(["a"]), "<U1"),
    ({1, 2}, "type set"),
    ({(1, 2): 3}, r"key \(1, 2\)"),
  ],
)
def test_what_has_no_place_in_a_file_is_refused(tmp_path, value, message):
  with pytest.raises(ValueError, match=message):
    file.write(tmp_path / "x.pt", {"a": value})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.pt", b"", "is empty"),
    ("a.pt", b"<!DOCTYPE html><html>404</html>", "web page"),
    ("a.pt", b"not found\n", "is text that begins 'not found"),
    ("a.pt", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ("a.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "safetensors"),
    ("a.pt", b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}', "safetensors"),
    ("a.pt", b"\x1f\x8b\x08rest", "compressed"),
    ("a.pt", b"\x80\x04N.", "a pickle, but not one of torch.save"),
    ("a.pt", b"\x89HDF\r\n", "HDF5"),
    ("a.pt", b"\xff\xfe\0\1", "unknown kind"),
    ("a.pt", b"PK\x03\x04 and no more", "cut short or damaged"),
  ],
)
def test_other_files_are_told_by_what_they_are(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=f"{name}: .*{message}.*torch.save wrote"):
    file.read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"a\.pt: no such file"):
    file.read(tmp_path / "a.pt")


def archive(path, members, **kwargs):
  with zipfile.ZipFile(path, "w", **kwargs) as out:
    for name, content in members.items():
      out.writestr(name, content)


@pytest.mark.parametrize(
  ("members", "kwargs", "message"),
  [
    ({"m/data.pkl": b"N.", "m/constants.pkl": b"N."}, {}, "TorchScript"),
    ({"m/data.pkl": b"N.", "m/code/__torch__.py": b""}, {}, "TorchScript"),
    ({"points.npy": b"", "x.npy": b""}, {}, "zip archive of points.npy, x.npy"),
    ({"m/data.pkl": b"N." + b" " * 99}, {"compression": 8}, "compressed"),
    ({"m/data.pkl": b"N.", "m/byteorder": b"big"}, {}, "big-endian"),
    ({}, {}, "empty zip"),
  ],
)
def test_other_zip_archives_are_told_by_what_they_are(
  tmp_path, members, kwargs, message
):
  archive(tmp_path / "a.pt", members, **kwargs)
  with pytest.raises(ValueError, match=message):
    file.read(tmp_path / "a.pt")


def test_a_zip_whose_members_overlap_is_refused(tmp_path):
  """Many names for the same bytes would unpack to more than the file holds."""
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as made:
    made.writestr("m/data.pkl", b"N.")
    made.writestr("m/data/0", bytes(1000))
    for i in range(1, 9):
      twin = made.getinfo("m/data/0")
      copy = zipfile.ZipInfo(f"m/data/{i}")
      for field in ("header_offset", "CRC", "file_size", "compress_size"):
        setattr(copy, field, getattr(twin, field))
      made.filelist.append(copy)
  (tmp_path / "a.pt").write_bytes(out.getvalue())
  with pytest.raises(ValueError, match=r"members claim \d+ bytes"):
    file.read(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["mixed_zip", "mixed_legacy"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, name):
  whole = (DATA / f"{name}.pt").read_bytes()
  for length in range(1, len(whole), 61):
    (tmp_path / "cut.pt").write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r"cut\.pt: "):
      file.read(tmp_path / "cut.pt")
