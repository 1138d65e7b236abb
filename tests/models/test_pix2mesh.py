"""Pixel2Mesh as a method: its meshes, its loss, its inputs and its files."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from PIL import Image

import occnet_jax
from configs import pix2mesh as configs
from occnet_jax import config as config_lib
from occnet_jax.cli import reconstruct, stages
from occnet_jax.data import batches
from occnet_jax.data.user_inputs import find_items
from occnet_jax.extract.to_mesh import to_mesh
from occnet_jax.geometry import cameras
from occnet_jax.interop import exports, runs, state_dict
from occnet_jax.interop.torch_format import file
from occnet_jax.models import registry
from occnet_jax.nn import graph_mesh
from occnet_jax.train import initial_values, nonfinite, optimizers
from occnet_jax.train import state as state_lib
from tests.models.test_every_method import make_config

SMALL = {"c_dim": 32, "hidden_size": 8, "template_vertices": 12}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def build(**changed):
  model = configs.get_config().model.to_dict()
  return registry.build({**model, **SMALL, **changed})


def make_inputs(seed=0):
  rng = np.random.default_rng(seed)
  camera_mat = cameras.square_camera_matrix(cameras.camera_matrix(32), (0, 0, 32, 32))
  views = [cameras.world_matrix(angle, 25.0, 2.0) for angle in (10.0, 200.0)]
  return {
    "image": rng.random((2, 32, 32, 3), np.float32),
    "world_mat": np.stack(views).astype(np.float32),
    "camera_mat": np.stack([camera_mat] * 2).astype(np.float32),
  }


@pytest.fixture(scope="module")
def variables():
  """Initial values, which are those of every network here: none has other layers."""
  return initial_values.draw(build(), jax.random.key(0), {"inputs": make_inputs()})


def constant(variables, result):
  """Variables whose blocks all give this result for every vertex."""
  decoder = dict(variables["params"]["decoder"])
  for name in ("gc3", "gc6", "gc9"):
    lin = {**decoder[name]["lin"], "bias": jnp.array(result)}
    lin["kernel"] = np.zeros_like(lin["kernel"])
    lin2 = jax.tree.map(np.zeros_like, decoder[name]["lin2"])
    decoder[name] = {"lin": lin, "lin2": lin2}
  return {**variables, "params": {**variables["params"], "decoder": decoder}}


def run(method, variables, inputs):
  """Vertices of both shapes, and the faces; one by one, as `to_mesh` takes them."""
  encode, decode = jax.jit(method.encode), jax.jit(method.decode)
  vertices = []
  for i in range(2):
    latent = encode(variables, jax.tree.map(lambda x, i=i: x[i : i + 1], inputs))
    shape, faces = decode(variables, latent)
    vertices.append(np.asarray(shape))
  return np.concatenate(vertices), np.asarray(faces)


def test_the_network_has_as_many_parameters_as_that_of_the_reference():
  config = configs.get_config().to_dict()
  method = registry.build(config["model"])
  params = registry.variable_specs(method, {"inputs": make_inputs()})["params"]
  counts = {
    name: sum(leaf.size for leaf in jax.tree.leaves(part))
    for name, part in params.items()
  }
  assert counts == {"encoder": 12_843_632, "decoder": 3_995_913}
  assert sum(counts.values()) == 16_839_545


def test_offsets_of_zero_leave_the_template_in_the_middle_of_the_cube(variables):
  """The image's camera moves it out and back, and does not turn what it sees."""
  method, inputs = build(), make_inputs()
  variables = constant(variables, [0.0, 0.0, 0.0])
  vertices, faces = run(method, variables, inputs)
  template = graph_mesh.make_template(12)
  assert faces.shape == (320, 3) and vertices.shape == (2, 162, 3)
  np.testing.assert_allclose(vertices.mean(1), 0, atol=0.01)
  for shape, world_mat in zip(vertices, inputs["world_mat"], strict=True):
    turned = template.vertices @ world_mat[:, :3]  # R^T of each
    np.testing.assert_allclose(shape[:12], turned, atol=1e-5)
  latent = jax.jit(method.encode)(variables, jax.tree.map(lambda x: x[:1], inputs))
  mesh = to_mesh(method, variables, latent)
  assert mesh.is_watertight and mesh.volume > 0


