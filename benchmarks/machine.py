"""What a result depends on beside its code: machine, versions, commit and date."""

import datetime
import os
import pathlib
import platform
import subprocess

from occnet_jax.version import environment

CPU_FACTS = pathlib.Path("/proc/cpuinfo")  # of Linux


def describe() -> dict[str, str | int]:
  """Commit, date, processor, its cores that this process may use, and versions."""
  root = pathlib.Path(__file__).parents[1]
  git = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
  commit = subprocess.run(git, capture_output=True, text=True, check=False)
  return {
    "commit": commit.stdout.strip(),
    "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    "processor": _processor(),
    "cores": len(os.sched_getaffinity(0)),
    **environment(),
  }


def _processor() -> str:
  lines = CPU_FACTS.read_text().splitlines() if CPU_FACTS.exists() else []
  names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
  return names[0] if names else platform.processor()
