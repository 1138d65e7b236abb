"""3MF from a file: a ZIP archive with meshes in XML (host, numpy).

3MF core specification 1.3, sections 3 and 4, and the production extension's references
to objects in other parts of the archive, with which trimesh 5.2 joins all meshes of a
part to each of its objects. Shape letters: v vertices, f faces.
"""

import pathlib
import posixpath
import zipfile
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry.mesh_parsers import Arrays

MODEL_TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
MAX_FACES = 50_000_000  # of all instances: components of components may double for ever
MAX_INSTANCES = 200_000  # with the objects that only hold others
MAX_BYTES = 2**31  # of a part of the archive
MAX_DEPTH = 32
_PRODUCTION = "{http://schemas.microsoft.com/3dmanufacturing/production/2015/06}path"
_NO_FACES = np.zeros((0, 3), np.int64)

Transform = Float[np.ndarray, "4 3"]  # of row vectors (x, y, z, 1)
Reference = tuple[str, str, Transform]  # part, object, placement


class _Object(NamedTuple):
  vertices: Float[np.ndarray, "v 3"]
  faces: Int[np.ndarray, "f 3"]
  components: list[Reference]
  is_solid: bool


class _Size(NamedTuple):
  """Of an object with its components, and theirs, each as often as it is placed."""

  instances: int
  faces: int
  depth: int


class _Model(NamedTuple):
  objects: dict[str, _Object]
  items: list[Reference]


def read_3mf(path: pathlib.Path) -> Arrays:
  """Vertices and faces of all that a file builds, in its own unit.

  Raises:
    ValueError: an object that is missing or is a part of itself, or too many faces.
      Other exceptions, too, mean that the file is broken.
  """
  with zipfile.ZipFile(path) as archive:
    names = {info.filename.lstrip("/"): info for info in archive.infolist()}
    models: dict[str, _Model] = {}

    def model(part: str) -> _Model:
      if part not in models:
        if part not in names:
          raise ValueError(f"has no part {part}")
        if names[part].file_size > MAX_BYTES:
          raise ValueError(f"its part {part} has {names[part].file_size:,} bytes")
        with archive.open(names[part]) as stream:
          models[part] = _parse_model(stream, part)
      return models[part]

    def find(part: str, name: str) -> _Object:
      objects = model(part).objects
      if name not in objects:
        raise ValueError(f"names an object {name} of {part}, which is not there")
      return objects[name]

    sizes: dict[tuple[str, str], _Size] = {}

    def measure(part: str, name: str, above: frozenset[tuple[str, str]]) -> _Size:
      """Without a walk over the instances, whose number may double with each level."""
      if (part, name) in above or len(above) > MAX_DEPTH:
        raise ValueError("an object is a part of itself, or of too many others")
      if (part, name) not in sizes:
        shape, inner = find(part, name), above | {(part, name)}
        placed = shape.components if shape.is_solid else []
        parts = [measure(*each[:2], inner) for each in placed]
        sizes[part, name] = _Size(
          1 + sum(each.instances for each in parts),
          len(shape.faces) + sum(each.faces for each in parts),
          1 + max((each.depth for each in parts), default=0),
        )
      if len(above) + sizes[part, name].depth > MAX_DEPTH:
        raise ValueError("an object is a part of itself, or of too many others")
      return sizes[part, name]

    def instances(reference: Reference) -> Iterator[Arrays]:
      part, name, placement = reference
      shape = find(part, name)
      if not shape.is_solid:
        return
      if len(shape.faces):
        yield _placed(shape.vertices, placement), _outward(shape.faces, placement)
      for other, component, inner in shape.components:
        outer = inner @ placement[:3]
        outer[3] += placement[3]
        yield from instances((other, component, outer))

    start = _start_part(archive, names)
    items = model(start).items
    all_sizes = [measure(*item[:2], frozenset()) for item in items]
    if (
      sum(size.faces for size in all_sizes) > MAX_FACES
      or sum(size.instances for size in all_sizes) > MAX_INSTANCES
    ):
      raise ValueError(f"has more than {MAX_FACES:,} faces or too many components")
    vertices, faces, count = [np.zeros((0, 3))], [_NO_FACES], 0
    for item in items:
      for points, triangles in instances(item):
        vertices.append(points)
        faces.append(triangles + count)
        count += len(points)
  return np.concatenate(vertices), np.concatenate(faces)


def _start_part(archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo]) -> str:
  """The part that the archive's relationships call its model."""
  if (info := names.get("_rels/.rels")) and info.file_size < 2**20:
    root = ElementTree.fromstring(archive.read(info))
    for element in root:
      if element.get("Type") == MODEL_TYPE:
        return element.get("Target", "").lstrip("/")
  return "3D/3dmodel.model"


def _parse_model(stream, part: str) -> _Model:
  """Objects and items of a part; elements are freed as they are read."""
  model = _Model({}, [])
  vertices: list[tuple] = []
  faces: list[tuple] = []
  components: list[Reference] = []
  for _, element in ElementTree.iterparse(stream):
    attributes = element.attrib
    match element.tag.rpartition("}")[2]:
      case "vertex":
        vertices.append(tuple(float(attributes[axis]) for axis in "xyz"))
        element.clear()
      case "triangle":
        faces.append(tuple(int(attributes[key]) for key in ("v1", "v2", "v3")))
        element.clear()
      case "component":
        components.append(_reference(attributes, part))
      case "item":
        model.items.append(_reference(attributes, part))
      case "object":
        model.objects[attributes["id"]] = _Object(
          np.array(vertices, np.float64).reshape(-1, 3),
          _checked(np.array(faces, np.int64).reshape(-1, 3), len(vertices)),
          components,
          attributes.get("type", "model") not in ("support", "other"),
        )
        vertices, faces, components = [], [], []
        element.clear()
      case "vertices" | "triangles":
        element.clear()
  return model


def _checked(faces: Int[np.ndarray, "f 3"], count: int) -> Int[np.ndarray, "f 3"]:
  if len(faces) and not 0 <= faces.min() <= faces.max() < count:
    raise ValueError(f"faces name vertices {faces.min()} to {faces.max()} of {count}")
  return faces


def _reference(attributes: dict[str, str], part: str) -> Reference:
  numbers = attributes.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split()
  other = attributes.get(_PRODUCTION, part)
  placement = np.array(numbers, np.float64).reshape(4, 3)
  return posixpath.normpath(other).lstrip("/"), attributes["objectid"], placement


def _placed(
  vertices: Float[np.ndarray, "v 3"], placement: Transform
) -> Float[np.ndarray, "v 3"]:
  return vertices @ placement[:3] + placement[3]


def _outward(
  faces: Int[np.ndarray, "f 3"], placement: Transform
) -> Int[np.ndarray, "f 3"]:
  """Faces, turned round by a placement that mirrors."""
  return faces[:, ::-1] if np.linalg.det(placement[:3]) < 0 else faces
