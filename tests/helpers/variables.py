"""Random variables of networks, without the program that would draw initial ones."""

import jax
import jax.numpy as jnp
import numpy as np


def draw(init, *args, seed=0):
  """Variables with the names and shapes that `init(key, *args)` gives them.

  For tests that hold for any weights: nothing is compiled. Arrays of two or more axes
  are normal, divided by the root of their fan-in, also where a start would be zero;
  biases and running means are zero, and all else is one.
  """
  rng = np.random.default_rng(seed)

  def values(path, leaf):
    if len(leaf.shape) > 1:
      array = rng.standard_normal(leaf.shape) / np.prod(leaf.shape[:-1]) ** 0.5
    else:
      array = np.full(leaf.shape, path[-1].key not in ("bias", "mean"))
    return jnp.asarray(array, leaf.dtype)

  specs = jax.eval_shape(init, jax.random.key(0), *args)
  return jax.tree_util.tree_map_with_path(values, specs)
