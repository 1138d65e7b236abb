"""Fields of config.model for IF-Net (Chibane et al. 2020)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "ifnet"
  # Nodes along a side of the grid that an input cloud becomes; an input grid keeps
  # config.data.voxel_side.
  model.resolution = 128
  # Features after each convolution of each level; every level has half the side of the
  # one before, the first that of the input.
  model.levels = ((16,), (32, 32), (64, 64), (128, 128), (128, 128))
  # Share of the shapes in training that use only some of the grids, the coarsest; then
  # levels_used has a choice. The paper has 0.
  model.level_dropout = 0.0
  # Grids that the surface depends on, counted from the coarsest, the input being the
  # last; 0 for all.
  model.levels_used = 0
  # Distance of a point's six neighbours, in units of half the cube's side.
  model.displacement = 0.0722
  # Features outside the unit cube: border, those of the nearest point of it, or zeros.
  model.outside = "border"
  model.coordinates = False  # whether the decoder sees the point itself, too
  model.hidden_sizes = (256, 256, 256)  # widths of the decoder's hidden layers
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  model.tau = 0.5  # occupancy probability at the surface, of the IoU during training
  # Probabilities among which validation chooses the one of the surface.
  model.tau_grid = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
  return model
