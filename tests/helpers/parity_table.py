"""The table of recordings: largest errors, and what is accepted of them.

Three kinds of recordings are compared in tests alone: codes fitted to distances
(tests/nn/test_parity.py), the windows of a scene (tests/extract/batch), and IF-Net
(tests/models/test_ifnet_recordings.py), whose recordings are not in the repository.
"""

import sys

from tests.helpers import parity, parity_apart, parity_poisson

COLUMNS = (
  *("outputs", "training outputs", "loss", "gradients", "statistics"),
  "loss after a step",
)
CASES = {case: parity for case in parity.CASES}
CASES |= {case: parity_apart for case in parity_apart.CASES}
CASES |= {case: parity_poisson for case in parity_poisson.CASES}


def row(case):
  """The case, and for each column an error and its tolerance, or "" without one."""
  helper = CASES[case]
  errors, accepted = helper.largest_errors(case), helper.tolerances(case)
  cells = (
    f"{errors[k]:.1e} of {accepted.get(k, 1e-4):.0e}" if k in errors else ""
    for k in COLUMNS
  )
  return case, *cells


def main(cases=tuple(CASES)):
  """Print the table in Markdown, with a row per case."""
  rows = [("case", *COLUMNS), ("---",) * (len(COLUMNS) + 1)]
  for case in cases:
    rows.append(row(case))
    print(case, file=sys.stderr, flush=True)  # noqa: T201
  for cells in rows:
    print(f"| {' | '.join(cells)} |")  # noqa: T201
