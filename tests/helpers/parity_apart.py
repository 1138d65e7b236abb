"""Recordings that are compared in a way of their own: of SIREN and of encodings.

SIREN's loss has slopes of the network, so its gradients are second derivatives, and
they are taken in float64. A formula has neither weights nor a loss.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from occnet_jax.models import siren
from occnet_jax.nn.hash_grid import interpolate_level, make_levels
from occnet_jax.nn.point_mlp import PointMLP
from occnet_jax.nn.positional import random_fourier_features
from tests.helpers import parity

SIREN = ("siren_small", "siren_256", "siren_nerf_relu")
FORMULAS = ("formula_fourier", "formula_hashgrid")
CASES = (*SIREN, *FORMULAS)
# Row of each feature in the published order: x; then, for each octave, the sine and the
# cosine of each axis. Ours are x, all sines and all cosines.
PUBLISHED_ROWS = np.array(
  [
    *range(3),
    *(3 + 6 * octave + 2 * axis for octave in range(10) for axis in range(3)),
    *(4 + 6 * octave + 2 * axis for octave in range(10) for axis in range(3)),
  ]
)


def is_nerf(case):
  return case == "siren_nerf_relu"


def network(case):
  sizes = parity.SPEC[case]["about"]["config"]
  omega, octaves = (0.0, 10) if is_nerf(case) else (float(sizes["omega"]), 0)
  mlp = PointMLP(sizes["hidden_features"], sizes["num_hidden_layers"] + 1, omega=omega)
  return siren.Siren(mlp, octaves)


def weights(case, dtype=np.float32):
  named = parity.state_dict(parity.SPEC[case])
  named = {name: array.astype(dtype) for name, array in named.items()}
  if is_nerf(case):
    named["net.net.0.0.weight"] = named["net.net.0.0.weight"][:, PUBLISHED_ROWS]
  return named, parity.as_variables(named)


def batch_of(case, dtype=np.float32):
  given = parity.load(case, "in/")
  on = given["sdf"][0, :, 0] != -1
  points = given["coords"].astype(dtype) / 2  # from -1 to 1 there
  return {
    "surface": jnp.asarray(points[:, on]),
    "normals": jnp.asarray(given["normals"][:, on].astype(dtype)),
    "points": jnp.asarray(points[:, ~on]),
    "occupancies": jnp.zeros((1, (~on).sum()), dtype),
  }


def graded(method, variables, batch):
  def loss(params):
    value, (_, scalars) = method.loss({"params": params}, batch, None, True)
    return value, scalars

  return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


def tolerances(case):
  """The largest errors that are accepted, by what is compared."""
  # The phases of the tenth octave reach 1,600, where float32 resolves 1e-4.
  outputs = 1e-4 if is_nerf(case) else 1e-5
  if case == "formula_fourier":  # phases of 63 periods
    return {"outputs": 5e-5}
  if case == "formula_hashgrid":
    return {"outputs": 2e-5}
  # Redrawn weights differ from the recorded ones in their last bit.
  training = {"loss": 1e-5, "gradients": 1e-5, "loss after a step": 1e-4}
  return {"outputs": outputs, **training}


def largest_errors(case):
  """Largest errors of a case, as of `parity.largest_errors`.

  Those of encodings are absolute. The loss of SIREN and each of its terms count as one.
  """
  if case in FORMULAS:
    compare = _fourier_error if case == "formula_fourier" else _hash_grid_error
    return {"outputs": compare()}
  net, (_, variables) = network(case), weights(case)
  given, recorded = parity.load(case, "in/"), parity.load(case, "eval/")
  outputs = net.apply(variables, jnp.asarray(given["coords"]))
  method, trained = siren.method(net), parity.load(case, "train/")
  (value, scalars), gradients = graded(method, variables, batch_of(case))
  terms = np.array([scalars[name] for name in siren.TERMS])
  errors = np.abs(terms * [3000, 100, 100, 50] / recorded["loss_terms"] - 1)
  adam = optax.adam(1e-4)
  updates, _ = adam.update(gradients, adam.init(variables["params"]))
  stepped = {"params": optax.apply_updates(variables["params"], updates)}
  (after, _), _ = graded(method, stepped, batch_of(case))
  return {
    "outputs": parity.relative_error(outputs, recorded["sdf"][..., 0]),
    "loss": max(errors.max(), parity.relative_error(value, trained["loss"])),
    "gradients": _gradient_error(case),
    "loss after a step": parity.relative_error(after, trained["loss_after_adam_step"]),
  }


def _gradient_error(case):
  with jax.enable_x64(True):
    named, variables = weights(case, np.float64)
    batch = batch_of(case, np.float64)
    _, gradients = graded(siren.method(network(case)), variables, batch)
    gradients = jax.device_get(gradients)
  if is_nerf(case):
    kernel = gradients["mlp"]["lin0"]["kernel"]
    gradients["mlp"]["lin0"]["kernel"] = kernel[np.argsort(PUBLISHED_ROWS)]
  assert named.keys() == parity.load(case, "gradnorm/").keys()
  return parity.gradient_error(case, named, gradients)


def _fourier_error():
  arrays, recorded = (parity.load("formula_fourier", p) for p in ("in/", "eval/"))
  x = jnp.asarray(arrays["x"][None])
  pairs = (("b", "out0"), ("b_posenc", "posenc"))
  return max(
    float(
      np.abs(
        random_fourier_features(x, jnp.asarray(arrays[b]))[0] - recorded[out]
      ).max()
    )
    for b, out in pairs
  )


def _hash_grid_error():
  arrays = parity.load("formula_hashgrid", "in/")
  levels = make_levels(5, base_resolution=4, growth=1.7, max_entries=512)
  x = jnp.asarray(arrays["x"][None])
  tables = (jnp.asarray(arrays[f"table_{i}"]) for i in range(len(levels)))
  features = [
    interpolate_level(table, x, level)
    for table, level in zip(tables, levels, strict=True)
  ]
  recorded = parity.load("formula_hashgrid", "eval/")["out0"]
  return float(np.abs(np.concatenate(features, -1)[0] - recorded).max())
