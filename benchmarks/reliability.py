"""Kills training runs at many moments, resumes them, and compares the results.

  python -m benchmarks.reliability --kills=100

Every run is a small `main.py --mode=train` in a process of its own. SIGKILL ends it
several times: while it compiles, saves or validates, or at any moment; now and then it
gets SIGTERM instead, or its newest checkpoint is damaged before it resumes. Then it
runs to its end, and must equal an undisturbed run bit for bit: parameters, statistics,
optimiser state, averages and record of the last and the best checkpoint, and every line
of the log but for timing. A kill takes ten seconds on two CPU cores.

With --processes=2 a run has several processes, connected over the loopback, of which
one gets the signal: the others must end by themselves. The run is compared with an
undisturbed one of as many processes.
"""

import argparse
import collections
import importlib
import multiprocessing
import os
import pathlib
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import record
from occnet_jax.train import checkpoint, metric_log

ROOT = pathlib.Path(__file__).parents[1]
STEPS, LOG, SAVE, VALIDATE = 36, 5, 4, 6
CONFIG = {
  "data.points": 128,
  "data.cloud_points": 32,
  "data.workers": 0,
  "model.encoder_hidden_size": 16,
  "model.c_dim": 16,
  "model.hidden_size": 16,
  "optim.learning_rate": 3e-3,
  "optim.ema_decay": 0.9,
  "train.steps": STEPS,
  "train.batch_size": 8,
  "train.log_every": LOG,
  "train.save_every": SAVE,
  "train.validate_every": VALIDATE,
  "train.keep_every": 3 * SAVE,
  "train.preview_shapes": 0,
}
PHASES = ("compilation", "save", "validation", "any")
PATIENCE = 300.0  # seconds after which a run that neither ends nor proceeds has failed


def start(
  workdir: pathlib.Path,
  data: pathlib.Path,
  *,
  cached: bool = True,
  processes: int = 1,
  heartbeat_timeout: int = 20,
  **changed: Any,
) -> list:
  """Starts processes that train as `main.py --mode=train` does.

  They are forked from a process that has imported everything, for speed.

  Args:
    workdir: the run's directory.
    data: the data set to train on.
    cached: whether compiled programs may come from a cache.
    processes: number of processes of the run.
    heartbeat_timeout: seconds of silence after which one of them counts as gone.
    **changed: fields of config.data.
  """
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload(["main", "occnet_jax.train.loop"])
  fields = {**CONFIG, "data.dir": data}
  fields |= {f"data.{name}": value for name, value in changed.items()}
  args = [
    "main.py",
    "--mode=train",
    f"--config={ROOT / 'configs' / 'base.py'}",
    f"--workdir={workdir}",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]
  several = []
  if processes > 1:
    several = [
      f"--coordinator=localhost:{_free_port()}",
      f"--processes={processes}",
      f"--heartbeat_timeout={heartbeat_timeout}",
    ]
  started = []
  for i in range(processes):
    own = [*args, *several, f"--process={i}"] if several else args
    process = context.Process(target=_call, args=(own, f"{workdir}.log", cached))
    process.start()
    started.append(process)
  return started


def _free_port() -> int:
  with socket.socket() as sock:
    sock.bind(("localhost", 0))
    return sock.getsockname()[1]


def _call(args: list[str], output: str, cached: bool) -> None:
  import jax
  from absl import app

  file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(file, 1)
  os.dup2(file, 2)
  jax.config.update("jax_enable_compilation_cache", cached)
  main = importlib.import_module("main")
  sys.argv = args
  app.run(main.run, argv=args, flags_parser=main.parse)


def finish(workdir: pathlib.Path, data: pathlib.Path, processes: int = 1) -> None:
  """Trains to the end.

  Raises:
    RuntimeError: a process ends with an exit code other than 0.
  """
  if any(codes := _ends(start(workdir, data, processes=processes), workdir)):
    raise RuntimeError(f"{workdir}: exit codes {codes}; see {workdir}.log")


def _ends(processes: list, workdir: pathlib.Path) -> list[int]:
  """Their exit codes.

  Raises:
    RuntimeError: one does not end.
  """
  deadline = time.monotonic() + PATIENCE
  for process in processes:
    process.join(max(0.0, deadline - time.monotonic()))
  hanging = [i for i, process in enumerate(processes) if process.is_alive()]
  for process in processes:
    process.kill()
  if hanging:
    raise RuntimeError(f"{workdir}: processes {hanging} hang; see {workdir}.log")
  return [process.exitcode for process in processes]


def interrupt(
  workdir: pathlib.Path,
  data: pathlib.Path,
  phase: str,
  rng: random.Random,
  number: int = signal.SIGKILL,
  processes: int = 1,
) -> int:
  """Trains until a moment within `phase` and sends a signal to one process then.

  Returns:
    its exit code: -9 of a killed process, 0 if the run came to its end before.

  Raises:
    RuntimeError: a process does not end.
  """
  reached, longest = {
    "compilation": (_compiles(workdir), 4.0),
    "save": (_saves(workdir), 0.03),
    "validation": (_validates(workdir), 0.1),
    "any": (lambda: True, 10.0),
  }[phase]
  started = start(workdir, data, cached=phase != "compilation", processes=processes)
  victim = started[rng.randrange(processes)]
  deadline = time.monotonic() + PATIENCE
  while victim.is_alive() and not reached() and time.monotonic() < deadline:
    time.sleep(0.0005)
  victim.join(rng.uniform(0, longest))
  if victim.is_alive():
    os.kill(victim.pid, number)
  _ends(started, workdir)
  return victim.exitcode


