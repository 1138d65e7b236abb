"""Finds the directory of a pretrained model: packaged, local, or of the hub (host)."""

import os
import pathlib
import re

from occnet_jax import files, pretrained
from occnet_jax.interop import weights

_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def find(name: str | os.PathLike) -> pathlib.Path:
  """The directory of a model, downloaded first if it is one of the hub.

  Args:
    name: name of a packaged model (not as a path), or else a directory, or else
      "owner/repo" of the Hugging Face hub. A directory with the name of a packaged
      model is "./name".

  Raises:
    ValueError: there is no such model, or it cannot be downloaded.
  """
  text = os.fspath(name)
  if isinstance(name, str) and text in pretrained.names():
    return pretrained.DIRECTORY / text
  path = pathlib.Path(text)
  if path.is_dir():
    return path.absolute()  # no name of a packaged model, also without its "./"
  if _REPOSITORY.fullmatch(text) and not path.exists():
    return _download(text)
  packaged = ", ".join(pretrained.names()) or "none in this version"
  raise ValueError(
    f"{text}: no such model; packaged models: {packaged}; or name a directory that "
    "Model.save_pretrained wrote, or owner/repo of the Hugging Face hub"
  )


def _download(repository: str) -> pathlib.Path:
  """The newest snapshot of a repository, or the one in the cache if it is offline."""
  try:
    import huggingface_hub
  except ImportError as error:
    raise ValueError(
      f"{repository}: no such directory; as a repository of the Hugging Face hub it "
      "needs another package: pip install 'occnet-jax[hub]'"
    ) from error
  try:
    snapshot = huggingface_hub.snapshot_download(
      repository, allow_patterns=list(weights.FILES)
    )
  except Exception as error:  # of the hub, of HTTP or of the disk, by its version
    raise ValueError(
      f"{repository}: no such directory, and the Hugging Face hub does not give it "
      f"({type(error).__name__}: {files.first_line(error)}); check the name and the "
      "network"
    ) from error
  return pathlib.Path(snapshot)
