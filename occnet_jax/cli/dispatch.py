"""One mode of a run, as main.py and the command `occnet` call it (host)."""

import pathlib
from typing import NamedTuple

from occnet_jax import files
from occnet_jax.cli import parts, stages
from occnet_jax.config import Config

STAGES = {
  "prepare": stages.prepare,
  "train": stages.train,
  "generate": stages.generate,
  "evaluate": stages.evaluate,
  "report": stages.report,
}
# Stages that several processes share; the first process runs the others.
MULTI_PROCESS_STAGES = ("train", "generate")
MODES = (*STAGES, "all", "interpolate", "import", "export_torch")


class Cluster(NamedTuple):
  """Several processes that train and generate together.

  Attributes:
    coordinator: host:port of the first process; None for a process alone.
    processes: their number.
    process: index of this one, from 0.
    heartbeat_timeout: seconds of silence after which one of them counts as gone.
  """

  coordinator: str | None = None
  processes: int = 1
  process: int = 0
  heartbeat_timeout: int = 100


def run(
  mode: str,
  config: Config | None,
  workdir: str | None,
  *,
  checkpoint: str | None = None,
  steps: int = 8,
  cluster: Cluster = Cluster(),  # noqa: B008 (it is immutable)
  shard: str | None = None,
  watch: int | None = None,
  dask: str | None = None,
) -> None:
  """Runs one stage, all of them in order, or another use of a run.

  Args:
    mode: one of MODES.
    config: nested dicts; None for export_torch.
    workdir: directory of the run; None for prepare.
    checkpoint: file of published weights to read or to write; import and export_torch.
    steps: meshes from one shape to the next; interpolate.
    cluster: the processes that share the work.
    shard: "i/n", see `parts.parse`; prepare.
    dask: address of a Dask scheduler, or "local:N", see `stages.prepare`; prepare.
    watch: seconds between two looks at a run that trains, see `cli.watch`; report.

  Raises:
    ValueError: something that the mode needs is missing.
  """
  if not cluster.coordinator and (cluster.processes, cluster.process) != (1, 0):
    raise ValueError(
      f"--processes={cluster.processes} --process={cluster.process} need "
      "--coordinator=HOST:PORT, by which the processes find each other"
    )
  if cluster.coordinator:
    from occnet_jax.train import multihost  # imports JAX, which prepare does not need

    multihost.initialize(
      cluster.coordinator,
      cluster.processes,
      cluster.process,
      heartbeat_timeout=cluster.heartbeat_timeout,
    )
  if not workdir and mode != "prepare":
    raise ValueError(
      f"--mode={mode} needs --workdir=DIR, the directory of the run, as in: "
      "python main.py --config=configs/quickstart.py --workdir=runs/quickstart"
    )
  if shard and mode != "prepare":
    raise ValueError(
      f"--shard={shard} divides the shards of a data set, or a folder that is "
      f"reconstructed; leave it out of {mode}"
    )
  if dask is not None and mode != "prepare":
    raise ValueError(f"--dask={dask} is for prepare; leave it out of {mode}")
  if watch is not None and mode != "report":
    raise ValueError(f"--watch={watch} is for report; leave it out of {mode}")
  path = check_workdir_path(workdir)
  if mode in ("import", "export_torch") and not checkpoint:
    raise ValueError(f"--mode={mode} needs --checkpoint=FILE, see --help")
  if mode == "export_torch":
    stages.export_torch(path, checkpoint)
    return
  if config is None:
    raise ValueError(f"--mode={mode} needs --config=FILE, see configs/")
  if mode == "import":
    stages.import_torch(config, path, checkpoint)
    return
  if watch is not None:
    from occnet_jax.cli import watch as watch_lib

    watch_lib.watch(config, path, watch)
    return
  if mode == "interpolate":
    stages.interpolate(config, path, steps)
    return
  for name, stage in STAGES.items():
    if mode in (name, "all"):
      if cluster.process == 0 or name in MULTI_PROCESS_STAGES:
        part = [parts.parse(shard)] if shard else []
        stage(config, path, *part, **({} if dask is None else {"dask": dask}))
      if cluster.coordinator:
        multihost.barrier(name)


def check_workdir_path(workdir: str | None) -> pathlib.Path | None:
  """The path of a workdir; ValueError if a file is in its place or above it."""
  if not workdir:
    return None
  path = pathlib.Path(workdir)
  files.check_utf_8(path)
  if above := [p for p in (path, *path.parents) if p.is_file()]:
    raise ValueError(f"--workdir={path}: {above[0]} is a file; want a directory")
  return path
