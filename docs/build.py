"""The documents as a site that opens from a disk: python docs/build.py site (host).

Pages of docs/ are taken as they are; docs/notebooks.py wrote those of notebooks. The
first one is the README; the references of the command, of the configs and of the
functions are made of the code.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from occnet_jax.cli import config_table, occnet, recipes  # noqa: E402

FROM_ROOT = {"README.md": "index.md"} | {
  f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING")
}
# What the search of a page from a disk needs; docs/assets has it.
SHIM = "https://unpkg.com/iframe-worker/shim"
API = {
  "Networks": [
    "occnet_jax.api.restore",
    "occnet_jax.api.from_pretrained",
    "occnet_jax.trained_model.Model",
  ],
  "Files": [
    "occnet_jax.api.read_cloud",
    "occnet_jax.api.read_mesh",
    "occnet_jax.api.write_mesh",
  ],
  "Surfaces": ["occnet_jax.extract.pipeline.extract_mesh"],
  "Measures": ["occnet_jax.evaluation.metrics"],
  "Preparation": ["data_prep.pipeline.prepare.prepare"],
  "Methods": ["occnet_jax.types"],
}


def build(site: pathlib.Path) -> None:
  """Builds the site; ends with an error for a page or a link that is broken."""
  with tempfile.TemporaryDirectory() as scratch:
    source = pathlib.Path(scratch)
    gather(source / "docs")
    shutil.copy(ROOT / "docs" / "mkdocs.yml", source / "mkdocs.yml")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["-f", str(source / "mkdocs.yml"), "-d", str(site.resolve())]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of another program
    if subprocess.run(command, cwd=ROOT, env=quiet).returncode:
      sys.exit("error: mkdocs found broken pages or links, see above")
  for page in site.rglob("*.html"):
    up = "../" * (len(page.relative_to(site).parts) - 1)
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(SHIM, f"{up}assets/iframe-worker.js"), "utf-8")


def gather(target: pathlib.Path) -> None:
  """All pages, the generated ones among them."""
  ignored = shutil.ignore_patterns("*.py", "*.yml", "__pycache__")
  shutil.copytree(ROOT / "docs", target, ignore=ignored)
  for name, page in FROM_ROOT.items():
    (target / page).write_text(from_root((ROOT / name).read_text()))
  shutil.copytree(ROOT / "notebooks", target / "notebooks")  # to be downloaded
  for path in target.glob("notebook_*.md"):
    path.write_text(path.read_text().replace("](../notebooks/", "](notebooks/"))
  reference = target / "reference"
  reference.mkdir()
  (reference / "cli.md").write_text(cli_page())
  (reference / "config.md").write_text(config_page())
  (reference / "api.md").write_text(api_page())


def from_root(text: str) -> str:
  """A page of the root with links as they are from docs/."""
  text = re.sub(r"\]\(docs/", "](", text)
  for name, page in FROM_ROOT.items():
    text = text.replace(f"]({name}", f"]({page}")
  return text


def cli_page() -> str:
  """The help of the command and of each of its sub-commands."""
  lines = ["# The command `occnet`", ""]
  parser = occnet.make_parser()
  for name, text in helps(parser).items():
    lines += [f"## occnet {name}".rstrip(), "", "```text", text.rstrip(), "```", ""]
  return "\n".join(lines)


def helps(parser: argparse.ArgumentParser) -> dict[str, str]:
  """{sub-command: its help}, "" for the command itself."""
  (commands,) = (a for a in parser._actions if a.choices and a.dest == "command")
  return {"": parser.format_help()} | {
    name: own.format_help() for name, own in commands.choices.items()
  }


def config_page() -> str:
  """Every field of a config, and those of config.model for each system."""
  lines = ["# Fields of a config", "", *CONFIG_TEXT.split("\n"), "", *TABLE_HEAD]
  rows = config_table.rows("base")
  lines += [as_row(row) for row in rows if not row.name.startswith("model.")]
  for path in sorted((recipes.directory() / "models").glob("[a-z]*.py")):
    lines += ["", f"## config.model of {path.stem}", "", *TABLE_HEAD]
    rows = config_table.rows(f"base:{path.stem}")
    lines += [as_row(row) for row in rows if row.name.startswith("model.")]
  return "\n".join([*lines, ""])


CONFIG_TEXT = """`--config.FIELD=VALUE` changes a field on every command line. Lengths
are in cube units, in which the largest side of a shape's box is 1. Recipes change these
defaults; `occnet config NAME` prints those of one."""
TABLE_HEAD = ["| field | default | meaning |", "| --- | --- | --- |"]


def as_row(row: config_table.Row) -> str:
  cells = (f"`{row.name}`", f"`{row.value!r}`", row.meaning)
  return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def api_page() -> str:
  """Directives for mkdocstrings, which reads the docstrings."""
  lines = ["# Functions", ""]
  for title, names in API.items():
    lines += [f"## {title}", "", *(f"::: {name}\n" for name in names)]
  return "\n".join(lines)


if __name__ == "__main__":
  arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  arguments.add_argument("site", type=pathlib.Path, help="directory to write")
  build(arguments.parse_args().site)
