"""The wheel: what it holds, and that it works where there is no clone.

It is built once from this tree, unpacked beside it, and run in an empty folder.
"""

import email
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest
import trimesh
import yaml
from packaging.requirements import Requirement

import occnet_jax
from tests.helpers import ROOT
from tests.helpers.pretrained import make_cloud

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def wheel(made_once):
  """The file of the wheel, and the folder in which it is unpacked."""

  def make(folder):
    subprocess.run(
      [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
      cwd=ROOT,
      check=True,
      capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
      archive.extractall(folder / "unpacked")

  folder = made_once("wheel", make)
  return next(folder.glob("*.whl")), folder / "unpacked"


@pytest.fixture(scope="session")
def metadata(wheel):
  (path,) = wheel[1].glob("*.dist-info/METADATA")
  return email.message_from_string(path.read_text(encoding="utf-8"))


def files_below(folder):
  paths = {path for path in folder.rglob("*") if path.is_file()}
  return {
    path.relative_to(folder).as_posix()
    for path in paths
    if "__pycache__" not in path.parts
  }


@pytest.fixture
def call(wheel, tmp_path):
  """A function that runs the wheel's command in an empty folder."""

  def run(*args, program="-m occnet_jax"):
    env = {**os.environ, "PYTHONPATH": str(wheel[1]), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *program.split(), *map(str, args)]
    done = subprocess.run(
      command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

  return run


def test_the_wheel_has_every_file_of_the_packages_and_the_configs(wheel):
  _, unpacked = wheel
  for name in ("occnet_jax", "data_prep"):
    assert files_below(ROOT / name) <= files_below(unpacked / name)
  shipped = unpacked / "occnet_jax" / "shipped" / "configs"
  assert files_below(ROOT / "configs") == files_below(shipped)
  top = {path.name for path in unpacked.iterdir()}
  assert top == {
    *("occnet_jax", "data_prep"),
    f"occnet_jax-{occnet_jax.__version__}.dist-info",
  }
  assert (unpacked / "occnet_jax" / "py.typed").exists()


def test_the_metadata_name_version_licence_and_extras(metadata):
  assert metadata["Name"] == "occnet-jax"
  assert metadata["Version"] == occnet_jax.__version__
  assert metadata["License-Expression"] == "MIT"
  assert len(metadata.get_all("License-File")) == 3
  extras = set(metadata.get_all("Provides-Extra"))
  assert extras == set(PROJECT["optional-dependencies"])
  assert {
    *(
      "beam",
      "bench",
      "dae",
      "dask",
      "demo",
      "docs",
      "draco",
      "e57",
      "exr",
      "gpu",
      "hub",
    ),
    *("medical", "notebook", "onnx", "scans", "test"),
  } <= extras
  assert PROJECT["scripts"] == {"occnet": "occnet_jax.cli.occnet:main"}


def test_what_is_required_is_the_list_of_the_requirements_file(metadata):
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  listed = {str(Requirement(line.split(" #")[0])) for line in lines if line[0] != "#"}
  required = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
  plain = {str(r) for r in required if "extra ==" not in str(r.marker)}
  assert {re.sub(r"[_-]", "-", text.lower()) for text in plain} == {
    re.sub(r"[_-]", "-", text.lower()) for text in listed
  }
  assert all(r.specifier for r in required if r.name != "occnet-jax")


@pytest.mark.parametrize(
  ("python", "machine", "system", "needed"),
  [
    ("3.11", "x86_64", "linux", {"pymcubes", "embreex"}),
    ("3.13", "x86_64", "linux", {"embreex"}),
    ("3.11", "aarch64", "linux", set()),
    ("3.12", "arm64", "darwin", {"pymcubes", "embreex"}),
  ],
)
def test_only_what_has_a_wheel_is_required(metadata, python, machine, system, needed):
  """As the package index had them in November 2026."""
  environment = {
    "python_version": python,
    "platform_machine": machine,
    "sys_platform": system,
    "extra": "",
  }
  required = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
  names = {
    r.name.lower() for r in required if not r.marker or r.marker.evaluate(environment)
  }
  assert names & {"pymcubes", "embreex"} == needed and "jax" in names


def test_recipes_are_found_without_a_clone(wheel, call, tmp_path):
  text = call("config", "onet:image")
  assert "model.encoder = 'resnet18'" in text
  code = (
    "from occnet_jax.cli import recipes; recipes.load('quickstart');"
    "import configs.base; print(configs.base.__file__)"
  )
  path = tmp_path / "where.py"
  path.write_text(code)
  assert pathlib.Path(call(path, program="").strip()).is_relative_to(wheel[1])


SMALL = {
  "prep.points": 400,
  "prep.surface_points": 300,
  "prep.near_points": 100,
  "prep.workers": 1,
  "prep.test_fraction": 0.2,
  "prep.val_fraction": 0.2,
  "data.points": 64,
  "data.cloud_points": 32,
  "data.workers": 0,
  "model.encoder_hidden_size": 8,
  "model.c_dim": 8,
  "model.hidden_size": 8,
  "train.steps": 2,
  "train.batch_size": 4,
  "train.preview_shapes": 0,
  "optim.name": "adam",
  "optim.warmup_steps": 1,
  "val.points": 100,
}


def test_meshes_become_a_network_without_a_clone(call, tmp_path, write_meshes):
  write_meshes(tmp_path / "meshes", 5)
  options = [f"--config.{name}={value}" for name, value in SMALL.items()]
  call("prepare", "folder:meshes", "--out=data/mine", *options)
  assert (tmp_path / "data" / "mine" / "prepare_report.csv").exists()
  data = ["--config=own_data", "--data=data/mine"]
  call("train", *data, "--workdir=runs/mine", *options)
  assert (tmp_path / "runs" / "mine" / "checkpoints" / "best").exists()


def test_a_scan_becomes_a_mesh_without_a_clone(call, tmp_path):
  np.savetxt(tmp_path / "scan.xyz", make_cloud(500))
  call("reconstruct", "scan.xyz", "--resolution=16", "-o", "mesh.ply")
  mesh = trimesh.load(tmp_path / "mesh.ply")
  assert mesh.is_watertight
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * 0.4**3, rtol=0.1)


def test_the_packaged_networks_are_listed_without_a_clone(call):
  text = call("models")
  assert text.startswith("scan ") and "scan-partial" in text
  assert call("--version").strip() == f"occnet-jax {occnet_jax.__version__}"


@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_a_lock_has_every_requirement_at_a_version_that_it_allows(python):
  lines = (ROOT / "locks" / f"python-{python}.txt").read_text().splitlines()
  locked = dict(line.split(" ;")[0].split("==") for line in lines)
  for name in ("requirements.txt", "tests/requirements.txt"):
    for line in (ROOT / name).read_text().splitlines():
      if line.startswith("#"):
        continue
      requirement = Requirement(line.split(" #")[0])
      environment = {
        "python_version": python,
        "platform_machine": "x86_64",
        "sys_platform": "linux",
      }
      if requirement.marker and not requirement.marker.evaluate(environment):
        continue
      version = locked[re.sub(r"[_.]", "-", requirement.name.lower())]
      assert version in requirement.specifier, line


def test_the_citation_and_the_changelog_have_the_version():
  version = occnet_jax.__version__
  assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
  assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
  "path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name
)
def test_a_workflow_can_be_read_and_runs_what_there_is(path):
  workflow = yaml.safe_load(path.read_text())
  steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
  assert all("run" in step or "uses" in step for step in steps)
  targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
  for step in steps:
    for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
      assert target in targets
  assert "secrets." not in path.read_text()
