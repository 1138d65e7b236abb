"""Metrics against closed forms, brute force and the laws that they obey."""

import numpy as np
import pytest
import trimesh

from occnet_jax.evaluation import metrics
from occnet_jax.geometry import surface_sampling

pytestmark = pytest.mark.filterwarnings("error")
SAMPLES = 20_000


def box(extents=(1.0, 1.0, 1.0), centre=(0.0, 0.0, 0.0)):
  mesh = trimesh.creation.box(extents)
  return np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces, np.int64)


def ball(radius, subdivisions=5):
  mesh = trimesh.creation.icosphere(subdivisions, radius)
  return np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64)


def square(tilt=0.0, height=0.0, reach=1.0):
  """A square of side `reach` at z = height, turned about x by `tilt` radians."""
  corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float64)
  corners = (corners - [0.5, 0.5, 0]) * reach
  turn = trimesh.transformations.rotation_matrix(tilt, [1, 0, 0])[:3, :3]
  return corners @ turn.T + [0, 0, height], np.array([[0, 1, 2], [0, 2, 3]])


def truth_of(mesh, rng, count=SAMPLES):
  surface, normals = surface_sampling.sample(*mesh, count, rng)
  return {"surface": surface, "normals": normals}


def measure(mesh, truth, *, scale=1.0, thresholds=(0.01,)):
  rng = np.random.default_rng(1)
  points = rng.uniform(-0.55, 0.55, (SAMPLES, 3))
  inside = surface_sampling.contains(*truth, points)
  sampled = truth_of(truth, rng)
  sampled["surface"] = sampled["surface"] * scale
  return metrics.evaluate_mesh(
    mesh[0] * scale,
    mesh[1],
    points=points * scale,
    occupancies=inside,
    **sampled,
    samples=SAMPLES,
    thresholds=thresholds,
  )


def test_concentric_spheres_are_the_difference_of_radii_apart():
  row = measure(ball(0.4), ball(0.5))
  for name in ("accuracy", "completeness", "chamfer_l1"):
    np.testing.assert_allclose(row[name], 0.1, rtol=0.01)
  np.testing.assert_allclose(row["chamfer_l1_x10"], 1.0, rtol=0.01)
  np.testing.assert_allclose(row["chamfer_l2"], 0.01, rtol=0.02)
  np.testing.assert_allclose(row["iou"], 0.8**3, atol=0.01)
  assert row["normal_consistency"] > 0.99
  assert row["f_score_1pct"] == row["precision_1pct"] == row["recall_1pct"] == 0
  assert row["empty"] is False


def test_nested_boxes_overlap_by_the_ratio_of_their_volumes():
  inner = box((0.5, 0.8, 0.6), (0.1, 0.0, -0.1))
  np.testing.assert_allclose(measure(inner, box())["iou"], 0.24, atol=0.01)


def test_half_of_a_shape_is_accurate_and_precise_but_not_complete():
  left, right = box((0.3, 0.3, 0.3), (-0.35, 0, 0)), box((0.3, 0.3, 0.3), (0.35, 0, 0))
  both = np.concatenate([left[0], right[0]]), np.concatenate([left[1], right[1] + 8])
  row = measure(left, both)
  assert row["accuracy"] < 0.005
  # The right box is 0.35 + 0.2 from the face of the left one, on average.
  np.testing.assert_allclose(row["completeness"], 0.55 / 2, rtol=0.02)
  assert row["precision_1pct"] > 0.99
  np.testing.assert_allclose(row["recall_1pct"], 0.5, atol=0.02)
  np.testing.assert_allclose(row["f_score_1pct"], 2 / 3, atol=0.02)
  np.testing.assert_allclose(row["iou"], 0.5, atol=0.02)


def test_half_overlapping_boxes_share_a_third():
  shifted = box((0.5, 1, 1), (0.25, 0, 0)), box((0.5, 1, 1), (0, 0, 0))
  np.testing.assert_allclose(measure(*shifted)["iou"], 1 / 3, atol=0.01)


def test_iou_of_counted_points():
  a = np.array([1, 1, 0, 0, 1], np.uint8)
  b = np.array([1.0, 0.0, 0.0, 1.0, 0.7], np.float32)
  assert metrics.iou(a, b) == 2 / 4
  assert metrics.iou(np.zeros(3), np.zeros(3)) == 1


