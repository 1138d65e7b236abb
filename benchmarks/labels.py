"""Labels of damaged meshes against the exact ones, and against the reference's method.

  python -m benchmarks.labels                       # every category, every damage
  python -m benchmarks.labels --reference 13        # and 13 meshes by both methods

Synthetic shapes are closed, so their inside is known. Each is damaged in several ways
and labelled again. Agreement is the share of equal labels among points that are uniform
in the padded cube and further than 1e-3 from the surface; IoU counts all points. Points
near the surface (sigma 0.01) are harder.
"""

import argparse
import time
from collections import defaultdict

import numpy as np

from benchmarks import depth_fusion, record
from data_prep.sources import synthetic
from data_prep.watertight import repair, surface_metrics, winding
from data_prep.watertight import solid as solids
from occnet_jax.geometry import frames
from occnet_jax.geometry import solids as solids_lib

_SHELL = 1e-3
_HEAD = "  damage               accepted  agreement   worst    IoU   near    s  methods"


def closed(vertices, faces, rng):
  """As it is."""
  return vertices, faces


def nested(vertices, faces, rng):
  """With a closed box inside of some part, inside out, and all of it once more."""
  solid = solids_lib.Solid(vertices, faces)
  points = rng.uniform(vertices.min(0), vertices.max(0), (4000, 3))
  points = points[winding.contains(solid, points)]
  depth = surface_metrics.point_to_mesh_distance(points, vertices, faces)
  centre, half = points[depth.argmax()], 0.5 * depth.max()
  corners = centre + half * (np.array(list(np.ndindex(2, 2, 2))) * 2 - 1) / 3**0.5
  sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4]]
  sides = np.array([*sides, [1, 5, 7, 3]])  # of the box, looking inward
  box = np.concatenate([sides[:, [0, 2, 1]], sides[:, [0, 3, 2]]])
  count = len(vertices)
  return (
    np.concatenate([vertices, corners, vertices + 1e-3 * (centre - vertices)]),
    np.concatenate([faces, box + count, faces + count + 8]),
  )


def flipped(vertices, faces, rng):
  """Half of the faces wound the wrong way."""
  turned = rng.random((len(faces), 1)) < 0.5
  return vertices, np.where(turned, faces[:, ::-1], faces)


def duplicated(vertices, faces, rng):
  """A fifth of the faces there twice, half of these wound the wrong way."""
  again = faces[rng.random(len(faces)) < 0.2]
  return vertices, np.concatenate([faces, flipped(vertices, again, rng)[1]])


def doubled(vertices, faces, rng):
  """Every face from both sides."""
  return vertices, np.concatenate([faces, faces[:, ::-1]])


def unwelded(vertices, faces, rng):
  """No two faces share a vertex."""
  return vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)


