"""Set measures against brute force and by hand."""

import numpy as np
import pytest

from occnet_jax.evaluation import generative

RNG = np.random.default_rng(0)


def test_chamfer_of_all_pairs_is_that_of_brute_force():
  made = [RNG.standard_normal((30 + n, 3)) for n in range(3)]
  true = [RNG.standard_normal((40 - n, 3)) for n in range(2)]
  found = generative.chamfer_matrix(made, true)
  for i, a in enumerate(made):
    for j, b in enumerate(true):
      gaps = np.linalg.norm(a[:, None] - b[None], axis=-1)
      wanted = (gaps.min(0).mean() + gaps.min(1).mean()) / 2
      np.testing.assert_allclose(found[i, j], wanted)


def test_a_set_is_all_of_itself():
  distances = np.ones((4, 4)) - np.eye(4)
  assert generative.coverage_and_mmd(distances) == {"coverage": 1.0, "mmd": 0.0}


def test_one_shape_made_again_and_again_covers_one():
  distances = np.tile([0.1, 0.5, 0.4, 0.9], (7, 1))
  found = generative.coverage_and_mmd(distances)
  assert found["coverage"] == 0.25
  np.testing.assert_allclose(found["mmd"], (0.1 + 0.5 + 0.4 + 0.9) / 4)


def test_no_shapes_are_an_error():
  with pytest.raises(ValueError, match="0 generated and 5 reference shapes"):
    generative.coverage_and_mmd(np.zeros((0, 5)))


def test_the_matrix_of_an_empty_set_is_empty():
  assert generative.chamfer_matrix([], [np.zeros((2, 3))] * 5).shape == (0, 5)
