"""Runs notebooks and writes them as pages: python docs/notebooks.py [NAME ...] (host).

docs/notebook_NAME.md has the cells of notebooks/NAME.ipynb with their output; pictures
are docs/executed/NAME-*.png. The notebook itself stays without outputs.
"""

import argparse
import base64
import io
import json
import os
import pathlib
import re
import sys
import tempfile

import nbclient
import nbformat
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = ("quickstart", "experiments")
NOTE = """
*This page is [notebooks/{name}.ipynb](../notebooks/{name}.ipynb) as it ran with the
parameters below and JAX {jax} on a {device}, in {minutes:.1f} minutes of CPU time and
that of the processes which prepare meshes. Views that can be turned in a notebook are
still pictures here. `python docs/notebooks.py {name}` writes it anew.*
"""
# Run at the end: what the page says about the run.
FACTS = """
import json, os
json.dumps({"jax": jax.__version__, "device": jax.default_backend().upper(),
            "minutes": sum(os.times()[:2]) / 60})
"""


def write_page(name: str) -> None:
  """Runs a notebook and writes its page and its pictures.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell failed.
  """
  notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
  with tempfile.TemporaryDirectory() as scratch:
    facts = execute(notebook, scratch)
    short = {scratch: "runs", str(ROOT): "."}  # paths in outputs
  pictures = ROOT / "docs" / "executed"
  pictures.mkdir(exist_ok=True)
  for path in pictures.glob(f"{name}-*.png"):
    path.unlink()
  parts, count, heading = [], 0, ""
  for cell in notebook.cells:
    if cell.cell_type == "markdown":
      parts.append(cell_text(cell))
      heading = (re.findall(r"^#+ (.*)$", cell.source, re.MULTILINE) or [heading])[-1]
      continue
    parts.append(f"```python\n{cell.source}\n```")
    text = ""
    for data in (shown(output) for output in cell.outputs):
      if "image/png" in data:
        count += 1
        path = pictures / f"{name}-{count:02}.png"
        path.write_bytes(shrink(base64.b64decode(data["image/png"])))
        parts.append(f"![{heading}: a picture](executed/{path.name})")
      elif "text/plain" in data:
        text += data["text/plain"].rstrip("\n") + "\n"
    if text:
      parts.append(f"```text\n{plain(text, short)}\n```")
  title, _, rest = "\n\n".join(parts).partition("\n")
  page = title + "\n" + NOTE.format(name=name, **facts) + rest + "\n"
  (ROOT / "docs" / f"notebook_{name}.md").write_text(page, encoding="utf-8")


def execute(notebook: nbformat.NotebookNode, scratch: str) -> dict:
  """Runs a notebook in place, with its files in a new directory; facts of the run."""
  tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
  at = next(i for i, named in enumerate(tags) if "parameters" in named)
  moved = f"OUT = pathlib.Path({scratch!r}) / OUT.name"
  notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(moved))
  notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
  environment = {**os.environ, "PYTHONPATH": str(ROOT)}
  resources = {"metadata": {"path": str(ROOT)}}
  client = nbclient.NotebookClient(notebook, timeout=3600, resources=resources)
  client.execute(env=environment)
  facts = notebook.cells.pop().outputs[-1].data["text/plain"]
  del notebook.cells[at + 1]
  return json.loads(facts.strip("'"))


def cell_text(cell: nbformat.NotebookNode) -> str:
  """A cell of text, with links as they are from docs/."""
  return cell.source.replace("](../docs/", "](")


def shown(output: nbformat.NotebookNode) -> dict[str, str]:
  """{MIME type: content} of an output."""
  if output.output_type == "stream":
    return {"text/plain": output.text}
  return output.get("data", {})


def plain(text: str, short: dict[str, str]) -> str:
  """Text as a terminal leaves it, with paths from the clone."""
  for long, brief in short.items():
    text = text.replace(long, brief)
  text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)  # colours and cursors
  lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
  return "\n".join(line.rstrip() for line in lines).strip("\n")


def shrink(png: bytes) -> bytes:
  """A PNG file with a palette of 256 colours, on white.

  Of Pillow's methods, this one keeps colours that few pixels have, such as the ends of
  a colour bar, and slices of a field without bands.
  """
  image = Image.open(io.BytesIO(png)).convert("RGBA")
  white = Image.new("RGBA", image.size, "white")
  flat = Image.alpha_composite(white, image).convert("RGB")
  file = io.BytesIO()
  palette = flat.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
  palette.save(file, "PNG", optimize=True)
  return file.getvalue()


if __name__ == "__main__":
  arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  arguments.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
  names = arguments.parse_args().names
  if unknown := sorted(set(names) - set(NAMES)):
    sys.exit(f"error: no page of {', '.join(unknown)}; want {' or '.join(NAMES)}")
  for name in names:
    write_page(name)
