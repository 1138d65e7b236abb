import functools
import itertools
import re

import jax
import jaxtyping
import numpy as np
import pytest
import trimesh

import occnet_jax
from occnet_jax.train import loop
from tests.helpers.compilations import count_compilations

RNG = np.random.default_rng(0)


restore_once = functools.cache(occnet_jax.restore)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return tmp_path_factory.mktemp("api") / "run"


@pytest.fixture
def model(workdir, tiny_config):
  """Restored from a short training on boxes and ellipsoids; trained and read once."""
  if not workdir.exists():
    tiny_config["train"].update(steps=100, validate_every=100, save_every=100)
    loop.train(tiny_config, workdir)
  return restore_once(workdir)


@pytest.fixture(scope="module")
def cloud():
  ball = trimesh.creation.icosphere(3)
  ball.apply_scale((0.5, 0.3, 0.3))
  return np.asarray(ball.sample(400, seed=0))


def stretched(cloud, stretch):
  """The cloud, longer along y by so many tenths."""
  return cloud * (1, 1 + stretch / 10, 1)


@pytest.fixture(scope="module")
def alone(workdir, cloud):
  """A function stretch -> the mesh of the stretched cloud, reconstructed by itself."""
  return functools.cache(
    lambda stretch: restore_once(workdir).reconstruct(stretched(cloud, stretch))
  )


def test_encode_and_decode_have_the_promised_shapes(model, cloud):
  latent = model.encode(np.stack([cloud, cloud[::-1]]))
  logits = model.decode(latent, RNG.uniform(-0.5, 0.5, (2, 7, 3)))
  assert logits.shape == (2, 7)
  np.testing.assert_allclose(*jax.device_get(latent.c), rtol=1e-4, atol=1e-5)


def test_a_reconstruction_is_closed_outward_and_has_normals(model, cloud):
  mesh = model.reconstruct(cloud)
  assert mesh.is_watertight
  assert mesh.volume > 0
  assert "vertex_normals" in mesh._cache
  np.testing.assert_allclose(np.linalg.norm(mesh.vertex_normals, axis=1), 1, atol=1e-3)


def test_the_mesh_follows_the_frame_of_the_cloud(model, cloud):
  here = model.reconstruct(cloud)
  there = model.reconstruct(25 * cloud + [3, -2, 1])
  np.testing.assert_allclose(there.vertices, 25 * here.vertices + [3, -2, 1], atol=0.2)
  np.testing.assert_allclose(there.volume, 25**3 * here.volume, rtol=1e-2)
  np.testing.assert_allclose(there.vertex_normals, here.vertex_normals, atol=0.1)


def test_a_cloud_in_the_cubes_frame_can_stay_there(model, cloud):
  small = model.reconstruct(0.5 * cloud, normalise=False)
  whole = model.reconstruct(0.5 * cloud)
  assert small.extents.max() != pytest.approx(whole.extents.max(), rel=1e-3)


def test_a_second_cloud_or_restore_compiles_nothing(model, cloud, workdir):
  model.reconstruct(cloud)
  with count_compilations() as compiled:
    model.reconstruct(cloud[:100])
    occnet_jax.restore(workdir).reconstruct(cloud[:200])
  assert compiled == []


def assert_same_surface(mesh, want):
  """Shapes in one program round otherwise, and a vertex is where a root was found.

  Where the field crosses the level slowly, rounding moves that root within its edge.
  """
  apart = np.linalg.norm(mesh.vertices - want.vertices, axis=1)
  assert (apart < 1e-4).mean() > 0.99
  assert apart.max() < 0.5 * want.extents.max() / want.metadata["resolution"]


def test_a_batch_streams_the_meshes_of_single_reconstructions(model, cloud, alone):
  assert len(jax.local_devices()) == 2
  taken = []

  def observed():
    for stretch in itertools.count(1):
      taken.append(stretch)
      yield stretched(cloud, stretch)

  found = model.reconstruct_batch(observed(), threads=2)
  for stretch, mesh in zip((1, 2, 3, 4, 5), found, strict=False):
    want = alone(stretch)
    np.testing.assert_array_equal(mesh.faces, want.faces)
    assert_same_surface(mesh, want)
    assert len(taken) <= stretch + 4
  found.close()


def test_shapes_evaluated_together_give_the_meshes_of_single_reconstructions(
  model, cloud, alone
):
  clouds = [stretched(cloud, stretch) for stretch in range(5)]
  found = list(model.reconstruct_batch(clouds, together=2))
  for stretch, mesh in enumerate(found):
    want = alone(stretch)
    np.testing.assert_array_equal(mesh.faces, want.faces)
    assert_same_surface(mesh, want)
  assert len(found) == len(clouds)
  with pytest.raises(ValueError, match="together=0"):
    next(model.reconstruct_batch(clouds, together=0))


def test_a_shape_that_fails_in_a_batch_fails_at_its_turn(model, cloud):
  found = model.reconstruct_batch([cloud, np.ones((9, 3)), cloud])
  assert next(found).is_watertight
  with pytest.raises(ValueError, match="extent"):
    next(found)


def test_the_vertices_of_a_reconstruction_have_the_chosen_occupancy(model, cloud):
  mesh = model.extract(model.encode(cloud[None]), resolution_0=32, upsampling_steps=1)
  logits = model.decode(model.encode(cloud[None]), mesh.vertices[None])
  probabilities, tau = jax.nn.sigmoid(logits), jax.nn.sigmoid(model.level)
  assert abs(float(np.median(probabilities) - tau)) < 0.05


@pytest.mark.parametrize(
  ("cloud", "words"),
  [
    (np.full((9, 3), np.nan), "not finite"),
    (np.zeros((2, 3)), "at least 3"),
    (np.ones((9, 3)), "extent"),
  ],
)
def test_clouds_that_show_nothing_are_refused(model, cloud, words):
  with pytest.raises(ValueError, match=words):
    model.reconstruct(cloud)


def test_a_step_can_be_named_and_a_missing_one_is_an_error(workdir, model):
  assert occnet_jax.restore(workdir, step=100).record["step"] == 100
  with pytest.raises(ValueError, match="no checkpoint of step 7"):
    occnet_jax.restore(workdir, step=7)


def test_any_function_of_points_becomes_a_mesh():
  mesh = occnet_jax.extract_mesh(
    lambda points: 0.4 - (points**2).sum(-1) ** 0.5,
    resolution_0=32,
    upsampling_steps=2,
    level=0.0,
  )
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * 0.4**3, rtol=5e-3)


def test_a_mesh_in_place_of_a_cloud_is_one_sentence(model):
  with pytest.raises(ValueError, match=r"a Trimesh in place of a cloud; want numbers"):
    model.reconstruct(trimesh.creation.box())


@pytest.mark.parametrize("kind", ["complex128", "<U32"])
def test_an_array_of_no_real_numbers_is_refused_by_its_type(model, kind):
  cloud = np.random.default_rng(0).standard_normal((50, 3)).astype(kind)
  with pytest.raises(ValueError, match=rf"an array of {kind} in place of a cloud"):
    model.reconstruct(cloud)


@pytest.mark.parametrize(
  ("points", "labels"), [((1, 100, 3), (1, 50)), ((1, 100, 3), (100,)), ((9, 3), (9,))]
)
def test_points_and_labels_that_do_not_belong_together_are_named(
  model, points, labels, monkeypatch
):
  message = f"points of shape {points} with labels of shape {labels}; want (b, t, 3) "
  monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
  with pytest.raises(ValueError, match=re.escape(message)):
    model.fit(np.zeros(points, np.float32), np.zeros(labels, np.float32))
