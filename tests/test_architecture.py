"""The direction of imports, as docs/design.md has it, and what must not be imported."""

import ast
import functools
import subprocess
import sys

import pytest

from tests.helpers import ROOT

# A module imports from its own level or from lower ones.
LEVELS = {
  "occnet_jax.types": 0,
  "occnet_jax.version": 0,
  "occnet_jax.config": 0,
  "occnet_jax.migration": 0,
  "occnet_jax.files": 0,
  "occnet_jax.kept_programs": 0,
  "occnet_jax.ranges": 0,
  "occnet_jax.unreadable": 0,
  "occnet_jax.pretrained": 0,
  "occnet_jax.geometry": 1,
  "occnet_jax.nn": 2,
  "occnet_jax.losses": 2,
  "occnet_jax.models": 3,
  "occnet_jax.data": 3,
  "occnet_jax.train": 4,
  "occnet_jax.extract": 4,
  "occnet_jax.evaluation": 5,
  "occnet_jax.interop": 6,
  "occnet_jax.trained_model": 7,
  "occnet_jax.api": 7,
  "occnet_jax.viz": 8,
  "occnet_jax.plotting": 9,
  "occnet_jax.cli": 9,
  "occnet_jax.__main__": 10,
  "main": 10,
}
APART = [  # neighbours of one level that do not know each other
  ("occnet_jax.nn", "occnet_jax.losses"),
  ("occnet_jax.models", "occnet_jax.data"),
  ("occnet_jax.train", "occnet_jax.extract"),
]
DATA_PREP_MAY_IMPORT = (
  "occnet_jax.geometry",
  "occnet_jax.files",
  "occnet_jax.unreadable",
)
MAY_IMPORT_DATA_PREP = ("occnet_jax.cli.stages",)
MODULES = [
  *ROOT.glob("occnet_jax/**/*.py"),
  *ROOT.glob("data_prep/**/*.py"),
  ROOT / "main.py",
]


def name_of(path):
  parts = path.relative_to(ROOT).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported(path):
  """Every module and name that a file imports, at the top or within a function."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
  return names


def part_of(module):
  """The entry of LEVELS that a module belongs to, or None."""
  parts = [p for p in LEVELS if module == p or module.startswith(f"{p}.")]
  return max(parts, key=len, default=None)


def files_imported():
  """The files that each file imports: {module: modules}."""
  names = {name_of(path) for path in MODULES}
  graph = {}
  for path in MODULES:
    own, modules = name_of(path), set()
    statements = [
      node
      for node in ast.walk(ast.parse(path.read_text()))
      if isinstance(node, ast.ImportFrom)
    ]
    for node in statements:
      for alias in node.names:  # a module of a package, or else a name in a module
        module = f"{node.module}.{alias.name}"
        modules.add(module if module in names else node.module)
    graph[own] = {module for module in modules if module in names} - {own}
  return graph


def find_cycle(graph):
  """A list of modules, each of which imports the next, that ends where it starts."""
  done, trail = set(), []

  def visit(module):
    if module in trail:
      return [*trail[trail.index(module) :], module]
    if module in done:
      return None
    trail.append(module)
    for other in sorted(graph[module]):
      if cycle := visit(other):
        return cycle
    done.add(trail.pop())
    return None

  return next((cycle for module in sorted(graph) if (cycle := visit(module))), None)


def test_no_files_import_each_other_in_a_circle():
  assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
  assert find_cycle(files_imported()) is None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
  own = part_of(name_of(path))
  if own is None:
    assert name_of(path) == "occnet_jax" or name_of(path).startswith("data_prep")
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
      assert part_of(module) in DATA_PREP_MAY_IMPORT, module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_prepare_stage_imports_data_prep(path):
  name = name_of(path)
  if not name.startswith("data_prep") and name not in MAY_IMPORT_DATA_PREP:
    assert not [m for m in imported(path) if m.split(".")[0] == "data_prep"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_but_the_package_knows_the_certificates(path):
  if "certify" not in path.parts and name_of(path) != "occnet_jax":
    assert not [m for m in imported(path) if m.startswith("occnet_jax.extract.certify")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_step_names_a_device_axis(path):
  if path.name == "step.py":
    return
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called not in ("jax.pmap", "pmap", "jax.shard_map"), called


# Rooms that may subscript a config, and those that may subscript config.model.
READS_CONFIG = ("occnet_jax.config", "occnet_jax.migration", "occnet_jax.cli")
READS_MODEL = (*READS_CONFIG, "occnet_jax.models", "occnet_jax.interop")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_config_is_read_at_the_edge_and_typed_below(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if not isinstance(node, ast.Subscript):
      continue
    source, name = ast.unparse(node), name_of(path)
    owner = ast.unparse(node.value).split("[")[0].split(".")[-1]
    if owner == "config":
      assert name.startswith(READS_CONFIG), source
    if owner == "model" and not source.endswith("['name']"):
      assert name.startswith(READS_MODEL) or "codes" in source, source


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
    (
      "import occnet_jax.cli.reconstruct, occnet_jax; occnet_jax.from_pretrained",
      {"grain", "tensorflow_datasets", "array_record"},
    ),
  ],
)
def test_an_import_takes_no_flags_prints_nothing_and_brings_no_more(program, absent):
  program = f"from absl import flags; {program}; import sys; print(*sys.modules)"
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert done.stdout.count("\n") == 1 and done.stderr == ""
  assert not absent & set(done.stdout.split())
