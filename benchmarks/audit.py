"""Shares of the cube that are certified by boxes of each size, or stay undecided.

  python -m benchmarks.audit [--workdir=runs/pointcloud] [--shapes=2]

Fields are those of benchmarks/extract.py. Columns are in percent: `sampled` are the
finest cells at whose corners the octree evaluated the field; `undecided` are boxes
where a component cannot be excluded.
"""

import argparse
import pathlib
import time

import occnet_jax
from benchmarks import extract, record
from occnet_jax.extract.field import as_field


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path)
  parser.add_argument("--shapes", type=int, default=2)
  parser.add_argument(
    "--steps", type=int, default=3, help="halvings of 16 cells a side"
  )
  args = record.parse(parser)
  fields = {name: (as_field(field), 0.0) for name, field in extract.FIELDS.items()}
  if args.workdir:
    fields |= extract.trained(args.workdir, args.shapes)
  rows = []
  for name, (field, level) in fields.items():
    start = time.perf_counter()
    result = occnet_jax.audit(field, level=level, upsampling_steps=args.steps)
    seconds = time.perf_counter() - start
    certified = {f"1/{side} %": 100 * s for side, s in result.certified.items()}
    rows.append(
      {
        "field": name,
        **certified,
        "sampled %": 100 * result.sampled,
        "undecided %": 100 * result.undecided,
        "missed": len(result.missed_boxes),
        "boxes": result.boxes_bounded,
        "s": seconds,
      }
    )
    shares = [f"1/{side} {100 * share:.1f}" for side, share in result.certified.items()]
    print(  # noqa: T201
      f"{name:20} certified {', '.join(shares)}; sampled {100 * result.sampled:.2f}, "
      f"undecided {100 * result.undecided:.2f}; missed {len(result.missed_boxes)}; "
      f"{result.boxes_bounded} boxes in {seconds:.0f} s",
      flush=True,
    )
  record.save(args, audit=rows)


if __name__ == "__main__":
  main()
