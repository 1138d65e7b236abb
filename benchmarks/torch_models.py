"""Plain PyTorch twins of the reference's networks, with its names (for comparison).

`check_recorded` compares their outputs with recordings of the reference.
"""

import json
import pathlib
import runpy

import numpy as np
import torch
from torch import nn

RECORDED = pathlib.Path(__file__).parents[1] / "tests" / "parity"
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResnetBlockFC(nn.Module):
  def __init__(self, size_in: int, size_out: int):
    super().__init__()
    self.fc_0 = nn.Linear(size_in, size_out)
    self.fc_1 = nn.Linear(size_out, size_out)
    self.shortcut = nn.Linear(size_in, size_out, bias=False)

  def forward(self, x):
    return self.shortcut(x) + self.fc_1(torch.relu(self.fc_0(torch.relu(x))))


class ResnetPointnet(nn.Module):
  def __init__(self, c_dim: int, hidden: int):
    super().__init__()
    self.fc_pos = nn.Linear(3, 2 * hidden)
    for i in range(5):
      setattr(self, f"block_{i}", ResnetBlockFC(2 * hidden, hidden))
    self.fc_c = nn.Linear(hidden, c_dim)

  def forward(self, points):
    net = self.block_0(self.fc_pos(points))
    for i in range(1, 5):
      pooled = net.max(1, keepdim=True)[0].expand(net.size())
      net = getattr(self, f"block_{i}")(torch.cat([net, pooled], dim=2))
    return self.fc_c(torch.relu(net.max(1)[0]))


class CBatchNorm(nn.Module):
  def __init__(self, c_dim: int, size: int):
    super().__init__()
    self.conv_gamma = nn.Conv1d(c_dim, size, 1)
    self.conv_beta = nn.Conv1d(c_dim, size, 1)
    self.bn = nn.BatchNorm1d(size, affine=False)

  def forward(self, x, c):
    return self.conv_gamma(c[:, :, None]) * self.bn(x) + self.conv_beta(c[:, :, None])


class CResnetBlock(nn.Module):
  def __init__(self, c_dim: int, size: int):
    super().__init__()
    self.bn_0, self.bn_1 = CBatchNorm(c_dim, size), CBatchNorm(c_dim, size)
    self.fc_0, self.fc_1 = nn.Conv1d(size, size, 1), nn.Conv1d(size, size, 1)

  def forward(self, x, c):
    net = self.fc_0(torch.relu(self.bn_0(x, c)))
    return x + self.fc_1(torch.relu(self.bn_1(net, c)))


class DecoderCBatchNorm(nn.Module):
  def __init__(self, c_dim: int, hidden: int):
    super().__init__()
    self.fc_p = nn.Conv1d(3, hidden, 1)
    for i in range(5):
      setattr(self, f"block{i}", CResnetBlock(c_dim, hidden))
    self.bn = CBatchNorm(c_dim, hidden)
    self.fc_out = nn.Conv1d(hidden, 1, 1)

  def forward(self, points, c):
    net = self.fc_p(points.transpose(1, 2))
    for i in range(5):
      net = getattr(self, f"block{i}")(net, c)
    return self.fc_out(torch.relu(self.bn(net, c)))[:, 0]


class BasicBlock(nn.Module):
  def __init__(self, size_in: int, size: int, stride: int):
    super().__init__()
    self.conv1 = nn.Conv2d(size_in, size, 3, stride, 1, bias=False)
    self.bn1 = nn.BatchNorm2d(size)
    self.conv2 = nn.Conv2d(size, size, 3, 1, 1, bias=False)
    self.bn2 = nn.BatchNorm2d(size)
    self.downsample = None
    if stride > 1 or size_in != size:
      self.downsample = nn.Sequential(
        nn.Conv2d(size_in, size, 1, stride, bias=False), nn.BatchNorm2d(size)
      )

  def forward(self, x):
    net = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
    return torch.relu(net + (x if self.downsample is None else self.downsample(x)))


