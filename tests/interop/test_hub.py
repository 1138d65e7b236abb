"""Where pretrained models are looked for: the package, the disk, the hub."""

import os
import pathlib
import shutil
import subprocess
import sys
import types

import pytest

import occnet_jax
from occnet_jax import pretrained
from occnet_jax.interop import hub
from tests.helpers import ROOT
from tests.helpers.pretrained import make_model


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
  directory = tmp_path_factory.mktemp("model") / "small"
  make_model().save_pretrained(directory)
  return directory


@pytest.fixture(autouse=True)
def packaged(tmp_path, monkeypatch, model_directory):
  """The package has one model, scan, and the current directory is empty."""
  shutil.copytree(model_directory, tmp_path / "package" / "scan")
  (tmp_path / "package" / "__pycache__").mkdir()
  (tmp_path / "here").mkdir()
  monkeypatch.setattr(pretrained, "DIRECTORY", tmp_path / "package")
  monkeypatch.chdir(tmp_path / "here")
  return tmp_path / "package"


def put_hub(monkeypatch, snapshot_download):
  fake = types.ModuleType("huggingface_hub")
  fake.snapshot_download = snapshot_download
  monkeypatch.setitem(sys.modules, "huggingface_hub", fake)


def test_a_packaged_name_comes_before_a_directory_but_not_before_a_path(packaged):
  model = make_model()
  model.record["step"] = 77
  model.save_pretrained("scan")
  assert hub.find("scan") == packaged / "scan"
  assert occnet_jax.from_pretrained("scan").record["step"] == 12
  for path in ("./scan", pathlib.Path("scan"), hub.find("./scan")):
    assert hub.find(path) == pathlib.Path.cwd() / "scan"
    assert occnet_jax.from_pretrained(path).record["step"] == 77


def test_a_directory_is_itself(model_directory):
  assert hub.find(model_directory) == model_directory
  assert hub.find(str(model_directory)) == model_directory
  assert occnet_jax.from_pretrained(model_directory).record["step"] == 12


@pytest.mark.parametrize(
  "name", ["skan", "../package/skan", "a/b/c", "owner/", "/etc/nowhere", "a b/c"]
)
def test_an_unknown_name_says_which_there_are(name):
  with pytest.raises(
    ValueError, match=r"no such model; packaged models: scan; or name"
  ):
    occnet_jax.from_pretrained(name)


def test_a_package_without_models_says_so(packaged):
  shutil.rmtree(packaged / "scan")
  with pytest.raises(ValueError, match="scan: no such model; packaged models: none in"):
    occnet_jax.from_pretrained("scan")


def test_a_repository_is_downloaded_in_three_files(monkeypatch, model_directory):
  calls = []

  def snapshot_download(repository, *, allow_patterns):
    calls.append((repository, sorted(allow_patterns)))
    return str(model_directory)

  put_hub(monkeypatch, snapshot_download)
  assert occnet_jax.from_pretrained("some-body/chairs_1.0").record["step"] == 12
  files = ["README.md", "config.json", "model.safetensors"]
  assert calls == [("some-body/chairs_1.0", files)]


def test_without_the_package_of_the_hub_a_sentence_says_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # import raises
  with pytest.raises(
    ValueError,
    match=r"owner/repo: no such directory; .*: pip install 'occnet-jax\[hub\]'",
  ):
    occnet_jax.from_pretrained("owner/repo")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
  def snapshot_download(repository, **options):
    raise RuntimeError("404 Client Error\nRequest ID: 1\nRepository Not Found")

  put_hub(monkeypatch, snapshot_download)
  with pytest.raises(
    ValueError, match=r"does not give it \(RuntimeError: 404 Client Error\); check the"
  ) as raised:
    occnet_jax.from_pretrained("owner/repo")
  assert "\n" not in str(raised.value)


def cache_of_the_hub(home, repository, directory):
  """A snapshot in the cache, as the hub's own documentation describes its layout."""
  folder = home / "hub" / f"models--{repository.replace('/', '--')}"
  revision = "0123456789abcdef0123456789abcdef01234567"
  shutil.copytree(directory, folder / "snapshots" / revision)
  (folder / "refs").mkdir()
  (folder / "refs" / "main").write_text(revision)


@pytest.mark.parametrize(
  "network", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_a_cached_model_needs_no_network(tmp_path, model_directory, network):
  home = tmp_path / "home"
  cache_of_the_hub(home, "owner/repo", model_directory)
  program = "import occnet_jax, sys; m = occnet_jax.from_pretrained(sys.argv[1])"
  program += "; print(m.record['step'])"
  environment = os.environ | {"HF_HOME": str(home)} | network
  environment.pop("HF_HUB_CACHE", None)

  def load(repository):
    return subprocess.run(
      [sys.executable, "-c", program, repository],
      capture_output=True,
      text=True,
      cwd=ROOT,
      env=environment,
    )

  done = load("owner/repo")
  assert done.stdout == "12\n", done.stderr
  assert "does not give it" in load("owner/other").stderr
