"""IF-Net in NumPy, slowly, with weights by their published names (host).

Written from the paper and the layout of the files, for tests: convolutions channel by
channel, one query point at a time.
"""

import itertools
import re

import numpy as np
from scipy import ndimage

EPSILON = 1e-5  # of batch norm


def draw_state(rng, *, levels, hidden_sizes, coordinates=False):
  """A random state_dict of a network with these sizes.

  Args:
    levels: [[(name of a convolution, features), ...], ...], one list for each level;
      the norm's name follows from the last.
    hidden_sizes: widths of the decoder's hidden layers.
    coordinates: whether the decoder sees coordinates.
  """
  state, inputs, sampled = {}, 1, 1

  def draw(name, shape, scale=1.0):
    fan_in = int(np.prod(shape[1:]))
    state[f"{name}.weight"] = scale * rng.standard_normal(shape) / fan_in**0.5
    state[f"{name}.bias"] = 0.1 * rng.standard_normal(shape[0])

  for level in levels:
    for name, features in level:
      draw(name, (features, inputs, 3, 3, 3), 1.5)
      inputs = features
    sampled += inputs
    norm = norm_name(level[-1][0])
    state[f"{norm}.weight"] = 1 + 0.2 * rng.standard_normal(inputs)
    state[f"{norm}.bias"] = 0.2 * rng.standard_normal(inputs)
    state[f"{norm}.running_mean"] = 0.3 * rng.standard_normal(inputs)
    state[f"{norm}.running_var"] = 0.5 + rng.random(inputs)
    state[f"{norm}.num_batches_tracked"] = np.array(7)
  width = 7 * sampled + 3 * coordinates
  for k, size in enumerate(hidden_sizes):
    draw(f"fc_{k}", (size, width, 1))
    width = size
  draw("fc_out", (1, width, 1), 5.0)
  return {
    name: array if array.dtype.kind == "i" else array.astype(np.float32)
    for name, array in state.items()
  }


def norm_name(convolution):
  """ "conv_2_1" -> "conv2_1_bn", but "conv_in" -> "conv_in_bn"."""
  return re.sub(r"^conv_(\d)", r"conv\1", convolution) + "_bn"


def encode(state, grids, levels, *, train=False):
  """Feature volumes (b, c, r, r, r) of grids (b, r, r, r), the grids first."""
  x = np.asarray(grids, np.float64)[:, None]
  volumes = [x]
  for k, level in enumerate(levels):
    if k:
      b, c, r = x.shape[:3]
      h = r // 2
      x = np.array(
        [
          [
            x[i, j, 2 * u : 2 * u + 2, 2 * v : 2 * v + 2, 2 * w : 2 * w + 2].max()
            for u, v, w in itertools.product(range(h), repeat=3)
          ]
          for i, j in itertools.product(range(b), range(c))
        ]
      ).reshape(b, c, h, h, h)
    for name, _ in level:
      x = np.maximum(convolve(x, state[f"{name}.weight"], state[f"{name}.bias"]), 0)
    x = batch_norm(state, norm_name(level[-1][0]), x, train=train)
    volumes.append(x)
  return volumes


def convolve(x, weight, bias):
  """The 3^3 convolution with a border of one zero, channel by channel."""
  return np.stack(
    [
      np.stack(
        [
          sum(
            ndimage.correlate(channel, kernel, mode="constant")
            for channel, kernel in zip(grid, kernels, strict=True)
          )
          + b
          for kernels, b in zip(weight.astype(np.float64), bias, strict=True)
        ]
      )
      for grid in x
    ]
  )


def batch_norm(state, name, x, *, train):
  """Batch norm of axis 1 by the statistics of the batch, or by the stored ones."""
  mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
  if train:
    mean, var = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4))
  scale = state[f"{name}.weight"] / np.sqrt(var + EPSILON)
  shift = state[f"{name}.bias"] - scale * mean
  return x * scale[:, None, None, None] + shift[:, None, None, None]


def decode(state, volumes, points, *, displacement, outside, coordinates=False):
  """Logits (b, t) at points (b, t, 3) of [-0.5, 0.5]^3, in the order x, y, z."""
  mode = {"border": "nearest", "zeros": "grid-constant"}[outside]
  logits = []
  for shape, queries in enumerate(np.asarray(points, np.float64)):
    for query in queries:
      # The coordinates that PyTorch's grid_sample has: from -1 to 1, the last axis of
      # the grid first.
      g = 2 * query[::-1]
      probes = [g]
      for axis in range(3):
        for sign in (-1, 1):
          probes.append(g + sign * displacement * np.eye(3)[axis])
      row = []
      for volume in volumes:
        nodes = volume.shape[-1] - 1
        places = np.stack([(probe[::-1] + 1) / 2 * nodes for probe in probes], 1)
        for channel in volume[shape]:
          row += list(ndimage.map_coordinates(channel, places, order=1, mode=mode))
      h = np.array(row + list(g) * coordinates)
      hidden = sum(re.fullmatch(r"fc_\d+\.bias", name) is not None for name in state)
      for k in range(hidden):
        weight = state[f"fc_{k}.weight"][..., 0]
        h = np.maximum(weight @ h + state[f"fc_{k}.bias"], 0)
      logits.append(state["fc_out.weight"][0, :, 0] @ h + state["fc_out.bias"][0])
  return np.reshape(logits, np.shape(points)[:2])
