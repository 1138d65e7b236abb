"""Lock that admits one training run at a time in a workdir (host, POSIX)."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator

NAME = "run.lock"


@contextlib.contextmanager
def hold(workdir: pathlib.Path) -> Iterator[None]:
  """Locks the workdir against other processes that train in it, not against readers.

  The operating system releases the lock when the process ends, however it ends. Worker
  processes that outlive it do not inherit the lock.

  Raises:
    ValueError: another process holds the lock; names the process.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  with (workdir / NAME).open("a+") as file:
    try:
      fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise ValueError(
        f"{workdir}: is used by a training run, {_describe(file.read())}; wait for it, "
        "end it (SIGTERM saves first), or use another --workdir"
      ) from error
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    file.write(json.dumps(holder))
    file.flush()
    yield


def _describe(holder: str) -> str:
  try:
    return "process {pid} on {host} since {since}".format(**json.loads(holder))
  except (ValueError, KeyError):
    return "another process"
