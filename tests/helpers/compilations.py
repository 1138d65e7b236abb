"""Programs that JAX compiles: counts of them, and fewer of them."""

import contextlib

import jax

from occnet_jax.types import Method


@contextlib.contextmanager
def count_compilations():
  """Yields a list that receives an entry for every program that JAX compiles."""
  compiled = []

  def note(event, seconds, **details):
    if event == "/jax/core/compile/backend_compile_duration":
      compiled.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(note)
  yield compiled
  jax.monitoring.unregister_event_duration_listener(note)


def compiled(method: Method) -> Method:
  """A method each of whose functions is one program, as they are in use.

  Op by op, most of the time of a test goes into hundreds of small programs.
  """
  return method._replace(
    loss=jax.jit(method.loss, static_argnums=3),
    encode=jax.jit(method.encode),
    decode=jax.jit(method.decode),
    score=jax.jit(method.score),
  )
