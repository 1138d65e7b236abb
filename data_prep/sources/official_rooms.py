"""The synthetic rooms of Peng et al., ECCV 2020, as they distribute them (host).

  rooms_04/ .. rooms_08/{train,val,test}.lst     ids, one a line
  rooms_04/<id>/pointcloud/pointcloud_00.npz     points, normals (n, 3)
           <id>/points_iou/points_iou_00.npz     points (n, 3), occupancies packed
                           .. _09.npz            ten of each, drawn independently

Points are in the cube's frame, with the floor at y = -0.5. The published loader draws
one of the ten files each time; here an example has the points of as many files as it
takes to hold the number asked for, from the first on. There are no voxels: a cell has
the label of the labelled point nearest to its centre.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Shaped, UInt8
from scipy.spatial import cKDTree

from data_prep.progress import progress_bar
from data_prep.sampling import voxels
from data_prep.sources import official
from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.sources.official import Example
from occnet_jax import files

FILES = 10  # of each kind in a room
ATTRIBUTION = "Synthetic rooms (Peng et al. 2020) of ShapeNet (Chang et al. 2015)"
LICENCE = "ShapeNet terms of use: non-commercial research and education"


def list_examples(root: str | os.PathLike) -> list[MeshEntry]:
  """Every room of every list, in order of category and id; paths are folders.

  Raises:
    ValueError: there is no such folder, no list in it, or an id in two lists.
  """
  root = pathlib.Path(root)
  entries = []
  for folder in sorted(root.glob("rooms_*")):
    splits = official.read_lists(folder) or {}
    for room, split in splits.items():
      about = folder.name, room, folder / room, split, ATTRIBUTION, LICENCE
      entries.append(MeshEntry(*about))
  if not entries:
    raise ValueError(f"{root}: no rooms; want rooms_04/{{train,val,test}}.lst, ...")
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
  """The arrays of one room, named as in `pipeline.shards`, without id and category.

  Args:
    folder: folder of the room.
    points: number of labelled points.
    near_points, views: 0, for there are none.
    surface_points: number of points on the surface.
    voxel_side: cells a side of the grid.
    dtype: type of points and normals, "float16" or "float32".

  Raises:
    ValueError: a file is missing or broken, there are fewer points than asked for, or
      points near the surface or pictures are.
  """
  if near_points or views:
    raise ValueError(
      f"near_points is {near_points} and views {views}, but rooms of this layout have "
      "neither; set prep.near_points and prep.views to 0"
    )
  folder = pathlib.Path(folder)
  labelled = _read_labelled(folder / "points_iou", points, dtype)
  surface = _read_surface(folder / "pointcloud", surface_points, dtype)
  cells = _label_cells(labelled["points"], labelled["occupancies"], voxel_side)
  return {
    "points": labelled,
    "pointcloud": surface,
    "voxels": cells,
    "loc": np.zeros(3),
    "scale": np.float64(1),
  }


def write_layout(data: str | os.PathLike, out: str | os.PathLike) -> None:
  """Writes a prepared data set in this layout; categories stand for rooms_04, ...

  The points of a shape are dealt to the ten files.

  Args:
    data: directory of the data set.
    out: directory to write.

  Raises:
    ValueError: `data` holds no complete data set.
  """
  data, out = pathlib.Path(data), pathlib.Path(out)
  if not (data / "dataset_info.json").exists():
    raise ValueError(f"{data}: no finished data set; prepare it first")
  builder = tfds.builder_from_directory(data)
  lists: dict[str, dict[str, list[str]]] = {}
  for split in builder.info.splits:
    examples = builder.as_data_source(split)
    for example in progress_bar(examples, f"write {split}", unit="room"):
      category, room = example["category"].decode(), example["id"].decode()
      files.check_names(category, room, source=data)
      _write_example(out / category / room, example)
      empty = {name: [] for name in SPLITS}
      lists.setdefault(category, empty)[split].append(room)
  for category, splits in lists.items():
    for split, rooms in splits.items():
      # Without a last line feed, which the reference takes for one more room.
      with files.atomic_write(out / category / f"{split}.lst") as scratch:
        scratch.write_text("\n".join(rooms), encoding="utf-8")


def _write_example(folder: pathlib.Path, example: Example) -> None:
  labelled, cloud = example["points"], example["pointcloud"]
  inside = np.unpackbits(labelled["occupancies"])[: len(labelled["points"])]
  for number in range(FILES):
    dealt = slice(number, None, FILES)
    arrays = {
      "points_iou": {
        "points": labelled["points"][dealt],
        "occupancies": np.packbits(inside[dealt]),
      },
      "pointcloud": {name: rows[dealt] for name, rows in cloud.items()},
    }
    for kind, own in arrays.items():
      path = folder / kind / f"{kind}_{number:02}.npz"
      with files.atomic_write(path) as scratch, scratch.open("wb") as stream:
        np.savez(stream, **own)


def _read_labelled(folder: pathlib.Path, count: int, dtype: str) -> Example:
  points, inside, total = [], [], 0
  for path in _paths(folder):
    if total >= count:
      break
    own = official.read_labelled(path, None, dtype)
    points.append(own["points"])
    inside.append(np.unpackbits(own["occupancies"])[: len(own["points"])])
    total += len(own["points"])
  _check_total(folder, total, count)
  occupancies = np.packbits(np.concatenate(inside)[:count])
  return {"points": np.concatenate(points)[:count], "occupancies": occupancies}


def _read_surface(folder: pathlib.Path, count: int, dtype: str) -> Example:
  rows: dict[str, list[np.ndarray]] = {"points": [], "normals": []}
  total = 0
  for path in _paths(folder):
    if total >= count:
      break
    arrays = official.read_arrays(path, *rows)
    for name, parts in rows.items():
      parts.append(official.take_rows(path, arrays, name, None, dtype))
    total += len(arrays["points"])
  _check_total(folder, total, count)
  return {name: np.concatenate(parts)[:count] for name, parts in rows.items()}


def _paths(folder: pathlib.Path) -> Sequence[pathlib.Path]:
  return [folder / f"{folder.name}_{number:02}.npz" for number in range(FILES)]


def _check_total(folder: pathlib.Path, total: int, count: int) -> None:
  if total < count:
    raise ValueError(
      f"{folder}: {total} points in {FILES} files, want {count}; set the number in "
      "config.prep to what the files hold"
    )


def _label_cells(
  points: Shaped[np.ndarray, "n 3"], occupancies: UInt8[np.ndarray, "bytes"], side: int
) -> UInt8[np.ndarray, "_"]:
  inside = np.unpackbits(occupancies)[: len(points)]
  _, nearest = cKDTree(points.astype(np.float64)).query(voxels.voxel_centres(side))
  return np.packbits(inside[nearest])