def test_published_blocks_give_positions_in_the_frame_of_the_camera(variables):
  method, inputs = build(published=True), make_inputs()
  position = [0.1, -0.2, 1.5]
  vertices, _ = run(method, constant(variables, position), inputs)
  for shape, world_mat in zip(vertices, inputs["world_mat"], strict=True):
    place = world_mat[:, :3].T @ (np.array(position) - world_mat[:, 3])
    np.testing.assert_allclose(shape, np.repeat(place[None], 162, 0), atol=1e-5)


def test_a_target_that_is_the_mesh_itself_has_no_distance_in_any_frame(variables):
  method, inputs = build(), make_inputs()
  vertices, _ = run(method, variables, inputs)
  batch = {"inputs": inputs, "surface": vertices, "normals": vertices}
  score, loss_of = jax.jit(method.score), jax.jit(method.loss, static_argnums=3)
  np.testing.assert_allclose(score(variables, batch)["loss"], 0, atol=1e-9)
  loss, (_, scalars) = loss_of(variables, batch, None, True)
  assert scalars.keys() > {"chamfer_to", "chamfer_from", "edge", "laplacian", "move"}
  total = sum(float(x) for name, x in scalars.items() if name != "loss")
  np.testing.assert_allclose([loss, scalars["loss"]], total, rtol=1e-6)
  # Far above: one nearest each way.
  moved = {**batch, "surface": vertices + np.float32([0, 5, 0])}
  scores = np.asarray(score(variables, moved)["loss"])
  for score, shape in zip(scores, vertices, strict=True):
    squares = ((shape[:, None] - shape[None] - 5 * np.eye(3)[1]) ** 2).sum(-1)
    naive = squares.min(0).mean() + squares.min(1).mean()
    np.testing.assert_allclose(score, naive, rtol=1e-4)


def test_every_option_of_the_published_code_changes_the_mesh_or_the_loss(variables):
  inputs = make_inputs()
  meshes = [
    run(build(**x), variables, inputs)[0] for x in ({}, {"align_corners": False})
  ]
  assert np.isfinite(meshes).all() and np.abs(meshes[0] - meshes[1]).max() > 1e-5
  # As many points as the mesh has in the test above, whose program serves here, too.
  surface = np.random.default_rng(3).uniform(-0.4, 0.4, (2, 162, 3)).astype(np.float32)
  batch = {"inputs": inputs, "surface": surface, "normals": surface}
  losses = [
    float(jax.jit(method.loss, static_argnums=3)(variables, batch, None, True)[0])
    for method in (build(), build(adjust_losses=False))
  ]
  assert np.isfinite(losses).all() and abs(losses[1] / losses[0] - 1) > 1e-6


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"c_dim": 40}, r"c_dim is 40; want a multiple of 32"),
    ({"encoder": "resnet18"}, r"'resnet18'; want one of: pix2mesh"),
    ({"template_vertices": 3}, r"template_vertices is 3; want 4 or more"),
  ],
)
def test_sizes_that_the_network_cannot_have_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_data_without_cameras_are_one_sentence_before_training(tiny_data, tmp_path):
  config = make_config("pix2mesh", tiny_data)
  message = r"lacks the field 'views' .* with pictures and their cameras: .*views=24"
  with pytest.raises(ValueError, match=message):
    stages.train(config, tmp_path)


def test_inputs_without_a_camera_are_one_sentence_before_training(tiny_views, tmp_path):
  config = make_config("pix2mesh", tiny_views)
  config["data"]["inputs"] = "image"
  with pytest.raises(ValueError, match=r"'pix2mesh', which reads image_camera, but"):
    stages.train(config, tmp_path)


@pytest.fixture(scope="module")
def imported(tmp_path_factory, tiny_views, variables):
  """A run with the weights of a file in the reference's form, and that file."""
  config = make_config("pix2mesh", tiny_views)
  config["model"]["published"] = True
  folder = tmp_path_factory.mktemp("imported")
  path, workdir = folder / "pix2mesh.pt", folder / "run"
  runs.FILES["pix2mesh"].write(path, variables, step=7, best=0.25)
  runs.import_torch(config, workdir, str(path))
  return workdir, path


