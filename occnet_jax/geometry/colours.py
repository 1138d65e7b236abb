"""Colours of clouds, and of the meshes made of them (host, numpy).

Colours are sRGB in bytes, as nearly all files of scans mean them.

Shape letters: n points, v vertices, k nearest points.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8, UInt16
from scipy.spatial import cKDTree

NEAREST = 3  # points whose colours a vertex gets, by their distances
MOST_POINTS = 2_000_000  # of a cloud that are searched: several for each vertex
NAMES = (  # of the channels in files
  ("red", "r", "diffuse_red"),
  ("green", "g", "diffuse_green"),
  ("blue", "b", "diffuse_blue"),
)


@dataclasses.dataclass(frozen=True)
class Cloud:
  """A cloud with what its file has beside the points.

  Attributes:
    points: (n, 3) in the file's frame and unit.
    colours: (n, 3) sRGB of 8 bits; None without.
    left_out: names of what else the file has at its points, which is not used.
    normals: (n, 3) of length 1, or 0 where there is none; None without. They may point
      to either side, see `normals.orient`.
    outward: whether normals are known to point outwards, as towards a camera.
  """

  points: Float[np.ndarray, "n 3"]
  colours: UInt8[np.ndarray, "n 3"] | None = None
  left_out: tuple[str, ...] = ()
  normals: Float[np.ndarray, "n 3"] | None = None
  outward: bool = False

  def __len__(self) -> int:
    return len(self.points)


def find_channels(names: Sequence[str]) -> tuple[int, ...]:
  """The places of red, green and blue among names in lower case; () without all."""
  places = [[i for i, name in enumerate(names) if name in channel] for channel in NAMES]
  return tuple(p[0] for p in places) if all(len(p) == 1 for p in places) else ()


def to_bytes(values: np.ndarray) -> UInt8[np.ndarray, "n 3"] | None:
  """Colours as files store them -> 8 bits; None for numbers that are no colours.

  Fractions up to 1 are shares, all else up to 255 bytes, and whole numbers up to 65,535
  have 16 bits.
  """
  if not len(values) or values.ndim != 2:
    return None
  if values.dtype == np.uint8:
    return values
  least, most = values.min(), values.max()
  if not (least >= 0 and most <= 65535):  # also for NaN
    return None
  if most <= 1 and values.dtype.kind == "f":
    return np.rint(255.0 * values).astype(np.uint8)
  if most <= 255:
    return np.rint(values).astype(np.uint8)
  if values.dtype.kind == "f" and (values % 1).any():
    return None
  return (values // 257).astype(np.uint8)


def nearest_points(
  points: Float[np.ndarray, "n 3"], queries: Float[np.ndarray, "v 3"], count: int
) -> tuple[Float[np.ndarray, "v k"], Int[np.ndarray, "v k"]]:
  """Distances in the cloud's largest coordinate, whose squares do not overflow, and
  indices of the nearest `count` points, or of all if there are fewer."""
  scale = max(np.abs(points).max(), np.finfo(np.float64).tiny)
  tree = cKDTree(points / scale)
  distances, nearest = tree.query(queries / scale, k=min(count, len(points)))
  shape = (len(queries), -1)
  return distances.reshape(shape), nearest.reshape(shape)


def at_vertices(
  vertices: Float[np.ndarray, "v 3"], cloud: Cloud
) -> UInt8[np.ndarray, "v 3"]:
  """Means of the colours of the nearest points, weighted by inverse distance."""
  step = -(-len(cloud) // MOST_POINTS)
  points, colours = cloud.points[::step], cloud.colours[::step]
  distances, nearest = nearest_points(points, vertices, NEAREST)
  closest = np.maximum(distances[:, :1], np.finfo(np.float64).tiny)
  weights = closest / np.maximum(distances, closest)  # 1 for the nearest
  mixed = (weights[..., None] * colours[nearest]).sum(1) / weights.sum(1)[:, None]
  return np.rint(mixed).astype(np.uint8)


def colour_mesh(mesh: trimesh.Trimesh, observed: Any) -> trimesh.Trimesh:
  """Gives the vertices of a mesh the colours of what it was made of, if that is a cloud
  in its frame that has some; returns it."""
  is_coloured = isinstance(observed, Cloud) and observed.colours is not None
  if is_coloured and len(mesh.vertices):
    colours = at_vertices(np.asarray(mesh.vertices), observed)
    normals = mesh.vertex_normals if len(mesh.faces) else None
    mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=colours)
    if normals is not None:
      mesh.vertex_normals = normals
  return mesh


def of_mesh(mesh: trimesh.Trimesh) -> UInt8[np.ndarray, "v 3"] | None:
  """The colours of a mesh's vertices; None without."""
  if mesh.visual.kind != "vertex":
    return None
  return np.asarray(mesh.visual.vertex_colors)[:, :3]


def to_linear(colours: UInt8[np.ndarray, "v 3"]) -> UInt16[np.ndarray, "v 3"]:
  """sRGB of 8 bits -> linear light of 16 bits, which glTF has at its vertices.

  IEC 61966-2-1.
  """
  share = np.arange(256) / 255
  linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
  return np.rint(65535 * linear).astype(np.uint16)[colours]


def from_linear(shares: Float[np.ndarray, "v 3"]) -> UInt8[np.ndarray, "v 3"]:
  """Linear light from 0 to 1 -> sRGB of 8 bits: the inverse of `to_linear`."""
  shares = np.clip(np.nan_to_num(shares), 0, 1)
  curve = np.where(
    shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055
  )
  return np.rint(255 * curve).astype(np.uint8)
