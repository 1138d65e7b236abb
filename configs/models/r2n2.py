"""Fields of config.model for 3D-R2N2 without recurrence (Choy et al. 2016)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "r2n2"
  # Encoder of the observation: pointnet_resnet, pointnet_simple, resnet18, resnet34,
  # resnet50, resnet101, simple_conv, r2n2_simple, r2n2_resnet or voxel_simple.
  model.encoder = "pointnet_resnet"
  model.encoder_hidden_size = 512  # width of a PointNet encoder's layers
  # Whether a ResNet ends in a linear layer of c_dim; without it c_dim is its features.
  model.encoder_linear = True
  model.pretrained = ""  # torchvision file of a ResNet's first weights; "" for none
  model.c_dim = 512  # size of the code c
  # Octaves of Fourier features of an input cloud; 0 for plain coordinates.
  model.fourier_octaves = 0
  # Features of the grids of side 4, 8, 16, ...; the last side is that of the result.
  model.channels = (256, 128, 64, 32)
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  model.tau = 0.4  # occupancy probability from which on a cell is inside
  return model