def test_a_mesh_agrees_with_itself():
  row = measure(ball(0.5, 3), ball(0.5, 3))
  assert row["iou"] == 1
  assert row["normal_consistency"] > 0.99
  density = SAMPLES / np.pi  # of a Poisson cloud on the sphere of radius 1/2
  np.testing.assert_allclose(row["chamfer_l1"], density**-0.5 / 2, rtol=0.02)
  within = 1 - np.exp(-np.pi * 0.01**2 * density)
  np.testing.assert_allclose(row["f_score_1pct"], within, rtol=0.02)


@pytest.mark.parametrize("degrees", [0, 30, 60, 90])
def test_tilted_planes_agree_by_the_cosine_of_their_angle(degrees):
  rng = np.random.default_rng(0)
  flat, tilted = square(), square(np.radians(degrees))
  points, normals = surface_sampling.sample(*flat, 500, rng)
  others, other_normals = surface_sampling.sample(*tilted, 500, rng)
  for sign, length in ((1, 1), (-1, 1), (1, 7.5)):
    apart = metrics.distances(points, normals, others, sign * length * other_normals)
    np.testing.assert_allclose(apart.cosines, np.cos(np.radians(degrees)), atol=1e-12)


def test_parallel_planes_are_their_gap_apart_and_within_a_wider_threshold():
  rng = np.random.default_rng(0)
  low, high = truth_of(square(), rng), truth_of(square(height=0.012), rng)
  there = metrics.distances(*low.values(), *high.values())
  back = metrics.distances(*high.values(), *low.values())
  row = metrics.compare_surfaces(there, back, (0.01, 0.015, 0.02))
  np.testing.assert_allclose(row["chamfer_l1"], 0.012, rtol=0.1)
  assert row["f_score_1pct"] == 0
  assert row["f_score_1.5pct"] > 0.9
  assert row["f_score_2pct"] > row["f_score_1.5pct"]


def test_f_score_counted_by_hand():
  predicted = np.array([[0, 0, 0], [0.005, 0, 0], [0.5, 0, 0], [0.7, 0, 0.0]])
  true = np.array([[0.0, 0, 0], [1, 0, 0]])
  up = np.array([[0, 0, 1.0]])
  row = metrics.compare_surfaces(
    metrics.distances(predicted, up.repeat(4, 0), true, up.repeat(2, 0)),
    metrics.distances(true, up.repeat(2, 0), predicted, up.repeat(4, 0)),
  )
  assert row["precision_1pct"] == 2 / 4
  assert row["recall_1pct"] == 1 / 2
  assert row["f_score_1pct"] == 1 / 2
  np.testing.assert_allclose(row["accuracy"], (0 + 0.005 + 0.5 + 0.3) / 4)
  np.testing.assert_allclose(row["completeness"], (0 + 0.3) / 2)
  np.testing.assert_allclose(
    row["chamfer_l2"], ((0.005**2 + 0.25 + 0.09) / 4 + 0.09 / 2) / 2
  )


def test_nearest_neighbours_equal_brute_force():
  rng = np.random.default_rng(0)
  a, b, a_normals, b_normals = rng.normal(size=(4, 300, 3))
  apart = metrics.distances(a, a_normals, b, b_normals)
  pairs = np.linalg.norm(a[:, None] - b[None], axis=-1)
  np.testing.assert_allclose(apart.lengths, pairs.min(axis=1))
  partners = b_normals[pairs.argmin(axis=1)]
  expected = np.abs((a_normals * partners).sum(1))
  expected /= np.linalg.norm(a_normals, axis=1) * np.linalg.norm(partners, axis=1)
  np.testing.assert_allclose(apart.cosines, expected)


def test_twice_the_size_is_twice_the_chamfer_and_four_times_its_square():
  once = measure(ball(0.4, 3), box())
  twice = measure(ball(0.4, 3), box(), scale=2.0)
  np.testing.assert_allclose(twice["chamfer_l1"], 2 * once["chamfer_l1"])
  np.testing.assert_allclose(twice["chamfer_l2"], 4 * once["chamfer_l2"])
  assert twice["iou"] == once["iou"]
  np.testing.assert_allclose(twice["normal_consistency"], once["normal_consistency"])


