"""Fields of config.model for DeepSDF (Park et al. 2019)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "deepsdf"
  model.encoder = "code_table"  # one free code per training shape
  model.codes = 0  # rows of the code table; 0 for one per training shape
  model.c_dim = 256  # size of a code
  # Standard deviation of the initial codes, times the square root of c_dim.
  model.code_stddev = 1.0
  model.code_max_norm = 1.0  # length to which longer codes are shortened
  model.code_weight = 1e-4  # weight of the mean length of the codes in the loss
  # Width of each hidden layer; before a skip, that of its output with code and point.
  model.hidden_sizes = (512,) * 8
  model.skip_layers = (4,)  # layers that take code and point again
  model.weight_norm = True  # weight norm of the hidden layers, or else layer norm
  model.dropout_rate = 0.2  # share of hidden features that training drops
  # Lengths of the network in cube units. 1 in networks of this package; 2 / 1.1 for
  # published weights, whose own cube from -1 to 1 is then the padded cube.
  model.scale = 1.0
  # Largest distance that counts in the loss, in cube units.
  model.clamp = 0.1
  return model
