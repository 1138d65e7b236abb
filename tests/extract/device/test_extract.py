import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.ndimage import map_coordinates
from jax.tree_util import Partial

from configs import base
from occnet_jax.config import parse
from occnet_jax.extract import to_mesh
from occnet_jax.extract.batch.shared_field import SharedEvaluator
from occnet_jax.extract.device import extract
from occnet_jax.extract.field import as_field, decoder_field
from occnet_jax.extract.pipeline import NoSurface, extract_mesh
from occnet_jax.types import Field, Method
from tests.extract.batch.test_shared_field import in_threads

SIDE = 41  # points a side of the arrays between whose points fields are trilinear
SMALL = {"resolution_0": 6, "upsampling_steps": 2}
X, Y, Z = np.moveaxis(np.stack(np.indices((SIDE,) * 3), -1) / (SIDE - 1) - 0.5, -1, 0)
ARRAYS = {
  "torus": 0.13 - np.hypot(np.hypot(X, Y) - 0.3, Z),
  "thin slab": np.minimum(0.04 - abs(Z - 0.013), 0.4 - np.maximum(abs(X), abs(Y))),
  "leaves the cube": X + 0.3 * Y - 0.05,
  "corners at the level": 0.25 - np.maximum(abs(X), np.maximum(abs(Y), abs(Z))),
  "classifier": np.tanh(20 * (0.3 - np.hypot(X - 0.05, np.hypot(Y, Z + 0.02)))),
  "two balls": np.maximum(
    0.2 - np.hypot(X - 0.25, np.hypot(Y, Z)), 0.15 - np.hypot(X + 0.25, np.hypot(Y, Z))
  ),
}


@pytest.fixture(autouse=True)
def long_lists(monkeypatch):
  """Lists as long as these shapes need, because each length is another program."""
  monkeypatch.setattr(extract, "_sizes", {8: 1024, 12: 2048, 24: 8192})


def trilinear(array, point):
  """Of one point (3,) in the padded cube."""
  return map_coordinates(array, (point / 1.1 + 0.5) * (SIDE - 1), 1, mode="nearest")


def field_of(name):
  return Partial(trilinear, jnp.asarray(ARRAYS[name], jnp.float32))


def both(name, method, **settings):
  field = field_of(name)
  meshes = [
    extract_mesh(field, method=method, backend=backend, **SMALL | settings)
    for backend in ("host", "device")
  ]
  # The octree is no stage of its own on the device.
  assert [m.metadata["seconds_octree"] > 0 for m in meshes] == [True, False]
  return meshes


def turned(faces):
  """The set of the faces, each with its least vertex first."""
  return {tuple(np.roll(face, -face.argmin())) for face in np.asarray(faces)}


@pytest.mark.parametrize("name", ARRAYS)
def test_linear_marching_cubes_are_the_same_on_host_and_device(name):
  host, device = both(name, "mise", points_per_batch=500)
  np.testing.assert_allclose(device.vertices, host.vertices, atol=1e-5)
  np.testing.assert_array_equal(device.faces, host.faces)
  np.testing.assert_allclose(device.vertex_normals, host.vertex_normals, atol=1e-4)
  for fact in ("resolution", "evaluations", "faces_extracted"):
    assert device.metadata[fact] == host.metadata[fact]
  for fact in ("value_min", "value_max"):
    assert device.metadata[fact] == pytest.approx(host.metadata[fact], abs=1e-6)


@pytest.mark.parametrize("name", ARRAYS)
def test_vertices_at_roots_are_the_same_on_host_and_device(name):
  host, device = both(name, "mise_roots")
  cell = 1.1 / host.metadata["resolution"]
  assert turned(device.faces) == turned(host.faces)
  assert np.abs(device.vertices - host.vertices).max() < 1e-3 * cell
  assert device.metadata["evaluations"] == host.metadata["evaluations"]
  assert device.is_watertight


@pytest.mark.parametrize("method", extract.METHODS)
def test_a_dense_grid_is_the_same_on_host_and_device(method):
  dense = {"resolution_0": 13, "upsampling_steps": 0}
  host, device = both("torus", method, **dense)
  np.testing.assert_allclose(device.vertices, host.vertices, atol=1e-5)
  assert turned(device.faces) == turned(host.faces)


def test_lists_that_are_too_short_are_doubled_until_they_suffice(monkeypatch):
  (host,), sizes = [both("torus", "mise")[:1]][0], {24: 256}
  monkeypatch.setattr(extract, "_sizes", sizes)
  device = extract_mesh(field_of("torus"), method="mise", backend="device", **SMALL)
  np.testing.assert_array_equal(device.faces, host.faces)
  assert sizes[24] >= len(host.vertices) > 256


