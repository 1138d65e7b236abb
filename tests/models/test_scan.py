"""The network of scans: what must not matter to it, and what its settings change."""

import jax
import jax.numpy as jnp
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
  "unet3d_levels": 2,
  "unet3d_filters": 8,
  "moment_sides": (8, 32),
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
  return {k: jnp.asarray(v, jnp.float32) for k, v in batch.items()} | {
    "occupancies": jnp.asarray(inside, jnp.float32)
  }


@pytest.fixture(scope="module")
def net():
  config = make_config()
  method = registry.build(config["model"])
  # Random values everywhere, so that no part is silent.
  variables = initial_values.draw(method, KEY, make_batch())
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(KEY, len(leaves))
  leaves = [
    x + 0.05 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)
  ]
  return method, jax.tree.unflatten(tree, leaves), config


def make_values(net):
  """A compiled function (cloud, points) -> values at the points."""
  method, variables, _ = net
  return jax.jit(
    lambda cloud, points: method.decode(
      variables, method.encode(variables, cloud), points
    )
  )


def test_padding_order_and_points_outside_do_not_matter(net):
  batch = make_batch()
  cloud, points = batch["inputs"], batch["points"]
  values = make_values(net)
  expected = values(cloud, points)
  assert float(jnp.ptp(expected)) > 0.1
  nan = jnp.full((2, 30, 3), jnp.nan)
  for other in (
    jnp.concatenate([cloud, nan], 1),
    cloud[:, ::-1],
    # As many rows as above, for which the program is there already.
    jnp.concatenate([cloud, nan[:, 9:] + 1, 0.56 + 0 * cloud[:, :9]], 1),
  ):
    np.testing.assert_allclose(values(other, points), expected, atol=2e-4)


def test_given_normals_take_the_place_of_the_networks_where_they_are_not_zero(net):
  method, variables, _ = net
  encode = jax.jit(lambda cloud: method.encode(variables, cloud))
  batch = make_batch()
  cloud, normals = batch["inputs"], batch["cloud_normals"]
  plain = encode(cloud)
  none = encode(jnp.concatenate([cloud, 0 * cloud], -1))
  jax.tree.map(np.testing.assert_array_equal, none, plain)
  given = encode(jnp.concatenate([cloud, normals], -1))
  turned = encode(jnp.concatenate([cloud, -normals], -1))
  np.testing.assert_array_equal(given["grid"], plain["grid"])
  # The solve is linear in them, and positive inside of a ball with outward ones.
  np.testing.assert_allclose(given["solid"], -turned["solid"], atol=2e-5)
  middle = given["solid"].shape[-1] // 2
  assert (given["solid"][:, middle, middle, middle] > 0).all()
  half = jnp.concatenate([cloud, normals.at[:, ::2].set(0)], -1)
  for other in (plain, given):
    assert float(jnp.abs(encode(half)["solid"] - other["solid"]).max()) > 1e-3
  padded = jnp.concatenate([cloud, normals], -1)
  padded = jnp.pad(padded, ((0, 0), (0, 56), (0, 0)), constant_values=jnp.nan)
  np.testing.assert_allclose(encode(padded)["solid"], given["solid"], atol=2e-5)


def test_a_network_that_reads_normals_starts_as_one_without_and_learns_from_them():
  """Its clouds in training have normals in the share that the config names."""
  batch = make_batch()
  losses, grids = {}, {}
  for share in (0.0, 0.5, 1.0):
    method = registry.build(make_config(normals_given=share)["model"])
    variables = initial_values.draw(method, KEY, batch)
    own = variables["params"].pop("fc_given", None)
    if share:
      assert not own["kernel"].any()
      changed = jax.tree.map(lambda x: x + 0.1, own)
    full = jnp.concatenate([batch["inputs"], batch["cloud_normals"]], -1)
    for name, given in (("first", own), ("changed", changed if share else None)):
      params = variables["params"] | ({"fc_given": given} if share else {})
      of = variables | {"params": params}
      encode = jax.jit(method.encode)
      grids[share, name] = encode(of, batch["inputs"])["grid"], encode(of, full)["grid"]
    loss = jax.jit(method.loss, static_argnums=3)
    losses[share] = [
      float(loss(of, batch, jax.random.key(k), train)[0])
      for k, train in ((0, True), (1, True), (0, False))
    ]
  np.testing.assert_array_equal(grids[1.0, "first"][0], grids[0.0, "first"][0])
  np.testing.assert_array_equal(grids[1.0, "first"][1], grids[0.0, "first"][0])
  plain, with_normals = grids[1.0, "changed"]
  np.testing.assert_array_equal(plain, grids[0.0, "first"][0])
  assert float(jnp.abs(with_normals - plain).max()) > 1e-3
  assert losses[0.0][0] == losses[0.0][1]  # nothing is drawn
  assert losses[1.0][0] != losses[1.0][1]  # the errors of the normals
  assert losses[1.0][2] == losses[0.5][2] == pytest.approx(losses[0.0][2], rel=1e-5)


