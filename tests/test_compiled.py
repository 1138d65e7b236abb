import os
import pathlib

from occnet_jax import compiled


def test_a_place_is_made_for_this_processor_and_compiler(monkeypatch, tmp_path):
  monkeypatch.delenv(compiled.VARIABLE, raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  compiled.keep()
  path = pathlib.Path(os.environ[compiled.VARIABLE])
  assert path.is_dir()
  assert path.is_relative_to(tmp_path)


def test_what_the_user_chose_stays(monkeypatch):
  monkeypatch.setenv(compiled.VARIABLE, "")
  compiled.keep()
  assert os.environ[compiled.VARIABLE] == ""


def test_a_home_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
  (tmp_path / "file").write_text("")
  monkeypatch.delenv(compiled.VARIABLE, raising=False)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  compiled.keep()
  assert compiled.VARIABLE not in os.environ
