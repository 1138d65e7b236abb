"""README and docs: links lead somewhere, code runs, commands are understood."""

import pathlib
import re
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
import trimesh
from absl.testing import flagsaver

import main
import occnet_jax
from data_prep import cli as prepare_cli
from occnet_jax.cli import config_table, occnet, recipes
from occnet_jax.interop import exports
from tests.helpers import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
PATH = re.compile(r"(?<![\w/.])((?:configs|notebooks|tests|docs)/[\w/]+\.\w+)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page):
  """The anchors of a page's headings, as GitHub makes them."""
  headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
  plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
  return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
  for path, anchor in LINK.findall(page.read_text()):
    target = page.parent / path if path else page
    assert target.exists(), path
    assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_and_modules_that_commands_name_exist(page):
  text = page.read_text()
  for path in PATH.findall(text):
    # NAME, MODEL and X stand for names.
    assert (ROOT / path).exists() or pathlib.Path(path).stem.isupper(), path
  for module in re.findall(r"python -m ((?:benchmarks|data_prep|tests)[\w.]*\w)", text):
    path = ROOT / module.replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").exists(), module


def test_every_page_of_the_documents_is_named_in_the_readme():
  text = (ROOT / "README.md").read_text()
  assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in text] == []
  assert len(text.splitlines()) <= 150
  nav = (ROOT / "docs" / "mkdocs.yml").read_text().partition("\nnav:")[2]
  assert [page.name for page in PAGES[1:] if f"- {page.name}\n" not in nav] == []


def python_blocks(page):
  return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/reconstruct.md"])
def test_the_python_of_the_pages_runs_as_it_stands(
  page, tiny_run, tmp_path, monkeypatch
):
  """In order, in one namespace, with a small run where the page has one."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "runs").mkdir()
  for name in ("mine", "quickstart"):
    (tmp_path / "runs" / name).symlink_to(tiny_run)
  rng = np.random.default_rng(0)
  cloud = rng.standard_normal((40, 3))
  trimesh.PointCloud(cloud).export(tmp_path / "scan.ply")
  clouds = 0.4 * rng.standard_normal((2, 32, 3)).clip(-1, 1).astype(np.float32)
  names = {"cloud": cloud, "clouds": clouds, "points": clouds}
  blocks = python_blocks(page)
  assert blocks
  for block in blocks:
    exec(block, names)
  assert names["logits"].shape == (2, 32)
  assert names["mesh"].is_watertight and np.ptp(names["mesh"].bounds) > 0.5


def test_exported_files_alone_give_the_mesh(tiny_run, tmp_path, monkeypatch):
  for name in ("onnx", "onnxruntime"):
    pytest.importorskip(name, reason="the extra onnx is missing")
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  cloud = rng.standard_normal((32, 3)) * [30, 20, 10] + [100, 0, 0]
  np.savetxt("scan.xyz", cloud)
  for form in ("stablehlo", "onnx"):
    exports.write(tmp_path / "exported", form, *network_of(tiny_run))
  names, blocks = {}, python_blocks("docs/export.md")
  assert len(blocks) == 2
  for block in blocks:
    assert "occnet_jax" not in block
    exec(block, names)
  model = occnet_jax.restore(tiny_run)
  expected = model.decode(model.encode(names["inputs"]), names["nodes"][None, :2048])
  np.testing.assert_allclose(names["values"], expected, atol=1e-4)
  mesh, own = names["mesh"], model.reconstruct(cloud)
  assert mesh.is_watertight and mesh.volume > 0
  np.testing.assert_allclose(mesh.bounds, own.bounds, atol=0.1 * own.extents.max())


def test_the_extractor_of_the_page_finds_a_ball():
  names = {
    "my_network_apply": lambda params, points: params - (points**2).sum(-1),
    "params": jax.numpy.float32(0.16),
    "mesh": None,
  }
  page, trials = python_blocks("docs/extract.md")
  exec(page.replace('mesh.export("mesh.glb")', ""), names)
  assert names["mesh"].volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=1e-3)
  exec(trials, names)
  assert names["report"].missed_boxes.shape == (0, 2, 3)


def commands():
  """Every line of a block that calls a program of ours, continued lines joined."""
  for page in PAGES:
    for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL):
      for line in block.replace("\\\n", " ").splitlines():
        line = line.partition("  #")[0]
        if re.match(r"(occnet|python main\.py|python -m data_prep) ", line):
          yield line


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_of_the_pages_is_understood(line, monkeypatch):
  """Its flags, and the fields of its config with their values."""
  monkeypatch.chdir(ROOT)
  program, *args = shlex.split(line)
  if program == "occnet":
    plain = [arg for arg in args if not recipes.is_override(arg)]
    arguments, unknown = occnet.make_parser().parse_known_args(plain)
    assert unknown == []
    recipe = getattr(arguments, "config", None) or "own_data"
    recipes.load(recipe, [arg for arg in args if arg not in plain])
  elif args[0] == "main.py":
    monkeypatch.setattr(sys, "argv", args)
    with flagsaver.flagsaver():
      assert main.parse(args) == ["main.py"]
  else:
    arguments = prepare_cli._parser().parse_args(args[2:])
    prepare_cli.parse_settings(arguments.set)


def test_the_site_has_every_page_command_and_field(tmp_path):
  for name in ("material", "mkdocstrings"):
    pytest.importorskip(name, reason="the extra docs is missing")
  build = [sys.executable, str(ROOT / "docs" / "build.py"), str(tmp_path / "site")]
  done = subprocess.run(build, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  site = tmp_path / "site"
  pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
  assert {f"{page.stem}.html" for page in PAGES[1:]} <= pages
  text = {page: (site / page).read_text() for page in pages}
  del text["404.html"]  # a server's
  for page, content in text.items():  # opens without a network
    loaded = re.findall(r"<(?:script|img)[^>]* src=\"?([^\">\s]*)", content)
    loaded += re.findall(
      r"<link[^>]* rel=\"?stylesheet[^>]* href=\"?([^\">\s]*)", content
    )
    assert loaded and not [address for address in loaded if "//" in address]
    for address in loaded:
      assert (site / page).parent.joinpath(address.partition("?")[0]).exists(), address
  for command in ("train", "reconstruct", "export", "config"):
    assert f"occnet {command} [-h]" in text["reference/cli.html"]
  for row in config_table.rows("base"):
    assert f"<code>{row.name}</code>" in text["reference/config.html"]
  for name in ("restore", "extract_mesh", "reconstruct_scene", "chamfer_l1"):
    assert name in text["reference/api.html"]


def network_of(run):
  model = occnet_jax.restore(run)
  return model.method, model.variables, model.config
