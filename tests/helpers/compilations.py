"""Counts of the programs that JAX compiles."""

import contextlib

import jax


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
