"""XLA's own convolutions on CPUs, where occnet_jax.nn.conv chooses forms of its own."""

import contextlib

from occnet_jax.nn import conv


@contextlib.contextmanager
def plain():
  """Trace plain convolutions, which compile six times as fast.

  Functions that are compiled already keep their form.
  """
  names = "_CONVOLVE", "_BY_INPUT", "_BY_KERNEL"
  forms = {name: getattr(conv, name) for name in names}
  for name, (_, elsewhere) in forms.items():
    setattr(conv, name, (elsewhere, elsewhere))
  try:
    yield
  finally:
    for name, form in forms.items():
      setattr(conv, name, form)
