"""The network of scans: what must not matter to it, and what its settings change."""

import jax
import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax import trained_model
from occnet_jax.data.example_batch import example_batch
from occnet_jax.models import oriented_points, registry
from occnet_jax.train import initial_values
from tests.helpers.compilations import count_compilations

pytestmark = pytest.mark.usefixtures("plain_convolutions")

KEY = jax.random.key(0)
SMALL = {
  "grid_resolution": 4,
  "c_dim": 8,
  "hidden_size": 8,
  "unet3d_levels": 1,
  "unet3d_filters": 8,
  "decoder_blocks": 1,
  "moment_sides": (32,),  # no statement here is about several scales
  "poisson_side": 32,
  "fine_poisson_side": 32,
}


def make_config(**changes):
  config = base.get_config("scan")
  config.model.update(**SMALL | changes)
  config.data.scan.points = (64, 500)
  config.data.targets = ("cloud_normals",)
  return config.to_dict()


def make_batch(n=200, t=50):
  rng = np.random.default_rng(0)
  normals = rng.standard_normal((2, n, 3))
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  points = rng.uniform(-0.5, 0.5, (2, t, 3))
  inside = np.linalg.norm(points, axis=-1) < 0.4
  batch = {"inputs": 0.4 * normals, "cloud_normals": normals, "points": points}
  batch["occupancies"] = inside
  return {k: v.astype(np.float32) for k, v in batch.items()}


@pytest.fixture(scope="module")
def initial():
  """Initial values of the network."""
  return initial_values.draw(registry.build(make_config()["model"]), KEY, make_batch())


@pytest.fixture(scope="module")
def net(initial):
  config, rng = make_config(), np.random.default_rng(1)
  method = registry.build(config["model"])
  # Random values everywhere, so that no part is silent.
  variables = jax.tree.map(
    lambda x: x + np.float32(0.05 * rng.standard_normal(x.shape)), initial
  )
  return method, variables, config


VARIANTS = {  # changes of the config, and whether to train
  "training": ({}, True),
  "use": ({}, False),
  "finer training": ({"fine_poisson_side": 48}, True),
  "finer use": ({"fine_poisson_side": 48}, False),
  "solid_weight 0": ({"solid_weight": 0.0}, True),
  "solid_weight 3": ({"solid_weight": 3.0}, True),
  "normal_weight 0": ({"normal_weight": 0.0}, True),
  "normal_weight 3": ({"normal_weight": 3.0}, True),
}


@pytest.fixture(scope="module")
def losses(net):
  """Losses of networks with the same weights; one program, for what they share."""
  _, variables, config = net

  @jax.jit
  def compute(variables, batch, key):
    return {
      name: registry.build(config["model"] | changes).loss(variables, batch, key, train)
      for name, (changes, train) in VARIANTS.items()
    }

  made = compute(variables, make_batch(), KEY)
  losses = {name: (float(loss), logged) for name, (loss, (_, logged)) in made.items()}
  other = compute(variables, make_batch(), jax.random.key(1))["training"][0]
  return losses | {"training with another key": (float(other), {})}


def test_padding_order_and_points_outside_do_not_matter(net):
  method, variables, _ = net
  batch = make_batch()
  cloud, points = batch["inputs"], batch["points"]
  encode, decode = jax.jit(method.encode), jax.jit(method.decode)

  def values(cloud):
    return np.asarray(decode(variables, encode(variables, cloud), points))

  expected = values(cloud)
  assert np.ptp(expected) > 0.1
  nan = np.full((2, 56, 3), np.nan, np.float32)
  for other in (
    np.concatenate([cloud, nan], 1),
    cloud[:, ::-1],
    # As many rows as above, for which the program is there already.
    np.concatenate([cloud, nan[:, 9:] + 1, 0.56 + 0 * cloud[:, :9]], 1),
  ):
    np.testing.assert_allclose(values(other), expected, atol=2e-4)


