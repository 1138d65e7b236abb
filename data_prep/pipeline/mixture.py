"""Several data sets that are mixed in training, each shape in one of them (host)."""

import inspect
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from data_prep.pipeline.prepare import Prepared, prepare


def prepare_all(
  *, others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}), **settings: Any
) -> list[Prepared]:
  """Prepares a data set, and those that are mixed with it, one after the other.

  A mesh whose file has the content of one of an earlier data set is left out, so that
  none is trained on in one of them and tested with in another.

  Args:
    others: by name, the settings of each that differ, `source` and `out` among them.
    **settings: arguments of `prepare`.

  Raises:
    ValueError: a setting that `prepare` lacks, or two data sets in one directory; else
      as `prepare`.
  """
  names = inspect.signature(prepare).parameters.keys() - {"besides"}
  directories = {pathlib.Path(settings["out"]).resolve()}
  for name, own in others.items():
    if unknown := own.keys() - names:
      raise ValueError(
        f"prep.others.{name}: {min(unknown)!r} is no setting; want some of "
        f"{', '.join(sorted(names))}"
      )
    if "out" not in own or (out := pathlib.Path(own["out"]).resolve()) in directories:
      raise ValueError(f"prep.others.{name}.out: want a directory of its own")
    directories.add(out)
  if not others:
    return [prepare(**settings)]
  done: list[Prepared] = []
  for own in ({}, *others.values()):
    besides = [earlier.directory for earlier in done]
    done.append(prepare(**{**settings, **own, "besides": besides}))
  return done
