"""One object of a user -> a mesh file, and a page that shows it (host)."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import trimesh

from occnet_jax import api, files
from occnet_jax.cli import process
from occnet_jax.data import user_inputs
from occnet_jax.data.user_depth import DepthInputs
from occnet_jax.data.user_grids import PlacedGrid
from occnet_jax.data.user_inputs import InputItem
from occnet_jax.extract.batch.parallel import naming_errors
from occnet_jax.extract.mesh.checks import count_open_edges
from occnet_jax.extract.pipeline import NoSurface
from occnet_jax.geometry import frames, mesh_io, normals, scan_checks
from occnet_jax.geometry.colours import Cloud
from occnet_jax.viz import comparison, panes

Observed = np.ndarray | Cloud | PlacedGrid


class Looks(NamedTuple):
  """What becomes of a cloud's colours and normals.

  Attributes:
    texture: colours become a picture, not colours of vertices.
    ignore_normals: normals are left out.
  """

  texture: bool = False
  ignore_normals: bool = False


GUESSED = 0.1  # share of a mesh without points nearby, above which it is mentioned


def write_mesh_of(
  model: api.Model,
  item: InputItem,
  source: pathlib.Path,
  target: pathlib.Path,
  options: dict[str, Any],
  preview: str | os.PathLike | None,
  looks: Looks,
) -> str:
  """Writes the mesh of one object; what was written, in words."""
  with process.announced(f"reading {source}"):
    cloud = read(model, item, str(source), looks)
  observed = points_of(cloud)
  print_pixels(item.depth)
  if isinstance(cloud, PlacedGrid):
    sides = f"{cloud.scale / len(observed):.3g} mm"
    print(f"{source}: a mask, as {len(observed)} cells of {sides} a side")  # noqa: T201
  used = model.observation.shape[0]
  if model.settings.data.inputs == "cloud" and len(observed) > used:
    print(f"{source}: {len(observed):,} points, {used:,} of them used, at random")  # noqa: T201
  with naming_errors(str(source)), process.announced(f"reconstructing {source}"):
    mesh = make_mesh(model, cloud, options)
  with naming_errors(str(source)):
    save(target, mesh, cloud if looks.texture else None)
  for sentence in left_out(model, cloud, target):
    print(f"{source}: {sentence}")  # noqa: T201
  for doubt in doubts(model, observed, mesh):
    print(f"{source}: {doubt}")  # noqa: T201
  description = describe(mesh)
  written = f"{target}: {description}, {size_of(target)}"
  if not preview:
    return written
  facts = {"Mesh": description, "Input": files.printable(str(source))}
  observation = panes.viewable(model.settings.data.inputs, observed)
  if isinstance(cloud, PlacedGrid):  # the preview wants it in the frame of the mesh
    vertices = frames.from_frame(observation[0], cloud.loc, cloud.scale)
    observation = vertices, observation[1]
  comparison.write_comparison(
    preview,
    title=files.printable(source.name),
    facts=facts,
    observation=observation,
    mesh=mesh,
  )
  return f"{written}\n{preview}: input and mesh, {size_of(preview)}"


def save(
  target: pathlib.Path, mesh: trimesh.Trimesh, texture_of: Cloud | None = None
) -> None:
  """Writes a mesh with its normals and colours, or with a cloud's as a texture."""
  api.write_mesh(target, mesh, texture_of=texture_of)


def left_out(
  model: api.Model, observed: Observed, target: pathlib.Path
) -> Iterator[str]:
  """What of a file does not reach the mesh, and whether its normals do, in words."""
  if not isinstance(observed, Cloud):
    return
  names = list(observed.left_out)
  if sentence := use_of_normals(model, observed):
    yield sentence
  elif observed.normals is not None:
    names.append("normals (this network takes none)")
  if observed.colours is not None and target.suffix not in mesh_io.COLOURED_SUFFIXES:
    names.append(f"colours ({target.suffix} has none)")
  if names:
    more = ", ..." if len(names) > 6 else ""
    yield f"left out: {files.printable(', '.join(names[:6]))}{more}"


