"""Codes found by optimisation, for a decoder whose best code is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from occnet_jax import losses
from occnet_jax.models.latent_optimization import fit_latent, labelled_batch
from occnet_jax.types import Field, Method


def ball(variables, latent, points):
  """Logits of balls whose radius is the latent: a decoder with one true code."""
  radius = jnp.linalg.norm(points, axis=-1)
  return 50 * (latent - radius)


def fidelity(variables, latent, batch):
  values = ball(variables, latent, batch["points"])
  entropy = losses.occupancy_cross_entropy(values, batch["occupancies"])
  return entropy / batch["points"].shape[1]


METHOD = Method(None, None, None, ball, Field(0.0), None, fidelity=fidelity)


def labelled(radii):
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (len(radii), 4000, 3))
  inside = np.linalg.norm(points, axis=-1) < np.asarray(radii)[:, None]
  return points.astype(np.float32), inside.astype(np.float32)


def fit(prior):
  points, inside = labelled([0.2, 0.3, 0.45])
  batch = {"points": points, "occupancies": inside}
  start = jnp.full((3, 1), 0.35)
  settings = {"steps": 200, "learning_rate": 1e-2, "prior_weight": prior}
  return fit_latent(METHOD, {}, start, batch, **settings)[:, 0]


def test_the_code_of_each_shape_is_found():
  np.testing.assert_allclose(fit(prior=0.0), [0.2, 0.3, 0.45], atol=0.012)


def test_a_strong_prior_keeps_the_code_where_it_starts():
  np.testing.assert_allclose(fit(prior=1e4), 0.35, atol=0.005)


def test_labels_that_are_not_finite_are_one_sentence():
  points, labels = np.zeros((1, 4, 3)), np.zeros((1, 4))
  labels[0, 2] = np.nan
  with pytest.raises(ValueError, match=r"labels: 1 of 4 numbers are not finite"):
    labelled_batch(points, labels)
