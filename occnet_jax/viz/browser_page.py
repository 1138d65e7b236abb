"""A page that makes meshes of clouds in the browser, by a network in ONNX files (host).

<directory>/
  encoder.onnx, decoder.onnx, network.json   as `interop.exports` writes them
  index.html                                 the page
  page.js, worker.js, ...                    its programs; table.js has marching cubes
  ort.wasm.bundle.min.mjs, ort-wasm-simd-threaded.wasm
                                             of the npm package onnxruntime-web, which
                                             is not part of this one

Any server of files serves it, as `python -m http.server` does; none computes.
"""

import json
import math
import os
import pathlib
import tarfile
import zlib
from typing import Any

from occnet_jax import files
from occnet_jax.extract.grid import marching_cubes
from occnet_jax.viz import pages

RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
UNSERVED = (
  "This page is opened as a file; serve its folder, as python -m http.server does, "
  "and open it from there."
)
FINEST = 192  # cells a side that the page offers


def check(about: dict[str, Any]) -> None:
  """Raises ValueError for a network that the page has no input for.

  Args:
    about: as of `exports.describe`.
  """
  if about["observation"] != "cloud":
    raise ValueError(
      f"--format=page is for networks of clouds, and this one takes "
      f"{about['observation']!r}; --format=onnx has the files without a page"
    )


def read_runtime(path: str | os.PathLike) -> dict[str, bytes]:
  """The files of onnxruntime-web that the page needs: {name: bytes}.

  Args:
    path: the package as `npm pack` fetches it, or the folder it is unpacked to.

  Raises:
    ValueError: something else, or another version than the page was tried with.
  """
  path = pathlib.Path(path)
  names = {name: f"dist/{name}" for name in RUNTIME_FILES}
  names["package.json"] = "package.json"
  try:
    if path.is_file():
      with tarfile.open(path) as archive:
        found = {
          name: archive.extractfile(f"package/{inner}").read()
          for name, inner in names.items()
        }
    else:
      found = {name: (path / inner).read_bytes() for name, inner in names.items()}
    package = json.loads(found.pop("package.json"))
    of_package = package["name"], package["version"]
  # EOFError and zlib.error are of archives that are cut off or damaged.
  except (
    *(OSError, EOFError, KeyError, ValueError, TypeError, AttributeError),
    *(tarfile.TarError, zlib.error),
  ) as error:
    raise ValueError(
      f"{path}: is not the package {RUNTIME}; want the file that npm pack "
      f"{RUNTIME}@{RUNTIME_VERSION} fetches, or the folder it is unpacked to"
    ) from error
  if of_package != (RUNTIME, RUNTIME_VERSION):
    raise ValueError(
      f"{path}: is {of_package[0]} {of_package[1]}; want {RUNTIME} "
      f"{RUNTIME_VERSION}, as npm pack {RUNTIME}@{RUNTIME_VERSION} fetches it"
    )
  return found


def write(
  directory: pathlib.Path, title: str, runtime: dict[str, bytes] | None = None
) -> None:
  """Writes the page beside the files of a network.

  Args:
    directory: folder with network.json and the graphs.
    title: heading of the page.
    runtime: as of `read_runtime`; without it the page says what to put beside it.
  """
  path = directory / "network.json"
  about = json.loads(path.read_text(encoding="utf-8"))
  check(about)
  shared = ("model-viewer.min.js", "model-viewer.LICENSE", "report.js", "drop.js")
  contents = {name: pages.asset(name) for name in shared}
  for script in sorted((pages.ROOT / "assets" / "browser").glob("*.js")):
    contents[script.name] = pages.asset(f"browser/{script.name}")
  contents["table.js"] = _table()
  contents["index.html"] = pages.render(
    "browser.html",
    title=title,
    cells=min(about["cells"], FINEST),
    threshold=f"{1 / (1 + math.exp(-about['level'])):.3g}",
    unserved=UNSERVED,
  )
  contents[path.name] = (
    json.dumps(about | {"onnxruntime_web": RUNTIME_VERSION}, indent=2) + "\n"
  )
  data = {name: text.encode() for name, text in contents.items()} | (runtime or {})
  for name, content in data.items():
    with files.atomic_write(directory / name) as scratch:
      scratch.write_bytes(content)


def _table() -> str:
  """The triangles of the 256 cases, each as the edges of their corners in a row."""
  table = marching_cubes.cube_table()
  cases = [
    triangles[:count].ravel().tolist()
    for triangles, count in zip(table.triangles, table.triangle_count, strict=True)
  ]
  return f"export const TRIANGLES = {json.dumps(cases, separators=(',', ':'))};\n"
