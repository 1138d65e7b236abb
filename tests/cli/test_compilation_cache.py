"""The directory of compiled programs: chosen, bounded, or left out."""

import importlib.util
import os
import pathlib

import pytest

from occnet_jax import kept_programs
from occnet_jax.cli import process


@pytest.fixture(autouse=True)
def no_settings_of_others(monkeypatch):
  for name in (
    process.CACHE_VARIABLE,
    process.CACHE_SIZE_VARIABLE,
    process.KEPT_VARIABLE,
  ):
    monkeypatch.setenv(name, "")  # so that monkeypatch removes what a test sets
    monkeypatch.delenv(name)


def test_a_directory_is_made_for_this_processor_and_compiler(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  process.enable_compilation_cache()
  path = pathlib.Path(os.environ[process.CACHE_VARIABLE])
  assert path.is_dir()
  assert path.is_relative_to(tmp_path)
  kept = pathlib.Path(os.environ[kept_programs.VARIABLE])
  assert kept.is_relative_to(tmp_path) and path.name in kept.name and kept != path


def test_a_setting_of_the_user_stays(monkeypatch):
  monkeypatch.setenv(process.CACHE_VARIABLE, "")
  process.enable_compilation_cache()
  assert os.environ[process.CACHE_VARIABLE] == ""
  assert process.CACHE_SIZE_VARIABLE not in os.environ
  assert process.KEPT_VARIABLE not in os.environ


def test_a_home_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  process.enable_compilation_cache()
  assert process.CACHE_VARIABLE not in os.environ


def test_a_user_without_a_home_has_no_cache(monkeypatch):
  monkeypatch.delenv("HOME")
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
  monkeypatch.setattr(os, "getuid", lambda: 12345)  # has no entry in the user list
  process.enable_compilation_cache()
  assert process.CACHE_VARIABLE not in os.environ


def test_an_empty_cache_home_is_none(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("XDG_CACHE_HOME", "")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  process.enable_compilation_cache()
  path = pathlib.Path(os.environ[process.CACHE_VARIABLE])
  assert path.is_relative_to(tmp_path / "home" / ".cache")


@pytest.mark.parametrize("installed", [True, False])
def test_the_cache_is_bounded_where_jax_can_bound_it(monkeypatch, tmp_path, installed):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
  process.enable_compilation_cache()
  bound = str(process.CACHE_BYTES) if installed else None
  assert os.environ.get(process.CACHE_SIZE_VARIABLE) == bound


def test_a_bound_of_the_user_stays(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.setenv(process.CACHE_SIZE_VARIABLE, "1000")
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  process.enable_compilation_cache()
  assert os.environ[process.CACHE_SIZE_VARIABLE] == "1000"
