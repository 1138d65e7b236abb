"""Libraries for some formats, which a user installs when he has such files (host)."""

import importlib
import logging
import os
from types import ModuleType


class MissingLibrary(ValueError):
  """A format needs a library that is not installed."""


def load(
  module: str,
  path: str | os.PathLike,
  package: str,
  extra: str,
  what: str = "the format",
) -> ModuleType:
  """Imports the library that a file needs.

  Args:
    module: name of the module.
    path: the file, for the message.
    package: what pip installs for it.
    extra: extra of this package that brings it.
    what: what of the file needs it, for the message.

  Raises:
    MissingLibrary: it cannot be imported; the message has the line for pip.
  """
  logging.getLogger(module).setLevel(logging.CRITICAL)  # it would repeat its errors
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise MissingLibrary(
      f"{path}: {what} needs another package: pip install {package} (or "
      f"'occnet-jax[{extra}]'); import {module} failed with: {error}"
    ) from error