def test_given_normals_take_the_place_of_the_networks_where_they_are_not_zero(net):
  method, variables, _ = net
  batch = make_batch()

  def encode(cloud):
    return jax.tree.map(np.asarray, jax.jit(method.encode)(variables, cloud))

  cloud, normals = batch["inputs"], batch["cloud_normals"]
  plain = encode(cloud)
  none = encode(np.concatenate([cloud, 0 * cloud], -1))
  jax.tree.map(np.testing.assert_array_equal, none, plain)
  given = encode(np.concatenate([cloud, normals], -1))
  turned = encode(np.concatenate([cloud, -normals], -1))
  np.testing.assert_array_equal(given["grid"], plain["grid"])
  # The solve is linear in them, and positive inside of a ball with outward ones.
  np.testing.assert_allclose(given["solid"], -turned["solid"], atol=2e-5)
  middle = given["solid"].shape[-1] // 2
  assert (given["solid"][:, middle, middle, middle] > 0).all()
  every_second = normals * (np.arange(200) % 2)[:, None].astype(np.float32)
  half = encode(np.concatenate([cloud, every_second], -1))
  for other in (plain, given):
    assert np.abs(half["solid"] - other["solid"]).max() > 1e-3
  padded = np.concatenate([cloud, normals], -1)
  padded = np.pad(padded, ((0, 0), (0, 56), (0, 0)), constant_values=np.nan)
  np.testing.assert_allclose(encode(padded)["solid"], given["solid"], atol=2e-5)


def test_a_network_that_reads_normals_starts_as_one_without_and_learns_from_them(
  initial, net, losses
):
  """Its clouds in training have normals in the share that the config names."""
  without, variables, config = net
  half, always = (
    registry.build(config["model"] | {"normals_given": share}) for share in (0.5, 1.0)
  )
  batch = make_batch()
  cloud = batch["inputs"]
  full = np.concatenate([cloud, batch["cloud_normals"]], -1)
  start = initial_values.draw(always, KEY, batch)
  own = start["params"].pop("fc_given")
  jax.tree.map(np.testing.assert_array_equal, start, initial)
  assert not np.any(own["kernel"])

  def with_given(kernel):
    return variables | {"params": variables["params"] | {"fc_given": kernel}}

  changed = with_given(jax.tree.map(lambda x: x + np.float32(0.1), own))
  expected = np.asarray(jax.jit(without.encode)(variables, cloud)["grid"])
  encode = jax.jit(always.encode)
  np.testing.assert_array_equal(encode(with_given(own), cloud)["grid"], expected)
  np.testing.assert_array_equal(encode(with_given(own), full)["grid"], expected)
  np.testing.assert_array_equal(encode(changed, cloud)["grid"], expected)
  assert np.abs(encode(changed, full)["grid"] - expected).max() > 1e-3

  @jax.jit
  def compute(variables, batch, key):
    return (
      always.loss(variables, batch, key, True)[0],
      always.loss(variables, batch, key, False)[0],
      half.loss(variables, batch, key, False)[0],
    )

  (of_always, *in_use), (with_other_errors, *_) = (
    compute(changed, batch, jax.random.key(k)) for k in (0, 1)
  )
  # Without a share nothing is drawn, with one the errors of the normals.
  assert losses["training"][0] == losses["training with another key"][0]
  assert of_always != with_other_errors
  assert float(in_use[0]) == float(in_use[1])
  assert float(in_use[0]) == pytest.approx(losses["use"][0], rel=1e-5)


def test_normals_are_given_to_the_share_of_clouds_with_errors_of_some_degrees():
  rng = np.random.default_rng(0)
  normals = rng.standard_normal((400, 20, 3)).astype(np.float32)
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  normals[:, :5] = 0  # outliers
  cloud = rng.standard_normal((400, 20, 3)).astype(np.float32)
  give = jax.jit(oriented_points.give_normals, static_argnums=3)
  made = np.asarray(give(cloud, normals, KEY, 0.3))
  np.testing.assert_array_equal(made[..., :3], cloud)
  lengths = np.linalg.norm(made[..., 3:], axis=-1)
  given = lengths[:, 5:].max(1) > 0
  assert given.mean() == pytest.approx(0.3, abs=0.07)
  np.testing.assert_allclose(lengths[given][:, 5:], 1, atol=1e-5)
  assert not lengths[~given].any() and not lengths[:, :5].any()
  cosines = (made[..., 3:] * normals).sum(-1)[given][:, 5:]
  angles = np.degrees(np.arccos(cosines.clip(-1, 1))).mean(1)  # of each cloud
  assert angles.min() < 1.5 and 10 < angles.max() < 18


def test_true_normals_enclose_the_ball():
  """The solver's field of oriented points, without anything that is learned."""
  batch = make_batch(n=3000)
  n = batch["inputs"].shape[1]
  weights = np.full((2, n), 1 / n, np.float32)
  oriented = oriented_points.Oriented(
    batch["inputs"], batch["cloud_normals"], weights, weights > 0
  )
  solid = np.asarray(jax.jit(oriented_points.solve, static_argnums=1)(oriented, 32))
  axis = (np.arange(32) / 32 - 0.5) * oriented_points.BOX
  radius = np.sqrt(sum(x**2 for x in np.meshgrid(axis, axis, axis, indexing="ij")))
  clear = np.abs(radius - 0.4) > 0.06
  np.testing.assert_array_equal(solid[0][clear] > 0, radius[clear] < 0.4)
  # The jump is 1 / area.
  jump = np.median(solid[0][radius < 0.3]) - np.median(solid[0][radius > 0.5])
  assert jump == pytest.approx(1 / (4 * np.pi * 0.4**2), rel=0.1)


