"""Meshes of points without normals, such as networks of point sets predict (host).

Both ways are MeshLab's, which pymeshlab brings (GPL; a wheel of about 106 MB):

ball_pivoting: triangles where a ball rests on three points; its radius follows from
  their number, as the code of the occupancy networks sets it for PSGN. Open, with holes
  where points are sparse.
poisson: screened Poisson reconstruction, with normals from the 10 nearest points.
  Closed, and smooth where points are sparse.
"""

import threading

import numpy as np
from jaxtyping import Float, Int

from occnet_jax.geometry import extras

METHODS = ("ball_pivoting", "poisson")
FEWEST_POINTS = 10  # from which on normals are estimated
CLUSTERING = 20  # percent of the radius within which points count as one
CREASE = 90  # degrees
POISSON_DEPTH = 6  # of the octree: 64 cells a side
_lock = threading.Lock()  # MeshLab's filters share what they hold


def check(method: str) -> None:
  """Raises ValueError for an unknown method, or without the library."""
  if method not in METHODS:
    raise ValueError(
      f"point_mesh is {method!r}; want one of: none, {', '.join(METHODS)}"
    )
  _library(method)


def _library(method: str):
  return extras.load(
    "pymeshlab",
    f"config.generation.point_mesh={method}",
    "pymeshlab",
    "meshing",
    "a mesh of points",
  )


def mesh_points(
  points: Float[np.ndarray, "n 3"], method: str
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
  """Vertices and faces of a surface through points.

  Where none can be made there are no faces, and no vertices either. A closed mesh is
  turned outward.

  Args:
    points: in any unit.
    method: one of METHODS.

  Raises:
    ValueError: an unknown method, points that are not finite, or pymeshlab is missing.
  """
  check(method)
  if not np.isfinite(points).all():
    raise ValueError("the points of a mesh are not finite; train with a lower rate")
  nothing = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
  if len(points) < FEWEST_POINTS or not np.ptp(points, axis=0).any():
    return nothing
  library = _library(method)
  with _lock:
    meshes = library.MeshSet(verbose=False)
    meshes.add_mesh(library.Mesh(vertex_matrix=np.asarray(points, np.float64)))
    try:
      if method == "ball_pivoting":
        meshes.generate_surface_reconstruction_ball_pivoting(
          ballradius=library.PercentageValue(0),  # chosen by the library
          clustering=CLUSTERING,
          creasethr=CREASE,
        )
      else:
        meshes.compute_normal_for_point_clouds(k=FEWEST_POINTS)
        meshes.generate_surface_reconstruction_screened_poisson(
          depth=POISSON_DEPTH, threads=1
        )
    except library.PyMeshLabException:  # such as of points on a line
      return nothing
    mesh = meshes.current_mesh()
    vertices = np.array(mesh.vertex_matrix())
    faces = np.array(mesh.face_matrix(), np.int64).reshape(-1, 3)
  if not len(faces):
    return nothing
  if method == "poisson":
    # Six times the signed volumes of the tetrahedra between the faces and the origin.
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    if (a * np.cross(b, c)).sum() < 0:
      faces = faces[:, ::-1]
  return vertices, faces
