"""Small parts, smoothing, and the order of what is done to a mesh."""

import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.extract.mesh import finish


def ball(radius, x=0.0, subdivisions=2):
  return trimesh.creation.icosphere(subdivisions, radius).apply_translation([x, 0, 0])


def joined(*meshes):
  mesh = trimesh.util.concatenate(meshes)
  return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def test_parts_below_the_share_are_left_out_wherever_they_are():
  large, middle, small = ball(1), ball(0.5, 9), ball(0.2, -40)  # 1, 0.125, 0.008
  vertices, faces = joined(small, large, middle)
  for least, bodies in ((0.007, 3), (0.009, 2), (0.12, 2), (0.13, 1)):
    made = trimesh.Trimesh(
      *finish.without_small_parts(vertices, faces, least), process=False
    )
    assert made.body_count == bodies and made.is_watertight
    assert made.volume == pytest.approx(
      sum(sorted(m.volume for m in (large, middle, small))[-bodies:])
    )
    assert len(made.vertices) == len(np.unique(made.faces))


def test_a_small_cavity_is_filled_and_a_large_one_stays():
  small, large = ball(0.2), ball(0.6)
  for cavity in (small, large):
    cavity.invert()
  for cavity, volume in (
    (small, ball(1).volume),
    (large, ball(1).volume + large.volume),
  ):
    made = finish.without_small_parts(*joined(ball(1), cavity), 0.05)
    assert trimesh.Trimesh(*made, process=False).volume == pytest.approx(volume)


def test_smoothing_is_that_of_taubin_vertex_by_vertex():
  mesh = ball(1, subdivisions=1)
  mesh.vertices += 0.1 * np.random.default_rng(0).standard_normal(mesh.vertices.shape)
  expected = np.array(mesh.vertices)
  neighbours = [set() for _ in expected]
  for face in mesh.faces:
    for i in face:
      neighbours[i] |= set(face) - {i}
  for _ in range(3):
    for factor in (0.5, -0.51):
      means = np.stack([expected[list(near)].mean(0) for near in neighbours])
      expected = expected + factor * (means - expected)
  made = finish.smooth(np.asarray(mesh.vertices), np.asarray(mesh.faces), 3)
  np.testing.assert_allclose(made, expected, atol=1e-12)


def test_noise_is_smoothed_and_the_volume_stays():
  mesh = ball(1, subdivisions=4)
  rng = np.random.default_rng(0)
  rough = np.asarray(mesh.vertices) * (1 + 0.02 * rng.standard_normal((2562, 1)))
  made = finish.smooth(rough, np.asarray(mesh.faces), 10)
  radii = np.linalg.norm(made, axis=1)
  assert radii.std() < 0.5 * np.linalg.norm(rough, axis=1).std()
  assert radii.mean() == pytest.approx(1, abs=0.003)


def test_the_extractor_takes_them_in_that_order():
  def balls(p):
    centres = np.array([[-0.15, 0, 0], [0.35, 0, 0]])
    far = np.linalg.norm(p[:, None] - centres, axis=-1)
    return (np.array([0.25, 0.06]) - far).max(1)

  settings = {"resolution_0": 16, "upsampling_steps": 1, "least_part": 0.05}
  both = occnet_jax.extract_mesh(balls, **settings | {"least_part": 0.01})
  one = occnet_jax.extract_mesh(balls, **settings)
  assert (both.body_count, one.body_count) == (2, 1)
  rough = occnet_jax.extract_mesh(balls, **settings, smooth_steps=3)
  np.testing.assert_array_equal(rough.faces, one.faces)
  expected = finish.smooth(np.asarray(one.vertices), np.asarray(one.faces), 3)
  np.testing.assert_allclose(rough.vertices, expected, atol=1e-12)
  few = occnet_jax.extract_mesh(balls, **settings, smooth_steps=3, simplify_faces=100)
  assert len(few.faces) <= 100 and few.is_watertight
  assert "seconds_finish" in few.metadata


def test_smoothing_and_refinement_are_not_done_one_after_the_other():
  with pytest.raises(ValueError, match="smooth_steps=3 and refine_steps=2: refinement"):
    occnet_jax.extract_mesh(lambda p: p[0], smooth_steps=3, refine_steps=2)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"least_part": 1.0}, r"least_part=1.0; want a share from 0 to below 1"),
    ({"least_part": -0.1}, r"least_part=-0.1; want a share"),
    ({"smooth_steps": -1}, r"smooth_steps=-1; want 0 or more"),
  ],
)
def test_settings_out_of_range_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    finish.finish(*joined(ball(1)), **settings)
