"""report.html of a run that is being trained: its curves and newest picture (host)."""

import pathlib
from typing import Any

from occnet_jax.config import Settings
from occnet_jax.train import checkpoint, metric_log
from occnet_jax.viz import pages, report_data
from occnet_jax.viz.report import read_digest, write_report

_RATE = "train/steps_per_second"


def is_finished(workdir: pathlib.Path, steps: int) -> bool:
  """Whether the training has saved and validated its last step.

  Args:
    workdir: directory of the run.
    steps: config.train.steps of the run.
  """
  saved = max((step for _, step in checkpoint.available(workdir)), default=-1)
  rows = metric_log.read(workdir / report_data.METRICS)
  # A run that was stopped in its last validation has saved the step, too.
  return saved >= steps and any(row["step"] >= steps and _scores(row) for row in rows)


def write(settings: Settings, workdir: pathlib.Path, *, reload: int) -> str:
  """Writes <workdir>/report.html, unless it already shows exactly this.

  Args:
    settings: settings of the run.
    workdir: directory of the run.
    reload: seconds after which the page loads itself again; 0 for never.

  Returns:
    What the page shows, in a few words; "" if it was left as it is.
  """
  rows = metric_log.read(workdir / report_data.METRICS)
  sheet = workdir / "logs" / "validation.png"
  picture = pages.data_url(sheet.read_bytes(), "image/png") if sheet.exists() else ""
  content = {
    "title": f"Report of {settings.name}",
    "facts": _facts(settings, workdir, rows),
    "summary": [],
    "charts": report_data.training_charts(rows),
    "shapes": [],
    "picture": picture,
    "reload": reload,
  }
  digest = report_data.digest_of(content)
  path = workdir / "report.html"
  if read_digest(path) == digest:
    return ""
  write_report(path, digest=digest, **content)
  return _progress(settings, rows)


def _facts(
  settings: Settings, workdir: pathlib.Path, rows: list[dict[str, Any]]
) -> dict[str, str]:
  facts = {
    "Config": settings.name,
    "Network": report_data.describe_network(settings.model),
    "Data": str(settings.data.dir),
    "Training": _progress(settings, rows),
  }
  if rates := [row[_RATE] for row in rows if _RATE in row]:
    facts["Speed"] = f"{rates[-1]:.3g} steps/s"
  if evaluated := [row for row in rows if _scores(row)]:
    scores = [f"{name} {x:.3g}" for name, x in _scores(evaluated[-1]).items()]
    facts[f"Validation at step {evaluated[-1]['step']:,}"] = ", ".join(scores)
  newest = {kind: step for kind, step in reversed(checkpoint.available(workdir))}
  for kind, step in sorted(newest.items()):
    facts[f"Checkpoint, {kind}"] = f"step {step:,}"
  return facts


def _progress(settings: Settings, rows: list[dict[str, Any]]) -> str:
  step = max((row["step"] for row in rows), default=0)
  return f"step {step:,} of {settings.train.steps:,}"


def _scores(row: dict[str, Any]) -> dict[str, float]:
  """The scores of validation in a row of the log, by their names without val/."""
  return {k.removeprefix("val/"): x for k, x in row.items() if k.startswith("val/")}
