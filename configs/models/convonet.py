"""Fields of config.model for convolutional occupancy networks (Peng et al. 2020)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "convonet"
  # Encoder of the observation: pointnet_local_pool (clouds), voxel_simple_local, or
  # pointnet_plus_plus (clouds), whose features lie on the points themselves.
  model.encoder = "pointnet_local_pool"
  # What holds the features of a shape: any of xz, xy, yz (planes) and grid. It does not
  # matter to pointnet_plus_plus.
  model.features = ("xz", "xy", "yz")
  model.plane_resolution = 64  # cells along a side of a plane
  model.grid_resolution = 32  # cells along a side of the grid
  # Planes and grid cover a cube of side 1 + padding, that of the labelled points.
  model.padding = 0.1
  # Side of a cell of windows of a scene, which planes and grid then cover in place of
  # the cube; 0 for whole shapes. The unit is that of data.crop.
  model.unit_size = 0.0
  model.query_cells = 25  # cells a side of a window's middle, where it is decoded
  # What layers get of a position in a window: "local" for that within its cell,
  # "sin_cos" for waves of it, "" for that in the window.
  model.local_coordinates = "local"
  # Where features of cells lie when they are read: nodes, as published, or cells, in
  # their centres.
  model.read_at = "nodes"
  model.c_dim = 32  # features of every cell or point
  model.encoder_hidden_size = 32  # width of pointnet_local_pool's layers
  model.encoder_blocks = 5  # its residual blocks
  model.pooling = "max"  # its pooling over the points of a cell: max or mean
  model.voxel_kernel_size = 3  # window of voxel_simple_local's convolution
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
  model.unet3d_norm = True  # its group norms; without them windows of a scene agree
  # Side of the patches of cells that are one cell of the grid's U-Net, which then has
  # that many cells fewer along an axis; 1 as published.
  model.unet3d_patch = 1
  # How its ways down and up meet: concat as published, or add, of learned upsampling,
  # with fewer features to convolve.
  model.unet3d_merge = "concat"
  model.hidden_size = 32  # width of the decoder
  model.decoder_blocks = 5  # its residual blocks
  model.decoder_leaky = False  # LeakyReLU(0.2) before its last layer in place of ReLU
  model.sample_mode = "bilinear"  # reading of planes and grid: bilinear or nearest
  # Nearest input points whose features are added to those of planes and grid, with
  # pointnet_local_pool; 0 for none, as published.
  model.knn = 0
  # Octaves of Fourier features of points, in pointnet_local_pool and in the decoder of
  # planes and grid; 0 for plain coordinates, as published.
  model.fourier_octaves = 0
  # Length at which features of a point have lost weight; pointnet_plus_plus only.
  model.point_sigma = 0.2
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  model.tau = 0.2  # occupancy probability at the surface, of the IoU during training
  # Probabilities among which validation chooses the one of the surface.
  model.tau_grid = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
  return model
