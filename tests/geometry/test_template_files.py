"""Templates from files: the published form as Python 2 pickled it, and meshes."""

import pickle
import struct

import numpy as np
import pytest
import trimesh

from configs import pix2mesh as configs
from occnet_jax.geometry import template_files
from occnet_jax.models import registry
from occnet_jax.nn import graph_mesh


class _Python2(pickle._Pickler):
  """Protocol 2 with strings of bytes, as only Python 2 writes them."""

  dispatch = pickle._Pickler.dispatch.copy()

  def save_bytes(self, value):
    self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
    self.memoize(value)

  dispatch[bytes] = save_bytes


def write_published(path, vertices, edges, count=8):
  """The file of the published code; what nothing reads is None."""
  table = np.full((len(vertices), count + 2), -1)
  for i in range(len(vertices)):
    nearby = sorted({*edges[edges[:, 0] == i, 1], *edges[edges[:, 1] == i, 0]})
    table[i, : len(nearby)] = nearby
    table[i, count:] = i, len(nearby)
  content = (vertices, None, None, None, [edges], None, None, [table, table, table])
  with path.open("wb") as file:
    _Python2(file, 2).dump(content)
  path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))
  return path


def ellipsoid():
  """The built-in template in the frame and unit of the published file."""
  template = graph_mesh.make_template()
  place = np.array([graph_mesh.CENTRE])
  return template, (template.vertices + place) * 0.57 * np.array([[1, -1, -1]])


def test_the_published_file_gives_the_faces_and_the_frame_of_the_template(tmp_path):
  template, vertices = ellipsoid()
  edges = template.stages[0].edges
  path = write_published(tmp_path / "info_ellipsoid.dat", vertices, edges)
  assert b"cnumpy.core.multiarray" in path.read_bytes()
  read, faces = template_files.read_template(path)
  place = np.array([graph_mesh.CENTRE])
  np.testing.assert_allclose(read - place, template.vertices, atol=1e-6)

  def turned(faces):  # the same faces in the same direction, whatever comes first
    return {tuple(np.roll(face, -face.argmin())) for face in faces}

  assert turned(faces) == turned(template.stages[0].faces)
  mesh = trimesh.Trimesh(read, faces, process=False)
  np.testing.assert_allclose(mesh.volume, 0.2322, atol=1e-3)


def build(path, **fields):
  model = configs.get_config().model.to_dict()
  small = {"c_dim": 32, "hidden_size": 8, "template_file": str(path)}
  return registry.build({**model, **small, **fields})


def test_a_run_starts_from_the_sphere_of_a_file(tmp_path):
  for number, inward in enumerate((False, True)):
    sphere = trimesh.creation.icosphere(1, 0.3)
    if inward:
      sphere.invert()
    path = tmp_path / f"sphere_{number}.ply"
    sphere.export(path)
    method = build(path)
    assert method.output.closed
    read, faces = template_files.read_template(path)
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 0.3, atol=1e-6)
    assert trimesh.Trimesh(read, faces, process=False).volume > 0
    refined = graph_mesh.refine(read, faces)
    assert [len(stage.faces) for stage in refined.stages] == [80, 320, 1280]


def two_spheres():
  far = trimesh.creation.icosphere(1).apply_translation((5, 0, 0))
  return trimesh.util.concatenate([trimesh.creation.icosphere(1), far])


def twisted():
  box = trimesh.creation.box()
  faces = np.vstack([box.faces[:1, ::-1], box.faces[1:]])
  return trimesh.Trimesh(box.vertices, faces, process=False)


def open_box():
  box = trimesh.creation.box()
  return trimesh.Trimesh(box.vertices, box.faces[:-2], process=False)


@pytest.mark.parametrize(
  ("mesh", "message"),
  [
    (open_box(), "the template has open edges; want a closed sphere"),
    (twisted(), "the template has faces wound in both directions; want a closed"),
    (two_spheres(), "the template has 2 parts; want a closed sphere"),
    (trimesh.creation.torus(1.0, 0.3), "the template has 1 handles; want a closed"),
  ],
  ids=["open", "twisted", "two parts", "torus"],
)
def test_a_template_that_is_no_closed_sphere_is_refused_in_one_sentence(
  mesh, message, tmp_path
):
  mesh.export(tmp_path / "template.ply")
  with pytest.raises(ValueError, match=message):
    build(tmp_path / "template.ply")


class _Shell:
  def __reduce__(self):
    return print, ("executed",)


@pytest.mark.parametrize(
  "content",
  [
    pickle.dumps(_Shell(), protocol=2),
    pickle.dumps((np.zeros((4, 3)), 1)),
    b"no pickle",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff\x7ftS'b'\ntR.",
  ],
  ids=["a call", "too short", "no pickle", "a huge array"],
)
def test_a_file_of_another_content_is_refused_and_runs_nothing(
  content, tmp_path, capsys
):
  path = tmp_path / "info_ellipsoid.dat"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r"cannot be read as info_ellipsoid.dat"):
    build(path)
  assert not capsys.readouterr().out


def test_neighbours_of_other_vertices_are_refused(tmp_path):
  template, vertices = ellipsoid()
  edges = template.stages[0].edges
  path = write_published(tmp_path / "info_ellipsoid.dat", vertices, edges)
  write_published(path, vertices[:100], edges[(edges < 100).all(1)])
  with pytest.raises(ValueError, match="the template has"):
    build(path)  # cut off, it is open
