"""State_dicts of Convolutional Occupancy Networks (host, numpy).

autonomousvision/convolutional_occupancy_networks saves them in the same form as
Occupancy Networks, which `onet_weights` reads. The sets of planes and their resolutions
are not in a file: networks of one plane and of three have the same tensors, so the
config has to say which it is.
"""

from collections.abc import Mapping
from typing import Any

from occnet_jax.interop import state_dict


def from_state_dict(state: state_dict.State, template: Mapping[str, Any]) -> Any:
  """The linen variables of a state_dict of the reference; see `state_dict`.

  Modules have the published names. The kernels of transposed convolutions are stored
  there as (in, out, h, w), which is (h, w, out, in) here like any other kernel, as
  `conv.ConvTranspose` has that of the convolution whose transpose it is.
  """
  return state_dict.from_state_dict(state, template)
