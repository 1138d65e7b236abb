"""Scenes taken apart into windows, against the scene as one window and recordings."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from scipy.spatial import cKDTree

from configs import base
from occnet_jax.extract.batch import windows
from occnet_jax.extract.field import decoder_field
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.models import registry
from occnet_jax.nn import crops
from occnet_jax.types import Windows
from tests.helpers import nearest_points, parity

pytestmark = pytest.mark.usefixtures("plain_convolutions")
SMALL = {
  "features": ("grid",),
  "unit_size": 0.1,
  "read_at": "cells",
  "grid_resolution": 40,
  "query_cells": 17,
  "c_dim": 4,
  "encoder_hidden_size": 4,
  "encoder_blocks": 2,
  "unet3d_levels": 2,
  "unet3d_filters": 4,
  "unet3d_norm": False,
  "hidden_size": 4,
  "decoder_blocks": 1,
}


def make_network(**fields):
  model = base.get_config("convonet").to_dict()["model"] | SMALL | fields
  return registry.build(model)


def make_variables(method):
  """Random weights so large that values differ from place to place.

  Drawn by NumPy: the program that starts the network takes seconds to compile.
  """
  points, rng = np.zeros((1, 8, 3), np.float32), np.random.default_rng(3)
  batch = {"inputs": points, "points": points, "occupancies": points[..., 0]}

  def draw(spec):
    size = 1.7 * np.prod(spec.shape[:-1]) ** -0.5 if len(spec.shape) > 1 else 0.1
    return (size * rng.standard_normal(spec.shape)).astype(spec.dtype)

  variables = jax.tree.map(draw, registry.variable_specs(method, batch))
  return jax.device_put(variables)


def random_walk(rng, count=150):
  """A curved line of points, 3 apart at most in any window's frame."""
  return np.array([0.31, -0.17, 0.05]) + np.cumsum(rng.normal(0, 0.02, (count, 3)), 0)


def test_windows_together_are_the_scene_as_one_window():
  """Without norms and far enough from the borders no value depends on the window."""
  method = make_network()
  assert method.windows == Windows(unit_size=0.1, side=40, query=17, stride=16)
  variables = make_variables(method)
  cloud = np.random.default_rng(0).uniform(-0.35, 1.15, (200, 3))
  centres = (np.floor(cloud / 0.1) + 0.5) * 0.1  # of cells, as the lattice has them
  latent = windows.encode_window(method, variables, cloud)
  field = decoder_field(method.decode, variables, latent)
  level = float(np.median(field.values(centres)))
  several = windows.reconstruct_scene(
    method, variables, cloud, level=level, points_per_cell=1
  )
  # As one window: moved by an even number of cells, which is what the U-Net pools, all
  # of the cloud is in the middle of the first. A U-Net of two levels sees 9 cells.
  whole = make_network(grid_resolution=80, query_cells=56)
  single = whole._replace(windows=whole.windows._replace(stride=56))
  shift = np.array([28, 28, 28]) * 0.1
  expected = windows.reconstruct_scene(
    single, variables, cloud + shift, level=level, points_per_cell=1
  )
  expected.vertices -= shift
  assert several.metadata["windows"] > 20 and expected.metadata["windows"] == 1
  assert several.is_watertight
  middle = (np.abs(several.vertices - 0.4) < 1.2).all(1)
  assert middle.sum() > 300
  distance, _ = cKDTree(expected.vertices).query(several.vertices[middle])
  assert (
    distance.max() < 2e-3
  )  # cells are .1 long: the bisection of a root ends at 1e-4


def test_a_scene_far_from_the_origin_is_the_surface_of_a_closed_form():
  rng = np.random.default_rng(1)
  cloud = random_walk(rng) + np.array([4e5, -7.0, 30.0])
  mesh = windows.reconstruct_scene(nearest_points.make_method(), {}, cloud)
  assert mesh.metadata["windows"] > 8
  assert mesh.is_watertight and mesh.volume > 0
  distance, _ = cKDTree(cloud).query(mesh.vertices)
  error = np.abs(distance - 0.03)  # more where three spheres meet between points
  assert np.quantile(error, 0.99) < 1e-3 and error.max() < 5e-3
  # Every point is inside by .03, so the mesh holds them all.
  lower, upper = mesh.bounds
  np.testing.assert_allclose(lower, cloud.min(0) - 0.03, atol=4e-3)
  np.testing.assert_allclose(upper, cloud.max(0) + 0.03, atol=4e-3)


def test_points_far_away_change_nothing_nearby():
  rng = np.random.default_rng(2)
  cloud, far = random_walk(rng, 40), np.array([[90.0, 3.0, -40.0]])
  alone = windows.reconstruct_scene(nearest_points.make_method(), {}, cloud)
  both = windows.reconstruct_scene(
    nearest_points.make_method(), {}, np.concatenate([cloud, far])
  )
  near = both.vertices[(np.abs(both.vertices - far) > 1).any(1)]
  assert len(near) == len(alone.vertices) < len(both.vertices)
  order = [np.lexsort(np.round(v, 6).T) for v in (near, alone.vertices)]
  np.testing.assert_allclose(near[order[0]], alone.vertices[order[1]], atol=1e-5)


def test_the_surface_is_closed_where_windows_without_points_begin():
  method = nearest_points.make_method(level=-9.0)  # all that is decoded is inside
  cloud = np.array([[0.1, 0.2, 0.3], [0.11, 0.2, 0.3], [0.1, 0.21, 0.3]])
  mesh = windows.reconstruct_scene(method, {}, cloud)
  assert mesh.is_watertight and mesh.volume > 0
  # 14 cells are observed, so windows within reach of a point are decoded, and no more.
  assert (np.ptp(mesh.vertices, axis=0) < 40 * 0.02).all()


