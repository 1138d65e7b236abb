"""Fields of config.model for the neural field of a single shape."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "single"
  # Encoding of points: fourier (random Fourier features), hash (hash grid), grids
  # (feature grids of several resolutions) or none.
  model.encoding = "fourier"
  # Loss: cross_entropy of occupancies; or of signed distances relative_l1 or squared,
  # which want prep.distances and data.targets=("distances",).
  model.loss = "cross_entropy"
  model.hidden_size = 256  # width of the perceptron's hidden layers
  model.hidden_layers = 8  # number of hidden layers
  model.use_bias = True  # whether layers have biases
  model.fourier_features = 256  # number of random frequencies; encoding=fourier only
  # Standard deviation of the frequencies, in periods per side of the padded cube.
  model.fourier_sigma = 12.0
  model.levels = 16  # resolutions of encoding=hash or grids
  model.level_features = 2  # features of a node of each resolution
  # Nodes along a side of the coarsest resolution; for grids a power of two plus 1, and
  # the further resolutions have twice as many cells each.
  model.base_resolution = 16
  model.finest_resolution = 2048  # nodes along a side of the finest; hash only
  # Base-2 logarithm of the largest number of rows of a resolution's table; hash only.
  model.hash_log2_entries = 19
  # Resolutions that decode, from the coarsest; 0 for all. For grids, and for a trained
  # network, too.
  model.levels_used = 0
  # Occupancy probability at the surface; for loss=cross_entropy only.
  model.tau = 0.5
  return model
