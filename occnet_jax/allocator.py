"""The C library's memory allocator (host)."""

import ctypes
import platform

# Names of mallopt's, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_NEVER = -1  # a threshold that no size reaches


def keep_freed_memory() -> None:
  """Lets this process keep what it frees for what comes, whatever thread asks.

  By default glibc hands the buffers of a training step back to the system, which clears
  them anew, page by page, for the next one: a fifth of the time of a large step on two
  CPU cores. All threads share one heap, because no other may grow as large as such
  a buffer. Other C libraries are left as they are.
  """
  if platform.libc_ver()[0] == "glibc":
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_THRESHOLD, _NEVER)
    mallopt(_TRIM_THRESHOLD, _NEVER)
    mallopt(_ARENA_MAX, 1)
