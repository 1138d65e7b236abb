"""Many surfaces at a time, given out as they are ready (host)."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
  function: Callable[[int, Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
  """Results of a function of number and item, in the order of the items.

  As many as there are threads are computed at a time, and at most twice as many items
  are taken beyond the last result asked for, so a stream needs no end. While
  one thread waits for a device, others do their work on the host.

  Raises:
    Whatever the function raises, at that item's turn; the stream then ends.
  """
  numbered = enumerate(items)
  with ThreadPoolExecutor(threads) as pool:
    waiting: collections.deque = collections.deque()
    try:
      while True:
        for number, item in itertools.islice(numbered, 2 * threads - len(waiting)):
          waiting.append(pool.submit(function, number, item))
        if not waiting:
          return
        yield waiting.popleft().result()
    finally:
      for future in waiting:
        future.cancel()
