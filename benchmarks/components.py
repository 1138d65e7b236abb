"""Components found from coarser starting grids than one of 32 cells a side.

  python -m benchmarks.components --workdir=runs/pointcloud

Extracts every test shape (or --shapes of them) by mise_roots at --resolution cells a
side, from each of --starts, and prints the shapes whose number of components differs.
"""

import argparse
import pathlib

import occnet_jax
from benchmarks import extract, record
from occnet_jax.cli import stages


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--shapes", type=int)
  parser.add_argument("--resolution", type=int, default=128)
  parser.add_argument("--starts", default="8,16,32")
  args = record.parse(parser)
  count = args.shapes
  if count is None:
    count = len(stages.open_test_split(occnet_jax.restore(args.workdir).settings)())
  fields = extract.trained(args.workdir, count)
  counts, differ = {int(start): 0 for start in args.starts.split(",")}, 0
  for name, (field, level) in fields.items():
    bodies = {}
    for start in counts:
      steps = (args.resolution // start).bit_length() - 1
      mesh = occnet_jax.extract_mesh(
        field,
        level=level,
        resolution_0=start,
        upsampling_steps=steps,
        normals=False,
        on_empty="empty",
      )
      bodies[start] = int(mesh.body_count) if len(mesh.faces) else 0
      counts[start] += bodies[start]
    differ += len(set(bodies.values())) > 1
    if len(set(bodies.values())) > 1:
      print(f"{name}: {bodies}", flush=True)  # noqa: T201
  print(f"{differ} of {len(fields)} shapes differ; components {counts}")  # noqa: T201
  rows = [
    {"cells a side at first": start, "shapes": len(fields), "components": count}
    for start, count in counts.items()
  ]
  record.save(args, components=rows)


if __name__ == "__main__":
  main()
