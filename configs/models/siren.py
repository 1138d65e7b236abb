"""Fields of config.model for SIREN (Sitzmann et al. 2020)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "siren"
  model.hidden_size = 256  # width of the hidden layers
  model.hidden_layers = 4  # number of hidden layers
  model.omega = 30.0  # factor within the sines; 0 for ReLU instead of sines
  # Octaves of Fourier features of points; 0 for plain coordinates. The published code
  # has 10 with ReLU and 0 with sines.
  model.fourier_octaves = 0
  # Weights of the loss: |f| on the surface, exp(-100 |f|) off it, 1 - cos of slope and
  # normal on it, and ||slope| - 1| everywhere.
  model.loss_weights = (3000.0, 100.0, 100.0, 50.0)
  return model
