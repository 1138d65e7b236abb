"""How each field of a config changes the batch, the step, the run or the mesh.

A row of a table names a field, what else is set for it, its other value, a number that
is taken with both values, and how the two numbers compare. All go through the functions
that a run calls with its settings. Here are the fields of the batch; test_wiring.py has
the others, and checks that no field is left out.
"""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from configs import base
from occnet_jax import config as config_lib
from occnet_jax.data import batches
from occnet_jax.data.example_batch import example_batch

COUNT = 600


def lattice(count, seed):
  return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 3)).astype(np.float32)


def picture(number):
  """Black on the left, white on the right, so that a crop changes the mean."""
  pixels = np.zeros((40, 40, 3), np.uint8)
  pixels[:, 20 - number :] = 255
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, "PNG")
  return stream.getvalue()


def example(index):
  """A box of 1 x 0.5 x 0.25 with a labelled point in six inside."""
  rng = np.random.default_rng(index)
  sides = np.array([1.0, 0.5, 0.25])
  faces = rng.integers(3, size=COUNT)
  surface = rng.uniform(-0.5, 0.5, (COUNT, 3))
  normals = np.eye(3)[faces] * rng.choice([-1, 1], COUNT)[:, None]
  surface = np.where(normals != 0, 0.5 * normals, surface) * sides
  points = rng.uniform(-0.5, 0.5, (COUNT, 3)).astype(np.float16)
  inside = (np.abs(points) < sides / 2).all(1)
  near = {"points": np.full((COUNT, 3), 0.45, np.float16)}
  pictures = [picture(number) for number in range(6)]
  return {
    "index": index,
    "points": {"points": points, "occupancies": np.packbits(inside)},
    "points_surface": near | {"occupancies": np.packbits(inside)},
    "pointcloud": {"points": surface.astype(np.float16), "normals": normals},
    "views": {"images": pictures},
    "voxels": np.packbits(rng.random(8**3) < 0.5),
    "distances": np.zeros(COUNT),
  }


EXAMPLES = [example(index) for index in range(4)]


@pytest.fixture(autouse=True)
def stored(monkeypatch):
  """The examples in place of a data set; what was opened."""
  opened = []

  def open_mixture(*args):
    opened.append(args)
    return EXAMPLES

  monkeypatch.setattr(batches.source, "open_mixture", open_mixture)
  return opened


def settings_of(changes):
  config = base.get_config()
  config.data.update(points=200, cloud_points=64, image_side=32, image_views=3)
  config.data.update(placement="stream", workers=0, voxel_side=8)
  config.prep.voxel_side = 8
  config.train.batch_size = 4
  with config.unlocked():
    for name, value in changes.items():
      section, _, field = name.rpartition(".")
      parent = config
      for part in section.split(".") if section else ():
        parent = parent[part]
      parent[field] = value
  return config_lib.parse(config.to_dict())


def training(settings, steps=1):
  """The batches of a run's first steps, as the loop draws them."""
  split = batches.place_train(settings.data, batches.open_train(settings.data))
  drawn = batches.train_batches(settings, split, 0)
  return list(itertools.islice(drawn, steps))


def of(key, number):
  """A number of the batches' arrays under a key, together."""

  def measure(settings):
    return number(np.concatenate([batch[key] for batch in training(settings, 24)]))

  return measure


def finite(number):
  """The same of a scan's points, whose batches are filled up with NaN."""
  return lambda array: number(array[np.isfinite(array).all(-1)])


def sides(array):
  """The mean of the smallest side of each cloud's box over its largest."""
  boxes = np.nanmax(array, 1) - np.nanmin(array, 1)
  return float((boxes.min(1) / boxes.max(1)).mean())


def count_points(array):
  return float(np.isfinite(array).all(-1).sum(1).mean())


def more(before, after):
  return after > before


def less(before, after):
  return after < before


def differ(before, after):
  return before != after


def becomes(*pair):
  return lambda before, after: (before, after) == pair


def spread(array):
  """Mean distance from the nearest face of the box, for the noise of its points."""
  offset = np.abs(array.reshape(-1, 3)) - np.array([0.5, 0.25, 0.125])
  return float(np.abs(offset.max(1)).mean())


