"""`Model` for methods whose outputs are no fields."""

import numpy as np
import pytest

from configs import base
from occnet_jax.api import Model
from occnet_jax.types import Grid, Method, Points

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


@pytest.mark.parametrize("together", [1, 2])
def test_a_batch_of_grids_has_their_cells(together):
  model = make_model(Grid(0.0), one_cell)
  meshes = list(model.reconstruct_batch([CLOUD] * 3, together=together))
  scale = np.ptp(CLOUD, axis=0).max()
  assert len(meshes) == 3
  for mesh in meshes:
    np.testing.assert_allclose(mesh.volume, (scale / 4) ** 3, rtol=1e-5)
