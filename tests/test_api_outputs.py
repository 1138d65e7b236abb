"""`Model` for methods whose outputs are no fields."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from occnet_jax.api import Model
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.types import Field, Grid, Method, Points

COUNT = 50
RNG = np.random.default_rng(0)
CLOUD = RNG.uniform(-1, 1, (COUNT, 3)) * [3.0, 2.0, 1.0] + [10.0, 0.0, -5.0]


def make_model(output, decode):
  config = base.get_config()
  config.data.cloud_points = COUNT
  encode = lambda variables, inputs: inputs  # noqa: E731
  method = Method(None, None, encode, decode, output, None)
  return Model(method, {}, config.to_dict(), {"step": 0})


def one_cell(variables, latent):
  values = np.full((1, 4, 4, 4), -1.0)
  values[0, 1, 2, 3] = 1.0
  return values


def test_points_come_back_in_the_frame_of_the_cloud():
  """A network that gives back its input gives back the cloud."""
  model = make_model(Points(), lambda variables, latent: latent)
  vertices = model.reconstruct(CLOUD).vertices
  distances = np.linalg.norm(vertices[:, None] - CLOUD, axis=-1)
  np.testing.assert_allclose(distances.min(0), 0, atol=1e-5)
  np.testing.assert_allclose(distances.min(1), 0, atol=1e-5)
  assert model.level is None


def test_a_cloud_without_a_surface_is_named_in_its_batch():
  def filled_where_far(variables, latent):
    return jnp.where(jnp.abs(latent).max() < 1.5, one_cell(variables, latent), -1.0)

  model = make_model(Grid(0.0), filled_where_far)
  clouds = [factor * CLOUD for factor in (0.1, 0.15, 0.1)]
  meshes = model.reconstruct_batch(clouds, normalise=False)
  assert len(next(meshes).faces)
  with pytest.raises(NoSurface, match=r"observed\[1\]: no surface: all 64 cells"):
    next(meshes)


def test_an_error_of_another_kind_gets_the_index_as_a_note():
  def no_memory(variables, latent):
    raise MemoryError("2 TB")

  model = make_model(Grid(0.0), no_memory)
  with pytest.raises(MemoryError, match="2 TB") as raised:
    next(model.reconstruct_batch([CLOUD]))
  assert raised.value.__notes__[-1] == "in observed[0]"


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_are_refused_by_encode_and_decode(value):
  model = make_model(Field(0.0), lambda variables, latent, points: points[..., 0])
  clouds = np.zeros((2, COUNT, 3))
  model.decode(model.encode(clouds), clouds)
  clouds[1, 4:6, 0] = value
  with pytest.raises(ValueError, match=r"inputs \(cloud\): 2 of 300 numbers are not"):
    model.encode(clouds)
  with pytest.raises(ValueError, match=r"points: 2 of 300 numbers are not finite"):
    model.decode(None, clouds)


def test_a_cloud_in_another_unit_is_refused_by_encode_and_scaled_by_reconstruct():
  model = make_model(Grid(0.0), one_cell)
  stray = np.concatenate([CLOUD / np.ptp(CLOUD), [[7.0, 0, 0]]])
  model.encode(stray[None])  # an outlier is none of its business
  with pytest.raises(ValueError, match=r"half of the points are \S+ cube units or m"):
    model.encode(1000 * CLOUD[None])
  assert model.reconstruct(1000 * CLOUD).volume > 0


@pytest.mark.parametrize("together", [1, 2])
def test_a_batch_of_grids_has_their_cells(together):
  model = make_model(Grid(0.0), one_cell)
  meshes = list(model.reconstruct_batch([CLOUD] * 3, together=together))
  scale = np.ptp(CLOUD, axis=0).max()
  assert len(meshes) == 3
  for mesh in meshes:
    np.testing.assert_allclose(mesh.volume, (scale / 4) ** 3, rtol=1e-5)