SCAN = {"data.scan.points": (60, 60)}
STILL = (
  SCAN
  | {"data.scan.turned": 0.0, "data.scan.sigma": 0.0}
  | {f"data.scan.{name}": 0.0 for name in ("outliers", "unevenness")}
)
DEVIATION = finite(lambda points: float(points.std(0).max()))
# field: (what else is set, its other value, number, comparison)
BATCH = {
  "seed": ({}, 1, of("points", lambda x: float(x.sum())), differ),
  "train.batch_size": ({}, 2, lambda s: len(training(s)[0]["points"]), becomes(4, 2)),
  "data.points": ({}, 90, of("points", lambda x: x.shape[1]), becomes(200, 90)),
  "data.near_fraction": (
    {},
    0.25,
    of("points", lambda x: float((x > 0.4497).all(2).mean())),
    becomes(0.0, 0.25),
  ),
  "data.random_stretch": (
    {"data.cloud_sigma": 0.0},
    1.0,
    of("inputs", lambda x: float(np.ptp(x, axis=1)[:, 1].std())),
    more,
  ),
  "data.sampling": (
    {},
    "equal",
    of("occupancies", lambda x: abs(float(x.mean()) - 0.5)),
    lambda a, b: a > 0.2 and b == 0,
  ),
  "data.inputs": (
    {},
    "voxels",
    of("inputs", np.shape),
    becomes((96, 64, 3), (96, 8, 8, 8)),
  ),
  "data.targets": (
    {},
    ("voxels",),
    lambda s: "voxels" in training(s)[0],
    becomes(False, True),
  ),
  "data.cloud_points": ({}, 50, of("inputs", lambda x: x.shape[1]), becomes(64, 50)),
  "data.cloud_sigma": ({}, 0.05, of("inputs", spread), lambda a, b: b > 4 * a),
  "data.cloud_share": (
    {},
    0.4,
    of("inputs", lambda x: float(np.ptp(x, axis=1).mean())),
    less,
  ),
  "data.crop": ({}, (0.2, 0.05), of("points", lambda x: float(np.abs(x).max())), less),
  "data.float16_noise": ({}, 0.3, of("points", lambda x: float(np.abs(x).max())), more),
  "data.image_side": (
    {"data.inputs": "image"},
    16,
    of("inputs", lambda x: x.shape[1]),
    becomes(32, 16),
  ),
  "data.image_views": (
    {"data.inputs": "images"},
    2,
    of("inputs", lambda x: x.shape[1]),
    becomes(3, 2),
  ),
  "data.image_crop": (
    {"data.inputs": "image"},
    0.2,
    of("inputs", lambda x: float(x.mean((1, 2, 3)).std())),
    more,
  ),
  "data.voxel_side": (
    {"data.inputs": "voxels"},
    4,
    lambda s: example_batch(s.data)["inputs"].shape[1],
    becomes(8, 4),
  ),
  "data.placement": (
    {},
    "host",
    lambda s: batches.place_train(s.data, EXAMPLES).placement,
    becomes("stream", "host"),
  ),
  "data.scan.points": (
    SCAN,
    (20, 20),
    of("inputs", count_points),
    lambda a, b: b <= 20 < a,
  ),
  "data.scan.sigma": (STILL, 0.1, of("inputs", lambda x: sides(x)), more),
  "data.scan.outliers": (STILL, 0.5, of("inputs", lambda x: sides(x)), more),
  "data.scan.unevenness": (
    STILL,
    6.0,
    of("inputs", lambda x: float(np.abs(np.nanmean(x, 1)).mean())),
    more,
  ),
  "data.scan.turned": (
    STILL,
    1.0,
    of("inputs", lambda x: float((np.nanmax(x, 1) - np.nanmin(x, 1))[:, 1].mean())),
    more,
  ),
  "data.scan.cut": (STILL, 1.0, of("inputs", lambda x: sides(x)), differ),
  "data.scan.kept": (
    STILL | {"data.scan.cut": 1.0},
    0.95,
    of("inputs", lambda x: sides(x)),
    differ,
  ),
  "data.scan.viewed": (STILL, 1.0, of("inputs", lambda x: float(np.nansum(x))), differ),
  "data.scan.extent": (
    STILL,
    0.5,
    of("inputs", lambda x: float(np.nanmax(np.abs(x)))),
    less,
  ),
}


def measured(field, table):
  others, value, number, _ = table[field]
  return number(settings_of(others)), number(settings_of(others | {field: value}))


@pytest.mark.parametrize("field", BATCH)
def test_a_field_of_the_data_changes_the_batch(field):
  before, after = measured(field, BATCH)
  assert BATCH[field][3](before, after), (before, after)


def test_the_names_of_data_sets_reach_what_opens_them(stored):
  for name, value, place in (("dir", "elsewhere", 0), ("mixture", (("b", 2),), 1)):
    batches.open_train(settings_of({f"data.{name}": value}).data)
    assert stored[-1][place] == value


def validation(number):
  return lambda s: number(list(batches.validation_batches(s, s.val.batch_size)))


VALIDATION = {
  "val.points": (
    {},
    50,
    validation(lambda x: x[0][0]["points"].shape[1]),
    becomes(COUNT, 50),
  ),
  "val.shapes": (
    {},
    2,
    validation(lambda x: sum(count for _, count in x)),
    becomes(4, 2),
  ),
  "val.batch_size": (
    {},
    2,
    validation(lambda x: len(x[0][0]["points"])),
    becomes(8, 2),
  ),
}


@pytest.mark.parametrize("field", VALIDATION)
def test_a_field_of_validation_changes_its_batches(field):
  before, after = measured(field, VALIDATION)
  assert VALIDATION[field][3](before, after), (before, after)


def test_validation_reads_its_split(stored):
  validation(len)(settings_of({"val.split": "test"}))
  assert stored[-1][2] == "test"
