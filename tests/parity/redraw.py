"""PyTorch's random float32 numbers on a CPU, drawn again with numpy (host).

PyTorch's generator is a Mersenne twister seeded as in its authors' `init_genrand`; what
differs between libraries is how its 32-bit words become floats. With it the weights of
a recorded case follow from the case's seed, and only what the reference made of them
has to be stored.
"""

import math

import numpy as np

BLOCK = 16  # normal numbers that PyTorch draws at a time, from 8 pairs of uniform ones


class Generator:
  """torch.Generator().manual_seed(seed), with torch.rand and torch.randn."""

  def __init__(self, seed):
    words = [seed & 0xFFFFFFFF]
    for i in range(1, 624):
      last = words[-1]
      words.append((1812433253 * (last ^ (last >> 30)) + i) & 0xFFFFFFFF)
    self._twister = np.random.MT19937()
    state = {"key": np.array(words, np.uint32), "pos": 624}
    self._twister.state = {"bit_generator": "MT19937", "state": state}
    self._spare = None  # the second of a pair of normal numbers

  def rand(self, shape):
    """Uniform in [0, 1): the low 24 bits of a word each."""
    return self._uniform(math.prod(shape)).reshape(shape)

  def randn(self, shape):
    """Standard normal, by Box and Muller's method."""
    count = math.prod(shape)
    if count < BLOCK:
      values = np.array([self._normal() for _ in range(count)], np.float64)
      return values.reshape(shape).astype(np.float32)
    uniform = self._uniform(count)
    whole = count - count % BLOCK
    values = np.empty(count, np.float32)
    values[:whole] = _box_muller(uniform[:whole])
    if whole < count:  # the last 16 are drawn anew, over part of the block before
      values[-BLOCK:] = _box_muller(self._uniform(BLOCK))
    return values.reshape(shape)

  def _uniform(self, count):
    words = self._twister.random_raw(count)
    return (words & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)

  def _uniform_double(self):
    high, low = (int(word) for word in self._twister.random_raw(2))
    return ((high << 32 | low) & (2**53 - 1)) * 2.0**-53

  def _normal(self):
    if self._spare is not None:
      value, self._spare = self._spare, None
      return value
    angle = 2 * math.pi * self._uniform_double()
    radius = math.sqrt(-2 * math.log1p(-self._uniform_double()))
    self._spare = radius * math.sin(angle)
    return radius * math.cos(angle)


def _box_muller(uniform):
  """In float32 throughout, as PyTorch computes it."""
  first, second = np.moveaxis(uniform.reshape(-1, 2, BLOCK // 2), 1, 0)
  radius = np.sqrt(-2 * np.log(1 - first))
  angle = 2 * math.pi * second
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()


def state_dict(case):
  """The weights of a case of spec.json in the reference's layout, by name.

  They are random but not degenerate: no layer is zero and no statistic at its default.
  Transposed convolutions are divided by the size of all axes but the first where they
  are of kind "linear", and by that of the first where they are "transposed".
  """
  generator, named = Generator(case["seed"]), {}
  for row in case["modules"]:
    name = row["module"]
    draw = {
      "bn": _batch_norm,
      "linear": _linear,
      "norm": _norm,
      "scalars": _scalars,
      "transposed": _transposed,
      "weight_norm": _weight_norm,
    }[row["kind"]]
    tensors = draw(generator, row["tensors"], row.get("scale", 1.0), name)
    if "shift" in row:
      tensors["bias"] += np.array(row["shift"], np.float32)
    prefix = f"{name}." if name else ""
    named |= {f"{prefix}{leaf}": tensor for leaf, tensor in tensors.items()}
  return named


def _batch_norm(generator, shapes, gain, name):
  named = {"running_mean": 0.3 * generator.randn(shapes["running_mean"])}
  named["running_var"] = 0.5 + generator.rand(shapes["running_var"])
  if "weight" in shapes:
    named |= _norm(generator, shapes, gain, name)
  return named


def _norm(generator, shapes, gain, name):
  del gain, name
  weight = 1 + 0.2 * generator.randn(shapes["weight"])
  return {"weight": weight, "bias": 0.2 * generator.randn(shapes["bias"])}


def _scalars(generator, shapes, gain, name):
  del gain, name
  return {leaf: 0.5 + generator.rand(shape) for leaf, shape in shapes.items()}


def _weight_norm(generator, shapes, gain, name):
  del name
  fan_in = shapes["weight_v"][1]
  direction = generator.randn(shapes["weight_v"]) * fan_in**-0.5
  length = (1 + 0.2 * generator.randn(shapes["weight_g"])) * gain
  bias = 0.1 * gain * generator.randn(shapes["bias"])
  return {"weight_v": direction, "weight_g": length, "bias": bias}


def _transposed(generator, shapes, scale, name):
  del name
  gain = scale * shapes["weight"][0] ** -0.5
  weight = gain * generator.randn(shapes["weight"])
  return {"weight": weight, "bias": 0.1 * scale * generator.randn(shapes["bias"])}


def _linear(generator, shapes, scale, name):
  gain = scale * math.prod(shapes["weight"][1:]) ** -0.5
  if name.endswith(("gamma", "beta")):
    gain *= 0.5
  named = {"weight": gain * generator.randn(shapes["weight"])}
  if "bias" in shapes:
    bias = 0.1 * scale * generator.randn(shapes["bias"])
    named["bias"] = bias + 1 if name.endswith("gamma") else bias
  return named
