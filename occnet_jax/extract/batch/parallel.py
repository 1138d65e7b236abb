"""An ordered map over threads, for streams of shapes (host)."""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from occnet_jax.extract.pipeline import NoSurface

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
  function: Callable[[int, Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
  """Yields the results of a function of number and item, in the order of the items.

  At most twice as many items as threads are read ahead of the result that is yielded,
  so the stream may be endless. While one thread waits for a device, others work on the
  host.

  Args:
    function: (number, item) -> result.
    items: the items; read as they are needed.
    threads: number of calls at a time.

  Raises:
    Exception: any that the function raises, at that item's turn; the stream then ends.
  """
  numbered = enumerate(items)
  with ThreadPoolExecutor(threads) as pool:
    futures: collections.deque = collections.deque()
    try:
      while True:
        for number, item in itertools.islice(numbered, 2 * threads - len(futures)):
          futures.append(pool.submit(function, number, item))
        if not futures:
          return
        yield futures.popleft().result()
    finally:
      for future in futures:
        future.cancel()


@contextlib.contextmanager
def naming_errors(name: str) -> Iterator[None]:
  """Raises the errors of the body again with the name of what it works on.

  A ValueError, a NoSurface and a FloatingPointError get the name in front of their
  message. Any other error may need more than a message, so it gets a note.
  """
  try:
    yield
  except (ValueError, FloatingPointError) as error:
    kinds = (NoSurface, FloatingPointError, ValueError)
    kind = next(kind for kind in kinds if isinstance(error, kind))
    raise kind(f"{name}: {error}") from error
  except Exception as error:
    error.add_note(f"in {name}")
    raise
