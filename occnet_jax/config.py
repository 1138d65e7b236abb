"""Configs: validation, typed settings, comparison (host).

A config is nested dicts, as `ml_collections` makes them from configs/ and as JSON keeps
them in a workdir. This is the one place that looks across its fields. Below it travel
typed settings, whose fields configs/base.py documents.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from occnet_jax import ranges
from occnet_jax.files import atomic_write, describe_changes, read_json
from occnet_jax.migration import Config, migrate

# Fields that may change when a run is resumed.
MUTABLE_FIELDS = (
  *("name", "prep", "data.dir", "data.mixture", "data.placement", "data.workers"),
  *("train.steps", "train.log_every", "train.save_every", "train.keep_every"),
  *("train.validate_every", "train.on_nonfinite", "train.preview_shapes"),
  "train.sinks",
  *("model.tau_grid", "model.levels_used", "val", "test", "generation", "report"),
)


class ScanSettings(NamedTuple):
  """What clouds of training have; `data.scans` draws them.

  Attributes:
    points: fewest and most points, log-uniform between them; () for plain clouds.
    sigma: largest standard deviation of the noise, in cube units.
    outliers: largest share of points anywhere in the box.
    unevenness: largest ratio of the densities at both ends of a shape, as a power of e.
    turned: share of scans that are turned at random; the others turn about y alone.
    cut: share of scans of which all beyond a plane is missing.
    kept: smallest share of the points that such a plane leaves.
    viewed: share of scans that show what one to three cameras see.
    extent: largest side of a scan's box in the cube, in cube units.
  """

  points: tuple[int, ...]
  sigma: float
  outliers: float
  unevenness: float
  turned: float
  cut: float
  kept: float
  viewed: float
  extent: float


class DataSettings(NamedTuple):
  dir: str
  mixture: tuple[tuple[str, int], ...]
  points: int
  near_fraction: float
  random_stretch: float
  sampling: str
  inputs: str
  targets: tuple[str, ...]
  cloud_points: int
  cloud_sigma: float
  cloud_share: float
  crop: tuple[float, ...]
  scan: ScanSettings
  float16_noise: float
  image_side: int
  image_views: int
  image_crop: float
  voxel_side: int
  placement: str
  workers: int


class OptimSettings(NamedTuple):
  name: str
  learning_rate: float
  code_rate: float
  schedule: str
  halve_every: int
  warmup_steps: int
  clip_norm: float
  weight_decay: float
  ema_decay: float
  ema_batches: int


class TrainSettings(NamedTuple):
  steps: int
  start_from: str
  batch_size: int
  precision: str
  steps_per_call: int
  remat: bool
  log_every: int
  save_every: int
  keep_every: int
  validate_every: int
  on_nonfinite: str
  preview_shapes: int
  sinks: tuple[str, ...]


class ValSettings(NamedTuple):
  split: str
  select: str
  points: int
  shapes: int
  batch_size: int
  mesh_shapes: int


class TestSettings(NamedTuple):
  split: str
  shapes: int
  threshold: float | None
  samples: int
  trim: float
  f_scores: tuple[float, ...]
  emd_points: int
  voxel_iou: bool


class GenerationSettings(NamedTuple):
  method: str
  resolution_0: int
  upsampling_steps: int
  least_part: float
  smooth_steps: int
  simplify_faces: int | None
  sample: bool
  refine_steps: int
  precision: str
  points_per_batch: int | None
  backend: str
  cell_size: float | None
  finetune_steps: int
  finetune_learning_rate: float
  format: str
  point_mesh: str


class ReportSettings(NamedTuple):
  shapes: int


class Settings(NamedTuple):
  """A whole config; `prep` and `model` go to functions that name their own fields."""

  name: str
  seed: int
  prep: Config
  data: DataSettings
  model: Config
  optim: OptimSettings
  train: TrainSettings
  val: ValSettings
  test: TestSettings
  generation: GenerationSettings
  report: ReportSettings


SECTIONS = {
  "data": DataSettings,
  "optim": OptimSettings,
  "train": TrainSettings,
  "val": ValSettings,
  "test": TestSettings,
  "generation": GenerationSettings,
  "report": ReportSettings,
}
# Kinds of inputs that an encoder reads, by the beginning of its name.
ENCODED = {
  "pointnet": ("cloud",),
  "voxel": ("voxels",),
  "code_table": ("index",),
  "resnet": ("image", "images"),
  "simple_conv": ("image", "images"),
  "r2n2": ("image", "images"),
  "pix2mesh": ("image_camera",),
}
# Scores of which less is better; of all others more is.
LOWER_IS_BETTER = ("loss", "chamfer_l1")


def parse(config: Mapping[str, Any]) -> Settings:
  """The typed settings of a config of this version.

  Raises:
    ValueError: a field that is missing, unknown or out of range, or two that do not
      agree.
  """
  sections = ("name", "seed", "prep", "model", *SECTIONS)
  if missing := [name for name in sections if name not in config]:
    raise ValueError(f"the config lacks {', '.join(missing)}; see configs/base.py")
  for name, kind in SECTIONS.items():
    _check_fields(name, config[name], kind)
  _check_fields("data.scan", config["data"]["scan"], ScanSettings)
  numbers = {name: config[name] for name in (*SECTIONS, "model")}
  numbers["data.scan"] = config["data"]["scan"]
  ranges.check(numbers)
  ranges.check_seed(config["seed"])
  sections: dict[str, Any] = {
    name: kind(**config[name]) for name, kind in SECTIONS.items()
  }
  scan = ScanSettings(**config["data"]["scan"])
  sections["data"] = sections["data"]._replace(scan=scan)
  plain = {name: config[name] for name in ("name", "seed", "prep", "model")}
  settings = Settings(**plain, **sections)
  _validate(settings)
  return settings


def _check_fields(name: str, section: Mapping[str, Any], kind: type) -> None:
  """Raises ValueError unless a section has the fields of its record and no other."""
  fields = set(section)
  if wrong := fields ^ set(kind._fields):
    state = "unknown" if wrong <= fields else "missing or unknown"
    raise ValueError(
      f"config.{name}: {', '.join(sorted(wrong))} {state}; see configs/base.py"
    )


def _validate(settings: Settings) -> None:
  """Raises ValueError for settings that do not exist or do not agree."""
  train, optim = settings.train, settings.optim
  if optim.ema_batches and not optim.ema_decay:
    raise ValueError(
      f"config.optim.ema_batches is {optim.ema_batches} without averaged variables; "
      "set config.optim.ema_decay, or ema_batches to 0"
    )
  if train.on_nonfinite not in ("stop", "skip"):
    raise ValueError(
      f"config.train.on_nonfinite is {train.on_nonfinite!r}; want stop or skip"
    )
  for name in ("steps", "log_every", "save_every", "validate_every"):
    if (value := getattr(train, name)) % train.steps_per_call:
      raise ValueError(
        f"config.train.{name} is {value}; want a multiple of "
        f"config.train.steps_per_call={train.steps_per_call}"
      )
  scores = ("iou", "loss", *(["chamfer_l1"] if settings.val.mesh_shapes else []))
  if settings.val.select not in scores:
    raise ValueError(
      f"config.val.select is {settings.val.select!r}; want one of: {', '.join(scores)}"
    )


def check_encoder(model: Config, inputs: str) -> None:
  """Raises ValueError for a network that cannot be trained on its inputs.

  Args:
    model: the section `model`.
    inputs: kind of the inputs, config.data.inputs.
  """
  encoder = str(model.get("encoder", "none"))
  for name, kinds in ENCODED.items():
    if encoder.startswith(name) and inputs not in kinds:
      raise ValueError(
        f"config.model.encoder is {encoder!r}, which reads {' or '.join(kinds)}, but "
        f"config.data.inputs is {inputs!r}; change one of the two"
      )
  is_own = ":" in model["name"]  # such a model gives its fields their meaning
  if encoder != "none" and model.get("c_dim") == 0 and not is_own:
    raise ValueError(
      f"config.model.c_dim is 0 with the encoder {encoder!r}; want 1 or more, or "
      "config.model.encoder='none'"
    )


def with_codes(config: Config, shapes: int) -> Config:
  """The config with a code table's row for each of so many shapes, if it has one."""
  model = config["model"]
  lacking = model.get("encoder") == "code_table" and model.get("codes") == 0
  return config | {"model": model | {"codes": shapes}} if lacking else config


