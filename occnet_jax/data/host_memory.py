"""Host memory that a process may still fill, within the limits of its container (host).

psutil reports the memory of the whole machine. Docker, Kubernetes and Slurm limit a
process by control groups (cgroups), of which there are two versions:

  v2   memory.max, memory.current, memory.stat in a folder of /sys/fs/cgroup
  v1   memory.limit_in_bytes, memory.usage_in_bytes, memory.stat in one of
       /sys/fs/cgroup/memory
"""

import pathlib

import psutil

# Per version: the limit, the usage, and the entry of memory.stat that counts file cache
# which the kernel drops before it refuses memory.
_VERSIONS = (
  ("memory.max", "memory.current", "inactive_file"),
  ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available(root: pathlib.Path = pathlib.Path("/")) -> int:
  """Free bytes of the machine, or of the tightest cgroup of this process if fewer.

  Args:
    root: folder that holds proc/ and sys/.
  """
  free = [psutil.virtual_memory().available]
  for folder in _cgroup_folders(root):
    for limit, usage, cache in _VERSIONS:
      try:
        # "max" in place of a number means that there is no limit: also a ValueError
        free.append(
          int((folder / limit).read_text())
          - int((folder / usage).read_text())
          + _stat(folder / "memory.stat", cache)
        )
      except (OSError, ValueError):
        continue
  return max(0, min(free))


def _cgroup_folders(root: pathlib.Path) -> list[pathlib.Path]:
  """Folders of this process' cgroup and of its ancestors, each of which may limit it.

  A container usually sees its own cgroup as the root of the hierarchy, whatever path
  /proc/self/cgroup gives; folders that do not exist are skipped by the caller.
  """
  mounts = {"": root / "sys/fs/cgroup", "memory": root / "sys/fs/cgroup/memory"}
  folders = list(mounts.values())
  try:
    lines = (root / "proc/self/cgroup").read_text().splitlines()
  except OSError:
    return folders
  for line in lines:  # hierarchy:controllers:path, without controllers in version 2
    _, controllers, path = line.split(":", 2)
    for name in controllers.split(","):
      if name in mounts:
        folder = mounts[name] / path.strip("/")
        while folder != mounts[name] and mounts[name] in folder.parents:
          folders.append(folder)
          folder = folder.parent
  return folders


def _stat(path: pathlib.Path, name: str) -> int:
  """One entry of a memory.stat file; 0 if it is missing."""
  try:
    return int(dict(line.split() for line in path.read_text().splitlines())[name])
  except (OSError, ValueError, KeyError):
    return 0
