"""Sets of keys against Python's sets, by tables and by sorting."""

import numpy as np
import pytest

from occnet_jax.extract.grid import key_sets

BOUND = 5000


@pytest.fixture(params=["tables", "sorting"])
def way(request, monkeypatch):
  if request.param == "sorting":
    monkeypatch.setattr(key_sets, "MAX_TABLE", 0)
  return request.param


@pytest.mark.parametrize("count", [0, 1, 40, 3000])
def test_keys_come_once_and_ascend(way, count):
  keys = np.random.default_rng(count).integers(0, BOUND, count)
  made = key_sets.sorted_unique(keys, BOUND)
  assert made.tolist() == sorted(set(keys.tolist()))
  assert key_sets.use_table(BOUND, 3000) == (way == "tables")


@pytest.mark.parametrize("questions", [1, 4000])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_positions_are_those_in_the_list(way, count, questions):
  rng = np.random.default_rng(count)
  ordered = np.sort(rng.choice(BOUND, count, replace=False))
  index = key_sets.KeyIndex(ordered, BOUND)
  places = {key: i for i, key in enumerate(ordered.tolist())}
  # Neighbours of points at the ends of a grid have keys outside of it.
  keys = rng.integers(-BOUND, 2 * BOUND, (questions, 2))
  keys[0] = -1, BOUND
  expected = [[places.get(key, -1) for key in row] for row in keys.tolist()]
  assert index.find(keys).tolist() == expected
  assert index.contains(keys).tolist() == [[p >= 0 for p in row] for row in expected]
  tabled = way == "tables" and count == 3000 and questions > 1
  assert (index.table is not None) == tabled


def test_small_sets_in_large_grids_take_no_table():
  assert not key_sets.use_table(2**20, 1000)
  assert key_sets.use_table(2**20, 5000)
  assert not key_sets.use_table(513**3, 10**7)
  assert key_sets.table_bytes(257**3) == 5 * 257**3
  assert key_sets.table_bytes(513**3) == 0