def test_overlapping_windows_weigh_one_together():
  method = make_network(query_cells=13)
  size = method.windows
  assert (size.query, size.stride) == (13, 12)
  size = size._replace(stride=8)
  weights = windows._middle_weights(size, 2)
  total = np.zeros((4 * 16 + 26,) * 3)
  for i, j, k in itertools.product(range(5), repeat=3):
    total[tuple(slice(16 * a, 16 * a + 26) for a in (i, j, k))] += weights
  np.testing.assert_allclose(total[16:-16, 16:-16, 16:-16], 1, rtol=1e-12)


def test_the_cells_size_sets_the_unit():
  method, rng = nearest_points.make_method(), np.random.default_rng(4)
  cloud = random_walk(rng, 30)
  mesh = windows.reconstruct_scene(method, {}, cloud)
  in_millimetres = windows.reconstruct_scene(method, {}, 1000 * cloud, cell_size=20.0)
  np.testing.assert_allclose(in_millimetres.vertices, 1000 * mesh.vertices, rtol=1e-4)
  fine = windows.reconstruct_scene(method, {}, cloud, points_per_cell=3)
  assert len(fine.vertices) > 1.8 * len(mesh.vertices)
  few = windows.reconstruct_scene(method, {}, cloud, simplify_faces=300)
  assert len(few.faces) <= 300 < len(mesh.faces)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"cell_size": 0.0}, r"cell_size=0\.0.*want a length above 0"),
    ({"cell_size": np.inf}, r"cell_size=inf.*want a length above 0"),
    ({"cell_size": 1e-30}, r"cells away from the origin; .*enlarge cell_size=1e-30"),
    ({"points_per_cell": 0}, r"points_per_cell=0; want"),
    ({"on_empty": "no"}, r"on_empty='no'; want 'raise' or 'empty'"),
    ({"max_memory": 10_000}, r"at least \d+ MiB in \d+ blocks.*enlarge cell_size"),
    ({"cell_size": 1e-9}, r"points of the lattice long; .*enlarge cell_size"),
    (
      {"level": 9.0},
      r"no surface: values in \d+ windows lie .* none above the level 9",
    ),
  ],
)
def test_a_scene_that_cannot_be_made_is_one_sentence(settings, message):
  cloud = random_walk(np.random.default_rng(5), 30)
  with pytest.raises(ValueError, match=message):
    windows.reconstruct_scene(nearest_points.make_method(), {}, cloud, **settings)


def test_a_stray_point_beyond_the_keys_is_one_sentence():
  cloud = np.concatenate([random_walk(np.random.default_rng(6), 5), [[1e6, 0, 0]]])
  with pytest.raises(ValueError, match=r"points of the lattice long; .*stray points"):
    windows.reconstruct_scene(nearest_points.make_method(), {}, cloud)


def test_an_empty_scene_may_be_a_mesh_without_faces():
  cloud = random_walk(np.random.default_rng(7), 5)
  with pytest.raises(NoSurface, match="no surface"):
    windows.reconstruct_scene(nearest_points.make_method(), {}, cloud, level=9.0)
  mesh = windows.reconstruct_scene(
    nearest_points.make_method(), {}, cloud, level=9.0, on_empty="empty"
  )
  assert not len(mesh.faces)


def test_a_network_of_whole_shapes_takes_no_scene():
  method = registry.build(base.get_config("convonet").to_dict()["model"])
  with pytest.raises(
    ValueError, match=r"observes whole shapes.*config\.model\.unit_size"
  ):
    windows.reconstruct_scene(method, {}, np.eye(3))


def test_published_windows_have_the_values_of_the_reference(monkeypatch):
  """The lattice of 32 windows, each of which the reference encodes by itself."""
  case = "conv_crop_sliding"
  given, recorded = parity.load(case, "in/"), parity.load(case, "eval/")
  net = parity.family(case).network(parity.SPEC[case]["about"])
  weights = parity.state_dict(parity.SPEC[case])
  variables = traverse_util.unflatten_dict(
    dict(parity.place(*named) for named in weights.items())
  )
  cloud, counts = given["inputs"][0], recorded["axis_n_crop"]
  # There cells begin at the cloud's box, but positions within them at the origin.
  phase = recorded["input_vol"][0, 0] + 14 * 0.02

  def within_cell(points, crop):
    cells = (points + phase.reshape(1, 1, 3)) / crop.unit_size
    return cells - jnp.floor(cells)

  monkeypatch.setitem(crops.COORDINATES, "local", within_cell)
  apply = jax.jit(functools.partial(net.apply, train=False))
  errors = []
  for number, (i, j, k) in enumerate(np.ndindex(*counts)):
    lower, upper = recorded["input_vol"][number]
    centre = recorded["query_vol"][number].mean(0)
    inside = ((cloud >= lower) & (cloud < upper)).all(1)
    points = np.full((1, len(cloud), 3), 9, np.float32)
    points[0, inside.nonzero()[0]] = cloud[inside] - centre
    queries = recorded["points_first"] - recorded["query_vol"][0].mean(0)
    logits, _ = apply(variables, points, queries[None].astype(np.float32))
    block = tuple(slice(8 * n, 8 * n + 8) for n in (i, j, k))
    expected = recorded["grid"][block]
    errors.append(np.abs(np.asarray(logits[0]).reshape(8, 8, 8) - expected))
  errors = np.array(errors) / np.abs(recorded["grid"]).max()
  assert (errors < 2e-4).mean() > 0.97 and np.median(errors) < 1e-5
