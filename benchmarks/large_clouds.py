"""Time and memory of a large cloud, from its file to the mesh's.

python -m benchmarks.large_clouds [--points=10000000] [--formats=ply,npy,xyz,las,laz]

Each format is read in a process of its own, so that its peak of memory is its own.
Points lie on a bumpy ball with noise, and have colours.
"""

import argparse
import json
import multiprocessing
import pathlib
import re
import tempfile
import time

import numpy as np

from benchmarks import record
from occnet_jax.geometry import colours, pointcloud_io

_CHUNK = 1_000_000


def make_cloud(count: int) -> colours.Cloud:
  """A bumpy ball, coloured by place, in metres and far from the origin."""
  rng = np.random.default_rng(0)
  points = np.empty((count, 3))
  for start in range(0, count, _CHUNK):
    part = points[start : start + _CHUNK]
    part[:] = rng.standard_normal(part.shape)
    part /= np.linalg.norm(part, axis=1, keepdims=True)
    part *= 1 + 0.1 * np.sin(6 * part).sum(1, keepdims=True)
    part += rng.normal(scale=0.003, size=part.shape)
  shades = np.clip(127 + 90 * points, 0, 255).astype(np.uint8)
  return colours.Cloud(10 * points + [400_000, 5_000_000, 50], shades)


def write(path: pathlib.Path, cloud: colours.Cloud) -> None:
  """Writes a cloud in the format of the suffix."""
  table = np.hstack([cloud.points, cloud.colours])
  if path.suffix == ".npy":
    np.save(path, cloud.points)
  elif path.suffix == ".xyz":
    np.savetxt(path, table, fmt=["%.3f"] * 3 + ["%d"] * 3)
  elif path.suffix == ".ply":
    row = np.dtype([("p", "<f8", 3), ("c", "u1", 3)])
    rows = np.empty(len(cloud), row)
    rows["p"], rows["c"] = cloud.points, cloud.colours
    names = "".join(f"property double {axis}\n" for axis in "xyz")
    names += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(cloud)}\n"
    path.write_bytes(f"{head}{names}end_header\n".encode() + rows.tobytes())
  else:
    import laspy

    las = laspy.create(point_format=2)
    las.header.offsets = cloud.points[0].round()
    las.header.scales = [1e-3] * 3
    las.x, las.y, las.z = cloud.points.T
    las.red, las.green, las.blue = cloud.colours.T.astype(np.uint16) * 257
    las.write(path)


def measure(path: pathlib.Path, mesh: bool) -> dict[str, float]:
  """Seconds of the stages, and the peak of memory in GB."""
  pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the parent's peak
  before = _peak()
  start = time.perf_counter()
  cloud = pointcloud_io.read_scan(path)
  row = {"points": len(cloud), "read": time.perf_counter() - start}
  row["peak_read"] = _peak()
  if mesh:
    import occnet_jax

    model = occnet_jax.from_pretrained("scan")
    start = time.perf_counter()
    made = model.reconstruct(cloud.points)
    row["first_mesh"] = time.perf_counter() - start  # with what JAX compiles
    start = time.perf_counter()
    made = model.reconstruct(cloud.points)
    row["mesh"] = time.perf_counter() - start
    start = time.perf_counter()
    colours.colour_mesh(made, cloud)
    row["colour"] = time.perf_counter() - start
    start = time.perf_counter()
    occnet_jax.write_mesh(path.with_suffix(".glb"), made)
    row |= {"write": time.perf_counter() - start, "faces": len(made.faces)}
  row |= {"peak": _peak(), "before": before}
  return {key: round(value, 2) for key, value in row.items()}


def _peak() -> float:
  """The most memory that the process has had, in GB (Linux)."""
  status = pathlib.Path("/proc/self/status").read_text()
  return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 2**20


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--points", type=int, default=10_000_000)
  parser.add_argument("--formats", default="ply,npy,xyz,las,laz")
  arguments = record.parse(parser)
  rows = []
  context = multiprocessing.get_context("spawn")
  with tempfile.TemporaryDirectory() as folder:
    cloud = make_cloud(arguments.points)
    for number, suffix in enumerate(arguments.formats.split(",")):
      path = pathlib.Path(folder, f"cloud.{suffix}")
      write(path, cloud)
      with context.Pool(1) as pool:
        row = pool.apply(measure, (path, number == 0))
      size = round(path.stat().st_size / 1e6, 1)
      rows.append({"format": suffix, "file_MB": size, **row})
      print(json.dumps(rows[-1]), flush=True)  # noqa: T201
      path.unlink()
  record.save(arguments, large_clouds=rows)


if __name__ == "__main__":
  main()