def use_of_normals(model: api.Model, observed: Observed) -> str:
  """Whether a network that takes normals uses those of a cloud, in words; else ""."""
  given = observed.normals if isinstance(observed, Cloud) else None
  if given is None or not model.method.takes_normals:
    return ""
  if model.settings.generation.finetune_steps:
    return "normals are not used, because generation.finetune_steps trains without them"
  return normals.orient(observed.points, given, outward=observed.outward)[1]


def points_of(observed: Observed) -> np.ndarray:
  """What a network observes, without colours and place."""
  if isinstance(observed, PlacedGrid):
    return observed.grid
  return observed.points if isinstance(observed, Cloud) else observed


def read(model: api.Model, item: InputItem, name: str, looks: Looks) -> Observed:
  """The array, or cloud with its colours and normals, in an object's files.

  Args:
    model: the network.
    item: the object.
    name: its name in messages.
    looks: what becomes of colours and normals.

  Raises:
    ValueError: a file that cannot be read, or has no colours for a texture.
  """
  kind, shape = model.settings.data.inputs, model.observation.shape
  observed = user_inputs.read_item(item, kind, shape)
  if looks.texture and (not isinstance(observed, Cloud) or observed.colours is None):
    raise ValueError(f"{name}: has no colours for --texture; leave it out")
  if (
    looks.ignore_normals
    and isinstance(observed, Cloud)
    and observed.normals is not None
  ):
    left = (*observed.left_out, "normals")
    observed = dataclasses.replace(observed, normals=None, left_out=left)
  return observed


def make_mesh(
  model: api.Model, observed: Observed, options: dict[str, Any]
) -> trimesh.Trimesh:
  with explained_no_surface(model):
    return model.reconstruct(observed, **options)


@contextlib.contextmanager
def explained_no_surface(model: api.Model) -> Iterator[None]:
  """Says of a network what can be done where there is no surface."""
  try:
    yield
  except NoSurface as error:
    level = show_level(model.level)
    raise NoSurface(
      f"no surface: no value of the network exceeds the level {level}; show it the "
      "object alone, or lower config.test.threshold"
    ) from error


def show_level(level: float | None) -> str:
  return "none" if level is None else f"{level:.3g}"  # points and meshes have none


def doubts(
  model: api.Model, observed: np.ndarray, mesh: trimesh.Trimesh
) -> Iterator[str]:
  """What of a cloud's mesh is not to be trusted, in words."""
  scan = model.observation.scan
  if scan is None or model.settings.data.inputs != "cloud":
    return
  if len(observed) < scan.points[0]:
    yield (
      f"{len(observed)} points are fewer than the {scan.points[0]} of the network's "
      "training; details will be missing"
    )
  if len(mesh.faces):
    share = scan_checks.share_far_from(np.asarray(observed, np.float64), mesh)
    if share > GUESSED:
      # A network of views has guessed as it should; another is advised to try that one.
      advice = "" if scan.viewed > GUESSED else ", or --model scan-partial"
      yield (
        f"{share:.0%} of the mesh is far from all points and only a guess, as with "
        f"things that are thin, flat or seen from one side; more points help{advice}"
      )


def describe(mesh: trimesh.Trimesh) -> str:
  """The size of a mesh and whether it is closed, in words."""
  vertices, faces = len(mesh.vertices), len(mesh.faces)
  if vertices and not faces:
    return f"{vertices:,} points without faces"
  size = f"{vertices:,} vertices, {faces:,} faces"
  if not faces:
    return size
  open_edges = count_open_edges(np.asarray(mesh.faces))
  state = f"not closed ({open_edges:,} open edges)" if open_edges else "closed"
  return f"{size}, {state}"


def size_of(path: str | os.PathLike) -> str:
  """The size of a file, in words."""
  size = pathlib.Path(path).stat().st_size
  if size < 1000:
    return f"{size} bytes"
  return f"{size / 1000:.0f} kB" if size < 50_000 else f"{size / 1e6:.1f} MB"


def print_pixels(depth: DepthInputs | None) -> None:
  if depth is not None and depth.pixels:  # else no image was read
    print(f"depth: {depth.describe()}")  # noqa: T201
