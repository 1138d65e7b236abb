"""Parts of a job that several machines share, each by a call of its own (host)."""

import re


def parse(shard: str | None) -> tuple[int, int]:
  """The part (i, n) that --shard=i/n names: every n-th item from the i-th on.

  None is the whole, (0, 1).

  Raises:
    ValueError: no such pair, or i outside 0 .. n - 1.
  """
  if shard is None:
    return 0, 1
  match = re.fullmatch(r"(\d+)/(\d+)", shard)
  part = tuple(map(int, match.groups())) if match else (0, 0)
  if not part[0] < part[1]:
    raise ValueError(
      f"--shard={shard}; want I/N with I from 0 to N - 1: as --shard=0/8 to "
      "--shard=7/8 of eight machines"
    )
  return part
