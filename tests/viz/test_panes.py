"""The pictures of a shape on a page."""

import numpy as np

from occnet_jax.viz import panes


def shape_with(vertices, faces):
  return panes.ReportShape("a", "chair", {}, None, (vertices, faces))


def test_predicted_points_are_shown_as_points_and_nothing_as_empty():
  none = np.zeros((0, 3), np.int64)
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
  pane = panes.output_pane(shape_with(points, none))
  assert pane.caption == "50 points" and pane.model and not pane.message
  empty = panes.output_pane(shape_with(np.zeros((0, 3)), none))
  assert "Empty" in empty.message and not empty.model