def override(config: Config, by: Mapping[str, Any] | None) -> Config:
  """A run's config with the sections of another that only use of the network needs.

  Args:
    config: of the run, of this version.
    by: a config of any version and of any system, with `test` and `generation`.

  Raises:
    ValueError: one of these two sections is missing.
  """
  if by is None:
    return config
  by = migrate(by)
  if missing := {"test", "generation"} - by.keys():
    raise ValueError(
      f"the overriding config lacks {', '.join(sorted(missing))}; see configs/base.py"
    )
  config = config | {name: by[name] for name in ("test", "generation")}
  both = config["model"].keys() & by.get("model", {}).keys()
  used = {name: by["model"][name] for name in both & {"tau_grid", "levels_used"}}
  return config | {"model": config["model"] | used}


def lookup(table: Mapping[str, Any], name: str, field: str) -> Any:
  """table[name], or a ValueError that lists the names there are."""
  if name not in table:
    names = ", ".join(sorted(table))
    raise ValueError(f"config.{field} is {name!r}; want one of: {names}")
  return table[name]


def check_workdir(config: Config, workdir: pathlib.Path, *, begin: bool = True) -> None:
  """Writes config.json; refuses to resume a run with a different config.

  Args:
    config: nested dicts, of this version.
    workdir: directory of the run.
    begin: whether a run may begin here; without it, config.json is written only where
      there is one.

  Raises:
    ValueError: the workdir belongs to a run of another config; names the differences.
      One without checkpoints and meshes, where a first call failed, belongs to none.
  """
  path = workdir / "config.json"
  now = json.loads(json.dumps(config))
  is_used = any(workdir.glob("checkpoints/*/[0-9]*")) or (workdir / "meshes").exists()
  if path.exists() and is_used:
    before = migrate(read_json(path), to_resume=True)
    before = json.loads(json.dumps(before))  # lists for tuples
    changes = describe_changes(before, now)
    changed = [text for name, text in changes.items() if not _is_mutable(name)]
    if changed:
      raise ValueError(
        f"{workdir}: belongs to a run of another config ({'; '.join(changed[:3])}"
        f"{' and more' if len(changed) > 3 else ''}); use that config, or another "
        "--workdir"
      )
  if begin or is_used:
    with atomic_write(path) as scratch:
      scratch.write_text(json.dumps(now, indent=2))


def _is_mutable(name: str) -> bool:
  return any(name == free or name.startswith(f"{free}.") for free in MUTABLE_FIELDS)
