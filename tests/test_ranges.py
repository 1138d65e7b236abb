"""Arrays of finite numbers, of whatever type they come."""

import numpy as np
import pytest

from occnet_jax import ranges


def test_finite_numbers_keep_their_values_in_the_type_that_is_asked_for():
  for dtype in (np.float32, np.int32, np.uint8):
    converted = ranges.to_finite([[1, 2.0], [3, 4]], dtype, "x")
    assert converted.dtype == dtype
    np.testing.assert_array_equal(converted, [[1, 2], [3, 4]])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_nan_is_refused_also_where_the_type_could_not_hold_it(dtype):
  with pytest.raises(ValueError, match=r"indices: 2 of 3 numbers are not finite"):
    ranges.to_finite([1, np.nan, -np.inf], dtype, "indices")
