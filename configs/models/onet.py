"""Fields of config.model for occupancy networks (Mescheder et al. 2019)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "onet"
  # Encoder of the observation: pointnet_resnet, pointnet_simple, resnet18, resnet34,
  # resnet50, resnet101, simple_conv, r2n2_simple, r2n2_resnet, voxel_simple, code_table
  # or none.
  model.encoder = "pointnet_resnet"
  model.encoder_hidden_size = 512  # width of a PointNet encoder's layers
  # Whether a ResNet ends in a linear layer of c_dim; without it c_dim is its features.
  model.encoder_linear = True
  model.pretrained = ""  # torchvision file of a ResNet's first weights; "" for none
  model.c_dim = 512  # size of the code c; 0 without an encoder
  model.codes = 0  # rows of a code table; 0 for one per training shape
  model.z_dim = 0  # size of the random latent z; 0 for a model without
  model.latent_hidden_size = 128  # width of the encoder of z
  model.kl_weight = 1.0  # weight of KL(q(z) || N(0, 1)) in the loss
  # The decoder of points: cbatchnorm, cbatchnorm2, cbatchnorm_noresnet, batchnorm or
  # simple.
  model.decoder = "cbatchnorm"
  model.hidden_size = 256  # width of the decoder
  model.decoder_leaky = False  # LeakyReLU(0.2) in the decoder in place of ReLU
  # Octaves of Fourier features of the points; 0 for plain coordinates as in the paper.
  model.fourier_octaves = 0
  # Whether running variances are unbiased, as PyTorch's, or biased, as Flax's.
  model.unbiased_variance = True
  model.tau = 0.2  # occupancy probability at the surface, of the IoU during training
  # Probabilities among which validation chooses the one of the surface.
  model.tau_grid = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
  return model
