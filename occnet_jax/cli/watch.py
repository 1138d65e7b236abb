"""`occnet report --watch`: the report of a run, anew while the run trains (host)."""

import pathlib
import time

from occnet_jax import config as config_lib
from occnet_jax.cli import process, stages
from occnet_jax.config import Config
from occnet_jax.files import read_json


def watch(config: Config, workdir: pathlib.Path, seconds: int) -> None:
  """Rewrites report.html when the run has something new, until it is trained.

  Prints a line for each page. Returns at the end of the training, and at Ctrl-C. It
  takes no lock and writes the page alone, so that the training does not notice.

  Args:
    config: nested dicts of the run.
    workdir: directory of the run, which has begun.
    seconds: time between two looks, and after which the page loads itself again.

  Raises:
    ValueError: `seconds` is not positive, or the workdir is not there or no longer.
  """
  if seconds < 1:
    raise ValueError(f"--watch={seconds}: want 1 second or more between two looks")
  try:
    _check(workdir, "no run begins here; start its training first")
    with process.announced("starting"):
      from occnet_jax.viz import live_report  # imports JAX
    while True:
      steps = _steps(workdir)
      config = config | {"train": config["train"] | {"steps": steps}}
      settings = config_lib.parse(config)
      # Before the page, which then has all that a finished run has logged.
      finished = live_report.is_finished(workdir, steps)
      if finished and _write_final(config, settings, workdir):
        return
      shown = live_report.write(settings, workdir, reload=0 if finished else seconds)
      if shown:
        _say(f"{shown}: {workdir / 'report.html'}")
      if finished:
        _say("training is finished; generate, evaluate and report are next")
        return
      time.sleep(seconds)
  except KeyboardInterrupt:
    return


def _steps(workdir: pathlib.Path) -> int:
  """config.train.steps of the run, which a training that resumes may have changed."""
  _check(workdir, "the run that was watched is gone; bring its directory back")
  return read_json(workdir / "config.json")["train"]["steps"]


def _check(workdir: pathlib.Path, problem: str) -> None:
  if not (workdir / "config.json").exists():
    raise ValueError(f"{workdir} has no config.json: {problem}")


def _write_final(
  config: Config, settings: config_lib.Settings, workdir: pathlib.Path
) -> bool:
  """Whether the run is evaluated, and its whole report therefore written."""
  from occnet_jax.data import batches
  from occnet_jax.viz import report_data

  if settings.generation.sample or not report_data.is_measured(settings, workdir):
    return False
  transform = batches.evaluation_transform(settings.data, points=1)
  shapes = stages.open_test_split(settings)()
  path = report_data.gather(settings, workdir, shapes, transform)
  _say(f"training is finished and evaluated: {path}")
  return True


def _say(text: str) -> None:
  print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)  # noqa: T201
