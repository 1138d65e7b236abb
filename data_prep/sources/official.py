"""ShapeNet as Occupancy Networks distributes it, preprocessed (host).

  metadata.yaml                  {synset: {id, name}}
  <synset>/{train,val,test}.lst  ids, one a line; models without lists have no split
  <synset>/<id>/points.npz       points (n, 3), occupancies packed, loc (3,), scale
                pointcloud.npz   points, normals (n, 3), loc, scale
                model.binvox     32^3 cells
                img_choy2016/    000.jpg, ... and cameras.npz: world_mat_0 (3, 4),
                                 camera_mat_0 (3, 3), ...

Points are in the unit-cube frame, as ours, but cameras are in the frame of the mesh
file: with x = scale * p + loc, world_mat = [R | t] of the file becomes
[R | (R loc + t) / scale]. The points were labelled before they were rounded to float16,
so about one label in 10,000 is that of a neighbouring point. `official_writer` writes
this layout.
"""

import io
import os
import pathlib
import re
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from trimesh.exchange import binvox

from data_prep.sources import shapenet, table
from data_prep.sources.entry import SPLITS, MeshEntry
from occnet_jax import unreadable
from occnet_jax.geometry import cameras

IMAGES = "img_choy2016"

Example = dict[str, Any]


def list_examples(root: str | os.PathLike) -> list[MeshEntry]:
  """Every model in order of category and id, with its split; paths are folders.

  The models of a synset without lists are split by fractions. Whether the folders of
  models exist is not checked. Attribution and licence come from meshes.csv; without
  it, numbered synsets are those of ShapeNet.

  Raises:
    ValueError: there is no such folder, no model in it, an id in two lists, or
      a table cannot be read.
  """
  root = pathlib.Path(root)
  synsets = shapenet.list_synsets(root)
  names = shapenet.categories(synsets, _read_names(root / "metadata.yaml"))
  credits = {}
  if (root / table.TABLE).exists():
    for entry in table.list_meshes(root / table.TABLE):
      credits[entry.path] = (entry.attribution, entry.licence)
  entries = []
  for synset in synsets:
    shapenets = (shapenet.ATTRIBUTION, shapenet.LICENCE)
    default = shapenets if synset.isdigit() else ("", "")
    splits = read_lists(root / synset)
    if splits is None:
      splits = {path.parent.name: "" for path in root.glob(f"{synset}/*/points.npz")}
    for model, split in splits.items():
      path = root / synset / model
      about = credits.get(path, default)
      entries.append(MeshEntry(names[synset], model, path, split, *about))
  if not entries:
    raise ValueError(
      f"{root}: no models; want <synset>/{{train,val,test}}.lst, or "
      "<synset>/<id>/points.npz"
    )
  return sorted(entries)


def read_example(
  folder: str | os.PathLike,
  *,
  points: int,
  near_points: int,
  surface_points: int,
  voxel_side: int,
  dtype: str,
  views: int,
) -> Example:
  """The arrays of one model, named as in `pipeline.shards`, without id and category.

  Of a file that holds more points than asked for, the first are taken: they were drawn
  in random order.

  Args:
    folder: folder of the model.
    points: number of points from points.npz.
    near_points: number of points from points_surface.npz; 0 for none.
    surface_points: number of points from pointcloud.npz.
    voxel_side: side of model.binvox in cells.
    dtype: type of points and normals, "float16" or "float32".
    views: number of pictures from img_choy2016; 0 for none.

  Raises:
    ValueError: a file is missing or broken, or holds fewer or other values than asked
      for.
  """
  folder = pathlib.Path(folder)
  cloud = read_arrays(folder / "pointcloud.npz", "points", "normals", "loc", "scale")
  normals = take_rows(
    folder / "pointcloud.npz", cloud, "normals", surface_points, dtype
  )
  loc, scale = np.asarray(cloud["loc"], np.float64), float(cloud["scale"])
  if loc.shape != (3,) or not (np.isfinite(loc).all() and 0 < scale < np.inf):
    raise ValueError(
      f"{folder / 'pointcloud.npz'}: loc {loc} and scale {scale}, want three numbers "
      "and one above 0"
    )
  example = {
    "points": read_labelled(folder / "points.npz", points, dtype),
    "pointcloud": {
      "points": take_rows(
        folder / "pointcloud.npz", cloud, "points", surface_points, dtype
      ),
      "normals": normals,
    },
    "voxels": np.packbits(_read_voxels(folder / "model.binvox", voxel_side)),
    "loc": loc,
    "scale": np.float64(scale),
  }
  if near_points:
    near = read_labelled(folder / "points_surface.npz", near_points, dtype)
    example["points_surface"] = near
  if views:
    example["views"] = _read_views(folder / IMAGES, views, loc, scale)
  return example


def _read_names(path: pathlib.Path) -> dict[str, str]:
  if not path.exists():
    return {}
  try:
    tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    return {str(synset): about["name"] for synset, about in tree.items()}
  except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)}); want "
      '{"<synset>": {"id": "<synset>", "name": "<name>"}}, or no such file'
    ) from error


