"""Reconstructions one after another, and what became of them (host)."""

import asyncio
import collections
import contextlib
import logging
import pathlib
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from occnet_jax import api, files
from occnet_jax.cli import command_line
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.cli.demo import reading
from occnet_jax.cli.demo.tasks import Made, Task
from occnet_jax.extract.batch.parallel import naming_errors
from occnet_jax.geometry import mesh_io
from occnet_jax.geometry.colours import Cloud
from occnet_jax.geometry.volumes import Volume
from occnet_jax.losses import logit
from occnet_jax.types import Field
from occnet_jax.viz import comparison

KEPT = 20  # finished jobs whose meshes can be fetched
MAX_WAITING = 8  # jobs that have not begun
OVER = ("done", "failed")
_LOGGER = logging.getLogger(__name__)


class TooManyJobs(Exception):
  """More jobs wait than are accepted."""


class Job:
  """One reconstruction.

  Attributes:
    id: a name that cannot be guessed.
    name: name of the uploaded file.
    folder: of the files of this job.
    task: what makes its mesh.
    state: waiting, reading, reconstructing, done or failed.
    message: what a failed one says.
    observed: what is in the file, once it is read.
    made: the result, once it is there.
    facts: names and values to show with it.
  """

  def __init__(self, name: str, folder: pathlib.Path, task: Task):
    self.id = secrets.token_urlsafe(12)
    self.name, self.folder, self.task = name, folder, task
    self.state, self.message = "waiting", ""
    self.observed: np.ndarray | Cloud | Volume | None = None
    self.made: Made | None = None
    self.facts: dict[str, str] = {}
    self.future: Future[None] | None = None
    self.begun = time.perf_counter()
    self.seconds = 0.0
    self._watchers: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue]] = []
    self._lock = threading.Lock()

  def move_to(self, state: str, message: str = "") -> None:
    """Changes the state and sends it to all who watch."""
    with self._lock:
      if state in OVER:
        self.seconds = time.perf_counter() - self.begun
      self.state, self.message = state, message
      self._put(self.describe())

  def end_streams(self) -> None:
    """Sends None to all who watch."""
    with self._lock:
      self._put(None)

  def _put(self, described: dict[str, Any] | None) -> None:
    for loop, queue in self._watchers:
      with contextlib.suppress(RuntimeError):  # the loop of a server that has ended
        loop.call_soon_threadsafe(queue.put_nowait, described)

  @contextlib.contextmanager
  def watched(self) -> Iterator[asyncio.Queue]:
    """A queue of this job's `describe`: as it is now, after every change, and None
    when the server ends.
    """
    watcher = (asyncio.get_running_loop(), asyncio.Queue())
    with self._lock:  # no change between the first entry and the second
      watcher[1].put_nowait(self.describe())
      self._watchers.append(watcher)
    try:
      yield watcher[1]
    finally:
      with self._lock:
        self._watchers.remove(watcher)

  def describe(self) -> dict[str, Any]:
    """What a client may know of it."""
    seconds = self.seconds
    if self.state not in OVER:
      seconds = time.perf_counter() - self.begun
    return {
      "id": self.id,
      "name": self.name,
      "state": self.state,
      "message": self.message,
      "seconds": round(seconds, 1),
      "facts": self.facts,
      "levels": self.made and self.made.levels,
    }


