"""A local network trained on balls, and further on the cloud of another shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import trimesh
from scipy.spatial import KDTree

from configs import base
from occnet_jax import losses
from occnet_jax.api import Model
from occnet_jax.cli import reconstruct as reconstruct_lib
from occnet_jax.models import registry
from occnet_jax.train import checkpoint
from occnet_jax.train import state as state_lib
from tests.helpers.compilations import count_compilations
from tests.helpers.training import make_batch

pytestmark = pytest.mark.usefixtures("plain_convolutions")

STEPS = 100  # of the training of the network
FURTHER = 100  # on a cloud, in every test: one program


def make_config():
  config = base.get_config("convonet")
  config.data.cloud_points = 128
  config.model.update(
    plane_resolution=8, c_dim=8, encoder_hidden_size=8, encoder_blocks=2
  )
  config.model.update(unet_depth=2, unet_filters=8, hidden_size=8, decoder_blocks=2)
  config.model.update(tau=0.5, tau_grid=(0.5,))
  config.generation.update(resolution_0=16, upsampling_steps=1)
  config.generation.finetune_learning_rate = 3e-3
  return config.to_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A workdir with the network."""
  config = make_config()
  method = registry.build(config["model"])
  batches = [make_batch(seed, t=64, n=128) for seed in range(20)]
  batches = jax.tree.map(lambda *arrays: np.stack(arrays), *batches)
  optimizer = optax.adam(1e-2)
  example = jax.tree.map(lambda a: a[0], batches)
  state = state_lib.create(method, optimizer, example, seed=0, ema=False)

  def update(carry, step):
    params, moments = carry
    batch = jax.tree.map(lambda a: a[step % len(a)], batches)

    def loss(params):
      return method.loss({"params": params}, batch, jax.random.key(0), True)[0]

    value, gradient = jax.value_and_grad(loss)(params)
    updates, moments = optimizer.update(gradient, moments)
    return (optax.apply_updates(params, updates), moments), value

  start = state.params, state.opt_state
  batches = jax.tree.map(jnp.asarray, batches)
  train = jax.jit(lambda start: jax.lax.scan(update, start, jnp.arange(STEPS)))
  (params, _), values = train(start)
  assert values[-20:].mean() < 0.3 * values[0]
  workdir = tmp_path_factory.mktemp("balls")
  with checkpoint.Checkpoints(workdir, config, keep_period=0) as checkpoints:
    checkpoints.save("best", state.replace(params=params), {"level": 0.0})
  return workdir


@pytest.fixture(scope="module")
def model(run):
  config = make_config()
  saved = checkpoint.restore(run)
  method = registry.build(config["model"])
  variables = {"params": saved.state["params"], "batch_stats": {}}
  return Model(method, variables, config, {"step": 0})


@pytest.fixture(scope="module")
def clouds():
  """Two clouds of one box, which no ball is: one to train on, and one held out."""
  box = trimesh.creation.box((1, 0.7, 0.4))
  return [np.asarray(box.sample(1000, seed=seed)) for seed in (0, 1)]


def distance(points, mesh):
  surface = np.asarray(mesh.sample(20_000, seed=0))
  return KDTree(surface).query(points)[0].mean()


@pytest.fixture(scope="module")
def tuned(model, clouds):
  """The network's values, and meshes of the first cloud before and after training."""
  before = jax.tree.map(np.array, model.variables)
  plain = model.reconstruct(clouds[0])
  return before, plain, model.reconstruct(clouds[0], finetune_steps=FURTHER)


def test_training_on_a_cloud_brings_the_surface_to_its_other_points(
  model, clouds, tuned
):
  cloud, held_out = clouds
  before, plain, tuned = tuned
  assert tuned.is_watertight and tuned.volume > 0
  assert distance(held_out, tuned) < 0.6 * distance(held_out, plain)
  # The network stays, and so does what it makes of the cloud.
  jax.tree.map(np.testing.assert_array_equal, before, model.variables)
  np.testing.assert_array_equal(model.reconstruct(cloud).vertices, plain.vertices)


def test_training_on_a_cloud_lowers_the_loss_on_its_other_points(model, clouds):
  cloud, held_out = (np.float32(points) for points in clouds)
  inputs = cloud[:128]
  elsewhere = np.random.default_rng(0).uniform(-0.55, 0.55, (1, 1000, 3))

  def loss(network):
    latent = network.encode(inputs[None])
    on, off = (network.decode(latent, p)[0] for p in (held_out[None], elsewhere))
    return float(jax.jit(losses.sign_agnostic_cross_entropy)(on, off))

  assert loss(model.finetuned(inputs, cloud, FURTHER)) < 0.7 * loss(model)


@pytest.mark.usefixtures("tuned")
def test_a_second_cloud_compiles_nothing(model, clouds):
  with count_compilations() as compiled:
    model.reconstruct(clouds[1][:700], finetune_steps=FURTHER)
  assert not compiled


def test_the_command_line_trains_on_the_cloud_that_it_reads(run, clouds, tmp_path):
  np.savetxt(tmp_path / "box.xyz", clouds[0])
  volumes = []
  for steps in (0, FURTHER):
    config = make_config()
    config["generation"]["finetune_steps"] = steps
    target = tmp_path / f"{steps}.ply"
    reconstruct_lib.reconstruct(
      run, tmp_path / "box.xyz", target, config_override=config
    )
    volumes.append(trimesh.load(target).volume)
  assert abs(volumes[1] - volumes[0]) > 1e-3


def test_a_network_of_other_inputs_is_one_sentence(model):
  config = make_config()
  config["data"] |= {"inputs": "voxels", "voxel_side": 8}
  config["model"]["encoder"] = "voxel_simple_local"
  other = Model(registry.build(config["model"]), {}, config, {"step": 0})
  with pytest.raises(ValueError, match=r"finetune_steps is for networks of clouds, no"):
    other.reconstruct(np.zeros((8, 8, 8), np.float32), finetune_steps=5)
