"""Config files: where they are, how they are named, how they are read (host).

A recipe is named by its file, `configs/onet.py:image`, or by its name, `onet:image`.
The files lie in configs/ in a clone, in occnet_jax/shipped/configs once installed.
"""

import difflib
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from occnet_jax import migration
from occnet_jax.cli import command_line
from occnet_jax.config import Config
from occnet_jax.files import read_json

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_OVERRIDE = re.compile(r"--?(?:no)?config\.")


def directory() -> pathlib.Path:
  """The directory of base.py and the recipes."""
  clone = _PACKAGE.parent / "configs"
  return clone if (clone / "base.py").exists() else _PACKAGE / "shipped" / "configs"


def names() -> list[str]:
  """The recipes, by name."""
  return sorted(path.stem for path in directory().glob("*.py") if path.stem != "base")


def resolve(value: str) -> str:
  """FILE[:VARIANT] for a recipe that is named by its file or by its name alone.

  A file of the user's comes before one of the package. A value that names neither is
  returned as it is, for `command_line.check_config` to refuse.
  """
  name, colon, variant = value.partition(":")
  path = pathlib.Path(name)
  if path.exists():
    return value
  if re.fullmatch(r"(configs/)?\w+(\.py)?", name):
    own = directory() / f"{path.stem}.py"
    is_path = "/" in name or path.suffix == ".py"
    if own.exists():
      # configs/onet.py is written relative to the clone, which may be elsewhere.
      return f"{own}{colon}{variant}"
    if not is_path:
      close = difflib.get_close_matches(name, names(), 1)
      hint = f"{close[0]}, or another of: " if close else "one of: "
      raise ValueError(f"--config={value}: no such recipe; want {hint}{_listed()}")
  return value


def _listed() -> str:
  return f"{', '.join(names())}, or a file"


def resolve_argv(argv: Sequence[str]) -> list[str]:
  """A command line whose --config is a file; makes `import configs` find the package's.

  Raises:
    ValueError: no such recipe.
  """
  resolved = list(argv)
  for i, arg in enumerate(argv):
    flag = re.match(r"(--?config)(?:=(.*))?$", arg)
    if flag and flag[2] is not None:
      recipe = resolve(os.path.expanduser(flag[2]))
      resolved[i] = f"{flag[1]}={recipe}"
    elif flag and i + 1 < len(argv):
      recipe = resolved[i + 1] = resolve(os.path.expanduser(argv[i + 1]))
    else:
      continue
    make_importable(recipe)
  return resolved


def make_importable(recipe: str = "") -> None:
  """Puts on sys.path what recipes import: `configs.base` and others of a directory.

  A recipe in a directory `configs` begins with the files beside it; the package's own
  come after all others.
  """
  beside = pathlib.Path(recipe.partition(":")[0]).resolve().parent
  if beside.name == "configs" and str(beside.parent) not in sys.path:
    sys.path.insert(0, str(beside.parent))
  if (parent := str(directory().parent)) not in sys.path:
    sys.path.append(parent)


def is_override(arg: str) -> bool:
  """Whether an argument changes a field of a config, as --config.train.steps=5."""
  return bool(_OVERRIDE.match(arg))


def load(recipe: str, overrides: Sequence[str] = ()) -> Config:
  """The nested dicts of a recipe, with fields changed.

  Args:
    recipe: file or name, with an optional variant.
    overrides: arguments --config.FIELD=VALUE.

  Raises:
    ValueError: no such recipe, variant or field, or a value of another type.
  """
  from ml_collections import config_flags

  argv = resolve_argv(["occnet", f"--config={recipe}", *overrides])
  command_line.check_config(argv)
  return _parse(config_flags.DEFINE_config_file, None, argv)


def load_run(workdir: str | os.PathLike, overrides: Sequence[str] = ()) -> Config:
  """The config of a run, with fields changed.

  Raises:
    ValueError: the workdir has no config.json, or no such field.
  """
  import ml_collections
  from ml_collections import config_flags

  path = pathlib.Path(workdir) / "config.json"
  if not path.exists():
    raise ValueError(
      f"{workdir}: no run begins here (it has no config.json); name its config, as in "
      "--config=own_data"
    )
  config = ml_collections.ConfigDict(_from_json(migration.migrate(read_json(path))))
  argv = ["occnet", *overrides]
  return _parse(config_flags.DEFINE_config_dict, config, argv)


def _parse(define: Callable[..., Any], default: Any, argv: Sequence[str]) -> Config:
  """The config of a command line, by a function of config_flags that defines a flag."""
  from absl import flags

  values = flags.FlagValues()
  try:
    holder = define("config", default, flag_values=values, sys_argv=argv)
    values(argv)
    config = command_line.to_dict(holder.value)
  except Exception as error:  # a config file may raise anything
    raise ValueError(command_line.explain(error, argv)) from error
  if config is None:
    raise ValueError("no config; want --config=NAME, see: occnet config")
  return config


def _from_json(value: Any) -> Any:
  """JSON's lists as the tuples that they were, null as a field of any type."""
  from ml_collections import config_dict

  if isinstance(value, dict):
    return {name: _from_json(item) for name, item in value.items()}
  if isinstance(value, list):
    return tuple(_from_json(item) for item in value)
  return config_dict.placeholder(object) if value is None else value
