"""COLLADA files, which pycollada reads."""

import sys

import numpy as np
import pytest

from occnet_jax.geometry import mesh_io
from tests.helpers.meshes import pentagon_prism, volume


@pytest.mark.parametrize("up", ["", "X_UP", "Y_UP", "Z_UP"])
def test_collada_polygons_are_read_upright_where_their_nodes_stand(tmp_path, up):
  pytest.importorskip("collada")
  corners, polygons = pentagon_prism()
  numbers = " ".join(f"{x:.17g}" for x in corners.ravel())
  (tmp_path / "a.dae").write_text(
    '<?xml version="1.0"?><COLLADA version="1.4.1" '
    'xmlns="http://www.collada.org/2005/11/COLLADASchema">'
    f"<asset>{up and f'<up_axis>{up}</up_axis>'}</asset><library_geometries>"
    '<geometry id="g"><mesh><source id="p"><float_array id="a" count="30">'
    f'{numbers}</float_array><technique_common><accessor source="#a" count="10" '
    'stride="3"><param name="X" type="float"/><param name="Y" type="float"/>'
    '<param name="Z" type="float"/></accessor></technique_common></source>'
    '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
    '<polylist count="7"><input semantic="VERTEX" source="#v" offset="0"/>'
    f"<vcount>{' '.join(str(len(face)) for face in polygons)}</vcount>"
    f"<p>{' '.join(str(i) for face in polygons for i in face)}</p></polylist>"
    "</mesh></geometry></library_geometries><library_visual_scenes>"
    '<visual_scene id="s"><node><translate>7 0 0</translate><scale>2 2 2</scale>'
    '<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>'
    '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
  )
  vertices, faces = mesh_io.read_mesh(tmp_path / "a.dae")
  pentagon = 5 / 2 * np.sin(2 * np.pi / 5)
  np.testing.assert_allclose(volume(vertices, faces), 8 * pentagon, rtol=1e-5)
  x, y, z = (2 * corners + (7, 0, 0)).T
  stands = {"X": (-y, x, z), "Y": (x, y, z), "Z": (x, z, -y)}[up[:1] or "Y"]
  found = np.unique(vertices.round(4), axis=0)
  np.testing.assert_allclose(found, np.unique(np.round(stands, 4).T, axis=0), atol=2e-4)


def test_collada_without_its_reader_names_the_package(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "collada", None)  # as if it were not installed
  (tmp_path / "a.dae").write_text("<COLLADA/>")
  with pytest.raises(ValueError, match="pip install pycollada"):
    mesh_io.read_mesh(tmp_path / "a.dae")
