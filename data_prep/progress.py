"""Progress bars of preparation (host)."""

from typing import Any

from tqdm import tqdm

_UPDATE_SECONDS = 1.0


def progress_bar(*arguments: Any, **options: Any) -> tqdm:
  """A `tqdm` that updates at most once a second, and is silent without a terminal."""
  return tqdm(*arguments, mininterval=_UPDATE_SECONDS, disable=None, **options)
