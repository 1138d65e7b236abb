"""The C library's memory allocator (host)."""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's in malloc.h
_BYTES = 2**30


def keep_freed_memory() -> None:
  """Lets this process keep what it frees, up to a gibibyte a buffer, for what comes.

  By default glibc may hand the buffers of a training step back to the system and have
  them cleared anew, page by page, for the next one. Whether it does depends on what
  lies beside them: with the quickstart on two CPU cores, a quarter of the time.
  Other C libraries are left as they are.
  """
  if platform.libc_ver()[0] == "glibc":
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_THRESHOLD, _BYTES)
    mallopt(_TRIM_THRESHOLD, _BYTES)
