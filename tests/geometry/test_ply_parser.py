"""Text PLY as other programs lay it out, against the mesh that it means."""

import numpy as np
import pytest

from occnet_jax.geometry import mesh_io, ply_parser

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 2]])
FACES = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]]
LIST = "property list uchar int vertex_indices\n"


def ply(vertices="{} {} {}", faces="3 {} {} {}", *, colours="", of_faces=LIST, top=""):
  """The text of a pyramid whose rows have these forms."""
  rows = [vertices.format(*row) for row in VERTICES.tolist()]
  rows += [faces.format(*face) for face in FACES]
  return (
    f"ply\nformat ascii 1.0\n{top}element vertex 5\nproperty float x\n"
    f"property float y\nproperty float z\n{colours}element face 6\n{of_faces}"
    "end_header\n" + "\n".join(rows) + "\n"
  )


COLOURS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
FLAGS = f"property uchar flags\n{LIST}"
TEXTURED = f"property list uchar float texcoord\n{LIST}"
LAYOUTS = {
  "colours of vertices in the next line": ply("{} {} {}\n9 9 9", colours=COLOURS),
  "corners in the next line": ply(faces="3\n{} {} {}"),
  "a flag before the corners": ply(faces="7 3 {} {} {}", of_faces=FLAGS),
  "textures before the corners": ply(faces="2 0.5 0.25 3 {} {} {}", of_faces=TEXTURED),
  "a word of the header in a comment": ply(top="comment before end_header\n"),
  "lines that end with a carriage return": ply().replace("\n", "\r"),
  "lines that end with both": ply().replace("\n", "\r\n"),
  "a blank after the header": ply().replace("end_header", "end_header "),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_text_with_other_lines_is_the_same_mesh(name):
  vertices, faces, *_ = ply_parser.parse_ply(LAYOUTS[name].encode())
  np.testing.assert_array_equal(vertices, VERTICES)
  np.testing.assert_array_equal(faces, FACES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_without_its_end_is_refused(name, tmp_path):
  (tmp_path / "a.ply").write_bytes(LAYOUTS[name].rstrip()[:-8].encode())
  with pytest.raises(ValueError, match="cannot be read as a mesh"):
    mesh_io.read_mesh(tmp_path / "a.ply")
