"""Furniture libraries of Sweet Home 3D (host).

An .sh3f file is a ZIP of models and a catalogue, a Java properties file in which the
keys name#1, category#1, model#1, creator#1, ... describe the first piece of furniture.
Debian's package sweethome3d-furniture holds five of them, 820 pieces under CC BY 3.0
and CC0.
"""

import contextlib
import functools
import pathlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from data_prep.sources import table, unpacking
from data_prep.sources.entry import MeshEntry, slug
from occnet_jax import files
from occnet_jax.geometry import mesh_io

_CATALOGUE = "PluginFurnitureCatalog.properties"
# Bytes that are read line by line here, in a process without limits.
_LARGEST_CATALOGUE, _LARGEST_TURNED = 2**22, 2**26
_DEBIAN = "sweethome3d-furniture"


def list_meshes(where: str, out: pathlib.Path) -> list[MeshEntry]:
  """Unpacks the models of libraries and lists them, in order of category and id.

  What is in `out` is kept, so an interrupted call continues. Categories are those of
  the catalogues, which are rooms more than kinds. Models stand upright, y up.

  Args:
    where: a library, a folder that holds some, a Debian package of some, or "debian" to
      download Debian's.
    out: folder of the unpacked meshes.

  Raises:
    ValueError: there is no library, it is broken or unsafe, or the download failed.
  """
  if (out / table.TABLE).exists():
    return table.list_meshes(out / table.TABLE)
  with contextlib.ExitStack() as stack:
    path = pathlib.Path(where)
    if where == "debian" or path.suffix == ".deb":
      folder = stack.enter_context(files.scratch_directory(out))
      package = _download(folder) if where == "debian" else path
      _run("dpkg-deb", "-x", str(package.resolve()), "unpacked", cwd=folder)
      path = folder / "unpacked"
    libraries = sorted(path.rglob("*.sh3f")) if path.is_dir() else [path]
    if not libraries:
      raise ValueError(f"{where}: no .sh3f files; want a library or a folder of some")
    items = []
    taken: dict[tuple[str, str], int] = {}
    for library in libraries:
      opened = stack.enter_context(unpacking.open_zip(library))
      items += _list_items(opened, library.stem, out, taken, stack)
    return unpacking.unpack(out, items)


def _download(folder: pathlib.Path) -> pathlib.Path:
  """Debian's package, which needs neither root nor installation."""
  _run("apt-get", "download", _DEBIAN, cwd=folder)
  return next(folder.glob("*.deb"))


def _run(*command: str, cwd: pathlib.Path) -> None:
  remedy = (
    f"get {_DEBIAN} from packages.debian.org, unpack it and give the folder as the "
    "source (sh3f:/path/to/folder)"
  )
  if shutil.which(command[0]) is None:
    raise ValueError(f"{command[0]} is not installed, which Debian has; {remedy}")
  done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
  if done.returncode:
    raise ValueError(
      f"{' '.join(command[:3])} failed ({done.stderr.strip()[-300:]}); try apt-get "
      f"update, or {remedy}"
    )


def _list_items(
  library: zipfile.ZipFile,
  name: str,
  out: pathlib.Path,
  taken: dict[tuple[str, str], int],
  stack: contextlib.ExitStack,
) -> Iterator[unpacking.Item]:
  """The models of a library; `taken` counts the names of all libraries."""
  catalogue = _read_catalogue(library)
  provider, licence = (catalogue.get(key, "") for key in ("provider", "license"))
  for key, member in catalogue.items():
    field, _, number = key.partition("#")
    if field != "model" or not number:
      continue
    about = {
      key: catalogue.get(f"{key}#{number}", "")
      for key in ("category", "id", "creator", "license", "modelRotation")
    }
    holder, member = library, member.removeprefix("/")
    if member.lower().endswith(".zip"):
      holder, member = _open_inner(library, member, stack)
    file = pathlib.PurePosixPath(member)
    category = slug(about["category"])
    first = model_id = slug(about["id"] or f"{name}-{file.stem}")
    while (category, model_id) in taken:
      # From where this name was left: of n pieces of one name each would count to n.
      taken[category, first] += 1
      model_id = f"{first}-{taken[category, first]}"
    taken[category, model_id] = 1
    entry = MeshEntry(
      category,
      model_id,
      out / category / f"{model_id}{file.suffix.lower()}",
      attribution=_one_line(about["creator"] or provider),
      licence=_one_line(about["license"] or licence) or f"see {name}.sh3f",
    )
    change: Callable[[bytes], bytes] = bytes
    if about["modelRotation"] and entry.path.suffix == ".obj":
      change = functools.partial(_turn, about["modelRotation"])
    yield unpacking.Item(entry, holder, member, change)


def _one_line(text: str) -> str:
  return " ".join(text.split())


def _open_inner(
  library: zipfile.ZipFile, member: str, stack: contextlib.ExitStack
) -> tuple[zipfile.ZipFile, str]:
  """A ZIP file within the library, and the name of its first mesh file."""
  unpacking.member_size(library, member)
  try:
    inner = stack.enter_context(zipfile.ZipFile(library.open(member)))
  except Exception:  # whatever a ZIP reader may raise: a broken member as any other
    return library, member
  meshes = [
    name for name in sorted(inner.namelist()) if name.lower().endswith(mesh_io.SUFFIXES)
  ]
  return inner, meshes[0] if meshes else member


def _read_catalogue(library: zipfile.ZipFile) -> dict[str, str]:
  """Keys and values of a Java properties file."""
  if (size := unpacking.member_size(library, _CATALOGUE)) > _LARGEST_CATALOGUE:
    raise ValueError(
      f"{library.filename}: a catalogue of {size:,} bytes, want at most "
      f"{_LARGEST_CATALOGUE:,}"
    )
  try:
    text = library.read(_CATALOGUE).decode("latin-1")
  except Exception as error:  # whatever a ZIP reader may raise on a broken member
    raise ValueError(
      f"{library.filename}: no catalogue {_CATALOGUE} ({error}); want a furniture "
      "library of Sweet Home 3D"
    ) from error
  text = re.sub(r"\\\r?\n[ \t]*", "", text)  # join continued lines
  pairs = re.findall(
    r"(?m)^[ \t]*([^#!\s=:][^\s=:]*)[ \t]*[=: \t][ \t]*(.*?)\r?$", text
  )
  return {key: re.sub(r"\\u([0-9a-fA-F]{4})|\\(.)", _unescape, v) for key, v in pairs}


def _unescape(match: re.Match) -> str:
  code, letter = match.groups()
  return chr(int(code, 16)) if code else {"t": "\t", "n": "\n"}.get(letter, letter)


def _turn(rotation: str, data: bytes) -> bytes:
  """An OBJ file with its vertices rotated by a matrix, given row by row."""
  if len(data) > _LARGEST_TURNED:
    raise ValueError(f"{len(data):,} bytes to turn, want at most {_LARGEST_TURNED:,}")
  matrix = np.array(rotation.split(), np.float64).reshape(3, 3)

  def turn(match: re.Match) -> bytes:
    x, y, z = matrix @ np.array(match[2].split()[:3], np.float64)
    return match[1] + f"{x:.9g} {y:.9g} {z:.9g}".encode()

  return re.sub(rb"(?m)^([ \t]*v[ \t]+)([^\r\n]*)", turn, data)
