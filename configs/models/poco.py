"""Fields of config.model for POCO (Boulch and Marlet 2022)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "poco"
  model.c_dim = 32  # features of every input point
  # Features of a point within the first level of the convolutions; they double at each.
  model.hidden_size = 64
  model.knn = 64  # input points nearest to a query, from which it is decoded
  model.heads = 64  # softmaxes whose mean weighs them
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  model.tau = 0.5  # occupancy probability at the surface, of the IoU during training
  # Probabilities among which validation chooses the one of the surface.
  model.tau_grid = (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
  return model