def read_lists(folder: pathlib.Path) -> dict[str, str] | None:
  """The split of each listed model; None if there is no list."""
  splits: dict[str, str] = {}
  paths = {split: folder / f"{split}.lst" for split in SPLITS}
  if not any(path.exists() for path in paths.values()):
    return None
  for split, path in paths.items():
    models = path.read_text(encoding="utf-8-sig").split("\n") if path.exists() else []
    for model in filter(None, map(str.strip, models)):
      if splits.setdefault(model, split) != split:
        raise ValueError(
          f"{path}: {model} is in {splits[model]}.lst too; a model has one split"
        )
  return splits


def read_arrays(path: pathlib.Path, *names: str) -> dict[str, np.ndarray]:
  if not path.is_file():
    raise ValueError(f"{path}: no such file; get the data set again")
  try:
    with np.load(path) as arrays:
      return {name: arrays[name] for name in names}
  except Exception as error:  # whatever a reader may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)}); want the arrays "
      f"{', '.join(names)}; get the data set again"
    ) from error


def take_rows(
  path: pathlib.Path,
  arrays: dict[str, np.ndarray],
  name: str,
  count: int | None,
  dtype: str,
) -> Shaped[np.ndarray, "n 3"]:
  """The first rows of an array of points or directions; None for all."""
  array = arrays[name]
  if array.ndim != 2 or array.shape[1] != 3 or len(array) < (count or 0):
    raise ValueError(
      f"{path}: {name} has the shape {array.shape}, want at least ({count}, 3); set "
      "the number in config.prep to what the file holds"
    )
  if not np.isfinite(array).all():
    raise ValueError(f"{path}: {name} has values that are not finite; get it again")
  return array[:count].astype(dtype)


def read_labelled(path: pathlib.Path, count: int | None, dtype: str) -> Example:
  """The first points and occupancies, which are packed or not; None for all."""
  arrays = read_arrays(path, "points", "occupancies")
  total = len(arrays["points"])
  occupancies = arrays["occupancies"]
  if occupancies.shape == (-(-total // 8),) and occupancies.dtype == np.uint8:
    occupancies = np.unpackbits(occupancies)[:total]
  if occupancies.shape != (total,):
    raise ValueError(
      f"{path}: occupancies have the shape {occupancies.shape} for {total} points, "
      f"want ({total},), or ({-(-total // 8)},) bytes"
    )
  points = take_rows(path, arrays, "points", count, dtype)
  return {"points": points, "occupancies": np.packbits(occupancies[:count] > 0)}


def _read_voxels(path: pathlib.Path, side: int) -> UInt8[np.ndarray, "r r r"]:
  """Cells indexed (x, y, z); the file has them in the order x, z, y."""
  if not path.is_file():
    raise ValueError(f"{path}: no such file; get the data set again")
  try:
    with path.open("rb") as stream:
      cells = binvox.load_binvox(stream, axis_order="xzy").matrix
  except Exception as error:  # whatever a parser may raise on a broken file
    raise ValueError(
      f"{path}: cannot be read ({unreadable.reason(path, error)}); get it again"
    ) from error
  if cells.shape != (side, side, side):
    raise ValueError(
      f"{path}: has {' x '.join(map(str, cells.shape))} cells, want {side} a side; set "
      "prep.voxel_side"
    )
  return cells.astype(np.uint8)


def _read_views(
  folder: pathlib.Path, count: int, loc: Float[np.ndarray, "3"], scale: float
) -> Example:
  """The first pictures as they are, and their cameras in the frame of the unit cube."""
  paths = sorted(
    path for path in folder.glob("*") if re.fullmatch(r"\d+\.(jpe?g|png)", path.name)
  )[:count]
  if len(paths) < count:
    raise ValueError(
      f"{folder}: {len(paths)} pictures, want {count}; set prep.views to what there are"
    )
  images = [path.read_bytes() for path in paths]
  for path, image in zip(paths, images, strict=True):
    try:
      Image.open(io.BytesIO(image)).load()
    except Exception as error:  # whatever a decoder may raise on a broken picture
      raise ValueError(f"{path}: cannot be decoded ({error}); get it again") from error
  numbers = [int(path.stem) for path in paths]
  wanted = {f"world_mat_{i}": (3, 4) for i in numbers}
  wanted |= {f"camera_mat_{i}": (3, 3) for i in numbers}
  stored = read_arrays(folder / "cameras.npz", *wanted)
  for name, shape in wanted.items():
    if stored[name].shape != shape:
      raise ValueError(
        f"{folder / 'cameras.npz'}: {name} has the shape {stored[name].shape}, want "
        f"{shape}"
      )
  world_mats = np.stack([stored[f"world_mat_{i}"] for i in numbers])
  camera_mats = np.stack([stored[f"camera_mat_{i}"] for i in numbers])
  world_mats = cameras.cube_world_matrix(world_mats, loc, scale)
  return {
    "images": images,
    "world_mat": world_mats.astype(np.float32),
    "camera_mat": camera_mats.astype(np.float32),
  }