class Jobs:
  """The jobs of one network, which works on one at a time.

  Attributes:
    model: the network.
  """

  def __init__(self, model: api.Model):
    self.model = model
    self._root = tempfile.TemporaryDirectory(prefix="occnet-demo-")
    self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()
    self._executor = ThreadPoolExecutor(1)
    self._lock = threading.Lock()
    self._uploads = 0  # under way

  def close(self) -> None:
    """Forgets what waits and removes all files."""
    self._executor.shutdown(wait=True, cancel_futures=True)
    self._root.cleanup()

  def end_streams(self) -> None:
    """Ends what follows jobs, for a server that ends."""
    with self._lock:
      jobs = list(self._jobs.values())
    for job in jobs:
      job.end_streams()

  @contextlib.contextmanager
  def room(self) -> Iterator[pathlib.Path]:
    """A new folder for an upload, which counts as a job that waits until the body ends.

    The folder is removed where the body raises.

    Raises:
      TooManyJobs: as many jobs and uploads wait as are accepted.
    """
    with self._lock:
      waiting = sum(job.state == "waiting" for job in self._jobs.values())
      if waiting + self._uploads >= MAX_WAITING:
        raise TooManyJobs
      self._uploads += 1
    try:
      folder = pathlib.Path(tempfile.mkdtemp(dir=self._root.name))
      try:
        yield folder
      except BaseException:  # one that is refused, or whose sender is gone
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
      with self._lock:
        self._uploads -= 1

  def get(self, key: str) -> Job | None:
    with self._lock:
      return self._jobs.get(key)

  def options(
    self, resolution: int | None, threshold: float | None, seed: int
  ) -> dict[str, Any]:
    """The arguments of `Model.reconstruct` for a choice.

    Raises:
      ValueError: one that this network does not have, or out of range.
    """
    options = reconstruct_lib.grid_options(self.model, resolution, seed)
    if threshold is None:
      return options
    if not self.has_threshold:
      raise ValueError("threshold: this network has no probabilities; leave it out")
    if not 0 < threshold < 1:
      raise ValueError(f"threshold={threshold}; want a probability between 0 and 1")
    return options | {"level": logit(threshold)}

  @property
  def has_threshold(self) -> bool:
    """Whether the level is a probability of occupancy that can be chosen."""
    is_field = isinstance(self.model.method.output, Field)
    return is_field and "tau" in self.model.settings.model and not self.has_windows

  @property
  def has_windows(self) -> bool:
    return self.model.method.windows is not None

  def submit(self, job: Job) -> None:
    """Puts a job at the end of the queue; the oldest finished ones are forgotten."""
    with self._lock:
      self._jobs[job.id] = job
      over = [key for key, old in self._jobs.items() if old.state in OVER]
      for key in over[: max(0, len(self._jobs) - KEPT)]:
        shutil.rmtree(self._jobs.pop(key).folder, ignore_errors=True)
    job.future = self._executor.submit(self._run, job)

  def _run(self, job: Job) -> None:
    try:
      self._reconstruct(job)
      job.move_to("done")
    except command_line.USER_ERRORS as error:
      job.move_to("failed", command_line.describe(error).replace(f"{job.folder}/", ""))
    except Exception as error:  # of a bug: the next job runs all the same
      _LOGGER.exception("job %s", job.id)
      job.move_to("failed", f"{job.name}: {type(error).__name__} in the program")

  def _reconstruct(self, job: Job) -> None:
    if job.observed is None and (kind := job.task.reads):
      job.move_to("reading")
      shape = self.model.observation.shape
      job.observed = reading.read(job.folder / job.name, kind, shape)
    job.move_to("reconstructing")
    with naming_errors(job.name):
      job.made = job.task.make(job.observed)
    job.facts = {**job.made.facts, "Time": f"{time.perf_counter() - job.begun:.1f} s"}

  def mesh_bytes(self, job: Job, form: str) -> bytes:
    """The mesh of a finished job as a file of a format, in the frame of its input.

    Raises:
      ValueError: no format that can be written.
    """
    mesh_io.check_written_suffix(f"mesh.{form}")
    path = job.folder / f"mesh.{form}"
    api.write_mesh(path, job.made.mesh)
    return path.read_bytes()

  def page(self, job: Job) -> str:
    """The page that shows input and mesh side by side."""
    return comparison.page(
      title=files.printable(job.name),
      facts=job.facts,
      observation=job.made.observation,
      mesh=job.made.shown,
    )
