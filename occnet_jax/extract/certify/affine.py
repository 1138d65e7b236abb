"""Affine arithmetic: ranges of quantities whose inputs vary in a box (device, jnp).

A quantity is `base + slopes . e + slack * d`, with symbols e in [-1, 1]^k, shared by
all quantities: first the position within a box, then errors of earlier operations; and
d in [-1, 1], which may differ from number to number: the affine forms of de Figueiredo
and Stolfi (Numerical Algorithms 37, 2004). Linear maps keep the form; other functions
of one number are enclosed by two parallel lines. The largest of the errors that this
makes become symbols e of their own, the others slack: "truncated" in Sharp and
Jacobson, Spelunking the Deep (SIGGRAPH 2022), section 3. Slack alone, in which errors
cannot cancel, certifies nothing of a network of ten layers.

An intermediate result that is not finite makes a bound NaN, which decides nothing.

Shape letters: k symbols, s the shape of a quantity.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# The share, and the least number, of an operation's errors that become symbols.
PROMOTED_SHARE, LEAST_PROMOTED = 1 / 4, 16

Value = Float[Array, "*s"]
Known = Any  # an array that does not depend on the point, also a literal of a program
Unary = Callable[[Value], Value]


class Affine(NamedTuple):
  """Attributes:
  base: s, the value where all symbols are 0.
  slopes: (k, *s) the change with each symbol; 0 for symbols of later operations.
  slack: s, at least 0: the largest deviation from the linear part.
  """

  base: Value
  slopes: Float[Array, "k *s"]
  slack: Value

  def plus(self, known: Known) -> "Affine":
    return self._replace(base=self.base + known)


class Ternary(NamedTuple):
  """A condition on quantities: true, false or uncertain.

  Attributes:
    yes, no: s, flags of the numbers for which it certainly holds, and does not hold.
  """

  yes: Bool[Array, "*s"]
  no: Bool[Array, "*s"]


def radius(x: Affine) -> Value:
  """The largest deviation of a quantity from its base."""
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
  """Pads slopes with zeros to the largest number of symbols."""
  count = max(len(x.slopes) for x in xs)

  def pad(x: Affine) -> Affine:
    missing = jnp.zeros((count - len(x.slopes), *x.base.shape))
    return (
      x._replace(slopes=jnp.concatenate([x.slopes, missing])) if len(missing) else x
    )

  return [pad(x) for x in xs]


class Symbols:
  """Allocates symbols.

  Attributes:
    count: number of symbols so far.
  """

  def __init__(self, count: int):
    self.count = count

  def promote_errors(self, x: Affine) -> Affine:
    """Turns the largest slacks of a quantity into slopes of new symbols."""
    slack, shape = x.slack.reshape(-1), x.base.shape
    count = min(slack.size, max(LEAST_PROMOTED, round(PROMOTED_SHARE * slack.size)))
    largest, index = jax.lax.top_k(slack, count)
    # Symbol i of the new ones changes the number index[i] alone.
    fresh = jnp.zeros((count, slack.size)).at[jnp.arange(count), index].set(largest)
    rest = slack.at[index].set(0)
    missing = jnp.zeros((self.count - len(x.slopes), *shape))
    self.count += count
    slopes = jnp.concatenate([x.slopes, missing, fresh.reshape(count, *shape)])
    return Affine(x.base, slopes, rest.reshape(shape))


def apply(function: Callable, *xs: Affine, of_slack: Callable | None = None) -> Affine:
  """Applies a linear function.

  Args:
    function: the function, of as many arrays as there are quantities.
    *xs: the quantities.
    of_slack: the function with the absolute values of its coefficients, by which slack
      grows; None if they are not negative.
  """
  xs = align(*xs)
  slack = (of_slack or function)(*(x.slack for x in xs))
  slopes = jax.vmap(function)(*(x.slopes for x in xs))
  return Affine(function(*(x.base for x in xs)), slopes, slack)


def add(x: Affine, y: Affine) -> Affine:
  return apply(jnp.add, x, y)


def subtract(x: Affine, y: Affine) -> Affine:
  return apply(jnp.subtract, x, y, of_slack=jnp.add)


def scale(x: Affine, by: Known) -> Affine:
  """The product with a known array of the same shape, or with a number."""
  return apply(lambda a: a * by, x, of_slack=lambda a: a * jnp.abs(by))


def multiply(x: Affine, y: Affine) -> Affine:
  """The product of two quantities, or the square of one with itself."""
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
  """Encloses function(x) by two lines parallel to its chord over the range of x.

  Args:
    x: the argument.
    function: a function of single numbers.
    critical: slope -> all arguments at which the function has that slope or a kink; it
      may return more.
    least: lower end of the function's domain; the range of x is cut off there.
    period: width of a range from which on the lines are horizontal.
  """
  low, high = bounds(x)
  low, high = jnp.maximum(low, least), jnp.where(high < least, jnp.nan, high)
  width = high - low
  use = (width > 0) & (width < period)
  chord = (function(high) - function(low)) / jnp.where(use, width, 1)
  slope = jnp.where(use, chord, 0)
  # function - line is extreme at the ends, where its slope is 0, or at a kink.
  arguments = [low, high, *(jnp.clip(c, low, high) for c in critical(slope))]
  above = jnp.stack([function(t) - slope * t for t in arguments])
  bottom, top = above.min(0), above.max(0)
  line = scale(x, slope)
  slack = line.slack + (top - bottom) / 2
  return Affine(line.base + (bottom + top) / 2, line.slopes, slack)


def relu(x: Affine) -> Affine:
  """max(x, 0)."""
  return between_lines(x, lambda t: jnp.maximum(t, 0), lambda s: [jnp.zeros_like(s)])


def maximum(x: Affine, y: Affine) -> Affine:
  """The larger of two quantities.

  Their slacks do not add up: the maximum differs by no more than the larger slack.
  """
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
  """The hyperbolic tangent."""

  def critical(slope: Value) -> list[Value]:
    t = jnp.arctanh(jnp.sqrt(1 - jnp.clip(slope, 0, 1)))  # tanh' = 1 - tanh^2
    return [-t, t]

  return between_lines(x, jnp.tanh, critical)


def sigmoid(x: Affine) -> Affine:
  return scale(tanh(scale(x, 0.5)), 0.5).plus(0.5)


def erf(x: Affine) -> Affine:
  def critical(slope: Value) -> list[Value]:
    share = jnp.clip(slope * jnp.sqrt(jnp.pi) / 2, 0, 1)
    return [sign * jnp.sqrt(-jnp.log(share)) for sign in (-1, 1)]

  return between_lines(x, jax.lax.erf, critical)


def exp(x: Affine) -> Affine:
  """Encloses exp by lines of its slope at the low end, so that it stays positive."""
  slope = jnp.exp(bounds(x)[0])
  low, high = (jnp.exp(end) - slope * end for end in bounds(x))
  line = scale(x, slope)
  slack = line.slack + (high - low) / 2
  return Affine(line.base + (low + high) / 2, line.slopes, slack)


def log(x: Affine) -> Affine:
  return between_lines(x, jnp.log, lambda s: [1 / s], least=0.0)


def power(x: Affine, exponent: float | int) -> Affine:
  """x^exponent; for x of at least 0, unless the exponent is whole."""
  whole = exponent == round(exponent)
  if exponent in (0, 1):
    return x if exponent else constant(jnp.ones_like(x.base))

  def critical(slope: Value) -> list[Value]:
    t = jnp.abs(slope / exponent) ** (1 / (exponent - 1))
    return [-t, t, jnp.zeros_like(t)]

  function = (lambda t: jax.lax.integer_pow(t, round(exponent))) if whole else None
  return between_lines(
    x,
    function or (lambda t: t**exponent),
    critical,
    least=-jnp.inf if whole else 0.0,
  )


def monotone(x: Affine, function: Unary) -> Affine:
  """A function that never decreases, by the interval of its values alone."""
  low, high = (function(end) for end in bounds(x))
  return Affine((low + high) / 2, jnp.zeros_like(x.slopes), (high - low) / 2)


def compare(x: Affine) -> Ternary:
  """The condition x > 0; uncertain where x may be 0."""
  low, high = bounds(x)
  return Ternary(low > 0, high < 0)


def where(
  truth: Ternary, no: Affine, yes: Affine, else_: Affine | None = None
) -> Affine:
  """Selects `yes` where the condition holds, and `no` where it does not.

  Args:
    truth: the condition.
    no, yes: the two cases.
    else_: the result where the condition is uncertain; None encloses both cases.
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