class Resnet18(nn.Module):
  """torchvision's ResNet-18 as an encoder; `fc` alone is outside `features`."""

  def __init__(self, c_dim: int, *, use_linear: bool = True, normalize: bool = True):
    super().__init__()
    self.normalize = normalize
    self.features = nn.Module()
    self.features.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    self.features.bn1 = nn.BatchNorm2d(64)
    size = 64
    for i, wide in enumerate((64, 128, 256, 512)):
      first = BasicBlock(size, wide, 2 if i else 1)
      layer = nn.Sequential(first, BasicBlock(wide, wide, 1))
      setattr(self.features, f"layer{i + 1}", layer)
      size = wide
    self.fc = nn.Linear(512, c_dim) if use_linear else nn.Identity()

  def forward(self, x):
    if self.normalize:
      mean, std = (x.new_tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
      x = (x - mean) / std
    net = torch.relu(self.features.bn1(self.features.conv1(x)))
    net = nn.functional.max_pool2d(net, 3, 2, 1)
    for i in range(1, 5):
      net = getattr(self.features, f"layer{i}")(net)
    return self.fc(net.mean((2, 3)))


class VoxelEncoder(nn.Module):
  def __init__(self, c_dim: int):
    super().__init__()
    self.conv_in = nn.Conv3d(1, 32, 3, padding=1)
    for i in range(4):
      conv = nn.Conv3d(32 * 2**i, 64 * 2**i, 3, stride=2, padding=1)
      setattr(self, f"conv_{i}", conv)
    self.fc = nn.Linear(512 * 2**3, c_dim)

  def forward(self, x):
    net = self.conv_in(x[:, None])
    for i in range(4):
      net = getattr(self, f"conv_{i}")(torch.relu(net))
    return self.fc(torch.relu(net.flatten(1)))


ENCODERS = {
  "pointnet_resnet": lambda m: ResnetPointnet(m["c_dim"], m["encoder_hidden_size"]),
  "resnet18": lambda m: Resnet18(m["c_dim"]),
  "voxel_simple": lambda m: VoxelEncoder(m["c_dim"]),
}


class OccupancyNetwork(nn.Module):
  """The network that the fields of config.model describe."""

  def __init__(self, model: dict):
    super().__init__()
    self.encoder = ENCODERS[model["encoder"]](model)
    self.decoder = DecoderCBatchNorm(model["c_dim"], model["hidden_size"])

  def forward(self, points, inputs):
    return self.decoder(points, self.encoder(inputs))


def check_recorded() -> None:
  """Stops unless the twins' outputs are those that were recorded of the reference."""
  spec = json.loads((RECORDED / "spec.json").read_text())
  redraw = runpy.run_path(str(RECORDED / "redraw.py"))["state_dict"]
  resnet = Resnet18(512, use_linear=False, normalize=False)
  for case, twin in (
    ("enc_pointnet_resnet", ResnetPointnet(24, 32)),
    ("dec_DecoderCBatchNorm_3", DecoderCBatchNorm(256, 256)),
    ("enc_resnet18_nolinear", resnet),
    ("enc_voxel_simple", VoxelEncoder(24)),
  ):
    state = {name: torch.tensor(x) for name, x in redraw(spec[case]).items()}
    lacking = twin.eval().load_state_dict(state, strict=False).missing_keys
    assert not [name for name in lacking if "num_batches" not in name], case
    with np.load(RECORDED / f"{case}.npz") as recorded:
      want = recorded["eval/out0"]
    shared = spec[case].get("inputs_of", case)
    with np.load(RECORDED / f"{shared}.npz") as recorded, torch.no_grad():
      names = ("in/inputs", "in/p", "in/c")
      given = [torch.tensor(recorded[name]) for name in names if name in recorded]
      got = twin(*given).numpy()
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max(), case
