"""The 1,000 random objects that come with PyBullet (host).

They lie in the package's wheel, each an OBJ of a few convex parts that overlap.
"""

import contextlib
import email
import importlib.util
import pathlib
import re
import subprocess
import sys

from data_prep.sources import table, unpacking
from data_prep.sources.entry import MeshEntry
from occnet_jax import files

CATEGORY = "random"
_PACKAGE = "pybullet==3.2.7"
_WHEEL = (  # any will do: nothing of it is installed or run
  *("--only-binary=:all:", "--implementation=cp", "--python-version=3.10"),
  "--platform=manylinux2014_x86_64",
)
_OBJECT = re.compile(r"pybullet_data/random_urdfs/(\d+)/\1\.obj")


def list_meshes(wheel: str, out: pathlib.Path) -> list[MeshEntry]:
  """Unpacks the objects and lists them in order.

  What is in `out` is kept, so an interrupted call continues.

  Args:
    wheel: PyBullet's, or "" to download it, 100 MB.
    out: folder of the unpacked meshes.

  Raises:
    ValueError: the download failed, or the wheel is missing or is not PyBullet's.
  """
  if (out / table.TABLE).exists():
    return table.list_meshes(out / table.TABLE)
  with contextlib.ExitStack() as stack:
    if not wheel:
      folder = stack.enter_context(files.scratch_directory(out))
      wheel = str(_download(folder))
    opened = stack.enter_context(unpacking.open_zip(pathlib.Path(wheel)))
    names = opened.namelist()
    about = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
    matches = [match for match in map(_OBJECT.fullmatch, names) if match]
    if about is None or not matches:
      raise ValueError(
        f"{wheel}: holds no random objects; want the wheel of {_PACKAGE}"
      )
    metadata = email.message_from_bytes(opened.read(about))
    items = [
      unpacking.Item(
        MeshEntry(
          CATEGORY,
          match[1],
          out / CATEGORY / f"{match[1]}.obj",
          attribution=f"PyBullet: {metadata['Author']}",
          licence=metadata.get("License", ""),
        ),
        opened,
        match[0],
      )
      for match in matches
    ]
    return unpacking.unpack(out, items)


def _download(folder: pathlib.Path) -> pathlib.Path:
  if importlib.util.find_spec("pip") is None:
    raise ValueError(
      f"pip is not installed; python -m ensurepip, or download the wheel of {_PACKAGE} "
      "yourself (source pybullet:/path/to/pybullet.whl)"
    )
  command = (sys.executable, "-m", "pip", "download", "--no-deps", *_WHEEL, _PACKAGE)
  done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
  if done.returncode:
    raise ValueError(
      f"pip download {_PACKAGE} failed ({done.stderr.strip()[-300:]}); download the "
      "wheel yourself (source pybullet:/path/to/pybullet.whl)"
    )
  return next(folder.glob("*.whl"))
