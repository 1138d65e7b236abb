"""Evaluators: what is computed of a state every so many steps (device and host).

An evaluator is a record, and the loop has a list of them. Validation is the first; the
command line adds pictures and the Chamfer distance of a few meshes.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from occnet_jax.train import multihost
from occnet_jax.train import step as step_lib
from occnet_jax.types import Batch, Field, Method, ScoreFn, ShapeScores, Variables

Results = dict[str, Any]


class Evaluator(NamedTuple):
  """One kind of evaluation.

  Attributes:
    name: the group of its results in the log.
    every: steps from one evaluation to the next; the last state is always evaluated.
    fn: (variables, results) -> more results: numbers, which the log and the record of
      the checkpoint keep, and pictures (h, w, 3) uint8. `results` are those of the
      evaluators before it at this step.
  """

  name: str
  every: int
  fn: Callable[[Variables, Results], Results]


def make_validation(
  method: Method,
  batches: Callable[[], Iterator[tuple[Batch, int]]],
  every: int,
) -> Evaluator:
  """The evaluator of the mean scores over the validation split; see `validate`."""
  return Evaluator(
    "val", every, lambda variables, results: validate(method, variables, batches())
  )


def validate(
  method: Method, variables: Variables, batches: Iterable[tuple[Batch, int]]
) -> dict[str, float]:
  """Means of the method's scores over shapes, at the level that does best.

  Args:
    method: a method of any kind.
    variables: variables of the method.
    batches: pairs (batch, number of its shapes that count), as `data.loader` yields
      them; each is spread over the devices, and each process has its own, at least one.

  Returns:
    A number for each score. Those with one value per candidate level are taken at the
    candidate where the first of them is highest; `level` is that candidate. For a field
    without candidates `level` is the given one; other outputs have no `level`.

  Raises:
    ValueError: there is no shape.
  """
  sums: dict[str, Any] = {}
  shapes = 0
  for batch, count in batches:
    scores = jax.device_get(
      _score(method.score, variables, step_lib.shard_batch(batch))
    )
    shapes += count
    for name, values in scores.items():
      sums[name] = sums.get(name, 0.0) + np.sum(values[:count], 0, np.float64)
  names = sorted(sums)
  total = multihost.sum_over_processes(
    np.concatenate([[float(shapes)], *(np.ravel(sums[name]) for name in names)])
  )
  if not total[0]:
    raise ValueError("the validation split is empty; prepare more shapes")
  sizes = [np.size(sums[name]) for name in names]
  parts = np.split(total[1:] / total[0], np.cumsum(sizes)[:-1])
  means = {
    name: part.reshape(np.shape(sums[name]))
    for name, part in zip(names, parts, strict=True)
  }
  return _at_best_level(method, means)


@functools.partial(jax.jit, static_argnums=0)
def _score(score: ScoreFn, variables: Variables, batch: Batch) -> ShapeScores:
  return score(variables, batch)


def _at_best_level(method: Method, means: dict[str, np.ndarray]) -> dict[str, float]:
  swept = [name for name, mean in means.items() if mean.ndim]
  best = int(np.argmax(means[swept[0]])) if swept else 0
  results = {
    name: float(mean[best] if mean.ndim else mean) for name, mean in means.items()
  }
  output = method.output
  if isinstance(output, Field):
    results["level"] = output.candidates[best] if swept else output.level
  return results
