"""The direction of imports, as the README draws it, and what must not be imported."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# A module imports from its own level or from lower ones.
LEVELS = {
  "occnet_jax.allocator": 0,
  "occnet_jax.compiled": 0,
  "occnet_jax.files": 0,
  "occnet_jax.history": 0,
  "occnet_jax.types": 0,
  "occnet_jax.geometry": 1,
  "occnet_jax.nn": 2,
  "occnet_jax.losses": 2,
  "occnet_jax.models": 3,
  "occnet_jax.data": 3,
  "occnet_jax.train": 4,
  "occnet_jax.extract": 4,
  "occnet_jax.evaluation": 5,
  "occnet_jax.interop": 1,
  "occnet_jax.api": 6,
  "data_prep": 6,
  "occnet_jax.pictures": 7,
  "occnet_jax.reconstruct": 7,
  "occnet_jax.stages": 7,
  "occnet_jax.samples": 7,
  "occnet_jax.snapshots": 7,
  "occnet_jax.exchange": 7,
  "main": 8,
}
APART = [  # neighbours of one level that do not know each other
  ("occnet_jax.nn", "occnet_jax.losses"),
  ("occnet_jax.models", "occnet_jax.data"),
  ("occnet_jax.train", "occnet_jax.extract"),
  ("occnet_jax.train", "occnet_jax.interop"),
]
MODULES = [
  *ROOT.glob("occnet_jax/**/*.py"),
  *ROOT.glob("data_prep/**/*.py"),
  ROOT / "main.py",
]


def name_of(path):
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path):
  """Every module and name that a file imports, at the top or within a function."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module):
  """The entry of LEVELS that a module belongs to, or None."""
  found = [p for p in LEVELS if module == p or module.startswith(f"{p}.")]
  return max(found, key=len, default=None)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
  own = part_of(name_of(path))
  if own is None:
    assert name_of(path) == "occnet_jax"  # the package itself loads its API by name
    return
  for module in imported(path):
    other = part_of(module)
    if other is None or other == own:
      continue
    assert LEVELS[other] <= LEVELS[own], f"{own} imports {module}"
    for pair in APART:
      assert {own, other} != set(pair), f"{own} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_imports_tensorflow_or_configs(path):
  for module in imported(path):
    assert module.split(".")[0] not in ("tensorflow", "configs", "clu"), module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_data_prep_knows_host_geometry_only(path):
  if not name_of(path).startswith("data_prep"):
    return
  for module in imported(path):
    assert module.split(".")[0] not in ("jax", "flax", "optax", "orbax"), module
    if module.startswith("occnet_jax."):
      assert part_of(module) in ("occnet_jax.geometry", "occnet_jax.files"), module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_step_names_a_device_axis(path):
  if path.name == "step.py":
    return
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called not in ("jax.pmap", "pmap", "jax.shard_map"), called


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_short(path):
  assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize(
  ("program", "absent"),
  [
    ("import occnet_jax", {"jax"}),
    ("import occnet_jax; occnet_jax.restore", {"tensorflow"}),
    (  # the extractor stands without networks and data
      "import occnet_jax; occnet_jax.extract_mesh; occnet_jax.audit",
      {"flax", "optax", "grain", "tensorflow_datasets"},
    ),
  ],
)
def test_an_import_takes_no_flags_prints_nothing_and_brings_no_more(program, absent):
  program = f"from absl import flags; {program}; import sys; print(*sys.modules)"
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.count("\n") == 1 and done.stderr == ""
  assert not absent & set(done.stdout.split())
