"""Writes a prepared data set in the layout that the reference reads (host).

It allows a comparison with the reference implementation on one's own meshes.
"""

import io
import json
import os
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, UInt8
from PIL import Image
from trimesh.voxel import runlength

from data_prep.progress import progress_bar
from data_prep.sources import table
from data_prep.sources.entry import SPLITS, MeshEntry
from data_prep.sources.official import IMAGES, Example
from occnet_jax import files

_QUALITY = 95  # of JPEG
_JPEG = b"\xff\xd8"  # how such a file begins


def write_layout(data: str | os.PathLike, out: str | os.PathLike) -> None:
  """Writes a prepared data set in this layout; categories stand for synsets.

  The reference ignores meshes.csv, which holds the attribution and the licence of every
  model.

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
  entries = []
  for split in builder.info.splits:
    examples = builder.as_data_source(split)
    for example in progress_bar(examples, f"write {split}", unit="shape"):
      category, model = example["category"].decode(), example["id"].decode()
      files.check_names(category, model, source=data)
      write_example(out / category / model, example)
      about = (example[name].decode() for name in ("attribution", "licence"))
      entries.append(MeshEntry(category, model, out / category / model, split, *about))
      empty = {name: [] for name in SPLITS}
      lists.setdefault(category, empty)[split].append(model)
  for category, splits in lists.items():
    for split, models in splits.items():
      # Without a last line feed, which the reference takes for one more model.
      _write_text(out / category / f"{split}.lst", "\n".join(models))
  table.write_table(out / table.TABLE, sorted(entries))
  names = {category: {"id": category, "name": category} for category in lists}
  _write_text(out / "metadata.yaml", json.dumps(names, indent=2))


def write_example(folder: str | os.PathLike, example: Example) -> None:
  """Writes the files of one model, each atomically.

  Args:
    folder: folder of the model.
    example: arrays named as in `pipeline.shards`. Views of other formats are encoded as
      JPEG, the only one that the reference reads.
  """
  folder = pathlib.Path(folder)
  frame = {name: np.asarray(example[name], np.float64) for name in ("loc", "scale")}
  _write_arrays(folder / "points.npz", **example["points"], **frame)
  if "points_surface" in example:
    _write_arrays(folder / "points_surface.npz", **example["points_surface"], **frame)
  _write_arrays(folder / "pointcloud.npz", **example["pointcloud"], **frame)
  side = int((8 * len(example["voxels"])) ** (1 / 3) + 1e-9)
  cells = np.unpackbits(example["voxels"])[: side**3].reshape(side, side, side)
  with files.atomic_write(folder / "model.binvox") as scratch:
    scratch.write_bytes(_encode_binvox(cells))
  if "views" in example:
    _write_views(folder / IMAGES, example["views"], frame["loc"], frame["scale"])


def _encode_binvox(cells: UInt8[np.ndarray, "r r r"]) -> bytes:
  """A binvox file; Trimesh's writer adds a comment that the reference misreads."""
  side = len(cells)
  head = f"#binvox 1\ndim {side} {side} {side}\ntranslate -0.5 -0.5 -0.5\nscale 1\n"
  runs = runlength.dense_to_rle(cells.transpose(0, 2, 1).ravel(), np.uint8)
  return head.encode() + b"data\n" + runs.tobytes()


def _write_views(
  folder: pathlib.Path,
  views: Example,
  loc: Float[np.ndarray, "3"],
  scale: Float[np.ndarray, ""],
) -> None:
  cameras = {}
  for i, image in enumerate(views["images"]):
    if not image.startswith(_JPEG):
      stream = io.BytesIO()
      picture = Image.open(io.BytesIO(image)).convert("RGB")
      picture.save(stream, "JPEG", quality=_QUALITY)
      image = stream.getvalue()
    with files.atomic_write(folder / f"{i:03}.jpg") as scratch:
      scratch.write_bytes(image)
    world_mat = np.array(views["world_mat"][i], np.float64)
    world_mat[:, 3] = scale * world_mat[:, 3] - world_mat[:, :3] @ loc
    cameras[f"world_mat_{i}"] = world_mat
    cameras[f"camera_mat_{i}"] = np.array(views["camera_mat"][i], np.float64)
  _write_arrays(folder / "cameras.npz", **cameras)


def _write_arrays(path: pathlib.Path, **arrays: np.ndarray) -> None:
  with files.atomic_write(path) as scratch:
    np.savez(scratch, **arrays)


def _write_text(path: pathlib.Path, text: str) -> None:
  with files.atomic_write(path) as scratch:
    scratch.write_text(text, encoding="utf-8")
