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


def test_the_accuracy_of_the_nearest_neighbour_is_that_of_a_loop_over_shapes():
  for shift in (0.0, 0.4, 50.0):
    made = RNG.standard_normal((7, 3)) + shift
    true = RNG.standard_normal((9, 3))
    union = [(point, 0) for point in made] + [(point, 1) for point in true]
    correct = 0
    for i, (point, label) in enumerate(union):
      others = [
        (np.linalg.norm(point - other), of_set)
        for j, (other, of_set) in enumerate(union)
        if j != i
      ]
      correct += min(others)[1] == label
    pairs = ((made, made), (true, true), (made, true))
    distances = [
      np.linalg.norm(a[:, None] - b[None], axis=-1)
      for a, b in pairs  # a shape is one point
    ]
    accuracy = generative.nearest_neighbour_accuracy(*distances)
    np.testing.assert_allclose(accuracy, correct / 16)
    assert shift < 50 or accuracy == 1


def test_a_copy_of_the_reference_is_told_apart_by_nothing():
  points = RNG.standard_normal((6, 3))
  gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
  assert generative.nearest_neighbour_accuracy(gaps, gaps, gaps) == 0
  with pytest.raises(ValueError, match=r"1 generated and 6 reference .* at least two"):
    generative.nearest_neighbour_accuracy(gaps[:1, :1], gaps, gaps[:1])


def test_the_divergence_of_places_is_that_of_counts_by_hand():
  # Cells of side 1/2: three points of four in one cell, then one of two.
  made = [np.array([[-0.2, -0.2, -0.2]] * 3), np.array([[0.2, 0.2, 0.2]])]
  true = [np.array([[-0.1, -0.3, -0.4], [0.3, 0.4, 0.1]])]
  p, q = np.array([0.75, 0.25]), np.array([0.5, 0.5])
  middle = (p + q) / 2
  by_hand = sum((x * np.log2(x / middle)).sum() / 2 for x in (p, q))
  value = generative.jensen_shannon(made, true, side=2)
  np.testing.assert_allclose(value, by_hand)


def test_sets_at_the_same_places_diverge_by_0_and_at_others_by_1_bit():
  cloud = RNG.uniform(-0.5, 0.5, (500, 3))
  assert generative.jensen_shannon([cloud], [cloud[::-1]]) == 0
  left, right = cloud * 0.4 - 0.25, cloud * 0.4 + 0.25
  np.testing.assert_allclose(generative.jensen_shannon([left], [right]), 1)
  # Beyond the cube's faces points are in its outer cells.
  np.testing.assert_allclose(generative.jensen_shannon([right + 9], [right + 5]), 0)
  with pytest.raises(ValueError, match="0 generated and 1 reference"):
    generative.jensen_shannon([], [cloud])


def test_no_shapes_are_an_error():
  with pytest.raises(ValueError, match="0 generated and 5 reference shapes"):
    generative.coverage_and_mmd(np.zeros((0, 5)))


def test_the_matrix_of_an_empty_set_is_empty():
  assert generative.chamfer_matrix([], [np.zeros((2, 3))] * 5).shape == (0, 5)
