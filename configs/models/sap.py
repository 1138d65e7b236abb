"""Fields of config.model for Shape As Points (Peng et al. 2021)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "sap"
  # What holds the features of a shape: any of xz, xy, yz (planes) and grid.
  model.features = ("grid",)
  model.plane_resolution = 64  # cells along a side of a plane
  model.grid_resolution = 32  # cells along a side of the grid
  model.c_dim = 32  # features of every cell
  model.encoder_hidden_size = 32  # width of the encoder's layers
  model.encoder_blocks = 5  # its residual blocks
  model.pooling = "max"  # its pooling over the points of a cell: max or mean
  # Levels of the U-Net that all planes share; 0 for none.
  model.unet_depth = 4
  model.unet_filters = 32  # features of its first level; they double at each
  model.unet_merge = "concat"  # how its ways down and up meet: concat or add
  # How its sides are doubled: transposed convolution, as published, or bilinear.
  model.unet_up = "transposed"
  # Initial kernels of the U-Nets: xavier for the published ones, or he, with which a
  # short training uses coarse levels sooner.
  model.unet_start = "xavier"
  model.unet3d_levels = 3  # levels of the grid's U-Net; 0 for none
  model.unet3d_filters = 32  # features of its first level; they double at each
  model.unet3d_norm = True  # whether its convolutions have group norms before them
  # Side of the patches of cells that are one cell of the grid's U-Net, which then has
  # that many cells fewer along an axis; 1 as published.
  model.unet3d_patch = 1
  # How its ways down and up meet: concat as published, or add, of learned upsampling,
  # with fewer features to convolve.
  model.unet3d_merge = "concat"
  model.hidden_size = 32  # width of the decoders of offsets and of normals
  model.decoder_blocks = 5  # residual blocks of each
  model.offsets = 7  # points with normals that are made of each input point
  # Factor of the decoded offsets, in units of the solver's box.
  model.offset_scale = 1e-3
  model.poisson_resolution = 128  # nodes along a side of the solver's grid
  # Smoothing of the field by a Gaussian whose standard deviation is this many distances
  # of nodes, divided by pi.
  model.poisson_sigma = 2.0
  # Side of the solver's periodic box about the origin, in cube units. Shapes have to
  # keep off its faces, because beyond each the opposite one begins.
  model.poisson_box = 1.2
  # Whether the box's corner is outside, whichever way the decoded normals point; not as
  # published, where a training that starts with normals inwards can stay with them.
  model.poisson_corner_outside = False
  return model
