"""Compiled programs that one process keeps for the next."""

import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from occnet_jax import kept_programs

# Prints how often the function was traced, and its result.
PROGRAM = """
import sys
import jax
import numpy as np
from occnet_jax import kept_programs

traces = []

def add(a, b):
  traces.append(a)
  return {"sum": a["x"] + b}

name, size = sys.argv[1], int(sys.argv[2])
function = kept_programs.Named(add, name) if name else add
arguments = {"x": np.arange(size, dtype=np.float32)}, np.float32(2)
compiled = jax.jit(function)
for _ in range(2):
  result = kept_programs.call(compiled, *arguments)
recalled = kept_programs.recall(f"number of {name}", lambda: traces.append(0) or 7)
print(len(traces), result["sum"].tolist(), recalled)
"""


def environment(folder, **more):
  kept = {} if folder is None else {kept_programs.VARIABLE: str(folder)}
  return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **kept, **more}


def run(folder, name="add", size=3, **more):
  argv = [sys.executable, "-c", PROGRAM, name, str(size)]
  env = environment(folder, **more)
  done = subprocess.run(argv, capture_output=True, text=True, env=env)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  return done.stdout.strip()


TRACED, LOADED = "2 [2.0, 3.0, 4.0] 7", "0 [2.0, 3.0, 4.0] 7"


def test_a_second_process_loads_what_the_first_one_traced(tmp_path):
  folder = tmp_path / "new" / "programs"
  assert run(folder) == TRACED
  assert run(folder) == LOADED
  assert folder.stat().st_mode & 0o077 == 0  # it holds machine code


@pytest.mark.parametrize(
  "change",
  [
    {"name": "another"},
    {"size": 4},
    {"JAX_ENABLE_X64": "1"},
    {"XLA_FLAGS": "--xla_backend_optimization_level=0"},
  ],
  ids=str,
)
def test_another_function_form_or_setting_is_another_program(change, tmp_path):
  run(tmp_path)
  before = set(tmp_path.iterdir())
  assert run(tmp_path, **change).split()[0] in ("1", "2")
  assert before < set(tmp_path.iterdir())


def damage(content):
  half = len(content) // 2
  flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
  return {"empty": b"", "cut": content[:half], "flipped": flipped}


@pytest.mark.parametrize("kind", ["empty", "cut", "flipped"])
def test_a_damaged_file_is_made_anew(kind, tmp_path):
  run(tmp_path)
  for path in tmp_path.iterdir():
    path.write_bytes(damage(path.read_bytes())[kind])
  assert run(tmp_path) == TRACED
  assert run(tmp_path) == LOADED


def test_a_function_without_a_name_is_traced_by_every_process(tmp_path):
  for recalled in (1, 0):
    assert run(tmp_path, name="").split()[0] == str(1 + recalled)


def test_without_a_folder_or_one_that_can_be_written_nothing_is_kept(tmp_path):
  assert run(None) == TRACED
  (tmp_path / "file").write_text("")
  assert run(tmp_path / "file") == TRACED
  assert not (tmp_path / "file").read_text()


def test_programs_of_jaxs_own_cache_do_not_lose_functions(tmp_path):
  # A program that came from this cache would be written without some of them.
  cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax")}
  cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  assert run(None, **cache) == TRACED
  assert any((tmp_path / "jax").iterdir())
  assert run(tmp_path / "kept", **cache) == TRACED
  assert run(tmp_path / "kept", **cache) == LOADED


def test_the_least_recently_used_are_removed(tmp_path, monkeypatch):
  monkeypatch.setenv(kept_programs.VARIABLE, str(tmp_path))
  monkeypatch.setattr(kept_programs, "MAX_FILES", 3)
  for number in range(5):
    kept_programs._write(f"number {number}", number)
    os.utime(kept_programs._path(f"number {number}"), (number, number))
  assert kept_programs._read("number 2") == 2  # which is now the newest
  kept_programs._write("number 5", 5)
  kept = [kept_programs._read(f"number {number}") for number in range(6)]
  assert kept == [None, None, 2, None, 4, 5]


def test_a_second_call_of_the_command_makes_the_same_mesh_of_kept_programs(tmp_path):
  ball = trimesh.creation.icosphere(3, 0.4).vertices
  np.savetxt(tmp_path / "ball.xyz", ball[:600])
  env = environment(None, XDG_CACHE_HOME=str(tmp_path / "cache"))
  env["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
  env.pop("JAX_COMPILATION_CACHE_DIR")
  stamps = []
  for name in ("a.ply", "b.ply"):
    argv = [sys.executable, "-m", "occnet_jax", "reconstruct", "ball.xyz"]
    argv += ["-o", name, "--resolution=32"]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = tmp_path.glob("cache/occnet-jax/programs-*/*")
    stamps.append({path.name: path.stat().st_ino for path in files})
  # Forms of the variables and of the decoder, and programs of encoder and decoder.
  assert len(stamps[0]) == 4 and stamps[0] == stamps[1]
  assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()
