"""Pretrained models as directories, for other people and other programs (host).

<directory>/
  model.safetensors  the arrays of params and batch_stats; names are their paths, as
                     params/decoder/fc_p/kernel
  config.json        {"format_version": 1, "package_version", "config": the run's,
                     "record": the step, the scores of validation and the level of the
                     surface}
  README.md          the model card

Files may come from anybody. Nothing in them is run, and the header of the weights is
compared with the network that the config describes before an array is made.
"""

import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy
from flax import serialization

from occnet_jax import config as config_lib
from occnet_jax import files, ranges, unreadable
from occnet_jax.data.example_batch import example_batch
from occnet_jax.interop.state_dict import shorten
from occnet_jax.models import registry
from occnet_jax.types import Method, Variables
from occnet_jax.version import __version__

FORMAT_VERSION = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS, CONFIG, CARD)
STORED = {"float16": "F16", "float32": "F32"}  # types of numbers: their names in files
MAX_CONFIG_BYTES = 2**20
MAX_HEADER_BYTES = 2**24  # of the weights: names, types and shapes
_AGAIN = "copy or download the model again"


class Pretrained(NamedTuple):
  """A model as it was read.

  Attributes:
    method: the functions.
    variables: the arrays, in the types that the method has.
    config: config of its training, of this version, nested dicts.
    record: the step, the scores of validation, and the level of the surface.
  """

  method: Method
  variables: Variables
  config: dict[str, Any]
  record: dict[str, Any]


def build(config: dict[str, Any], record: dict[str, Any]) -> tuple[Method, Variables]:
  """The method of a trained network, and the shapes and types of its variables.

  Args:
    config: config of its training, of this version.
    record: what validation found; the level of the surface counts.

  Raises:
    ValueError: a config out of range, or of a system that there is not.
  """
  settings = config_lib.parse(config)
  method = registry.build(
    settings.model,
    threshold=settings.test.threshold,
    level=record.get("level"),
    precision=settings.generation.precision,
  )
  return method, registry.variable_specs(method, example_batch(settings.data))


def write(
  directory: str | os.PathLike,
  variables: Variables,
  config: dict[str, Any],
  record: dict[str, Any],
  card: str,
  *,
  dtype: str = "float16",
) -> None:
  """Writes a model; its directory appears, or replaces another model, when complete.

  Args:
    directory: a new or empty directory, or that of a model.
    variables: arrays of the network, {"params", "batch_stats"}.
    config: config of its training, of this version; it is stored without paths.
    record: the step, and more that JSON can hold.
    card: text of README.md.
    dtype: type of the stored numbers, one of STORED.

  Raises:
    ValueError: a directory of other files; numbers that are not finite in that type; a
      system that is not in the package.
  """
  if dtype not in STORED:
    raise ValueError(f"dtype={dtype!r}; want one of: {', '.join(STORED)}")
  directory = pathlib.Path(directory).resolve()
  _check_target(directory)
  _check_system(directory, config)
  arrays = {name: _stored(name, x, dtype) for name, x in _named(variables).items()}
  description = {
    "format_version": FORMAT_VERSION,
    "package_version": __version__,
    "config": shareable(config),
    "record": record,
  }
  with files.scratch_directory(directory.parent) as scratch:
    new, old = scratch / "new", scratch / "old"
    new.mkdir()
    safetensors.numpy.save_file(arrays, new / WEIGHTS)
    (new / WEIGHTS).chmod(0o644)  # safetensors makes it readable to its owner alone
    text = json.dumps(description, indent=2) + "\n"
    (new / CONFIG).write_text(text, encoding="utf-8")
    (new / CARD).write_text(card, encoding="utf-8")
    try:
      if directory.exists():
        directory.rename(old)
      new.rename(directory)
    except BaseException:
      if old.exists() and not directory.exists():
        old.rename(directory)
      raise


