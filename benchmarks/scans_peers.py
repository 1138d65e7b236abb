"""What people make meshes of scans with: each takes a cloud and its true normals.

Only the way of that name uses the normals.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import trimesh


def hull(cloud: np.ndarray, normals: np.ndarray) -> trimesh.Trimesh:
  del normals
  return trimesh.convex.convex_hull(cloud)


def poisson(
  cloud: np.ndarray, normals: np.ndarray, *, true: bool = False
) -> trimesh.Trimesh:
  import open3d

  points = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(cloud))
  if true:
    points.normals = open3d.utility.Vector3dVector(normals)
  else:
    points.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(30))
    points.orient_normals_consistent_tangent_plane(30)
  solve = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson
  mesh, _ = solve(points, depth=8, n_threads=2)
  vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles)
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  if mesh.volume < 0:  # the spanning tree began with a normal that points inwards
    mesh.invert()
  return mesh


def meshlab(
  cloud: np.ndarray, normals: np.ndarray, *, name: str, **settings: Any
) -> trimesh.Trimesh:
  import pymeshlab

  del normals
  meshes = pymeshlab.MeshSet(verbose=False)
  meshes.add_mesh(pymeshlab.Mesh(vertex_matrix=cloud))
  meshes.compute_normal_for_point_clouds(k=20, smoothiter=2)
  getattr(meshes, name)(**settings)
  made = meshes.current_mesh()
  vertices, faces = made.vertex_matrix(), made.face_matrix()
  mesh = trimesh.Trimesh(vertices, faces, process=False)
  if mesh.is_watertight and mesh.volume < 0:
    mesh.invert()
  return mesh


def installed() -> dict[str, Callable[[np.ndarray, np.ndarray], trimesh.Trimesh]]:
  """The peers by name, without those whose library is missing."""
  ways = {"convex hull": hull}
  if importlib.util.find_spec("open3d"):
    ways["Poisson"] = poisson
    ways["Poisson, true normals"] = functools.partial(poisson, true=True)
  if importlib.util.find_spec("pymeshlab"):
    apss = {"name": "generate_marching_cubes_apss", "resolution": 128}
    ways["APSS"] = functools.partial(meshlab, **apss)
    pivoting = "generate_surface_reconstruction_ball_pivoting"
    ways["ball pivoting"] = functools.partial(meshlab, name=pivoting)
  return ways
