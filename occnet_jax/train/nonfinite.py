"""Dump and diagnosis of a step whose loss or gradient is not finite (host and device).

  python -m occnet_jax.train.nonfinite runs/mine/failures/step_1234

repeats the step on one device and names the first parameters whose gradient is not
finite. The directory holds the state before the step (checkpoint/), its batch
(batch.npz) and the names of the batch's shapes (shapes.json).
"""

import argparse
import json
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
from flax import serialization, traverse_util

from occnet_jax import config as config_lib
from occnet_jax.models import registry
from occnet_jax.train import integrity
from occnet_jax.train.state import TrainState
from occnet_jax.types import Batch, Key, Method, Variables

MAX_NAMES = 10  # of arrays that are printed


def dump(
  workdir: pathlib.Path,
  state: TrainState,
  config: dict[str, Any],
  batch: Batch,
  shapes: list[dict[str, Any]],
) -> str:
  """Writes <workdir>/failures/step_<n>; returns a sentence with the command to use it.

  Args:
    workdir: the run's directory.
    state: the state before the bad step, whose number is state.step.
    config: the run's config.
    batch: the batch of the bad step.
    shapes: the shapes in it, each as {"index": 3, "id": "a1", "category": "chair"}.
  """
  directory = workdir / "failures" / f"step_{int(state.step)}"
  shutil.rmtree(directory, ignore_errors=True)  # an earlier run wrote the same
  directory.mkdir(parents=True)
  (directory / "shapes.json").write_text(json.dumps(shapes, indent=1))
  np.savez(directory / "batch.npz", **traverse_util.flatten_dict(batch, sep="/"))
  arrays = serialization.to_state_dict(jax.device_get(state))
  record = {"step": int(state.step)}
  integrity.write(directory / "checkpoint", arrays, config, record)
  return (
    f"Its batch, the names of its shapes and the state before it are in {directory}: "
    f"python -m occnet_jax.train.nonfinite {directory} repeats the step"
  )


def diagnose(directory: pathlib.Path) -> list[str]:
  """Repeats the step on one device; lines that name the arrays that are not finite.

  Raises:
    ValueError: the directory does not hold such a step.
  """
  if not (directory / "batch.npz").exists():
    raise ValueError(f"{directory}: holds no batch.npz; want .../failures/step_<n>")
  state, config, _ = integrity.read(directory / "checkpoint")
  with np.load(directory / "batch.npz") as file:
    batch = jax.device_put(traverse_util.unflatten_dict(dict(file), sep="/"))
  method = registry.build(config_lib.parse(config).model)
  key = jax.random.fold_in(np.asarray(state["key"]), int(state["step"]))
  variables = {name: state.get(name) or {} for name in ("params", "batch_stats")}
  loss, gradients = _gradients(method, variables, batch, jax.random.fold_in(key, 0))
  lines = [f"step {int(state['step'])}: loss {loss}"]
  for title, tree in (
    ("batch", batch),
    ("parameters before the step", variables["params"]),
    ("statistics before the step", variables["batch_stats"]),
    ("gradient", gradients),
  ):
    lines += _report(title, tree)
  return lines


def _gradients(
  method: Method, variables: Variables, batch: Batch, key: Key
) -> tuple[float, Any]:
  def loss(params):
    return method.loss({**variables, "params": params}, batch, key, True)[0]

  value, gradients = jax.jit(jax.value_and_grad(loss))(variables["params"])
  return float(value), jax.device_get(gradients)


def _report(title: str, tree: Any) -> list[str]:
  """Lines that name arrays with entries that are not finite; the largest finite one."""
  largest, bad = 0.0, []
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    values = np.abs(np.asarray(leaf, np.float64))
    finite = np.isfinite(values)
    largest = max(largest, values[finite].max(initial=0.0))
    if not finite.all():
      name = "/".join(str(getattr(key, "key", key)) for key in path)
      bad.append(f"  {name}: {(~finite).sum()} of {values.size} not finite")
  more = [f"  and {len(bad) - MAX_NAMES} more"] if len(bad) > MAX_NAMES else []
  summary = f"{len(bad)} arrays not finite" if bad else "all finite"
  return [f"{title}: {summary}; largest {largest:.3g}", *bad[:MAX_NAMES], *more]


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("directory", type=pathlib.Path, help=".../failures/step_<n>")
  print("\n".join(diagnose(parser.parse_args().directory)))  # noqa: T201


if __name__ == "__main__":
  main()
