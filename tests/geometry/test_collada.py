"""COLLADA files, which pycollada reads."""

import sys

import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import mesh_io
from tests.helpers.meshes import l_prism, pentagon_prism, volume


def write(path, corners, polygons, *, up="", place=""):
  """Writes one geometry, in a node with these transformations."""
  numbers = " ".join(f"{x:.17g}" for x in np.ravel(corners))
  path.write_text(
    '<?xml version="1.0"?><COLLADA version="1.4.1" '
    'xmlns="http://www.collada.org/2005/11/COLLADASchema">'
    f"<asset>{up and f'<up_axis>{up}</up_axis>'}</asset><library_geometries>"
    f'<geometry id="g"><mesh><source id="p"><float_array id="a" count="'
    f'{3 * len(corners)}">{numbers}</float_array><technique_common><accessor '
    f'source="#a" count="{len(corners)}" '
    'stride="3"><param name="X" type="float"/><param name="Y" type="float"/>'
    '<param name="Z" type="float"/></accessor></technique_common></source>'
    '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
    f"{polygons}</mesh></geometry></library_geometries><library_visual_scenes>"
    f'<visual_scene id="s"><node>{place}'
    '<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
    '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
  )


def polylist(faces):
  return (
    f'<polylist count="{len(faces)}"><input semantic="VERTEX" source="#v" offset="0"/>'
    f"<vcount>{' '.join(str(len(face)) for face in faces)}</vcount>"
    f"<p>{' '.join(str(i) for face in faces for i in face)}</p></polylist>"
  )


def separate_polygons(faces):
  rows = "".join(f"<p>{' '.join(map(str, face))}</p>" for face in faces)
  return (
    f'<polygons count="{len(faces)}"><input semantic="VERTEX" source="#v" offset="0"/>'
    f"{rows}</polygons>"
  )


@pytest.mark.parametrize("up", ["", "X_UP", "Y_UP", "Z_UP"])
def test_collada_polygons_are_read_upright_where_their_nodes_stand(tmp_path, up):
  pytest.importorskip("collada")
  corners, polygons = pentagon_prism()
  place = "<translate>7 0 0</translate><scale>2 2 2</scale>"
  write(tmp_path / "a.dae", corners, polylist(polygons), up=up, place=place)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.dae")
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(volume(vertices, faces), 8 * pentagon, rtol=1e-5)
  x, y, z = (2 * corners + (7, 0, 0)).T
  stands = {"X": (-y, x, z), "Y": (x, y, z), "Z": (x, z, -y)}[up[:1] or "Y"]
  rounded = np.unique(vertices.round(4), axis=0)
  np.testing.assert_allclose(
    rounded, np.unique(np.round(stands, 4).T, axis=0), atol=2e-4
  )


@pytest.mark.parametrize("element", [polylist, separate_polygons])
@pytest.mark.parametrize("start", range(6))
def test_concave_collada_polygons_cover_their_own_ground(tmp_path, element, start):
  pytest.importorskip("collada")
  corners, polygons = l_prism(start)
  write(tmp_path / "a.dae", corners, element(polygons))
  mesh = trimesh.Trimesh(*mesh_io.read_mesh(tmp_path / "a.dae"), process=False)
  np.testing.assert_allclose([mesh.area, mesh.volume], [14, 3], rtol=1e-6)


def test_a_collada_node_that_mirrors_keeps_the_faces_outward(tmp_path):
  pytest.importorskip("collada")
  corners, polygons = pentagon_prism()
  write(tmp_path / "a.dae", corners, polylist(polygons), place="<scale>-1 1 1</scale>")
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.dae")
  np.testing.assert_allclose(volume(vertices, faces), pentagon, rtol=1e-5)


def test_collada_triangles_and_lines_of_one_geometry_give_the_triangles(tmp_path):
  pytest.importorskip("collada")
  vertex = '<input semantic="VERTEX" source="#v" offset="0"/>'
  triangles = f'<triangles count="1">{vertex}<p>0 1 2</p></triangles>'
  lines = f'<lines count="1">{vertex}<p>0 3</p></lines>'
  corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
  write(tmp_path / "a.dae", corners, lines + triangles)
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.dae")
  np.testing.assert_array_equal(vertices[faces], corners[None, :3])


def test_collada_without_its_reader_names_the_package(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "collada", None)  # as if it were not installed
  (tmp_path / "a.dae").write_text("<COLLADA/>")
  with pytest.raises(ValueError, match="pip install pycollada"):
    mesh_io.read_mesh(tmp_path / "a.dae")
