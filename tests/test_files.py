"""Atomic writes under an interruption at every single instruction."""

import contextlib
import gc
import os
import sys

import pytest

from occnet_jax import files


class Interrupter:
  """Raises KeyboardInterrupt at one of the instructions of a function's files.

  Args:
    at: number of the instruction, from 0.
    names: the files whose instructions count.
  """

  def __init__(self, at, names):
    self.left = at
    self.names = names

  def __call__(self, frame, event, arg):
    if frame.f_code.co_filename not in self.names:
      return None
    frame.f_trace_opcodes = True
    if event == "opcode":
      self.left -= 1
      if self.left == -1:
        raise KeyboardInterrupt
    return self

  @property
  def has_struck(self):
    return self.left < 0


def _interrupt_everywhere(function):
  """Calls a function again and again, each time with the next instruction cut off.

  Yields after each of the calls, and ends with the first that is not interrupted.
  """
  names = {files.__file__, contextlib.__file__, function.__code__.co_filename}
  gc.freeze()  # or each collection below walks through all that other tests left
  for at in range(100_000):
    interrupter = Interrupter(at, names)
    before = sys.gettrace()
    # Python 3.12 has events of instructions only if a frame asks for them beforehand.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(interrupter)
    try:
      function()
    except KeyboardInterrupt:
      pass
    finally:
      sys.settrace(before)
    gc.collect()
    yield
    if not interrupter.has_struck:
      break
  gc.unfreeze()


def test_an_interruption_anywhere_leaves_the_old_file_or_the_new_one(tmp_path):
  path = tmp_path / "a.txt"

  def write():
    with files.atomic_write(path) as scratch:
      scratch.write_text("new")

  contents = []
  for _ in _interrupt_everywhere(write):
    assert os.listdir(tmp_path) == (["a.txt"] if path.exists() else [])
    contents.append(path.read_text() if path.exists() else "none")
    path.write_text("old")
  assert set(contents) == {"none", "old", "new"} and contents[-1] == "new"
  assert len(contents) > 50


def test_an_interruption_anywhere_removes_a_scratch_directory(tmp_path):
  def use():
    with files.scratch_directory(tmp_path) as scratch:
      (scratch / "b").mkdir()
      (scratch / "b" / "c.txt").write_text("c")

  calls = 0
  for _ in _interrupt_everywhere(use):
    assert not os.listdir(tmp_path)
    calls += 1
  assert calls > 50


def test_a_failed_write_leaves_nothing(tmp_path):
  with (
    pytest.raises(OSError, match="disk"),
    files.atomic_write(tmp_path / "b" / "a.txt") as scratch,
  ):
    scratch.write_text("half")
    raise OSError("disk")
  assert not os.listdir(tmp_path / "b")


def test_an_error_of_the_system_names_the_file_that_was_asked_for(tmp_path):
  with (
    pytest.raises(IsADirectoryError, match=r"'.*/a\.ply'") as raised,
    files.atomic_write(tmp_path / "a.ply") as scratch,
  ):
    scratch.mkdir()
    try:
      scratch.write_bytes(b"")
    finally:
      scratch.rmdir()
  assert files.SCRATCH_PREFIX not in str(raised.value)


def test_scratch_of_killed_processes_is_removed_at_any_depth(tmp_path):
  (tmp_path / "a" / ".part-1").mkdir(parents=True)
  (tmp_path / "a" / ".part-1" / ".part-2.txt").touch()
  (tmp_path / ".part-3.ply").touch()
  (tmp_path / "a" / "kept.txt").touch()
  files.remove_scratch(tmp_path)
  assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["kept.txt"]


def test_settings_that_differ_are_named_with_both_values():
  before = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": 0.5}
  now = {"a": 1, "b": {"c": [1, 3], "d": "x", "f": True}, "e": 0.5}
  assert files.describe_changes(before, before) == {}
  assert files.describe_changes(before, now) == {
    "b.c": "b.c is [1, 3], there [1, 2]",
    "b.f": "b.f is True, there None",
  }


def test_the_home_directory_stands_for_a_tilde_where_a_path_begins(monkeypatch):
  monkeypatch.setenv("HOME", "/home/me")
  given = {
    "a": "~/x",
    "b": ["folder:~/m", "rooms:folder:~/m", "rooms:synthetic"],
    "c": (("~", 3), None, 0.5),
    "d": {"e": "a~/b", "f": "run~"},
  }
  assert files.expand_home(given) == {
    "a": "/home/me/x",
    "b": ["folder:/home/me/m", "rooms:folder:/home/me/m", "rooms:synthetic"],
    "c": (("/home/me", 3), None, 0.5),
    "d": {"e": "a~/b", "f": "run~"},
  }


def test_names_of_any_bytes_can_be_shown_and_those_of_utf_8_be_stored():
  name = os.fsdecode(b"caf\xe9/st\xc3\xbchle")
  assert files.printable(name) == "caf\ufffd/stühle"
  files.check_utf_8("stühle/椅子")
  with pytest.raises(ValueError, match="caf\ufffd/stühle: its name is no UTF-8"):
    files.check_utf_8(name)
