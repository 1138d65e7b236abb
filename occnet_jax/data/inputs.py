"""Kinds of network inputs: point clouds, images, voxels, an index, none (host, numpy).

An input is an array, or for images with cameras a dict of arrays.

An `Observation` names the stored fields that it reads, the numbers that it draws at
random, the input that it computes from an example and those numbers, and the shape and
type of the result. `observe` uses only operations that NumPy and JAX share, so it can
run on host or device.

Shape letters: n input points, r grid side, h w image side, k images.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from occnet_jax.config import DataSettings, ScanSettings
from occnet_jax.data import images, scans


class Access(NamedTuple):
  """Array backend of a transform: NumPy on the host, jax.numpy under jax.vmap.

  Attributes:
    xp: numpy, or jax.numpy.
    take: (array, rows) -> these rows of an array of the example.
  """

  xp: Any
  take: Callable[[Any, Any], Any]


TARGETS = ("distances", "surface", "voxels", "cloud_normals")
HOST = Access(np, lambda array, rows: array[rows])
Example = dict[str, Any]  # nested dicts of arrays as stored
Drawn = dict[str, Any]  # arrays, or tracers of JAX
Deform = Callable[[Any], Any]  # points (n, 3) -> points, float32
Draw = Callable[[Example, np.random.Generator, bool], Drawn]
Observe = Callable[[Example, Drawn, Deform, Access], Any]


class Observation(NamedTuple):
  """One kind of input.

  Attributes:
    fields: stored fields that it reads, for `data.source.open_split`.
    draw: (example, generator, train) -> the random numbers that `observe` uses. It may
      ask only shapes and types of the example's arrays; `train` admits random views.
    observe: (example, drawn, deform, access) -> inputs of one shape; `deform` moves
      points of the shape.
    spec: an example of what `observe` returns, zeros but for cameras.
    supports_deformation: whether the input of a deformed shape can be computed.
    runs_on_device: whether `observe` works on arrays that lie on the device. Images do
      not: `draw` decodes them from the arrays themselves.
    target_distances: whether batches have signed distances of the points.
    target_surface: whether batches have surface points with normals.
    target_voxels: side of the target grid in batches; 0 for none.
    scan: what clouds of training have, which `data.scans` draws; None for others.
    target_cloud_normals: whether batches have the outward normals of a scan's points.
  """

  fields: dict[str, Any]
  draw: Draw
  observe: Observe
  spec: np.ndarray | dict[str, np.ndarray]
  supports_deformation: bool
  runs_on_device: bool = True
  target_distances: bool = False
  target_surface: bool = False
  target_voxels: int = 0
  scan: ScanSettings | None = None
  target_cloud_normals: bool = False

  @property
  def shape(self) -> tuple[int, ...]:
    """Shape of the input of one shape; with a camera, that of the image."""
    return (self.spec["image"] if isinstance(self.spec, dict) else self.spec).shape


def make(data: DataSettings) -> Observation:
  """The observation that the fields of config.data describe.

  Raises:
    ValueError: an unknown kind or target, or a stretch that they do not support.
  """
  kind = data.inputs
  if kind not in _KINDS:
    raise ValueError(
      f"config.data.inputs is {kind!r}; want one of: {', '.join(sorted(_KINDS))}"
    )
  observation = _KINDS[kind](data)._replace(
    target_distances="distances" in data.targets,
    target_surface="surface" in data.targets,
    target_voxels=data.voxel_side if "voxels" in data.targets else 0,
    target_cloud_normals="cloud_normals" in data.targets,
  )
  if unknown := set(data.targets) - set(TARGETS):
    raise ValueError(
      f"config.data.targets has {sorted(unknown)}; want some of: {', '.join(TARGETS)}"
    )
  others = data.targets, data.random_stretch, data.near_fraction
  if data.crop and (kind != "cloud" or any(others) or data.sampling != "uniform"):
    raise ValueError(
      f"config.data.crop is {tuple(data.crop)}, which goes with inputs='cloud' and "
      "sampling='uniform', without targets, near_fraction and random_stretch; unset "
      "these, or set crop to () for whole shapes"
    )
  if scan := data.scan if data.scan.points else None:
    observation = _of_scans(observation, data, scan)
  elif "cloud_normals" in data.targets:
    raise ValueError(
      "config.data.targets has 'cloud_normals', which scans have alone; set "
      "config.data.scan.points, or leave it out"
    )
  if data.random_stretch and set(data.targets) - {"cloud_normals"}:
    raise ValueError(
      f"config.data.random_stretch is {data.random_stretch}, but targets "
      f"{', '.join(data.targets)} cannot be deformed with the shape; set it to 0"
    )
  if data.random_stretch and not observation.supports_deformation:
    raise ValueError(
      f"config.data.random_stretch is {data.random_stretch}, but inputs of kind "
      f"{kind!r} cannot be deformed with the shape; set it to 0"
    )
  return observation


def _of_scans(
  observation: Observation, data: DataSettings, scan: ScanSettings
) -> Observation:
  """The observation with scans in place of plain clouds.

  Raises:
    ValueError: inputs that are no clouds, or settings out of range.
  """
  others = set(data.targets) - {"cloud_normals"}
  if data.inputs != "cloud" or others or data.crop or data.sampling != "uniform":
    raise ValueError(
      f"config.data.scan.points is {tuple(scan.points)}, which goes with "
      "inputs='cloud', sampling='uniform', no crop and no targets but cloud_normals; "
      "unset these, or set it to ()"
    )
  scans.check(scan)
  fields = {"pointcloud": {"points": True, "normals": True}}
  spec = np.zeros((scan.points[1], 3), np.float32)
  return observation._replace(fields=fields, spec=spec, scan=scan, runs_on_device=False)


def draw_cloud(
  surface: Any,
  rng: np.random.Generator,
  *,
  count: int,
  sigma: float,
  smallest: float = 1.0,
) -> Drawn:
  """Draws rows of the surface points (m, 3), with replacement, and their noise.

  The noise is Gaussian with standard deviation `sigma`, also at test time, as in the
  reference. Where `smallest` is below 1, so are the axis along which the surface is cut
  and the share of its extent that stays (Peng et al. 2020, supplementary: 0.7 to 1).
  """
  if smallest < 1:
    drawn = {
      "cloud_axis": np.asarray(rng.integers(3), np.int32),
      "cloud_share": np.asarray(rng.uniform(smallest, 1), np.float32),
      "cloud_quantile": rng.random(count, np.float32),
    }
  else:
    drawn = {"cloud": rng.integers(surface.shape[0], size=count).astype(np.int32)}
  return {**drawn, "cloud_noise": sigma * rng.standard_normal((count, 3), np.float32)}


def rows_of_part(
  surface: Shaped[Any, "m 3"], drawn: Drawn, xp: Any = np
) -> Shaped[Any, " n"]:
  """Rows of the part of the surface that stays after the cut.

  Args:
    surface: points as stored.
    drawn: by `draw_cloud`, of a surface that is cut.
    xp: as in `Access`.
  """
  heights = surface[:, drawn["cloud_axis"]].astype(np.float32)
  lowest = heights.min()
  stays = heights <= lowest + drawn["cloud_share"] * (heights.max() - lowest)
  so_far = xp.cumsum(stays)
  # Number j in the order of those that stay is where their count first exceeds j. One
  # product alone gives the same number on the host and on the device.
  number = (drawn["cloud_quantile"] * so_far[-1].astype(np.float32)).astype(np.int32)
  return xp.searchsorted(so_far, xp.minimum(number, so_far[-1] - 1), side="right")


def unpack_voxels(
  packed: Shaped[Any, "bytes"], side: int, xp: Any = np
) -> Float[Any, "r r r"]:
  """A stored voxel grid as zeros and ones, indexed (x, y, z).

  Raises:
    ValueError: the stored grid has another side length.
  """
  if len(packed) != -(-(side**3) // 8):
    raise ValueError(
      f"a voxel grid of {round((8 * len(packed)) ** (1 / 3))} cells a side, want "
      f"{side}; set config.data.voxel_side to what the data set holds"
    )
  bits = xp.unpackbits(packed)[: side**3]
  return bits.reshape(side, side, side).astype(np.float32)


def _nothing_drawn(example: Example, rng: np.random.Generator, train: bool) -> Drawn:
  del example, rng, train
  return {}


def _cloud(data) -> Observation:
  count, sigma, smallest = data.cloud_points, data.cloud_sigma, data.cloud_share
  if not 0 < smallest <= 1:
    raise ValueError(
      f"config.data.cloud_share is {smallest}; want a share above 0 and up to 1"
    )

  def draw(example, rng, train):
    del train
    surface = example["pointcloud"]["points"]
    return draw_cloud(surface, rng, count=count, sigma=sigma, smallest=smallest)

  def observe(example, drawn, deform, access):
    surface = example["pointcloud"]["points"]
    if "cloud" in drawn:
      rows = drawn["cloud"]
    else:
      rows = rows_of_part(access.take(surface, slice(None)), drawn, access.xp)
    cloud = access.take(surface, rows)
    return deform(cloud.astype(np.float32)) + drawn["cloud_noise"]

  fields = {"pointcloud": {"points": True}}
  return Observation(fields, draw, observe, np.zeros((count, 3), np.float32), True)


def _views(data, *, several: bool) -> Observation:
  side, smallest = data.image_side, data.image_crop
  count = data.image_views if several else 1

  def draw(example, rng, train):
    stored = example["views"]
    chosen = images.choose_views(stored, count, rng, train)
    pictures = [images.decode_view(stored, i) for i in chosen]
    crop = rng if train else None
    squares = [images.fit_image(picture, side, crop, smallest) for picture in pictures]
    return {"pictures": np.stack(squares) if several else squares[0]}

  def observe(example, drawn, deform, access):
    del example, deform, access
    return drawn["pictures"]

  shape = (count, side, side, 3) if several else (side, side, 3)
  spec = np.zeros(shape, np.float32)
  fields = {"views": {"images": True}}
  return Observation(fields, draw, observe, spec, False, runs_on_device=False)


def _image_camera(data) -> Observation:
  side, smallest = data.image_side, data.image_crop

  def draw(example, rng, train):
    stored = example["views"]
    (index,) = images.choose_views(stored, 1, rng, train)
    picture = images.decode_view(stored, index)
    camera = stored["world_mat"][index], stored["camera_mat"][index]
    crop = rng if train else None
    return {"view": images.fit_view(picture, *camera, side, crop, smallest)}

  def observe(example, drawn, deform, access):
    del example, deform, access
    return drawn["view"]

  spec = {
    "image": np.zeros((side, side, 3), np.float32),
    "world_mat": np.eye(3, 4, dtype=np.float32),  # zeros would be no camera
    "camera_mat": np.eye(3, dtype=np.float32),
  }
  fields = {"views": images.FIELDS}
  return Observation(fields, draw, observe, spec, False, runs_on_device=False)


def _voxels(data) -> Observation:
  side = data.voxel_side

  def observe(example, drawn, deform, access):
    del drawn, deform
    return unpack_voxels(access.take(example["voxels"], slice(None)), side, access.xp)

  spec = np.zeros((side, side, side), np.float32)
  return Observation({"voxels": True}, _nothing_drawn, observe, spec, False)


def _index(data) -> Observation:
  del data

  def draw(example, rng, train):
    del rng, train
    return {"index": np.asarray(example["index"], np.int32)}

  def observe(example, drawn, deform, access):
    del example, deform, access
    return drawn["index"]

  return Observation({}, draw, observe, np.zeros((), np.int32), False)


def _none(data) -> Observation:
  del data

  def observe(example, drawn, deform, access):
    del example, drawn, deform
    return access.xp.zeros(0, np.float32)

  return Observation({}, _nothing_drawn, observe, np.zeros(0, np.float32), True)


_KINDS: dict[str, Callable[[DataSettings], Observation]] = {
  "cloud": _cloud,
  "image": functools.partial(_views, several=False),
  "image_camera": _image_camera,
  "images": functools.partial(_views, several=True),
  "voxels": _voxels,
  "index": _index,
  "none": _none,
}
