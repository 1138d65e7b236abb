"""Ray-traced pictures of a mesh on a white background (host, numpy and Embree).

The mesh is light grey and reflects diffusely under an ambient light from above, a key
light from the upper left of the camera that casts shadows, and a fill light from its
right. `render_views` draws the cameras of Choy et al. 2016 (3D-R2N2). Embree, the
package embreex, is imported when a `Scene` is made: there is none for Linux on ARM, and
`is_available` tells.

Frames are those of `geometry.cameras`. Shape letters: v views or vertices, h side of
the picture, f faces, n rays.
"""

import importlib.util
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from occnet_jax.geometry import cameras, frames, tolerances, triangles
from occnet_jax.geometry.solids import Solid

ELEVATIONS = (25.0, 30.0)  # degrees
DISTANCES = (0.65 * 1.75, 1.75)  # in diagonals of the bounding box
AZIMUTH, ELEVATION = 30.0, 25.0  # degrees, of `draw`: the object's face, from its left
_VIEW_MARGIN = 0.01  # blank share of the picture's side along every border of a view
_FIT_MARGIN = 0.06  # the same of a picture that is fitted to the mesh
_SAMPLES = 2  # rays of a pixel along either axis
_WHITE = 255
_ALBEDO = 0.88  # share of light that the material reflects: never as bright as white
# Strengths of lights. No face gets more than 1, for key and fill are far apart.
_AMBIENT_LOW, _AMBIENT_HIGH = 0.3, 0.45  # faces that look down, and up
_KEY, _KEY_FROM = 0.5, (-0.5, -0.7, -0.9)  # camera frame: from the upper left
_FILL, _FILL_FROM = 0.28, (0.9, 0.1, -0.5)


def is_available() -> bool:
  """Whether the ray tracer Embree is installed (pip install embreex)."""
  return importlib.util.find_spec("embreex") is not None


class Views(NamedTuple):
  """Pictures and their cameras.

  Attributes:
    images: (v, h, h, 3) uint8 RGB.
    world_mat: (v, 3, 4) float32, from the world to the camera frame.
    camera_mat: (v, 3, 3) float32, from there to pixels.
  """

  images: UInt8[np.ndarray, "v h h 3"]
  world_mat: Float[np.ndarray, "v 3 4"]
  camera_mat: Float[np.ndarray, "v 3 3"]


def render_views(
  solid: Solid, rng: np.random.Generator, *, views: int = 24, side: int = 137
) -> Views:
  """Pictures from random directions somewhat above the shape, all of it in view.

  Azimuths are uniform, elevations and distances uniform in ELEVATIONS and DISTANCES. A
  camera that is too close to have the whole shape in its picture is moved back.

  Args:
    solid: the shape, in the unit-cube frame.
    rng: generator of the cameras.
    views: v.
    side: h, in pixels.

  Raises:
    ValueError: `views` or `side` is below 1.
  """
  for name, value in (("views", views), ("side", side)):
    if value < 1:
      raise ValueError(f"{name} is {value}, want at least 1")
  scene = Scene(solid)
  camera_mat = cameras.camera_matrix(side)
  diagonal = float(np.linalg.norm(np.ptp(solid.vertices, axis=0)))
  images, world_mats = [], []
  for _ in range(views):
    azimuth, elevation = rng.uniform(0, 360), rng.uniform(*ELEVATIONS)
    distance = max(
      diagonal * rng.uniform(*DISTANCES),
      cameras.closest_distance(solid.vertices, azimuth, elevation, margin=_VIEW_MARGIN),
    )
    # Rounded to the type in which it is stored, so that it fits the picture exactly.
    world_mat = cameras.world_matrix(azimuth, elevation, distance).astype(np.float32)
    images.append(render(scene, world_mat, camera_mat, side))
    world_mats.append(world_mat)
  camera_mats = np.broadcast_to(camera_mat.astype(np.float32), (views, 3, 3)).copy()
  return Views(np.stack(images), np.stack(world_mats), camera_mats)