@pytest.mark.parametrize(
  "mesh",
  [
    (np.zeros((0, 3)), np.zeros((0, 3), np.int64)),
    (np.eye(3), np.zeros((0, 3), np.int64)),
    (np.eye(3), np.array([[0, 1, 1]])),
  ],
  ids=["nothing", "no faces", "no area"],
)
def test_an_empty_mesh_counts_as_the_worst(mesh):
  row = measure(mesh, box())
  names = ("accuracy", "completeness", "chamfer_l1")
  np.testing.assert_allclose([row[name] for name in names], 3**0.5)
  np.testing.assert_allclose(row["chamfer_l1_x10"], 10 * 3**0.5)
  np.testing.assert_allclose(row["chamfer_l2"], 3)
  assert (row["iou"], row["normal_consistency"]) == (0, -1)
  assert (row["f_score_1pct"], row["precision_1pct"], row["recall_1pct"]) == (0, 0, 0)
  assert row["empty"] is True
  assert row.keys() == measure(box(), box()).keys()


def test_an_inside_out_mesh_contains_nothing_but_lies_in_the_right_place():
  vertices, faces = box()
  right, wrong = (
    measure((vertices, faces), box()),
    measure((vertices, faces[:, ::-1]), box()),
  )
  assert (right["iou"], wrong["iou"]) == (1, 0)
  np.testing.assert_allclose(wrong["chamfer_l1"], right["chamfer_l1"], rtol=0.02)
  np.testing.assert_allclose(
    wrong["normal_consistency"], right["normal_consistency"], atol=0.01
  )


def test_a_truth_without_samples_is_an_error():
  with pytest.raises(ValueError, match="0 labelled points"):
    metrics.evaluate_mesh(
      *box(),
      points=np.zeros((0, 3)),
      occupancies=np.zeros(0),
      surface=np.eye(3),
      normals=np.eye(3),
    )


def test_a_trimmed_mesh_is_measured_within_the_sides_of_the_true_surface():
  """A slab has a back that a single sheet has not; above, nothing is trimmed."""
  slab = trimesh.creation.box((1.0, 0.1, 1.0))  # its top at .05, its bottom at -.05
  rng = np.random.default_rng(0)
  sheet = rng.uniform((-0.4, 0.05, -0.4), (0.4, 0.05, 0.4), (20_000, 3))
  truth = {
    "points": np.array([[0.0, 0.0, 0.0], [0.45, 0.0, 0.0]]),
    "occupancies": np.array([1, 0]),
    "surface": sheet,
    "normals": np.tile([0.0, 1.0, 0.0], (len(sheet), 1)),
    "samples": 4000,
  }
  mesh = np.asarray(slab.vertices), np.asarray(slab.faces, np.int64)
  whole = metrics.evaluate_mesh(*mesh, **truth)
  trimmed = metrics.evaluate_mesh(*mesh, **truth, trim=0.007)
  assert whole["accuracy"] > 0.05 and trimmed["accuracy"] < 0.01
  assert trimmed["precision_1pct"] > 0.99 > whole["precision_1pct"]
  assert trimmed["iou"] == whole["iou"] == 0.5
  above = metrics.evaluate_mesh(mesh[0] + [0, 0.5, 0], mesh[1], **truth, trim=0.007)
  np.testing.assert_allclose(above["accuracy"], 0.45, atol=0.06)
  below = metrics.evaluate_mesh(mesh[0] - [0, 0.5, 0], mesh[1], **truth, trim=0.007)
  assert below["empty"] and below["f_score_1pct"] == 0


def test_points_are_measured_by_distances_alone():
  surface = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * 2), -1).reshape(-1, 2)
  surface = np.pad(surface, ((0, 0), (0, 1)))
  points = surface[:60] + np.array([[0, 0, 0.005]])
  row = metrics.evaluate_points(points, surface)
  np.testing.assert_allclose(row["accuracy"], 0.005)
  nearest = np.linalg.norm(surface[:, None] - points[None], axis=-1).min(1)
  np.testing.assert_allclose(row["completeness"], nearest.mean())
  np.testing.assert_allclose(row["chamfer_l1"], (0.005 + nearest.mean()) / 2)
  recall = (nearest <= 0.01).mean()
  np.testing.assert_allclose(row["f_score_1pct"], 2 * recall / (1 + recall))
  assert not {"iou", "normal_consistency"} & row.keys()


def test_a_mesh_without_a_volume_has_no_iou():
  rng = np.random.default_rng(0)
  settings = {"points": np.zeros((1, 3)), "occupancies": np.ones(1), "samples": 500}
  settings |= truth_of(box(), rng, 500)
  patch = metrics.evaluate_mesh(*square(), **settings, volume=False)
  whole = metrics.evaluate_mesh(*square(), **settings)
  assert "iou" not in patch and patch == {k: v for k, v in whole.items() if k != "iou"}