def removed(vertices, faces, rng):
  """5 % of the faces gone."""
  return vertices, faces[rng.permutation(len(faces))[: -max(1, len(faces) // 20)]]


def holed(vertices, faces, rng):
  """All faces gone whose centre is within 0.1 of a point of the surface."""
  centres = vertices[faces].mean(1)
  away = np.linalg.norm(centres - centres[rng.integers(len(centres))], axis=1)
  return vertices, faces[away > 0.1]


def removed_and_flipped(vertices, faces, rng):
  return flipped(*removed(vertices, faces, rng), rng)


def removed_and_doubled(vertices, faces, rng):
  return doubled(*removed(vertices, faces, rng), rng)


def torn(vertices, faces, rng):
  """Every face shifted by 1e-3 on its own: gaps and overlaps everywhere."""
  vertices, faces = unwelded(vertices, faces, rng)
  return vertices + 1e-3 * np.repeat(rng.normal(size=(len(faces), 3)), 3, axis=0), faces


DAMAGES = (
  closed,
  nested,
  flipped,
  duplicated,
  doubled,
  unwelded,
  removed,
  holed,
  removed_and_flipped,
  removed_and_doubled,
  torn,
)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--per_category", type=int, default=2)
  parser.add_argument("--damages", nargs="+", default=[d.__name__ for d in DAMAGES])
  parser.add_argument("--points", type=int, default=20_000, help="of each kind")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--reference", type=int, default=0, help="meshes by its method")
  parser.add_argument("--side", type=int, default=256, help="of the reference's grid")
  arguments = record.parse(parser)
  shapes = {
    f"{category}_{index}": unit(*synthetic.make_shape(category, arguments.seed, index))
    for index in range(arguments.per_category)
    for category in synthetic.CATEGORIES
  }
  damages = [d for d in DAMAGES if d.__name__ in arguments.damages]
  tables = {
    "damages": compare_damages(shapes, damages, arguments.points, arguments.seed)
  }
  if arguments.reference:
    some = dict(list(shapes.items())[: arguments.reference])
    tables["routes"] = compare_routes(some, damages, arguments.seed, arguments.side)
  record.save(arguments, **tables)


def unit(vertices, faces):
  """The mesh in the unit cube."""
  loc, scale = frames.unit_cube_frame(vertices)
  return (vertices - loc) / scale, faces.astype(np.int64)


def compare_damages(shapes, damages, count, seed):
  """Prints the table of damages; its rows."""
  table = []
  print(_HEAD)  # noqa: T201
  for damage in damages:
    rows, methods, refused = [], defaultdict(int), []
    for number, (name, (vertices, faces)) in enumerate(shapes.items()):
      rng = np.random.default_rng([seed, number])
      exact = solids.close(vertices, faces)
      points = rng.uniform(-0.55, 0.55, (count, 3))
      surface, _ = surface_metrics.stratified_samples(*exact, count)
      near = surface + 0.01 * rng.standard_normal((count, 3))
      broken = damage(vertices, faces, rng)
      start = time.perf_counter()
      try:
        solid, quality = solids.make_watertight(*broken)
      except ValueError as error:
        refused.append(f"{name}: {error}")
        continue
      seconds = time.perf_counter() - start
      methods[quality.method] += 1
      clear = surface_metrics.point_to_mesh_distance(points, *exact) > _SHELL
      want, got = winding.contains(exact, points), winding.contains(solid, points)
      agreement = (want == got)[clear].mean()
      overlap = (want & got).sum() / max((want | got).sum(), 1)
      want, got = winding.contains(exact, near), winding.contains(solid, near)
      rows.append([agreement, overlap, (want == got).mean(), seconds])
    if rows:
      mean, worst = np.mean(rows, axis=0), np.min(rows, axis=0)[0]
      table.append(
        {
          "damage": damage.__name__.replace("_", " "),
          "accepted": f"{len(rows)} of {len(shapes)}",
          "labels that agree": mean[0],
          "worst shape": worst,
          "IoU": mean[1],
          "agree near the surface": mean[2],
          "s a mesh": mean[3],
          "methods": ", ".join(f"{count} {name}" for name, count in methods.items()),
        }
      )
      print(  # noqa: T201
        f"  {damage.__name__:20} {len(rows):4} of {len(shapes):2} {mean[0]:9.5f} "
        f"{worst:9.5f} {mean[1]:6.4f} {mean[2]:6.4f} {mean[3]:5.2f}  {dict(methods)}"
      )
    for line in refused:
      print(f"    refused {line}")  # noqa: T201
  return table


def compare_routes(shapes, damages, seed, side):
  """Prints seconds and surface errors, in thousandths of the cube, by either route."""
  table = []
  print(f"  damage               ours: s   error  by {side}^3 voxels: s  error")  # noqa: T201
  for damage in damages:
    rows = []
    for number, (name, (vertices, faces)) in enumerate(shapes.items()):
      rng = np.random.default_rng([seed, number])
      exact = solids.close(vertices, faces)
      broken = repair.weld(*damage(vertices, faces, rng))
      start = time.perf_counter()
      try:
        solid, _ = solids.make_watertight(*broken)
      except ValueError as error:
        print(f"    refused {name}: {error}")  # noqa: T201
        continue
      seconds = time.perf_counter() - start
      other, stages = depth_fusion.close(solids_lib.Solid(*broken), side)
      errors = [depth_fusion.surface_error(mesh, exact) for mesh in (solid, other)]
      rows.append([seconds, 1e3 * errors[0], *stages, 1e3 * errors[1]])
    if rows:
      mine, error, depth, fusing, cutting, other = np.mean(rows, axis=0)
      total = depth + fusing + cutting
      ours = {"ours s": mine, "ours error x1000": error}
      theirs = {f"{side}^3 voxels s": total, f"{side}^3 voxels error x1000": other}
      table.append({"damage": damage.__name__.replace("_", " "), **ours, **theirs})
      print(  # noqa: T201
        f"  {damage.__name__:20} {mine:8.2f} {error:6.3f}"
        f"  {total:7.1f} (pictures {depth:.1f}, fusion {fusing:.1f}) {other:6.3f}"
        f"  {total / mine:5.0f} times faster"
      )
  return table


if __name__ == "__main__":
  main()