def _compiles(workdir: pathlib.Path) -> Callable[[], bool]:
  """A test whether the log was opened again, after which the first step is compiled."""
  path = workdir / "logs" / "metrics.jsonl"
  before = path.stat().st_ino if path.exists() else None
  return lambda: path.exists() and path.stat().st_ino != before


def _saves(workdir: pathlib.Path) -> Callable[[], bool]:
  """A test whether a new checkpoint is being written."""

  def unfinished() -> set[str]:
    return {p.name for p in workdir.glob("checkpoints/[bl]*/*orbax-checkpoint-tmp*")}

  before = unfinished()
  return lambda: bool(unfinished() - before)


def _validates(workdir: pathlib.Path) -> Callable[[], bool]:
  """A test whether the log has the line before a validation, and not yet its scores."""
  path, lines = workdir / "logs" / "metrics.jsonl", len(_rows(workdir))

  def reached() -> bool:
    rows = metric_log.read(path)
    last = rows[-1] if len(rows) != lines and rows else {"step": 1}
    return last["step"] % VALIDATE == 0 and "val/iou" not in last

  return reached


def _rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
  return metric_log.read(workdir / "logs" / "metrics.jsonl")


def damage(workdir: pathlib.Path, rng: random.Random) -> bool:
  """Flips or cuts off bytes of the newest checkpoint; false if it is the only one."""
  latest = [p for p in workdir.glob("checkpoints/latest/*") if p.name.isdigit()]
  if len(latest) < 2:
    return False
  files = [p for p in max(latest, key=lambda p: int(p.name)).rglob("*") if p.is_file()]
  path = rng.choice(sorted(files))
  content = bytearray(path.read_bytes())
  if rng.random() < 0.5:
    content = content[: len(content) // 2]
  else:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  path.write_bytes(content)
  return True


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Lines that name the differences of two finished runs."""
  lines = []
  for name, step in (("last", STEPS), ("best", None)):
    a, b = (checkpoint.restore(workdir, step) for workdir in (one, other))
    if a.record != b.record:
      lines.append(f"record of the {name}: {a.record}, {b.record}")
    if (parts := _unequal(a.state, b.state)) != []:
      lines.append(f"state of the {name}: {', '.join(parts[:3])}")
  rows = [metric_log.timeless(_rows(workdir)) for workdir in (one, other)]
  if rows[0] != rows[1]:
    lines.append(f"log: {len(rows[0])} and {len(rows[1])} lines")
  return lines


def _unequal(a: Any, b: Any, name: str = "state") -> list[str]:
  """Names of arrays that are not bit for bit the same."""
  if isinstance(a, dict):
    if not isinstance(b, dict) or a.keys() != b.keys():
      return [name]
    return [x for key in a for x in _unequal(a[key], b[key], f"{name}/{key}")]
  if a is None or b is None:
    return [] if a is b else [name]
  a, b = np.asarray(a), np.asarray(b)
  same = (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
  return [] if same else [name]


def prepare(out: pathlib.Path) -> pathlib.Path:
  """Fifty-two procedural shapes, 2,000 points each."""
  from data_prep.pipeline import prepare as prepare_lib

  data = out / "data"
  sizes = {"points": 2000, "surface_points": 1000, "val_fraction": 0.25}
  prepare_lib.prepare(source="synthetic", out=data, per_category=4, workers=1, **sizes)
  return data


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--out", type=pathlib.Path, default="runs/reliability")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--processes", type=int, default=1)
  args = record.parse(parser)
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(args.out.absolute() / "cache"))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
  rng, counts = random.Random(args.seed), collections.Counter()
  data, whole = prepare(args.out), args.out / "whole"
  finish(whole, data, args.processes)
  moments = [(phase, signal.SIGKILL) for phase in PHASES]
  moments += [(phase, signal.SIGTERM) for phase in PHASES[1:3]]
  runs, unequal = 0, []
  while sum(n for name, n in counts.items() if "killed" in name) < args.kills:
    workdir = args.out / f"run_{runs:03}"
    for phase, number in rng.choices(moments, k=5):
      code = interrupt(workdir, data, phase, rng, number, args.processes)
      counts[_outcome(code, phase)] += 1
      if code == 0:
        break
      if rng.random() < 0.15 and damage(workdir, rng):
        counts["checkpoint damaged"] += 1
    finish(workdir, data, args.processes)
    runs += 1
    counts["damage noticed"] += len([*workdir.glob("checkpoints/damaged/*")])
    if lines := differences(whole, workdir):
      unequal.append(f"{workdir}: {'; '.join(lines)}")
    print(f"{runs} runs, {len(unequal)} unequal, {dict(counts)}", flush=True)  # noqa: T201
  lines = [f"{name:28} {count:5}" for name, count in sorted(counts.items())]
  lines += [
    f"{'runs compared':28} {runs:5}",
    f"{'of them equal':28} {runs - len(unequal):5}",
  ]
  print("\n".join([*lines, *unequal]))  # noqa: T201
  faults = [{"fault": name, "times": count} for name, count in sorted(counts.items())]
  compared = {"runs compared": runs, "equal bit for bit": runs - len(unequal)}
  record.save(args, faults=faults, runs=[compared])
  sys.exit(bool(unequal))


def _outcome(code: int | None, phase: str) -> str:
  names = {-9: f"killed in {phase}", 75: "stopped by SIGTERM", 0: "ended before"}
  return names.get(code, f"exit code {code} in {phase}")


if __name__ == "__main__":
  main()