def shareable(value: Any) -> Any:
  """A config, or a part of it, whose absolute paths are their last names alone.

  Directories of a machine are of no use on another, and say whose machine it was.
  """
  if isinstance(value, dict):
    return {name: shareable(part) for name, part in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(shareable(part) for part in value)
  if not isinstance(value, str):
    return value
  kind, colon, path = value.rpartition(":")  # as in folder:/path
  path = pathlib.PurePath(path)
  return f"{kind}{colon}{path.name}" if path.is_absolute() else value


def _check_target(directory: pathlib.Path) -> None:
  """Raises ValueError for a directory whose files are not those of a model."""
  if directory.is_dir():
    others = sorted(p.name for p in directory.iterdir() if p.name not in FILES)
    if others:
      raise ValueError(
        f"{directory}: holds other files ({shorten(others)}); want a new or empty "
        "directory, or one of a pretrained model"
      )
  elif directory.exists():
    raise ValueError(f"{directory}: is a file; want a directory")


def _check_system(path: pathlib.Path, config: dict[str, Any]) -> None:
  """Raises ValueError for a system of somebody's own, which weights do not bring."""
  name = config.get("model", {}).get("name")
  if not isinstance(name, str) or name not in registry.METHODS:
    raise ValueError(
      f"{path}: config.model.name is {name!r}; want one of: "
      f"{', '.join(registry.METHODS)}; a pretrained model brings no code: share the "
      "run and its module instead, for occnet_jax.restore"
    )


def _named(variables: Variables) -> dict[str, Any]:
  """The leaves by their paths."""
  state = serialization.to_state_dict(variables)
  leaves = jax.tree_util.tree_flatten_with_path(state)[0]
  return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


def _stored(name: str, array: Any, dtype: str) -> np.ndarray:
  """An array as it is stored; ValueError where its numbers are not finite then."""
  try:
    return ranges.to_finite(jax.device_get(array), dtype, name)
  except ValueError as error:
    raise ValueError(f"{error}; dtype='float32' stores numbers above 65504") from error


def read(
  directory: str | os.PathLike, config_override: dict[str, Any] | None = None
) -> Pretrained:
  """Reads a model, and checks that its files are whole and belong together.

  Args:
    directory: the model's directory.
    config_override: a config whose `test`, `generation` and candidate thresholds
      replace the model's own.

  Raises:
    ValueError: a file that is missing, damaged, of another format or of another
      network; numbers that are not finite.
  """
  path = pathlib.Path(directory) / CONFIG
  config, record = _read_description(path)
  try:
    config = config_lib.migrate(config)
    method, specs = build(config, record)
  except Exception as error:  # whatever a builder may raise on fields of other types
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    raise ValueError(
      f"{path}: describes no network of this version "
      f"({kind}{files.first_line(error)}); {_AGAIN}"
    ) from error
  if config_override is not None:
    config = config_lib.override(config, config_override)
    method, specs = build(config, record)
  variables = _read_variables(path.with_name(WEIGHTS), specs)
  return Pretrained(method, variables, config, record)


def _read_description(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """The config, of any version, and the record; ValueError if they are none."""
  if not path.is_file():
    raise ValueError(
      f"{path}: no such file; a pretrained model has {', '.join(FILES)}, as "
      "Model.save_pretrained writes them"
    )
  if (size := path.stat().st_size) > MAX_CONFIG_BYTES:
    raise ValueError(
      f"{path}: has {size} bytes; want at most {MAX_CONFIG_BYTES}; {_AGAIN}"
    )
  try:
    content = json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    why = unreadable.reason(path, error).replace(unreadable.NO_JSON, "broken")
    raise ValueError(f"{path}: is no JSON ({why}); {_AGAIN}") from error
  content = content if isinstance(content, dict) else {}
  version = content.get("format_version")
  if isinstance(version, int) and version > FORMAT_VERSION:
    raise ValueError(
      f"{path}: is of format {version}, want {FORMAT_VERSION}: a later version wrote "
      "it; pip install --upgrade occnet-jax"
    )
  if version != FORMAT_VERSION:
    is_run = (path.parent / "checkpoints").is_dir()
    hint = "this is a run: load it by occnet_jax.restore or --workdir"
    raise ValueError(
      f"{path}: format_version is {version!r}, want {FORMAT_VERSION}; "
      f"{hint if is_run else 'name a directory that Model.save_pretrained wrote'}"
    )
  config, record = content.get("config"), content.get("record")
  sections = ("prep", "model", *config_lib.SECTIONS)
  if not isinstance(config, dict) or not all(
    isinstance(config.get(name), dict) for name in sections
  ):
    raise ValueError(
      f"{path}: its config lacks one of the sections {', '.join(sections)}; {_AGAIN}"
    )
  _check_system(path, config)
  _check_record(path, record)
  return config, record


def _check_record(path: pathlib.Path, record: Any) -> None:
  """Raises ValueError for a record without a step, or whose level is no number."""
  record = record if isinstance(record, dict) else {}
  step, level = record.get("step"), record.get("level", 0.0)
  is_level = level is None or (isinstance(level, float | int) and math.isfinite(level))
  if not isinstance(step, int) or not is_level:
    raise ValueError(
      f"{path}: its record has step {step!r:.80} and level {level!r:.80}; want a whole "
      f"number, and a number or null; {_AGAIN}"
    )


def _read_variables(path: pathlib.Path, specs: Variables) -> Variables:
  """The arrays of a file, if they are those of `specs`; else ValueError."""
  if not path.is_file():
    raise ValueError(f"{path}: no such file; {_AGAIN}")
  expected = _named(specs)
  largest = sum(4 * math.prod(spec.shape) for spec in expected.values())
  size = path.stat().st_size
  if size > largest + MAX_HEADER_BYTES:
    raise ValueError(
      f"{path}: has {size} bytes, but the network of the config beside it has "
      f"{largest}; use the files of one model"
    )
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      _check_header(path, file, expected)
      arrays = {name: file.get_tensor(name) for name in expected}
  except safetensors.SafetensorError as error:
    why = unreadable.reason(path, error)
    raise ValueError(
      f"{path}: is no whole safetensors file ({why}); {_AGAIN}"
    ) from error
  leaves = [
    ranges.to_finite(arrays[name], spec.dtype, f"{path}: {name}")
    for name, spec in expected.items()
  ]
  state = serialization.to_state_dict(specs)
  tree = jax.tree_util.tree_structure(state)
  return serialization.from_state_dict(
    specs, jax.tree_util.tree_unflatten(tree, leaves)
  )


def _check_header(path: pathlib.Path, file: Any, expected: dict[str, Any]) -> None:
  """Raises ValueError for names, shapes and types that are not the network's."""
  names = set(file.keys())
  wrong = [f"{name} is missing" for name in expected if name not in names]
  wrong += [f"{name!r:.80} is left over" for name in sorted(names - expected.keys())]
  for name, spec in expected.items():
    if name not in names:
      continue
    header = file.get_slice(name)
    shape, kind = tuple(header.get_shape()), header.get_dtype()
    if shape != spec.shape or kind not in STORED.values():
      types = " or ".join(STORED.values())
      wrong.append(f"{name} is {kind} of shape {shape}, want {types} of {spec.shape}")
  if wrong:
    first = "; ".join(text[:200] for text in wrong[:3])
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise ValueError(
      f"{path}: does not fit the config beside it: {first}{more}; use the files of one "
      "model"
    )
