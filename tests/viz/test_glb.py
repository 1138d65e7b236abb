"""GLB bytes taken apart by the letter of the specification."""

import json
import struct

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from occnet_jax.viz import glb

COLOUR = "#80c040"
FORMS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
KINDS = {5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


def take_apart(data):
  magic, version, length = struct.unpack_from("<4sII", data)
  assert (magic, version, length) == (b"glTF", 2, len(data))
  size, kind = struct.unpack_from("<I4s", data, 12)
  assert (kind, size % 4) == (b"JSON", 0)
  document = json.loads(data[20 : 20 + size])
  body_size, kind = struct.unpack_from("<I4s", data, 20 + size)
  assert (kind, body_size) == (b"BIN\0", len(data) - size - 28)
  return document, data[28 + size :]


def array(document, body, number):
  accessor = document["accessors"][number]
  view = document["bufferViews"][accessor["bufferView"]]
  assert view["byteOffset"] % 4 == 0
  values = np.frombuffer(
    body,
    KINDS[accessor["componentType"]],
    accessor["count"] * FORMS[accessor["type"]],
    view["byteOffset"],
  ).reshape(accessor["count"], -1)
  return values / 32767 if accessor["normalized"] else values


def instances(data, name):
  document, body = take_apart(data)
  instancing = document["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]
  return array(document, body, instancing["attributes"][name])


def sphere(subdivisions):
  mesh = trimesh.creation.icosphere(subdivisions, 0.5)
  return np.array(mesh.vertices), np.array(mesh.faces)


def read(data):
  mesh = trimesh.load_mesh(trimesh.util.wrap_as_stream(data), file_type="glb")
  mesh.merge_vertices(merge_norm=True)
  return mesh


def test_a_small_mesh_is_kept_as_it_is():
  vertices, faces = sphere(2)
  mesh = read(glb.mesh_glb(vertices, faces, COLOUR))
  assert len(mesh.faces) == len(faces)
  np.testing.assert_allclose(mesh.volume, trimesh.Trimesh(vertices, faces).volume)


def test_smooth_vertices_are_shared_and_edges_are_split():
  smooth, _ = take_apart(glb.mesh_glb(*sphere(3), COLOUR))
  counts = [accessor["count"] for accessor in smooth["accessors"]]
  assert counts[1:] == [642, 642]
  box = trimesh.creation.box()
  data = glb.mesh_glb(np.array(box.vertices), np.array(box.faces), COLOUR)
  document, body = take_apart(data)
  normals = array(document, body, 2)
  assert len(normals) == 24  # three for each corner
  np.testing.assert_allclose(np.abs(normals).max(axis=1), 1, atol=1e-6)


def test_a_large_mesh_loses_faces_but_stays_closed():
  vertices, faces = sphere(6)
  assert len(faces) > glb.MAX_FACES
  mesh = read(glb.mesh_glb(vertices, faces, COLOUR))
  assert glb.MAX_FACES - 2 <= len(mesh.faces) <= glb.MAX_FACES
  np.testing.assert_allclose(mesh.volume, np.pi / 6, rtol=0.01)


def test_a_large_mesh_that_cannot_be_collapsed_becomes_discs():
  vertices, faces = sphere(6)
  fin = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]])  # three faces on one edge
  centres = instances(
    glb.mesh_glb(vertices, np.concatenate([faces, fin]), COLOUR), "TRANSLATION"
  )
  assert centres.shape == (glb.MAX_DISCS, 3)


def test_balls_lie_at_the_points():
  points = np.random.default_rng(0).normal(size=(300, 3))
  centres = instances(glb.cloud_glb(points, COLOUR), "TRANSLATION")
  np.testing.assert_allclose(centres, points, rtol=1e-6)
  assert len(glb.cloud_glb(points, COLOUR)) < 10_000


def test_of_many_points_some_are_shown_in_smaller_balls():
  points = np.random.default_rng(0).normal(size=(5000, 3))
  many, few = glb.cloud_glb(points, COLOUR), glb.cloud_glb(points[:300], COLOUR)
  shown = instances(many, "TRANSLATION").tolist()
  assert len(shown) == glb.MAX_BALLS
  assert shown[0] == points[0].astype(np.float32).tolist()
  assert shown[-1] == points[-1].astype(np.float32).tolist()
  reach = [take_apart(data)[0]["accessors"][2]["max"][0] for data in (many, few)]
  assert reach[0] < reach[1]


def test_discs_face_along_the_normals():
  rng = np.random.default_rng(0)
  normals = np.concatenate([rng.normal(size=(500, 3)), [[0, 0, 1], [0, 0, -2.0]]])
  unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
  data = glb.surface_glb(unit * 0.4, normals, COLOUR)
  turned = Rotation.from_quat(instances(data, "ROTATION")).apply([0, 0, 1])
  np.testing.assert_allclose(turned, unit, atol=1e-3)


def test_discs_cover_the_surface():
  points = np.random.default_rng(0).uniform(size=(2000, 3)) * [1, 1, 0]
  data = glb.surface_glb(points, np.tile([0, 0, 1.0], (2000, 1)), COLOUR)
  document, _ = take_apart(data)
  radius = max(map(max, (a["max"] for a in document["accessors"] if "max" in a)))
  asked = np.random.default_rng(1).uniform(0.1, 0.9, size=(2000, 2))
  apart = np.linalg.norm(asked[:, None] - points[None, :, :2], axis=-1).min(axis=1)
  assert (apart < radius).mean() > 0.98


@pytest.mark.parametrize("colour", ["#000000", "#ffffff", "#bc0000"])
def test_colours_are_linear_in_the_file(colour):
  document, _ = take_apart(glb.mesh_glb(*sphere(0), colour))
  red = document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"][0]
  linear = {"#000000": 0, "#ffffff": 1, "#bc0000": 0.5029}
  np.testing.assert_allclose(red, linear[colour], atol=1e-3)


def test_a_normal_straight_back_turns_the_z_axis_over():
  (rotation,) = glb._rotations_from_z(np.array([[0, 0, -1]], np.float32))
  np.testing.assert_allclose(Rotation.from_quat(rotation).apply([0, 0, 1]), [0, 0, -1])
