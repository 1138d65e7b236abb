"""Fields of config.model for the network of scans (models/scan.py)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "scan"
  model.grid_resolution = 32  # cells along a side of the grid of features
  model.c_dim = 32  # features of every cell
  model.hidden_size = 32  # width of the pooled blocks and of the decoder
  model.unet3d_levels = 3  # levels of the grid's U-Net
  model.unet3d_filters = 16  # features of its first level; they double at each
  model.unet3d_patch = 2  # side of the patches of cells that are one of its cells
  # Nodes along a side of the grids in which moments of the points are measured.
  model.moment_sides = (16, 32, 64)
  model.poisson_side = 64  # nodes along a side of the solver's grid in training
  model.fine_poisson_side = 128  # the same in use and validation, for finer detail
  model.largest_offset = 0.03  # by which a point is moved, in cube units
  model.decoder_blocks = 2  # residual blocks of the decoder
  # Weight of the cross-entropy of the solver's field without the decoder.
  model.solid_weight = 1.0
  # Weight of 1 - cos of the angle of normals, where data.targets has cloud_normals.
  model.normal_weight = 0.3
  # Share of the training clouds whose normals are given, with errors; at 0 the network
  # has no weights to read normals by, and given ones only take the place of its own.
  model.normals_given = 0.0
  model.tau = 0.5  # occupancy probability at the surface, of the IoU during training
  # Probabilities among which validation chooses the one of the surface.
  model.tau_grid = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
  return model
