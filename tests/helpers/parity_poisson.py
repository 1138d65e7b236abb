"""The recorded Poisson solver, and its gradients by points and normals.

The recordings are of float64, so everything is compared in it. Names in them end with
the number of values where not all nodes are there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from occnet_jax import losses
from occnet_jax.nn import periodic, poisson
from tests.helpers import parity, parity_sap

CASES = ("sap_dpsr_32",)
NETWORKS = ("sap_small", "sap_small_3plane")  # whose solver was recorded by itself, too
COUNT = 4096


def tolerances(case):
  """The largest errors that are accepted, by what is compared."""
  del case
  # Where the grid is not stored in float64 the recording is as exact as float32.
  return {"outputs": 1e-7, "loss": 1e-12, "gradients": 1e-12}


def largest_errors(case):
  """Largest errors of a case, as of `parity.largest_errors`."""
  given, recorded = parity.load(case, "in/"), parity.load(case, "eval/")
  config = parity.SPEC[case]["about"]["config"]
  with jax.enable_x64(True):
    args = {name: jnp.asarray(array, np.float64) for name, array in given.items()}
    found = jax.jit(lambda a: _outputs(a, config["resolution"]))(args)
    errors = {"outputs": [parity.relative_error(found[k], recorded[k]) for k in found]}
    errors |= {"loss": [], "gradients": []}
    for sigma in config["sigmas"]:
      value, gradients = _functional(args, config["resolution"], sigma)
      wanted = parity.load(case, f"train/sigma{sigma}_functional")[""]
      errors["loss"].append(parity.relative_error(value, wanted))
      wanted = parity.load(case, f"grad/sigma{sigma}/")
      errors["gradients"] += [
        parity.relative_error(gradients[name], wanted[name]) for name in wanted
      ]
  return {name: max(each) for name, each in errors.items()}


def _outputs(args, side):
  points, normals = args["points"], args["normals"]
  raw = poisson.solve(poisson.rasterise(points, normals, side), 2.0)

  def take(grid):
    return jnp.stack([parity_sap.take(each, COUNT) for each in grid])

  on_nodes = poisson.rasterise(args["points_on_nodes"], args["normals_on_nodes"], side)
  return {
    "raster_on_nodes": jnp.moveaxis(on_nodes, -1, 1),  # features first there
    "sigma2_raw_4096": take(raw),
    "sigma2_raw_at_points": periodic.read(raw, points),
    "sigma2_4096": take(poisson.indicator(points, normals, side, 2.0)),
    "sigma0_4096": take(poisson.indicator(points, normals, side, 0.0)),
  }


def _functional(args, side, sigma):
  """The recorded functional of the field, and its gradients by name."""

  @jax.jit
  def value(arrays):
    field = poisson.indicator(arrays["points"], arrays["normals"], side, float(sigma))
    return (args["functional"] * field).sum()

  names = "points", "normals"
  return jax.value_and_grad(value)({name: args[name] for name in names})


def error_within_network(case):
  """The largest error of the loss's gradients by a network's own points and normals.

  Coordinates on a node, to which they were clamped, have no gradient in the recording.
  """
  given, own = parity.load(case, "in/"), parity.load(case, "eval/")
  config = parity.SPEC[case]["about"]["config"]["model"]
  recorded = parity.load(case, "grad_at/")
  with jax.enable_x64(True):
    target = jnp.asarray(given["gt_psr"], np.float64)
    points, normals = (
      jnp.asarray(own[name], np.float64) for name in ("points", "normals")
    )

    @jax.jit
    def loss(points, normals):
      sizes = config["grid_res"], float(config["psr_sigma"])
      return losses.tanh_l2(poisson.indicator(points, normals, *sizes), target)

    by_points, by_normals = jax.grad(loss, argnums=(0, 1))(points, normals)
    by_points = jnp.where(points == 0, 0, by_points)
  return max(
    parity.relative_error(by_points, recorded["points"]),
    parity.relative_error(by_normals, recorded["normals"]),
  )
