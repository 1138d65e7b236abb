"""The command `occnet` in this process, in a directory with a scan."""

import numpy as np
import pytest
import trimesh

from occnet_jax.cli import occnet
from tests.helpers.pretrained import install


def enter_directory(tmp_path, monkeypatch, model, scan):
  """A current directory with scan.xyz; the package has one model, scan."""
  install(model, tmp_path / "package", monkeypatch)
  folder = tmp_path / "here"
  folder.mkdir()
  np.savetxt(folder / "scan.xyz", scan)
  monkeypatch.chdir(folder)
  return folder


def run(*args):
  occnet.main([str(arg) for arg in args])


def failure(*args):
  """The sentence with which a command ends."""
  with pytest.raises(SystemExit) as ended:
    run(*args)
  message = ended.value.code
  assert isinstance(message, str) and "\n" not in message
  return message


def load(path):
  return trimesh.load(path, force="mesh", process=False)