class Scene:
  """A mesh in Embree's acceleration structure, ready for ray casting.

  Raises:
    ImportError: Embree is not installed, see `is_available`.
  """

  def __init__(self, solid: Solid):
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    self.vertices = solid.vertices
    self.normals, _ = triangles.unit_normals_and_areas(solid.vertices, solid.faces)
    self._embree = EmbreeScene()
    TriangleMesh(
      self._embree, solid.vertices.astype(np.float32), solid.faces.astype(np.int32)
    )

  def first_hit(
    self, origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
  ) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The first face that each ray hits, -1 for none, and the hit's ray parameter.

    The hit is at origin + parameter * direction.
    """
    hits = self._embree.run(_float32(origins), _float32(directions), output=True)
    return hits["primID"], hits["tfar"]

  def is_hit(
    self, origins: Float[np.ndarray, "n 3"], directions: Float[np.ndarray, "n 3"]
  ) -> Bool[np.ndarray, "n"]:
    """Whether each ray hits any face."""
    rays = _float32(origins), _float32(directions)
    return self._embree.run(*rays, query="OCCLUDED") >= 0


def render(
  scene: Scene,
  world_mat: Float[np.ndarray, "3 4"],
  camera_mat: Float[np.ndarray, "3 3"],
  side: int,
) -> UInt8[np.ndarray, "h h 3"]:
  """One picture.

  Args:
    scene: the mesh.
    world_mat, camera_mat: matrices of `geometry.cameras`. The camera is outside of the
      bounding box of the mesh, with all of it in front.
    side: h, in pixels.
  """
  # Rays are cast only within the rectangle that the shape can reach.
  pixels, _ = cameras.project(scene.vertices, world_mat, camera_mat)
  left, top = np.floor(pixels.min(0)).astype(int).clip(0, side)
  right, bottom = np.ceil(pixels.max(0)).astype(int).clip(0, side)
  rows = (np.arange(_SAMPLES * top, _SAMPLES * bottom) + 0.5) / _SAMPLES
  columns = (np.arange(_SAMPLES * left, _SAMPLES * right) + 0.5) / _SAMPLES
  grid = np.stack(np.meshgrid(columns, rows), axis=-1)
  origin, directions = cameras.pixel_rays(grid.reshape(-1, 2), world_mat, camera_mat)
  light = np.full(len(directions), 1.0)
  face, depth = scene.first_hit(np.broadcast_to(origin, directions.shape), directions)
  hit = np.flatnonzero(face >= 0)
  points = origin + depth[hit, None] * directions[hit]
  light[hit] = _ALBEDO * _light(scene, face[hit], points, world_mat[:, :3])
  fine = light.reshape(bottom - top, _SAMPLES, right - left, _SAMPLES)
  image = np.full((side, side, 3), _WHITE, np.uint8)
  crop = np.rint(_WHITE * fine.mean((1, 3))).astype(np.uint8)
  image[top:bottom, left:right] = crop[..., None]
  return image


def draw(
  vertices: Float[np.ndarray, "v 3"],
  faces: Int[np.ndarray, "f 3"],
  side: int,
  *,
  azimuth: float = AZIMUTH,
  elevation: float = ELEVATION,
  fit: bool = False,
) -> UInt8[np.ndarray, "h h 3"]:
  """One picture of a mesh on a white background, plain white if it has no faces.

  Args:
    vertices: in the unit-cube frame; in any frame if `fit`.
    faces: counter-clockwise seen from outside.
    side: h, in pixels.
    azimuth, elevation: direction of the camera in degrees, as in `world_matrix`.
    fit: if False, the whole unit cube is in view, so that the pictures of several
      meshes compare in size. If True, the mesh is moved into the unit cube and fills
      the picture.

  Raises:
    ImportError: Embree is not installed, see `is_available`.
    ValueError: `fit`, and all vertices lie in one place.
  """
  if not len(faces):
    return np.full((side, side, 3), _WHITE, np.uint8)
  vertices = np.asarray(vertices, np.float64)
  if fit:
    vertices = frames.to_frame(vertices, *frames.unit_cube_frame(vertices))
    subject, margin = vertices, _FIT_MARGIN
  else:
    subject, margin = np.array(list(np.ndindex(2, 2, 2))) - 0.5, 0.0
  distance = cameras.closest_distance(subject, azimuth, elevation, margin=margin)
  world_mat = cameras.world_matrix(azimuth, elevation, distance)
  scene = Scene(Solid(vertices, np.asarray(faces, np.int64)))
  return render(scene, world_mat, cameras.camera_matrix(side), side)


def _light(
  scene: Scene,
  face: Int[np.ndarray, "n"],
  points: Float[np.ndarray, "n 3"],
  rotation: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "n"]:
  """Light that falls on points of faces, from 0 to 1."""
  up = (scene.normals[:, 1] + 1) / 2
  key_from, fill_from = (
    np.asarray(light) / np.linalg.norm(light) @ rotation
    for light in (_KEY_FROM, _FILL_FROM)
  )
  ambient = _AMBIENT_LOW + (_AMBIENT_HIGH - _AMBIENT_LOW) * up
  key = _KEY * np.maximum(scene.normals @ key_from, 0)
  light = (ambient + _FILL * np.maximum(scene.normals @ fill_from, 0))[face]
  lit = np.flatnonzero(key[face])
  starts = points[lit] + tolerances.SHADOW_RAY_OFFSET * scene.normals[face[lit]]
  lit = lit[~scene.is_hit(starts, np.broadcast_to(key_from, starts.shape))]
  light[lit] += key[face[lit]]
  return light


def _float32(array: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
  return np.ascontiguousarray(array, np.float32)


def encode(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """Encodes a picture in shades of grey as PNG, without loss.

  A view takes about 1.5 kB; as JPEG of quality 95 it would take 2.5 kB.
  """
  stream = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(image[..., 0])).save(stream, "PNG")
  return stream.getvalue()
