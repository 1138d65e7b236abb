"""Sets of grid points, voxels and cells as ascending integer keys (host).

Two ways give the same results. Sorting and bisection take memory by the number of keys.
Where few keys are possible, a table with an entry for each possible one is five to ten
times as fast: its pages come from the system as zeros, and only those that are written
take memory.

Shape letters: n keys asked for, t keys of a set.
"""

import numpy as np
from jaxtyping import Bool, Int

MAX_TABLE = 2**25  # entries: the points of a grid of 256 cells a side fit
FEW_QUESTIONS = 8  # keys of a set for each asked: bisection is faster than a table
ENTRIES_PER_KEY = 256  # a larger table is slower than sorting, as all of it is read

Keys = Int[np.ndarray, " n"]


def use_table(bound: int, count: int) -> bool:
  """Whether a table of `bound` entries is faster than sorting `count` keys."""
  return bound <= min(MAX_TABLE, ENTRIES_PER_KEY * count)


def table_bytes(bound: int) -> int:
  """Bytes that the tables of sets and positions take at most."""
  return 5 * bound if bound <= MAX_TABLE else 0


def sorted_unique(keys: Keys, bound: int) -> Int[np.ndarray, " t"]:
  """Each key once, ascending.

  Args:
    keys: integers in 0 .. bound - 1.
    bound: number of possible keys.
  """
  if use_table(bound, len(keys)):
    table = np.zeros(bound, bool)
    table[keys] = True
    return np.flatnonzero(table)
  keys = np.sort(keys)
  return keys[np.diff(keys, prepend=-1) > 0]


class KeyIndex:
  """Positions of keys among ascending ones.

  Args:
    ordered: ascending keys in 0 .. bound - 1, each once.
    bound: number of possible keys.
  """

  def __init__(self, ordered: Int[np.ndarray, " t"], bound: int):
    self.ordered, self.bound, self.table = ordered, bound, None

  def find(self, keys: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """The position of each key, -1 for those that are not there."""
    # A table is made for many questions, and then answers all.
    many = keys.size * FEW_QUESTIONS > len(self.ordered)
    if self.table is None and many and use_table(self.bound, len(self.ordered)):
      self.table = np.zeros(self.bound, np.int32)
      self.table[self.ordered] = np.arange(1, len(self.ordered) + 1)  # 0: not there
    if self.table is not None:
      inside = (keys >= 0) & (keys < self.bound)
      if inside.all():
        return self.table[keys].astype(np.int64) - 1
      return np.where(inside, self.table[np.where(inside, keys, 0)], 0) - 1
    if not len(self.ordered):
      return np.full(keys.shape, -1)
    positions = np.searchsorted(self.ordered, keys)
    positions = np.minimum(positions, len(self.ordered) - 1)
    return np.where(self.ordered[positions] == keys, positions, -1)

  def contains(self, keys: Int[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Whether each key is there."""
    return self.find(keys) >= 0
