import os
import pathlib

from occnet_jax.cli import process


def test_a_place_is_made_for_this_processor_and_compiler(monkeypatch, tmp_path):
  monkeypatch.delenv(process.VARIABLE, raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  process.enable_compilation_cache()
  path = pathlib.Path(os.environ[process.VARIABLE])
  assert path.is_dir()
  assert path.is_relative_to(tmp_path)


def test_what_the_user_chose_stays(monkeypatch):
  monkeypatch.setenv(process.VARIABLE, "")
  process.enable_compilation_cache()
  assert os.environ[process.VARIABLE] == ""


def test_a_home_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
  (tmp_path / "file").write_text("")
  monkeypatch.delenv(process.VARIABLE, raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  process.enable_compilation_cache()
  assert process.VARIABLE not in os.environ
