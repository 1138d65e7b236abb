"""Examples on disk: a TFDS data set of array_record shards, without TensorFlow (host).

Features and records are TFDS's own, so that `tfds.builder_from_directory(directory)
.as_data_source(split)` reads them. GeneratorBasedBuilder is not used: without
TensorFlow it stops at 1 GB a split.

Feature layout, after the reference's files:
  points/points            (n, 3)  uniform in the padded cube
  points/occupancies       bytes   1 inside, packed; np.unpackbits(...)[:n]
  pointcloud/points        (m, 3)  uniform by area on the surface
  pointcloud/normals       (m, 3)  outward face normals
  voxels                   bytes   occupancy of r^3 cells, packed
  views/images             v image files, PNG here; occnet_jax.data.images decodes one
  views/world_mat          (v, 3, 4)  from this frame to the camera's
  views/camera_mat         (v, 3, 3)  from there to pixels
  loc, scale               (3,), ()  vertex in the file = scale * vertex here + loc
  id, category, split      text
  attribution, licence     text, as the source gives it
  quality/*                fields of RepairReport, unless the source is prepared data
"""

import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from occnet_jax import files

DATASET = "occnet"
_METADATA = "dataset_info.json"
MARKS = "shards.json"  # what tells each shard from others, `files.mark`
# One record per chunk for random access. Uncompressed reads a 1.8 MB record in 1.5 ms
# instead of 3.5 ms (zstd, the default), for 11 % more disk: floats hardly compress.
_WRITER_OPTIONS = "group_size:1,uncompressed"

_TEXTS = ("id", "category", "split", "attribution", "licence")

Example = dict[str, Any]


def make_features(
  *,
  points: int,
  near_points: int,
  surface_points: int,
  voxel_side: int,
  dtype: str,
  views: int = 0,
  distances: bool = False,
  quality: Mapping[str, type] = MappingProxyType({}),
) -> tfds.features.FeaturesDict:
  """Shapes and types of the arrays of an example.

  They have the names of the reference's files: points.npz, points_surface.npz (left out
  if there are no such points), pointcloud.npz, and views (likewise) for img_choy2016.

  Args:
    points, near_points, surface_points: number of points of each kind in a shape.
    voxel_side: side of the occupancy grid in cells.
    dtype: type of points and normals.
    views: number of pictures of a shape.
    distances: whether labelled points have signed distances.
    quality: names and types (str, bool, int or float) of the measures of the labels.
  """

  def tensor(shape: tuple[int, ...], kind: str) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(kind), encoding="bytes")

  def labelled(count: int) -> dict[str, tfds.features.Tensor]:
    return {
      "points": tensor((count, 3), dtype),
      "occupancies": tensor((-(-count // 8),), "uint8"),
      **({"distances": tensor((count,), dtype)} if distances else {}),
    }

  near = {"points_surface": labelled(near_points)} if near_points else {}
  pictures = {
    "images": tfds.features.Sequence(tfds.features.Text()),  # bytes stay as they are
    "world_mat": tensor((views, 3, 4), "float32"),
    "camera_mat": tensor((views, 3, 3), "float32"),
  }
  measures = {
    name: tfds.features.Text() if kind is str else tensor((), np.dtype(kind).name)
    for name, kind in quality.items()
  }
  return tfds.features.FeaturesDict(
    {
      "points": labelled(points),
      **near,
      **({"views": pictures} if views else {}),
      **({"quality": measures} if quality else {}),
      "pointcloud": {
        "points": tensor((surface_points, 3), dtype),
        "normals": tensor((surface_points, 3), dtype),
      },
      "voxels": tensor((-(-(voxel_side**3) // 8),), "uint8"),
      "loc": tensor((3,), "float64"),
      "scale": tensor((), "float64"),
      **{name: tfds.features.Text() for name in _TEXTS},
    }
  )


def serialize(features: tfds.features.FeaturesDict, example: Example) -> bytes:
  """An example as a tf.train.Example, with the same bytes in any process.

  Its map of features is written in an order of chance by `serialize_example` alone.
  """
  record = tf_example_pb2.Example.FromString(features.serialize_example(example))
  return record.SerializeToString(deterministic=True)


def shard_path(
  directory: pathlib.Path, split: str, index: int, count: int
) -> pathlib.Path:
  """Path of shard `index` of `count` of a split, as TFDS expects it."""
  return directory / f"{DATASET}-{split}.array_record-{index:05d}-of-{count:05d}"


def write_shard(path: pathlib.Path, records: Iterable[bytes]) -> None:
  """Writes serialised examples as one shard, atomically."""
  with files.atomic_write(path) as scratch:
    writer = array_record_module.ArrayRecordWriter(str(scratch), _WRITER_OPTIONS)
    for record in records:
      writer.write(record)
    writer.close()
    with open(scratch, "rb") as written:  # on the disk before it has its name
      os.fsync(written.fileno())


def count_records(path: pathlib.Path) -> int | None:
  """Number of examples in a shard by its index, or None if it is no whole file."""
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    count = reader.num_records()
    reader.close()
  except (RuntimeError, ValueError, OSError) as error:
    files.check_read(path, error)
    return None
  return count


def finish(
  directory: pathlib.Path,
  features: tfds.features.FeaturesDict,
  lengths: Mapping[str, list[int]],
) -> None:
  """Writes the metadata that makes shards a data set.

  Args:
    directory: directory of the shards.
    features: features by `make_features`.
    lengths: number of examples in each shard of each split; splits without any are left
      out.
  """
  splits, marks = [], {}
  for split, counts in lengths.items():
    if not sum(counts):
      continue
    paths = [shard_path(directory, split, i, len(counts)) for i in range(len(counts))]
    marks |= {path.name: files.mark(path) for path in paths}
    template = tfds.core.ShardedFileTemplate(
      data_dir=directory,
      dataset_name=DATASET,
      split=split,
      filetype_suffix="array_record",
    )
    splits.append(
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=list(counts),
        num_bytes=sum(path.stat().st_size for path in paths),
        filename_template=template,
      )
    )
  with files.atomic_write(directory / MARKS) as scratch:
    scratch.write_text(json.dumps(marks, indent=1) + "\n")
  with files.scratch_directory(directory) as scratch:
    # TFDS takes the data set's name from the file names beside the metadata.
    for info in splits:
      (scratch / info.filename_template.sharded_filepaths(1)[0].name).touch()
    tfds.folder_dataset.write_metadata(
      data_dir=scratch, features=features, split_infos=splits, check_data=False
    )
    for name in ("features.json", _METADATA):
      (scratch / name).replace(directory / name)


def is_complete(directory: pathlib.Path) -> bool:
  """Whether a directory holds a complete data set."""
  return metadata_path(directory).exists()


def read_marks(directory: pathlib.Path) -> dict[str, str]:
  """The marks of the shards by their names; {} where they are damaged or of an earlier
  version."""
  try:
    return files.read_json(directory / MARKS)
  except (ValueError, FileNotFoundError):
    return {}


def metadata_path(directory: pathlib.Path) -> pathlib.Path:
  """Path of the file that is written last: a directory with it is complete."""
  return directory / _METADATA
