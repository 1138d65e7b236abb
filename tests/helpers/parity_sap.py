"""Networks of Shape As Points as the recordings name and call them.

The recorded networks were given points of the unit cube.
"""

import jax.numpy as jnp
import numpy as np

from occnet_jax.models.sap import ShapeAsPoints, Solver
from occnet_jax.nn.grid_features import Layout
from occnet_jax.nn.local_decoder import LocalDecoder
from occnet_jax.nn.local_encoders import LocalPoolPointnet
from occnet_jax.nn.unet import UNet, UNet3D

FAMILY = "sap"
KINKED = {"sap_small": 2e-5, "sap_small_3plane": 2e-5}  # see parity.KINKED
SUMMED = {"sap_small": 2e-4}  # see parity_convonet.SUMMED


class FieldAndPoints(ShapeAsPoints):
  """The network of points in the unit cube, which returns its own points besides."""

  def __call__(self, points, *, train):
    oriented = self.orient(points, train=train)
    return self.solve(oriented), oriented


def network(about):
  """The network of a case, with the sizes that the published code was given."""
  config = about["config"]["model"]
  kwargs, hidden = config["encoder_kwargs"], config["decoder_kwargs"]["hidden_size"]
  names, c_dim = kwargs["plane_type"], config["c_dim"]
  layout = Layout(
    (names,) if isinstance(names, str) else tuple(names),
    kwargs.get("plane_resolution", 0),
    kwargs.get("grid_resolution", 0),
    padding=None,
  )
  unet = unet3d = None
  if kwargs.get("unet"):
    sizes = kwargs["unet_kwargs"]
    unet = UNet(c_dim, sizes["depth"], sizes["start_filts"], sizes["merge_mode"])
  if kwargs.get("unet3d"):
    sizes = kwargs["unet3d_kwargs"]
    unet3d = UNet3D(c_dim, sizes["num_levels"], sizes["f_maps"])
  encoder = LocalPoolPointnet(
    layout, c_dim, kwargs["hidden_dim"], unet=unet, unet3d=unet3d
  )
  normals, offsets = (
    LocalDecoder(hidden, padding=None, outputs=count)
    for count in (3, 3 * about["config"]["data"]["num_offset"])
  )
  solver = Solver(config["grid_res"], float(config["psr_sigma"]))
  return FieldAndPoints(encoder, normals, offsets, solver, config["s_offset"])


def arguments(given):
  """The arguments of a case's network, from its recorded inputs."""
  return (jnp.asarray(given["inputs"]),)


def take(field, count):
  """The nodes of a field (b, r, r, r) that a recording of so many values has."""
  rows = np.round(np.linspace(0, field.size - 1, count)).astype(int)
  return field.reshape(-1)[rows]


def named_outputs(outputs):
  """Outputs by their names in a recording."""
  field, oriented = outputs
  return {**oriented._asdict(), "psr_1024": take(field, 1024)}
