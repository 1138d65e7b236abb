"""A network's initial values, drawn array by array (device).

As one program, dozens of draws take long to compile, more so with every array. Draws of
the same form are one small program here, which is compiled once and used for each.
"""

from typing import Any

import jax
from jax.extend import core

from occnet_jax.types import Batch, Method, Variables

# A program that runs once is not worth LLVM's optimisations, which take most of the
# time. Other compilers than the CPU's are left as they are.
_QUICKLY = {"cpu": (("xla_backend_optimization_level", 0),)}


def draw(method: Method, key: Any, batch: Batch) -> Variables:
  """What `method.init` returns, up to rounding.

  Args:
    method: the system.
    key: JAX key.
    batch: a batch as training will have them; only shapes and types of its arrays
      count.
  """
  closed, form = jax.make_jaxpr(method.init, return_shape=True)(key, batch)
  options = _QUICKLY.get(jax.default_backend(), ())
  # What the network computes of the batch is no part of any result.
  needed = {v for v in closed.jaxpr.outvars if isinstance(v, core.Var)}
  kept = []
  for step in reversed(closed.jaxpr.eqns):
    if needed.isdisjoint(step.outvars):
      continue
    needed.update(v for v in step.invars if isinstance(v, core.Var))
    if "compiler_options_kvs" in step.params:  # a program within the program
      step = step.replace(params={**step.params, "compiler_options_kvs": options})
    kept.append(step)
  closed = closed.replace(jaxpr=closed.jaxpr.replace(eqns=kept[::-1]))
  values = core.jaxpr_as_fun(closed)(*jax.tree.leaves((key, batch)))
  return jax.tree.unflatten(jax.tree.structure(form), values)
