"""Marching cubes on a whole array by PyMCubes, as the reference runs it: the truth."""

import numpy as np
import pytest

OUTSIDE = -1e6


def marching_cubes(values, level, padding=0.1):
  """Vertices in the padded cube and outward faces of values (r, r, r)."""
  mcubes = pytest.importorskip("mcubes", reason="no wheel for Python 3.13 and later")
  wrapped = np.pad(np.asarray(values, np.float32), 1, constant_values=OUTSIDE)
  vertices, faces = mcubes.marching_cubes(wrapped, level)
  vertices = (vertices - 1) / (len(values) - 1)
  return (1 + padding) * (vertices - 0.5), faces.astype(np.int64)


def same_surface(mesh, other, digits=7):
  """Raises unless both have the same vertices and triangles, whatever their order."""
  (vertices, faces), (others, other_faces) = ordered(*mesh), ordered(*other)
  np.testing.assert_allclose(vertices, others, atol=10.0**-digits)
  np.testing.assert_array_equal(faces, other_faces)


def ordered(vertices, faces, half=0.55):
  beyond = np.abs(vertices) > half + 1e-13  # on edges that lead into the layer around
  order = np.lexsort(np.round(vertices + beyond * np.sign(vertices), 6).T)
  faces = np.argsort(order)[faces]
  first = faces.argmin(1)
  faces = np.stack([faces[np.arange(len(faces)), (first + i) % 3] for i in range(3)], 1)
  return vertices[order], faces[np.lexsort(faces.T)]
