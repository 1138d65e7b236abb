"""Files that are there whole or not at all (host)."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a scratch path beside `path`; moves it into place if the body succeeds.

  The scratch name keeps the suffix, because many writers choose a format by it.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, name = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
  os.close(handle)
  scratch = pathlib.Path(name)
  try:
    yield scratch
    scratch.chmod(0o644)
    scratch.replace(path)
  finally:
    scratch.unlink(missing_ok=True)
