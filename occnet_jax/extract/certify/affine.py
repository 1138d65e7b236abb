"""Affine arithmetic: what values a quantity can have, as the inputs vary (device, jnp).

A quantity is `base + slopes . e + slack * d`, with e in [-1, 1]^k, shared by all
quantities: first the place within a box, then errors made on the way; and d in [-1, 1],
which may differ from number to number: the affine forms of de Figueiredo and Stolfi
(Numerical Algorithms 37, 2004). Linear maps keep the form; other functions of one
number are put between two parallel lines. The largest of the errors that this makes
become symbols e of their own, the others slack: "truncated" in Sharp and Jacobson,
Spelunking the Deep (SIGGRAPH 2022), section 3. Slack alone, which forgets that errors
may cancel, certifies nothing of a network of ten layers.

What is not finite on the way makes a bound NaN, which decides nothing.

Shape letters: k symbols, s the shape of a quantity.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

KEPT, LEAST_KEPT = 1 / 4, 16  # of the errors of an operation: symbols of their own

Value = Float[Array, "*s"]
Known = Any  # an array that does not depend on the point, also a literal of a program
Unary = Callable[[Value], Value]


class Affine(NamedTuple):
  """Attributes:
  base: s, the value where all symbols are 0.
  slopes: (k, *s) its change with each; with those that came later it does not change.
  slack: s, at least 0: how far from that it may be.
  """

  base: Value
  slopes: Float[Array, "k *s"]
  slack: Value

  def plus(self, known: Known) -> "Affine":
    return self._replace(base=self.base + known)


class Ternary(NamedTuple):
  """A condition on quantities. Attributes: yes, no: s, where that is certain."""

  yes: Bool[Array, "*s"]
  no: Bool[Array, "*s"]


def radius(x: Affine) -> Value:
  """The most by which it differs from its base."""
  return jnp.abs(x.slopes).sum(0) + x.slack


def bounds(x: Affine) -> tuple[Value, Value]:
  """The least and the largest value."""
  r = radius(x)
  return x.base - r, x.base + r


def constant(x: Known) -> Affine:
  """A known array as a quantity that does not vary."""
  if isinstance(x, Affine):
    return x
  x = jnp.asarray(x, jnp.float32)
  return Affine(x, jnp.zeros((0, *x.shape)), jnp.zeros_like(x))


def align(*xs: Affine) -> list[Affine]:
  """The same, with slopes for as many symbols in each."""
  count = max(len(x.slopes) for x in xs)

  def pad(x: Affine) -> Affine:
    missing = jnp.zeros((count - len(x.slopes), *x.base.shape))
    return (
      x._replace(slopes=jnp.concatenate([x.slopes, missing])) if len(missing) else x
    )

  return [pad(x) for x in xs]


class Symbols:
  """Hands out symbols. Attributes: count, how many there are."""

  def __init__(self, count: int):
    self.count = count

  def keep(self, x: Affine) -> Affine:
    """The same, with the largest slacks as slopes of new symbols."""
    slack, shape = x.slack.reshape(-1), x.base.shape
    count = min(slack.size, max(LEAST_KEPT, round(KEPT * slack.size)))
    most, where = jax.lax.top_k(slack, count)
    fresh = jnp.zeros((count, slack.size)).at[jnp.arange(count), where].set(most)
    rest = slack.at[where].set(0)
    missing = jnp.zeros((self.count - len(x.slopes), *shape))
    self.count += count
    slopes = jnp.concatenate([x.slopes, missing, fresh.reshape(count, *shape)])
    return Affine(x.base, slopes, rest.reshape(shape))


def apply(function: Callable, *xs: Affine, of_slack: Callable | None = None) -> Affine:
  """A linear function; `of_slack` is it with the sizes of its coefficients."""
  xs = align(*xs)
  slack = (of_slack or function)(*(x.slack for x in xs))
  slopes = jax.vmap(function)(*(x.slopes for x in xs))
  return Affine(function(*(x.base for x in xs)), slopes, slack)


def add(x: Affine, y: Affine) -> Affine:
  return apply(jnp.add, x, y)


def subtract(x: Affine, y: Affine) -> Affine:
  return apply(jnp.subtract, x, y, of_slack=jnp.add)


def scale(x: Affine, by: Known) -> Affine:
  """Times a known array of the same shape, or a number."""
  return apply(lambda a: a * by, x, of_slack=lambda a: a * jnp.abs(by))


def multiply(x: Affine, y: Affine) -> Affine:
  """A product; of a quantity with itself, its square."""
  if x is y:
    return power(x, 2)
  x, y = align(x, y)
  slopes = x.base[None] * y.slopes + y.base[None] * x.slopes
  slack = jnp.abs(x.base) * y.slack + jnp.abs(y.base) * x.slack
  return Affine(x.base * y.base, slopes, slack + radius(x) * radius(y))


def between_lines(
  x: Affine,
  function: Unary,
  critical: Callable[[Value], Sequence[Value]],
  *,
  least: float = -jnp.inf,
  period: float = jnp.inf,
) -> Affine:
  """function(x), between two lines as steep as the chord over the range of x.

  Args:
    x: the argument.
    function: element by element.
    critical: a slope -> all places where the function has it or bends, among others.
    least: where the function begins; x is taken to lie above if it can.
    period: arguments that vary by as much or more get level lines.
  """
  low, high = bounds(x)
  low, high = jnp.maximum(low, least), jnp.where(high < least, jnp.nan, high)
  width = high - low
  use = (width > 0) & (width < period)
  chord = (function(high) - function(low)) / jnp.where(use, width, 1)
  slope = jnp.where(use, chord, 0)
  places = [low, high, *(jnp.clip(c, low, high) for c in critical(slope))]
  above = jnp.stack([function(place) - slope * place for place in places])
  bottom, top = above.min(0), above.max(0)
  line = scale(x, slope)
  slack = line.slack + (top - bottom) / 2
  return Affine(line.base + (bottom + top) / 2, line.slopes, slack)


def relu(x: Affine) -> Affine:
  """max(x, 0)."""
  return between_lines(x, lambda t: jnp.maximum(t, 0), lambda s: [jnp.zeros_like(s)])


def maximum(x: Affine, y: Affine) -> Affine:
  """The larger; how far the two may be off does not add up."""
  zero = jnp.zeros_like(x.slack)
  first, second = x._replace(slack=zero), y._replace(slack=zero)
  both = add(first, relu(subtract(second, first)))
  both = both._replace(slack=both.slack + jnp.maximum(x.slack, y.slack))
  return where(compare(subtract(y, x)), x, y, both)


def absolute_value(x: Affine) -> Affine:
  return between_lines(x, jnp.abs, lambda s: [jnp.zeros_like(s)])


def sin(x: Affine) -> Affine:
  turn = 2 * jnp.pi
  nearest = turn * jnp.round(x.base / turn)

  def critical(slope: Value) -> list[Value]:
    angle = jnp.arccos(jnp.clip(slope, -1, 1))
    return [nearest + turn * k + a for k in (-1, 0, 1) for a in (-angle, angle)]

  return between_lines(x, jnp.sin, critical, period=turn)


def tanh(x: Affine) -> Affine:
  """The hyperbolic one."""

  def critical(slope: Value) -> list[Value]:
    place = jnp.arctanh(jnp.sqrt(1 - jnp.clip(slope, 0, 1)))
    return [-place, place]

  return between_lines(x, jnp.tanh, critical)


def sigmoid(x: Affine) -> Affine:
  return scale(tanh(scale(x, 0.5)), 0.5).plus(0.5)


def erf(x: Affine) -> Affine:
  def critical(slope: Value) -> list[Value]:
    share = jnp.clip(slope * jnp.sqrt(jnp.pi) / 2, 0, 1)
    return [sign * jnp.sqrt(-jnp.log(share)) for sign in (-1, 1)]

  return between_lines(x, jax.lax.erf, critical)


def exp(x: Affine) -> Affine:
  """Between lines as steep as at the low end, so that it stays positive."""
  slope = jnp.exp(bounds(x)[0])
  low, high = (jnp.exp(end) - slope * end for end in bounds(x))
  line = scale(x, slope)
  slack = line.slack + (high - low) / 2
  return Affine(line.base + (low + high) / 2, line.slopes, slack)


def log(x: Affine) -> Affine:
  return between_lines(x, jnp.log, lambda s: [1 / s], least=0.0)


def power(x: Affine, exponent: float | int) -> Affine:
  """x^exponent; of x at least 0, unless the exponent is whole."""
  whole = exponent == round(exponent)
  if exponent in (0, 1):
    return x if exponent else constant(jnp.ones_like(x.base))

  def critical(slope: Value) -> list[Value]:
    place = jnp.abs(slope / exponent) ** (1 / (exponent - 1))
    return [-place, place, jnp.zeros_like(place)]

  function = (lambda t: jax.lax.integer_pow(t, round(exponent))) if whole else None
  return between_lines(
    x,
    function or (lambda t: t**exponent),
    critical,
    least=-jnp.inf if whole else 0.0,
  )


def monotone(x: Affine, function: Unary) -> Affine:
  """Any function that never falls, by the interval of its values alone."""
  low, high = (function(end) for end in bounds(x))
  return Affine((low + high) / 2, jnp.zeros_like(x.slopes), (high - low) / 2)


def compare(x: Affine) -> Ternary:
  """Whether x > 0; where it may be 0, nothing is certain."""
  low, high = bounds(x)
  return Ternary(low > 0, high < 0)


def where(
  truth: Ternary, no: Affine, yes: Affine, else_: Affine | None = None
) -> Affine:
  """`yes` where the condition holds, `no` where it does not.

  Args:
    else_: what is known where the condition is uncertain; None for either.
  """
  if else_ is None:
    apart, middle = subtract(yes, no), scale(add(yes, no), 0.5)
    gap = jnp.abs(apart.base) + jnp.abs(apart.slopes).sum(0)
    else_ = middle._replace(slack=jnp.maximum(yes.slack, no.slack) + gap / 2)

  no, yes, else_ = align(no, yes, else_)

  def pick(n: Value, y: Value, e: Value) -> Value:
    return jnp.where(truth.yes, y, jnp.where(truth.no, n, e))

  return Affine(
    pick(no.base, yes.base, else_.base),
    jax.vmap(pick)(no.slopes, yes.slopes, else_.slopes),
    pick(no.slack, yes.slack, else_.slack),
  )
