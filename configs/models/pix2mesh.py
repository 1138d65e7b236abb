"""Fields of config.model for Pixel2Mesh (Wang et al. 2018)."""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  model = ml_collections.ConfigDict()
  model.name = "pix2mesh"
  model.encoder = "pix2mesh"  # encoder of the image: its own alone
  model.c_dim = 512  # features of the encoder's last map, a multiple of 32
  model.hidden_size = 192  # features of the graph convolutions
  # Vertices of the template, a sphere; the mesh has about sixteen times as many.
  model.template_vertices = 156
  # A closed sphere of one's own as the template, a mesh in cube units around the origin
  # or info_ellipsoid.dat of the published code; "" for the one of template_vertices.
  model.template_file = ""
  # Whether the sides of the image are the centres of the outer pixels of its maps, as
  # in the published code, or where these end.
  model.align_corners = True
  # Whether the weights of the losses are for shapes as large as the unit cube; those of
  # the original are for 0.57 of that.
  model.adjust_losses = True
  # Whether vertices are formed as in the published code, for its weights: the template
  # is in front of every camera at the same place, blocks give positions, and depths may
  # be 0. Otherwise it is in the middle of the cube, and blocks give offsets.
  model.published = False
  return model