def test_the_solver_is_finer_in_use_than_in_training(net, losses):
  _, variables, config = net
  for fine in (32, 48):
    method = registry.build(config["model"] | {"fine_poisson_side": fine})
    latent = jax.eval_shape(method.encode, variables, make_batch()["inputs"])
    assert latent["solid"].shape == (2, fine, fine, fine)
  assert losses["training"][0] == losses["finer training"][0]
  assert losses["use"][0] != losses["finer use"][0]


def test_errors_of_normals_are_those_of_angles():
  normals = np.float32([[[0, 0, 2], [3, 0, 0], [0, -1, 0], [1, 1, 0]]])
  true = np.float32([[[0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 0]]])
  oriented = oriented_points.Oriented(
    normals, normals, np.ones((1, 4), np.float32), np.full((1, 4), True)
  )
  error, turned = jax.jit(oriented_points.normal_errors)(oriented, true)
  assert float(error) == pytest.approx((0 + 1 + 2) / 3)
  assert float(turned) == pytest.approx(1 / 3)


@pytest.mark.parametrize("weight", ["solid_weight", "normal_weight"])
def test_the_weights_of_the_loss_are_those_of_its_terms(net, losses, weight):
  default = net[2]["model"][weight]
  without, (middle, logged), most = (
    losses[name] for name in (f"{weight} 0", "training", f"{weight} 3")
  )
  assert middle > without[0] + 0.1
  slope = (middle - without[0]) / default
  assert most[0] - middle == pytest.approx((3 - default) * slope, rel=1e-4)
  if weight == "normal_weight":
    added = make_batch()["points"].shape[1] * float(logged["normal_error"])
    assert slope == pytest.approx(added, rel=1e-4)


def test_a_cloud_of_any_size_is_used_whole_in_the_frame_of_its_own_points(net):
  method, variables, config = net
  model = trained_model.Model(method, variables, config, {})
  rng = np.random.default_rng(0)
  cloud = rng.standard_normal((450, 3))
  cloud = 7 * cloud / np.linalg.norm(cloud, axis=1, keepdims=True) + [3, 2, 1]
  settings = {"resolution_0": 8, "upsampling_steps": 1, "on_empty": "empty"}
  mesh = model.reconstruct(cloud, **settings)
  far = model.reconstruct(np.concatenate([cloud, [[90.0, 0, 0]]]), **settings)
  assert len(mesh.faces)
  np.testing.assert_allclose(mesh.bounds, far.bounds, atol=0.7)  # a cell
  with count_compilations() as compiled:
    model.reconstruct(cloud[:400], **settings)
  assert compiled == []
  few = model.reconstruct(cloud[:64], **settings)
  assert few.vertices.shape != mesh.vertices.shape or not np.allclose(
    few.vertices, mesh.vertices
  )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"moment_sides": (8, 16)}, r"moment_sides is \(8, 16\); want 32 among them"),
    ({"normals_given": 1.5}, r"normals_given is 1.5; want a share of 0 to 1"),
    (
      {"grid_resolution": 6, "unet3d_levels": 2},
      r"grid_resolution is 6; want a multiple of 4, which",
    ),
  ],
)
def test_sizes_that_do_not_go_together_are_one_sentence(changes, message):
  with pytest.raises(ValueError, match=message):
    registry.build(make_config(**changes)["model"])


def test_the_default_sizes_have_so_many_parameters():
  config = base.get_config("scan").to_dict()
  settings = config_lib.parse(config)
  method = registry.build(settings.model)
  specs = registry.variable_specs(method, example_batch(settings.data))
  assert sum(x.size for x in jax.tree.leaves(specs["params"])) == 265_602


def test_the_card_of_a_network_of_scans_says_what_its_clouds_were(net, tmp_path):
  method, variables, config = net
  record = {"step": 3, "iou": 0.5}
  trained_model.Model(method, variables, config, record).save_pretrained(tmp_path / "m")
  card = (tmp_path / "m" / "README.md").read_text()
  assert "from a cloud of 64 to 500 points" in card
  assert "up to 0.02 cube units" in card
  assert "stand in any way" in card
