"""Methods by their names in config.model.name.

A method of one's own needs no change here: config.model.name may be "module:function",
a build function like those below in any module that can be imported.
"""

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from occnet_jax import kept_programs
from occnet_jax.config import lookup
from occnet_jax.nn import precision as precision_lib
from occnet_jax.types import BuildOptions, Field, Method, Variables

BuildFn = Callable[[Mapping[str, Any], BuildOptions], Method]
# Imported when asked for: a program that uses one system waits for no other.
METHODS = {
  "atlasnet": "occnet_jax.models.atlasnet:build",
  "convonet": "occnet_jax.models.convonet:build",
  "deepsdf": "occnet_jax.models.deepsdf:build",
  "dmc": "occnet_jax.models.dmc:build",
  "ifnet": "occnet_jax.models.ifnet:build",
  "onet": "occnet_jax.models.onet:build",
  "pix2mesh": "occnet_jax.models.pix2mesh:build",
  "poco": "occnet_jax.models.poco:build",
  "psgn": "occnet_jax.models.psgn:build",
  "r2n2": "occnet_jax.models.r2n2:build",
  "sap": "occnet_jax.models.sap:build",
  "scan": "occnet_jax.models.scan:build",
  "single": "occnet_jax.models.single:build",
  "siren": "occnet_jax.models.siren:build",
}


def build(
  model: Mapping[str, Any],
  *,
  level: float | None = None,
  precision: str = "float32",
  **options,
) -> Method:
  """The Method that `config.model` describes.

  Two calls with equal arguments give the same functions, so JAX compiles them once.

  Args:
    model: the fields of config.model.
    level: level of the surface that validation chose, for a field whose threshold is
      not given; None for the level that the config gives.
    precision: precision of matrix products, one of `nn.precision.PRECISIONS`.
    **options: fields of `types.BuildOptions`.

  Raises:
    ValueError: a name that no table has, or fields that do not go together.
  """
  resolved = precision_lib.resolve(precision)
  # JSON, because a key must be hashable and configs hold lists and dicts; sorted, since
  # a config that comes from a file has its fields in another order.
  fields = json.dumps(dict(model), sort_keys=True)
  method = _build(fields, resolved, BuildOptions(**options))
  if (
    level is not None
    and isinstance(method.output, Field)
    and options.get("threshold") is None
  ):
    method = method._replace(output=Field(level, method.output.candidates))
  return method


@functools.lru_cache(maxsize=64)
def _build(model: str, precision: str, options: BuildOptions) -> Method:
  fields = json.loads(model)
  method = _find(fields["name"])(fields, options)
  precise = functools.partial(precision_lib.scoped, precision)
  prior = method.prior
  init, encode, decode = method.init, precise(method.encode), precise(method.decode)
  if fields["name"] in METHODS:  # others may change while the package does not
    described = f"{model} {precision} {options}"
    init, encode, decode = (
      kept_programs.Named(function, f"{role} of {described}")
      for role, function in (("init", init), ("encode", encode), ("decode", decode))
    )
  return method._replace(
    init=init,
    loss=precise(method.loss),
    encode=encode,
    decode=decode,
    score=precise(method.score),
    prior=prior and prior._replace(posterior=precise(prior.posterior)),
    fidelity=method.fidelity and precise(method.fidelity),
  )


def _find(name: str) -> BuildFn:
  """The build function of that name, in the table or as "module:function"."""
  place = name if ":" in name else lookup(METHODS, name, "model.name")
  module, _, function = place.partition(":")
  try:
    return getattr(importlib.import_module(module), function)
  except (ImportError, AttributeError) as error:
    raise ValueError(
      f"config.model.name is {name!r}, but {error}; want a module that Python can "
      "import (PYTHONPATH) and a build function in it"
    ) from error


def variable_specs(method: Method, example: Mapping[str, Any]) -> Variables:
  """The shapes and types of a method's variables, as jax.ShapeDtypeStruct.

  Args:
    method: a method of any kind.
    example: the arrays of a batch; only their shapes and types count.
  """
  forms = jax.tree.map(lambda x: (np.shape(x), x.dtype), dict(example))

  def trace() -> Variables:
    variables = jax.eval_shape(method.init, jax.random.PRNGKey(0), dict(example))
    return {name: variables.get(name, {}) for name in ("params", "batch_stats")}

  return kept_programs.recall(f"{method.init!r} {forms}", trace)