def test_normals_are_given_to_the_share_of_clouds_with_errors_of_some_degrees():
  rng = np.random.default_rng(0)
  normals = rng.standard_normal((400, 20, 3)).astype(np.float32)
  normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
  normals[:, :5] = 0  # outliers
  cloud = rng.standard_normal((400, 20, 3)).astype(np.float32)
  made = oriented_points.give_normals(
    jnp.asarray(cloud), jnp.asarray(normals), KEY, 0.3
  )
  made = np.asarray(made)
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
  weights = jnp.full((2, n), 1 / n)
  oriented = oriented_points.Oriented(
    batch["inputs"], batch["cloud_normals"], weights, weights > 0
  )
  solid = oriented_points.solve(oriented, 32)
  axis = (np.arange(32) / 32 - 0.5) * oriented_points.BOX
  radius = np.sqrt(sum(x**2 for x in np.meshgrid(axis, axis, axis, indexing="ij")))
  clear = np.abs(radius - 0.4) > 0.06
  np.testing.assert_array_equal(solid[0][clear] > 0, radius[clear] < 0.4)
  # The jump is 1 / area.
  jump = np.median(solid[0][radius < 0.3]) - np.median(solid[0][radius > 0.5])
  assert jump == pytest.approx(1 / (4 * np.pi * 0.4**2), rel=0.1)


def test_the_solver_is_finer_in_use_than_in_training(net):
  _, variables, config = net
  batch, losses = make_batch(), []
  for fine in (32, 48):
    method = registry.build(config["model"] | {"fine_poisson_side": fine})
    latent = method.encode(variables, batch["inputs"])
    assert latent["solid"].shape == (2, fine, fine, fine)
    losses.append(
      [float(method.loss(variables, batch, KEY, train)[0]) for train in (True, False)]
    )
  assert losses[0][0] == losses[1][0]
  assert losses[0][1] != losses[1][1]


def test_errors_of_normals_are_those_of_angles():
  normals = jnp.asarray([[[0, 0, 2.0], [3.0, 0, 0], [0, -1.0, 0], [1.0, 1, 0]]])
  true = jnp.asarray([[[0, 0, 1.0], [0, 1.0, 0], [0, 1.0, 0], [0, 0, 0]]])
  oriented = oriented_points.Oriented(
    normals, normals, 0 * normals[..., 0] + 1, jnp.ones((1, 4)) > 0
  )
  error, turned = oriented_points.normal_errors(oriented, true)
  assert float(error) == pytest.approx((0 + 1 + 2) / 3)
  assert float(turned) == pytest.approx(1 / 3)


@pytest.mark.parametrize("weight", ["solid_weight", "normal_weight"])
def test_the_weights_of_the_loss_are_those_of_its_terms(net, weight):
  _, variables, config = net
  batch, losses, logged = make_batch(), [], None
  for value in (0.0, 1.0, 3.0):
    method = registry.build(config["model"] | {weight: value})
    loss, (_, logged) = method.loss(variables, batch, KEY, True)
    losses.append(float(loss))
  assert losses[1] > losses[0] + 0.1
  assert losses[2] - losses[1] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)
  if weight == "normal_weight":
    added = batch["points"].shape[1] * float(logged["normal_error"])
    assert losses[1] - losses[0] == pytest.approx(added, rel=1e-4)


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
    ({"grid_resolution": 6}, r"grid_resolution is 6; want a multiple of 4, which"),
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
