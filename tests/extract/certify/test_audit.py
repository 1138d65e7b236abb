import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import occnet_jax
from occnet_jax.extract import field as field_lib
from occnet_jax.extract.certify.bounds import bound_boxes

SMALL = {"resolution_0": 8, "upsampling_steps": 2, "points_per_batch": 2**14}
CUBE = 1.1**3


def ball(radius, points):
  return radius - jnp.sqrt((points**2).sum(-1))


def sure(values):
  """As a saturated classifier, whose values say nothing of distances."""
  return jnp.tanh(200 * values)


def within(boxes, point):
  return ((boxes[:, 0] <= point) & (point <= boxes[:, 1])).all(1).any()


def test_the_shares_add_up_and_enclose_the_volume_of_a_ball():
  found = occnet_jax.audit(Partial(ball, 0.37), **SMALL)
  volume = 4 / 3 * np.pi * 0.37**3 / CUBE
  assert found.full < volume < 1 - found.empty
  assert found.empty + found.full + found.sampled + found.undecided == pytest.approx(1)
  assert found.empty + found.full > 0.8
  assert found.undecided < 0.01 and len(found.missed_boxes) == 0


HIDDEN, RADIUS = np.array([0.34, 0.34, 0.35]), 0.04


def two_balls(points):
  """A ball, and a small one between the points of a grid of 8 cells a side."""
  apart = points - jnp.asarray(HIDDEN, jnp.float32)[None]
  return sure(jnp.maximum(ball(0.2, points), ball(RADIUS, apart)))


def test_a_ball_between_the_points_of_the_coarse_grid_is_not_excluded():
  mesh = occnet_jax.extract_mesh(two_balls, **SMALL, normals=False)
  assert mesh.body_count == 1
  found = occnet_jax.audit(two_balls, **SMALL)
  everywhere = np.concatenate([found.undecided_boxes, found.missed_boxes])
  directions = np.random.default_rng(0).normal(size=(200, 3))
  directions /= np.linalg.norm(directions, axis=1, keepdims=True)
  for direction in directions:
    assert within(everywhere, HIDDEN + RADIUS * direction)


def test_a_ball_that_was_certainly_missed_is_reported():
  found = occnet_jax.audit(two_balls, **SMALL, halvings=2)
  assert within(found.missed_boxes, HIDDEN)
  corners = found.missed_boxes[:, 0], found.missed_boxes[:, 1]
  far = np.maximum(*(np.abs(corner - HIDDEN) for corner in corners))
  assert (np.linalg.norm(far, axis=1) <= RADIUS + 1e-3).all()


def test_a_ball_that_the_octree_finds_is_not_undecided():
  found = occnet_jax.audit(two_balls, **SMALL | {"resolution_0": 32})
  assert (
    occnet_jax.extract_mesh(two_balls, **SMALL | {"resolution_0": 32}).body_count == 2
  )
  assert len(found.missed_boxes) == 0 and not within(found.undecided_boxes, HIDDEN)


@pytest.mark.parametrize(("level", "empty", "full"), [(5.0, 1, 0), (-5.0, 0, 1)])
def test_a_field_far_from_the_level_is_certified_at_once(level, empty, full):
  found = occnet_jax.audit(Partial(ball, 0.37), level=level, **SMALL)
  assert (found.empty, found.full, found.sampled, found.undecided) == (
    empty,
    full,
    0,
    0,
  )
  assert found.boxes_bounded == 8**3 and found.certified[8] == 1


def test_halving_further_leaves_less_undecided():
  before = occnet_jax.audit(two_balls, **SMALL)
  after = occnet_jax.audit(two_balls, **SMALL, halvings=1)
  assert 0 < after.undecided < before.undecided
  assert list(after.certified) == [8, 16, 32, 64]
  assert (np.diff(list(after.certified.values())) >= 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_outside_of_sampled_and_undecided_boxes_no_random_field_changes_side(seed):
  rng = np.random.default_rng(seed)
  waves = rng.normal(size=(3, 20)).astype(np.float32) * 12
  phases, weights = rng.uniform(0, 6, 20), rng.normal(size=20)

  def field(xp, points):
    return xp.sin(points @ waves + phases[None].astype(np.float32)) @ weights.astype(
      np.float32
    )

  chosen = {"resolution_0": 4, "upsampling_steps": 1, "method": "mise", "level": 4.0}
  found = occnet_jax.audit(lambda p: field(jnp, p), **chosen)
  places = np.indices((8, 8, 8)).reshape(3, -1).T[:, None] + rng.random((512, 300, 3))
  points = 1.1 * (places / 8 - 0.5)
  inside = field(np, points.reshape(-1, 3).astype(np.float32)).reshape(512, 300) > 4
  changing = inside.any(1) & ~inside.all(1)
  undecided = round((found.sampled + found.undecided) * 512)
  assert changing.sum() <= undecided
  assert found.full <= inside.mean(1).astype(bool).mean()
  for cell in np.flatnonzero(inside.any(1)):
    lattice = np.array(np.unravel_index(cell, (8, 8, 8)))
    assert (
      not within(found.missed_boxes, 1.1 * ((lattice + 0.5) / 8 - 0.5))
      or inside[cell].all()
    )


def test_another_object_of_the_same_function_compiles_nothing():
  compiled = field_lib.shared_jit(bound_boxes)
  occnet_jax.audit(Partial(ball, jnp.float32(0.3)), **SMALL)
  before = compiled._cache_size()
  for radius in (0.1, 0.2):
    occnet_jax.audit(Partial(ball, jnp.float32(radius)), **SMALL)
  assert compiled._cache_size() == before


def test_what_has_no_program_is_refused():
  with pytest.raises(ValueError, match="JAX can trace"):
    occnet_jax.audit(lambda p: np.asarray(p).sum(1))
  with pytest.raises(ValueError, match="halvings=-1"):
    occnet_jax.audit(Partial(ball, 0.3), halvings=-1)
