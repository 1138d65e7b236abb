"""Fields of config.model for PSGN (Fan et al. 2017)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "psgn"
  # Encoder of the observation: two_branch (for the decoder of that name),
  # pointnet_resnet, pointnet_simple, resnet18, resnet34, resnet50, resnet101,
  # simple_conv, r2n2_simple, r2n2_resnet or voxel_simple.
  model.encoder = "pointnet_resnet"
  model.encoder_hidden_size = 512  # width of a PointNet encoder's layers
  # Whether a ResNet ends in a linear layer of c_dim; without it c_dim is its features.
  model.encoder_linear = True
  model.pretrained = ""  # torchvision file of a ResNet's first weights; "" for none
  model.c_dim = 512  # size of the code c; of two_branch, features of its last map
  # Octaves of Fourier features of an input cloud; 0 for plain coordinates.
  model.fourier_octaves = 0
  # simple, linear layers; or two_branch, the original, for images whose
  # sides are multiples of 64 pixels.
  model.decoder = "simple"
  model.hidden_size = 512  # features of the layers of the simple decoder
  model.n_points = 1024  # number of points that are predicted
  # Whether the two-branch decoder forms points as the published code does, for its
  # weights (nn/psgn.py says how); otherwise every point can lie anywhere.
  model.published_points = False
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  return model
