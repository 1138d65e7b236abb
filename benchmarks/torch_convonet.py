"""Plain PyTorch twin of convolutional occupancy networks of planes (for comparison).

With the reference's names; torch_scatter's operations are PyTorch's scatter_reduce.
`check_recorded` compares its outputs and loss with a recording of the reference.
"""

import json
import runpy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.torch_models import RECORDED, ResnetBlockFC

AXES = {"xz": (0, 2), "xy": (0, 1), "yz": (1, 2)}
CASE = "conv_cloud_3plane"


class Block(ResnetBlockFC):
  """A residual block; of equal sizes without a layer for the shortcut."""

  def __init__(self, size_in: int, size_out: int):
    super().__init__(size_in, size_out)
    if size_in == size_out:
      self.shortcut = nn.Identity()


def normalise(points, name: str, padding: float):
  unit = points[..., AXES[name]] / (1 + padding + 1e-5) + 0.5
  return unit.clamp(0, 1 - 1e-5)


class Down(nn.Module):
  def __init__(self, size_in: int, size: int, *, pool: bool):
    super().__init__()
    self.conv1 = nn.Conv2d(size_in, size, 3, padding=1)
    self.conv2 = nn.Conv2d(size, size, 3, padding=1)
    self.pool = pool

  def forward(self, x):
    skip = torch.relu(self.conv2(torch.relu(self.conv1(x))))
    return (functional.max_pool2d(skip, 2) if self.pool else skip), skip


class Up(nn.Module):
  def __init__(self, size_in: int, size: int):
    super().__init__()
    self.upconv = nn.ConvTranspose2d(size_in, size, 2, stride=2)
    self.conv1 = nn.Conv2d(2 * size, size, 3, padding=1)
    self.conv2 = nn.Conv2d(size, size, 3, padding=1)

  def forward(self, x, skip):
    x = torch.cat([self.upconv(x), skip], 1)
    return torch.relu(self.conv2(torch.relu(self.conv1(x))))


class UNet(nn.Module):
  def __init__(self, features: int, depth: int, filters: int):
    super().__init__()
    sizes = [filters * 2**i for i in range(depth)]
    self.down_convs = nn.ModuleList(
      Down(size_in, size, pool=size != sizes[-1])
      for size_in, size in zip([features, *sizes], sizes, strict=False)
    )
    self.up_convs = nn.ModuleList(Up(2 * size, size) for size in reversed(sizes[:-1]))
    self.conv_final = nn.Conv2d(filters, features, 1)

  def forward(self, x):
    skips = []
    for down in self.down_convs:
      x, skip = down(x)
      skips.append(skip)
    for up, skip in zip(self.up_convs, reversed(skips[:-1]), strict=True):
      x = up(x, skip)
    return self.conv_final(x)


class LocalPoolPointnet(nn.Module):
  def __init__(self, model: dict):
    super().__init__()
    hidden, c_dim = model["encoder_hidden_size"], model["c_dim"]
    self.planes, self.side = model["features"], model["plane_resolution"]
    self.padding = model["padding"]
    self.fc_pos = nn.Linear(3, 2 * hidden)
    self.blocks = nn.ModuleList(
      Block(2 * hidden, hidden) for _ in range(model["encoder_blocks"])
    )
    self.fc_c = nn.Linear(hidden, c_dim)
    self.unet = UNet(c_dim, model["unet_depth"], model["unet_filters"])

  def forward(self, points):
    cells = {}
    for name in self.planes:
      first, second = (
        (normalise(points, name, self.padding) * self.side).long().unbind(-1)
      )
      cells[name] = (first + self.side * second)[..., None]
    net = self.blocks[0](self.fc_pos(points))
    for block in self.blocks[1:]:
      pooled = sum(self._pool(net, index) for index in cells.values())
      net = block(torch.cat([net, pooled], 2))
    features = self.fc_c(net)
    return {name: self.unet(self._plane(features, i)) for name, i in cells.items()}

  def _pool(self, net, index):
    index = index.expand(net.shape)
    grid = net.new_zeros(len(net), self.side**2, net.shape[2])
    grid = grid.scatter_reduce(1, index, net, "amax", include_self=False)
    return grid.gather(1, index)

  def _plane(self, features, index):
    grid = features.new_zeros(len(features), self.side**2, features.shape[2])
    index = index.expand(features.shape)
    grid = grid.scatter_reduce(1, index, features, "mean", include_self=False)
    return grid.transpose(1, 2).reshape(len(grid), -1, self.side, self.side)


class LocalDecoder(nn.Module):
  def __init__(self, model: dict):
    super().__init__()
    hidden, count = model["hidden_size"], model["decoder_blocks"]
    self.padding = model["padding"]
    self.fc_p = nn.Linear(3, hidden)
    self.fc_c = nn.ModuleList(nn.Linear(model["c_dim"], hidden) for _ in range(count))
    self.blocks = nn.ModuleList(Block(hidden, hidden) for _ in range(count))
    self.fc_out = nn.Linear(hidden, 1)

  def forward(self, points, planes):
    c = 0
    for name, plane in planes.items():
      places = 2 * normalise(points, name, self.padding)[:, :, None] - 1
      read = functional.grid_sample(
        plane, places, padding_mode="border", align_corners=True
      )
      c = c + read[..., 0].transpose(1, 2)
    net = self.fc_p(points)
    for fc_c, block in zip(self.fc_c, self.blocks, strict=True):
      net = block(net + fc_c(c))
    return self.fc_out(torch.relu(net))[..., 0]


class ConvolutionalOccupancyNetwork(nn.Module):
  """The network that the fields of config.model describe: a cloud, planes alone."""

  def __init__(self, model: dict):
    super().__init__()
    self.encoder, self.decoder = LocalPoolPointnet(model), LocalDecoder(model)

  def forward(self, points, inputs):
    return self.decoder(points, self.encoder(inputs))


def check_recorded() -> None:
  """Stops unless the twin's values and loss are those recorded of the reference."""
  spec = json.loads((RECORDED / "spec_convonet.json").read_text())[CASE]
  about = spec["about"]["config"]
  encoder = about["encoder_kwargs"]
  twin = ConvolutionalOccupancyNetwork(
    {
      "encoder_hidden_size": encoder["hidden_dim"],
      "encoder_blocks": 5,
      "c_dim": about["c_dim"],
      "features": encoder["plane_type"],
      "plane_resolution": encoder["plane_resolution"],
      "padding": about["padding"],
      "unet_depth": encoder["unet_kwargs"]["depth"],
      "unet_filters": encoder["unet_kwargs"]["start_filts"],
      "hidden_size": about["decoder_kwargs"]["hidden_size"],
      "decoder_blocks": 5,
    }
  )
  redraw = runpy.run_path(str(RECORDED / "redraw.py"))["state_dict"]
  twin.load_state_dict({name: torch.tensor(x) for name, x in redraw(spec).items()})
  with np.load(RECORDED / f"{CASE}.npz") as recorded, torch.no_grad():
    given = [torch.tensor(recorded[f"in/{name}"]) for name in ("p", "inputs", "occ")]
    logits = twin(*given[:2])
    loss = functional.binary_cross_entropy_with_logits(
      logits, given[2].to(logits), reduction="none"
    )
    loss = loss.sum(-1).mean().numpy()
    values, expected = recorded["eval/logits"], recorded["train/loss"]
  off = np.abs(logits.numpy() - values).max()
  assert off < 1e-4 * np.abs(values).max() and abs(loss - expected) < 1e-4 * expected