def test_weights_of_the_reference_s_form_make_a_run_and_come_out_again(
  imported, variables, tmp_path
):
  workdir, path = imported
  model = occnet_jax.restore(workdir)
  assert model.record["step"] == 7 and model.record["loss"] == 0.25
  for ours, theirs in zip(
    jax.tree.leaves(model.variables["params"]),
    jax.tree.leaves(variables["params"]),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)
  runs.export_torch(workdir, str(tmp_path / "again.pt"))
  before, after = (
    state_dict.tensors_of(file.read(p)) for p in (path, tmp_path / "again.pt")
  )
  assert list(before) == list(after)
  names = list(before)
  assert names[:3] == [
    f"decoder.gc1.0.{x}" for x in ("lin.weight", "lin.bias", "lin2.weight")
  ]
  assert names[-1] == "encoder.block_4.6.bias" and len(names) == 129 + 36
  assert names.index("decoder.gc2.2.0.lin.weight") < names.index(
    "decoder.gc2.10.0.lin.weight"
  )


def test_a_bad_step_is_kept_with_its_cameras_and_can_be_repeated(
  tiny_views, variables, tmp_path
):
  config = make_config("pix2mesh", tiny_views)
  settings = config_lib.parse(config)
  examples = batches.open_train(settings.data)
  batch = next(batches.read_host_batches(settings, examples, 0))
  batch["inputs"]["camera_mat"][3, 0, 0] = np.nan
  optimizer = optimizers.make(settings.optim, 24)
  method = registry.build(config["model"])
  method = method._replace(init=lambda key, batch: variables)  # are there already
  state = state_lib.create(method, optimizer, batch, seed=0, ema=False)
  nonfinite.dump(tmp_path, state, config, batch, [])
  first, inputs, *_ = nonfinite.diagnose(tmp_path / "failures" / "step_0")
  assert first == "step 0: loss nan"
  assert inputs.startswith("batch: 1 arrays not finite")


def test_weights_are_refused_where_they_would_mean_offsets(
  imported, tiny_views, tmp_path
):
  config = make_config("pix2mesh", tiny_views)
  with pytest.raises(ValueError, match=r"published is False, want True for weights of"):
    runs.import_torch(config, tmp_path / "other", str(imported[1]))


def test_an_image_is_reconstructed_with_its_camera_and_no_other_way(imported, tmp_path):
  model = occnet_jax.restore(imported[0])
  image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
  camera = {
    "world_mat": cameras.world_matrix(30.0, 25.0, 1.8),
    "camera_mat": cameras.camera_matrix(40),
  }
  mesh = model.reconstruct({"image": image, **camera})
  assert len(mesh.faces) == 320 and np.isfinite(mesh.vertices).all()
  # In units that are half as long the same camera is twice as far.
  scaled = {**camera, "world_mat": 2 * camera["world_mat"]}
  other = model.reconstruct({"image": image, **scaled})
  assert np.abs(other.vertices - mesh.vertices).max() > 1e-3
  for wrong in (image, {"image": image}):
    with pytest.raises(
      ValueError, match=r"tells nothing of the camera, .* 'world_mat'"
    ):
      model.reconstruct(wrong)
  with pytest.raises(ValueError, match=r"world_mat of shape \(4, 4\); want \(3, 4\)"):
    model.reconstruct({"image": image, **camera, "world_mat": np.eye(4)})


def test_an_exported_program_takes_images_with_their_cameras(variables, tmp_path):
  config = configs.get_config()
  config.data.image_side = 32
  config.model.update(SMALL)
  method, inputs = registry.build(config.model.to_dict()), make_inputs()
  path = exports.write(tmp_path, "stablehlo", method, variables, config.to_dict())
  about = json.loads(path.read_text())
  assert about["output"] == "mesh" and about["observation"] == "image_camera"
  assert about["inputs"]["world_mat"] == ["b", 3, 4]
  encoder, decoder = (
    export.deserialize(bytearray((tmp_path / f"{name}.stablehlo").read_bytes()))
    for name in ("encoder", "decoder")
  )
  vertices, faces = decoder.call(encoder.call(inputs))
  expected, expected_faces = run(method, variables, inputs)
  np.testing.assert_allclose(vertices, expected, atol=1e-5)
  np.testing.assert_array_equal(faces, expected_faces)


def test_a_photograph_or_a_folder_of_them_is_one_sentence(imported, tmp_path):
  photo = tmp_path / "photos" / "chair.png"
  photo.parent.mkdir()
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photo)
  for source, target in ((photo, "a.glb"), (photo.parent, "out")):
    with pytest.raises(ValueError, match=r"a picture file tells nothing of the camera"):
      reconstruct.reconstruct(imported[0], source, tmp_path / target)
  with pytest.raises(ValueError, match=r"chair\.png: .* pass both to occnet_jax"):
    find_items(photo, tmp_path, "image_camera")
