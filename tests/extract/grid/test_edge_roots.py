import numpy as np
import pytest
from scipy.optimize import elementwise

from occnet_jax.extract.grid import edge_roots
from occnet_jax.extract.grid.active_cells import find_crossings
from occnet_jax.extract.grid.edge_roots import find_roots, polynomial_roots, search
from occnet_jax.extract.grid.marching_cubes import linear_params
from occnet_jax.extract.grid.marching_cubes import place_vertices as place_in_cells
from occnet_jax.extract.grid.mise import sample_surface
from occnet_jax.geometry.grids import to_coordinates


def at(function, resolution):
  return lambda indices: function(to_coordinates(indices, resolution))


def roots_of(function, resolution_0=8, steps=2, level=0.0):
  evaluate = at(function, resolution_0 * 2**steps)
  samples = sample_surface(evaluate, resolution_0, steps, level)
  crossings = find_crossings(samples, level)
  return crossings, find_roots(evaluate, samples, crossings, level)


def place_vertices(crossings, t):
  return to_coordinates(place_in_cells(crossings, t), crossings.resolution)


def ball(points):
  return 0.3 - np.linalg.norm(points, axis=1)


def classifier(points):
  """A ball as a network sees it: saturated inside, with a kink at the surface."""
  distances = ball(points)
  return np.where(distances > 0, 9 * np.tanh(30 * distances), 60 * distances)


@pytest.mark.parametrize("outer", [(1, 1), (np.nan, 1), (1, np.nan), (np.nan, np.nan)])
def test_a_polynomial_of_the_degree_that_is_known_gets_its_root(outer):
  degree = 1 + np.isfinite(outer).sum()
  rng = np.random.default_rng(degree)
  true = rng.uniform(0.05, 0.95, size=50)
  other = rng.uniform(1.5, 3, size=(2, 50))
  others = [other[i] * (-1) ** i - i for i in range(degree - 1)]  # outside of [0, 1]

  def value(t):
    return np.prod([t - true, *(t - x for x in others)], axis=0)

  ends = np.stack([value(0.0), value(1.0)], axis=1)
  found = polynomial_roots(value(-1.0) * outer[0], ends, value(2.0) * outer[1])
  np.testing.assert_allclose(found, true, atol=1e-4)


BRACKETED = [  # with a root between 0 and 1
  lambda t: t - 0.3,
  lambda t: np.exp(5 * t) - 3,
  lambda t: np.tanh(40 * (t - 0.81)),
  lambda t: np.where(t > 0.17, 30 * (t - 0.17), t - 0.17),
  lambda t: (t - 0.6) ** 3,
]


@pytest.mark.parametrize("function", BRACKETED)
def test_the_search_stays_in_the_bracket_and_comes_near(function):
  ends = function(np.array([[0.0, 1.0]]))
  for guess in (0.02, 0.5, 0.97):
    evaluated = []

    def along(t, rows, evaluated=evaluated):
      assert ((t > 0) & (t < 1)).all() and rows.tolist() == [0]
      evaluated.extend(t)
      return function(t)

    roots, evaluations = search(along, ends, np.array([guess]))
    assert evaluations == len(evaluated) <= 4 and 0 < roots[0] < 1
    bracket = [0.0, *[t for t in evaluated if (function(t) > 0) == (ends[0, 0] > 0)]]
    assert max(bracket) - 1e-9 <= roots[0]


@pytest.mark.parametrize("function", BRACKETED)
def test_without_its_budget_the_search_ends_at_the_root_that_scipy_finds(
  function, monkeypatch
):
  monkeypatch.setattr(edge_roots, "MAX_EVALUATIONS", 300)
  monkeypatch.setattr(edge_roots, "SHORT", 1e-9)
  ends = function(np.array([[0.0, 1.0]]))
  root = elementwise.find_root(function, (0.0, 1.0)).x  # Chandrupatla's method, too
  roots, _ = search(lambda t, rows: function(t), ends, np.full(1, 0.5))
  np.testing.assert_allclose(roots[0], root, atol=1e-3)


def test_a_smooth_field_takes_few_evaluations_and_beats_linear_interpolation():
  crossings, roots = roots_of(ball, resolution_0=16)
  assert roots.evaluations < 0.3 * len(crossings.edges)
  exact = np.linalg.norm(place_vertices(crossings, roots.t), axis=1) - 0.3
  linear = np.linalg.norm(
    place_vertices(crossings, linear_params(crossings, 0.0)), axis=1
  )
  assert np.abs(exact).mean() < 0.05 * np.abs(linear - 0.3).mean()


@pytest.mark.parametrize("level, share", [(-2.0, 0.01), (0.0, 0.05), (3.0, 0.8)])
def test_a_classifier_gets_its_surface_by_few_evaluations(level, share):
  crossings, roots = roots_of(classifier, resolution_0=16, level=level)
  radius = 0.3 - (level / 60 if level < 0 else np.arctanh(level / 9) / 30)
  lengths = np.linalg.norm(place_vertices(crossings, roots.t), axis=1)
  linear = place_vertices(crossings, linear_params(crossings, level))
  linear = np.linalg.norm(linear, axis=1)
  assert roots.evaluations < 1.8 * len(crossings.edges)
  assert np.abs(lengths - radius).mean() < share * np.abs(linear - radius).mean()


def test_edges_that_leave_the_cube_have_their_vertices_on_its_faces():
  crossings, roots = roots_of(lambda p: 0.2 - np.abs(p[:, 0]))
  vertices = place_vertices(crossings, roots.t)
  walls = np.abs(vertices[:, 0]) < 0.19
  np.testing.assert_allclose(np.abs(vertices[walls]).max(1), 0.55, atol=1e-5)
