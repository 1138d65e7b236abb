"""An ordered map over threads, for streams of shapes (host)."""

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
