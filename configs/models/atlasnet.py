"""Fields of config.model for AtlasNet (Groueix et al. 2018)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "atlasnet"
  # Encoder of the observation: atlasnet (its PointNet of clouds), pointnet_resnet,
  # pointnet_simple, resnet18, resnet34, resnet50, resnet101, simple_conv, r2n2_simple,
  # r2n2_resnet or voxel_simple.
  model.encoder = "atlasnet"
  model.encoder_hidden_size = 512  # width of the layers of the other PointNets
  # Whether a ResNet ends in a linear layer of c_dim; without it c_dim is its features.
  model.encoder_linear = True
  model.pretrained = ""  # torchvision file of a ResNet's first weights; "" for none
  model.c_dim = 1024  # size of the code, which is that of a patch's first layer too
  # Octaves of Fourier features of an input cloud, by the other PointNets; 0 for none.
  model.fourier_octaves = 0
  model.template = "squares"  # what is deformed: squares, or sphere for a closed mesh
  model.patches = 25  # number of squares
  model.hidden_size = 512  # features of the layers after the first
  model.layers = 2  # number of further layers
  # Points of all patches: drawn in training; of squares a grid in use, while the sphere
  # has 2,562 then.
  model.n_points = 2500
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  return model