def test_shapes_are_extracted_together_as_one_by_one():
  def decode(variables, latent, points):
    return latent - jnp.linalg.norm(variables[None, None] * points, axis=-1)

  stretch = jnp.array([1.0, 1.3, 0.8])
  latents = [jnp.full((1, 1), radius) for radius in (0.2, 0.31, 0.45)]
  fields = [decoder_field(decode, stretch, latent, 300) for latent in latents]
  alone = [extract_mesh(field, backend="device", **SMALL) for field in fields]
  with SharedEvaluator(decode, stretch, 4) as evaluator:
    shared = [evaluator.field(*pair) for pair in zip(latents, fields, strict=True)]
    calls = [lambda f=f: extract_mesh(f, backend="device", **SMALL) for f in shared]
    together = in_threads(calls)
  for mesh, expected in zip(together, alone, strict=True):
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-5)
    np.testing.assert_array_equal(mesh.faces, expected.faces)


def test_a_field_without_a_surface_is_refused_in_the_same_words():
  messages = []
  for backend in ("host", "device"):
    with pytest.raises(NoSurface) as refused:
      extract_mesh(
        field_of("corners at the level"), level=0.4, backend=backend, **SMALL
      )
    messages.append(str(refused.value))
  assert messages[0] == messages[1]
  empty = extract_mesh(
    field_of("torus"), level=0.4, backend="device", on_empty="empty", **SMALL
  )
  assert not len(empty.faces)


def test_a_field_that_is_not_finite_is_refused_in_the_words_of_the_host():
  def broken(point):
    return jnp.where(point[0] > 0.2, jnp.nan, 0.3 - jnp.linalg.norm(point))

  with pytest.raises(ValueError, match=r"the field is nan at .*want finite values"):
    extract_mesh(broken, method="mise", backend="device", **SMALL)


def test_a_simplified_mesh_has_the_normals_of_its_own_vertices():
  mesh = extract_mesh(field_of("torus"), backend="device", simplify_faces=300, **SMALL)
  ring = mesh.vertices * [1, 1, 0]
  ring *= 0.33 / np.linalg.norm(ring, axis=1, keepdims=True)  # 0.3 in the padded cube
  outward = mesh.vertices - ring
  outward /= np.linalg.norm(outward, axis=1, keepdims=True)
  assert np.median((outward * mesh.vertex_normals).sum(1)) > 0.98


@pytest.mark.parametrize(
  "field,settings,words",
  [
    (field_of("torus"), {"backend": "gpu"}, r"backend='gpu'; want one of auto, host"),
    (field_of("torus"), {"method": "dual"}, r"method='dual'; want backend='host'"),
    (
      field_of("torus"),
      {"resolution_0": 33, "upsampling_steps": 3},
      r"264 cells a side, above 256; want",
    ),
    (lambda p: np.cos(p.strides[0] * p[:, 0]), {}, r"HostField, which JAX cannot tr"),
  ],
)
def test_what_there_is_no_program_for_is_refused(field, settings, words):
  with pytest.raises(ValueError, match=words):
    extract_mesh(field, **{"backend": "device", **settings})


def test_the_memory_of_the_tables_is_in_the_budget():
  with pytest.raises(ValueError, match="max_memory allows 0 MiB; raise it"):
    extract_mesh(field_of("torus"), backend="device", max_memory=2**19, **SMALL)


@pytest.mark.parametrize("backend", ["host", "device"])
def test_a_run_extracts_where_its_config_says(monkeypatch, backend):
  config = base.get_config()
  config.generation.backend = backend
  config.generation.update({"resolution_0": 4, "upsampling_steps": 1})
  calls, run_program = [], extract.run_program
  monkeypatch.setattr(
    extract, "run_program", lambda *args: calls.append(args) or run_program(*args)
  )
  method = Method(
    init=None,
    loss=None,
    encode=None,
    decode=lambda variables, latent, p: latent - jnp.linalg.norm(p, axis=-1),
    output=Field(level=0.0),
    score=None,
  )
  generation = parse(config.to_dict()).generation
  settings = to_mesh.settings_of(generation)
  mesh = to_mesh.to_mesh(method, {}, jnp.full((1, 1), 0.4), **settings)
  assert mesh.is_watertight
  assert len(calls) == (backend == "device")


def test_a_config_with_another_backend_is_refused():
  config = base.get_config()
  config.generation.backend = "tpu"
  with pytest.raises(ValueError, match=r"config.generation: backend='tpu'; want one"):
    to_mesh.check(parse(config.to_dict()).generation)


def test_the_gradients_of_the_program_are_those_of_the_field():
  field = as_field(field_of("classifier"))
  run = extract.Extraction(field, 6, 2, 0.0)
  vertices, faces, _, gradients = extract.triangulate_level_set(run, "mise", None)
  expected = field.gradients(run.to_cube(vertices))
  np.testing.assert_allclose(gradients, expected, atol=1e-4)
  assert len(faces)
