"""Bounds of a JAX function over boxes, by affine arithmetic on its program (device).

The function of one point is traced, and its operations are run on affine forms instead
of numbers, as in Sharp and Jacobson, Spelunking the Deep (SIGGRAPH 2022). Operations
that do not depend on the point, such as a decoder's on its code, are run as they are.

Shape letters: b boxes, k coordinates.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from occnet_jax.extract.certify import affine
from occnet_jax.extract.certify.affine import Affine, Symbols, Ternary

Value = Any  # an array that does not depend on the point, an Affine, or a Ternary


def bound_boxes(
  function: Callable, centres: Float[Array, "b 3"], half: Float[Array, ""]
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
  """Bounds of a function (3,) -> () over cubes.

  Args:
    function: the point function of a field.
    centres: centres of the cubes.
    half: half their side.

  Returns:
    Lower and upper bounds of the values in each cube, NaN where none is known.

  Raises:
    ValueError: an operation that has no rule here.
  """
  program = jax.make_jaxpr(function)(jax.ShapeDtypeStruct((3,), jnp.float32))

  def bound_one(centre: Float[Array, "3"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    point = Affine(centre, half * jnp.eye(3), jnp.zeros(3))
    (out,) = run(program.jaxpr, program.consts, [point], Symbols(3))
    if not isinstance(out, Affine):
      return out.astype(jnp.float32), out.astype(jnp.float32)
    return affine.bounds(out)

  return jax.vmap(bound_one)(centres)


def run(
  jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value], symbols: Symbols
) -> list[Value]:
  """Runs a program on affine forms, conditions and arrays."""
  variables = [*jaxpr.constvars, *jaxpr.invars]
  values = dict(zip(variables, [*consts, *inputs], strict=True))

  def read(atom: Any) -> Value:
    return atom.val if isinstance(atom, jex.Literal) else values[atom]

  for equation in jaxpr.eqns:
    results = run_one(equation, [read(atom) for atom in equation.invars], symbols)
    values.update(zip(equation.outvars, results, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def run_one(equation: Any, inputs: list[Value], symbols: Symbols) -> Sequence[Value]:
  """The results of one operation."""
  primitive, params = equation.primitive, equation.params
  if not any(isinstance(value, Affine | Ternary) for value in inputs):
    results = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return results if primitive.multiple_results else [results]
  if primitive.name in CALLS:
    inner = next(params[name] for name in ("jaxpr", "call_jaxpr") if name in params)
    closed = isinstance(inner, jex.ClosedJaxpr)
    program, consts = (inner.jaxpr, inner.consts) if closed else (inner, ())
    return run(program, consts, inputs, symbols)
  if primitive.name == "unstack":  # from jax 0.11 on
    take = functools.partial(lax.index_in_dim, axis=params["axis"], keepdims=False)
    count = equation.invars[0].aval.shape[params["axis"]]
    return [apply_linear(lambda x, i=i: take(x, i), inputs) for i in range(count)]
  if primitive.name in SHAPES:
    return [apply_linear(lambda *xs: primitive.bind(*xs, **params), inputs)]
  if primitive.name not in RULES:
    raise ValueError(
      f"no bounds for the operation {primitive.name!r}, which the field uses; want one "
      f"of {', '.join(sorted([*RULES, *SHAPES, *CALLS]))}"
    )
  result = RULES[primitive.name](inputs, params)
  constants = [not isinstance(value, Affine | Ternary) for value in inputs]
  if primitive.name in EXACT or (primitive.name in PRODUCTS and any(constants)):
    return [result]
  return [symbols.promote_errors(result) if isinstance(result, Affine) else result]


def apply_linear(function: Callable, inputs: list[Value]) -> Value:
  """Applies an operation that moves or adds numbers, to forms or to conditions."""
  if any(isinstance(value, Ternary) for value in inputs):
    conditions = [as_ternary(value) for value in inputs]
    return Ternary(*(function(*parts) for parts in zip(*conditions, strict=True)))
  return affine.apply(function, *as_affine(inputs))


def as_affine(inputs: list[Value]) -> list[Affine]:
  """Turns all inputs into affine forms; a condition is 0 or 1."""
  return [
    affine.constant(as_number(x) if isinstance(x, Ternary) else x) for x in inputs
  ]


def as_number(truth: Ternary) -> Affine:
  unsure = 0.5 * ~(truth.yes | truth.no)
  form = affine.constant(truth.yes + unsure)
  return form._replace(slack=unsure)


def as_ternary(value: Value) -> Ternary:
  return value if isinstance(value, Ternary) else Ternary(value, ~value)


def product(inputs: list[Value], params: dict) -> Affine:
  """The product of numbers in pairs."""
  x, y = inputs
  if isinstance(x, Affine) and isinstance(y, Affine):
    return affine.multiply(x, y)
  x, y = (x, y) if isinstance(x, Affine) else (y, x)
  return affine.scale(x, y)


def quotient(inputs: list[Value], params: dict) -> Affine:
  x, y = inputs
  if isinstance(y, Affine):
    return product([x, affine.power(y, -1)], {})
  return affine.scale(x, 1 / y)


def matrix_product(inputs: list[Value], params: dict) -> Affine:
  """The product of a form with a constant matrix, from either side."""
  first = isinstance(inputs[0], Affine)
  if all(isinstance(value, Affine) for value in inputs):
    raise ValueError(
      "no bounds for a product of two matrices ('dot_general') that both depend on the "
      "point; one of them may"
    )
  form, matrix = inputs if first else inputs[::-1]
  matrix = matrix.astype(jnp.float32)
  params = {**params, "precision": lax.Precision.HIGHEST}
  params["preferred_element_type"] = jnp.float32

  def times(matrix: Any) -> Callable:
    def multiply(x: Array) -> Array:
      return lax.dot_general(*((x, matrix) if first else (matrix, x)), **params)

    return multiply

  return affine.apply(times(matrix), form, of_slack=times(jnp.abs(matrix)))


def difference(inputs: list[Value], params: dict) -> Affine:
  return affine.subtract(*as_affine(inputs))


def larger(inputs: list[Value], params: dict) -> Affine:
  """The maximum; that of a form x and a constant y is relu(x - y) + y."""
  x, y = inputs
  if isinstance(x, Affine) and isinstance(y, Affine):
    return affine.maximum(x, y)
  x, y = (x, y) if isinstance(x, Affine) else (y, x)
  above = affine.relu(x.plus(-y))
  return above.plus(y)


def smaller(inputs: list[Value], params: dict) -> Affine:
  return negative([larger([negative([x], {}) for x in inputs], {})], {})


def negative(inputs: list[Value], params: dict) -> Value:
  (x,) = inputs
  return affine.scale(x, -1.0) if isinstance(x, Affine) else -x


def largest(inputs: list[Value], params: dict) -> Affine:
  """The maximum over axes, by halving them until one entry remains."""
  (x,) = inputs
  for axis in sorted(params["axes"], reverse=True):
    while (size := x.base.shape[axis]) > 1:
      parts = [
        affine.apply(lambda a, s=s: lax.slice_in_dim(a, *s, axis=axis), x)  # noqa: B023
        for s in ((0, size // 2), (size // 2, size // 2 * 2), (size // 2 * 2, size))
      ]
      x = affine.maximum(*parts[:2])
      if size % 2:
        x = affine.apply(lambda *xs: jnp.concatenate(xs, axis), x, parts[2])  # noqa: B023
    x = affine.apply(lambda a: a.squeeze(axis), x)  # noqa: B023
  return x


def smallest(inputs: list[Value], params: dict) -> Affine:
  return negative([largest([negative(inputs, {})], params)], {})


def powers(inputs: list[Value], params: dict) -> Affine:
  base, exponent = inputs
  if isinstance(exponent, Affine | jax.core.Tracer) or jnp.ndim(exponent):
    raise ValueError("no bounds for 'pow' unless the exponent is a constant")
  return affine.power(base, float(exponent))


def greater(inputs: list[Value], params: dict) -> Ternary:
  return affine.compare(difference(inputs, {}))


def less(inputs: list[Value], params: dict) -> Ternary:
  return greater(inputs[::-1], {})


def equal(inputs: list[Value], params: dict) -> Ternary:
  above, below = greater(inputs, {})
  return Ternary(jnp.zeros_like(above), above | below)


def unequal(inputs: list[Value], params: dict) -> Ternary:
  if inputs[0] is inputs[1]:  # x != x asks for NaN, and bounds are of finite values
    no = jnp.ones(inputs[0].base.shape, bool)
    return Ternary(~no, no)
  return opposite([equal(inputs, {})], {})


def opposite(inputs: list[Value], params: dict) -> Ternary:
  return Ternary(inputs[0].no, inputs[0].yes)


def both(inputs: list[Value], params: dict) -> Ternary:
  x, y = map(as_ternary, inputs)
  return Ternary(x.yes & y.yes, x.no | y.no)


def either(inputs: list[Value], params: dict) -> Ternary:
  x, y = map(as_ternary, inputs)
  return Ternary(x.yes | y.yes, x.no & y.no)


def selection(inputs: list[Value], params: dict) -> Value:
  """The second case where the condition holds, else the first."""
  which, *cases = inputs
  if not isinstance(which, Ternary):
    return apply_linear(lambda *xs: lax.select_n(which, *xs), cases)
  return affine.where(which, *as_affine(cases))


def converted(inputs: list[Value], params: dict) -> Value:
  """A condition as a number, or a number in another precision, with its rounding."""
  (x,), dtype = inputs, params["new_dtype"]
  if isinstance(x, Ternary):
    return x if jnp.issubdtype(dtype, jnp.bool_) else as_number(x)
  if not jnp.issubdtype(dtype, jnp.floating):
    raise ValueError(
      f"no bounds for 'convert_element_type' to {dtype} of what depends on the point"
    )
  narrow = jnp.finfo(dtype).eps > jnp.finfo(jnp.float32).eps
  unit = float(jnp.finfo(dtype).eps) / 2 if narrow else 0.0
  return x._replace(slack=x.slack + unit * (jnp.abs(x.base) + affine.radius(x)))


def of_one(function: Callable) -> Callable:
  """Makes the rule of a function of one quantity."""
  return lambda inputs, params: function(inputs[0])


def rule_of_monotone(primitive: Any) -> Callable:
  return lambda inputs, params: affine.monotone(
    inputs[0], lambda x: primitive.bind(x, **params)
  )


CALLS = {
  "jit",
  "pjit",
  "closed_call",
  "core_call",
  "custom_jvp_call",
  "custom_vjp_call",
  "checkpoint",
}
SHAPES = {
  "add",
  "add_any",
  "broadcast_in_dim",
  "concatenate",
  "copy",
  "copy_p",
  "expand_dims",
  "pad",
  "reduce_sum",
  "reshape",
  "rev",
  "slice",
  "squeeze",
  "stack",
  "stop_gradient",
  "transpose",
}
EXACT = {"convert_element_type", "dot_general", "neg", "sub"}  # linear: no new errors
PRODUCTS = {"mul", "div"}  # linear as well if one operand is a constant
RULES = {
  "abs": of_one(affine.absolute_value),
  "and": both,
  "convert_element_type": converted,
  "cos": of_one(lambda x: affine.sin(x.plus(jnp.pi / 2))),
  "div": quotient,
  "dot_general": matrix_product,
  "eq": equal,
  "erf": of_one(affine.erf),
  "erfc": of_one(lambda x: affine.erf(affine.scale(x, -1.0)).plus(1)),
  "exp": of_one(affine.exp),
  "ge": greater,
  "gt": greater,
  "integer_pow": lambda inputs, params: affine.power(inputs[0], params["y"]),
  "le": less,
  "log": of_one(affine.log),
  "log1p": of_one(lambda x: affine.log(x.plus(1))),
  "logistic": of_one(affine.sigmoid),
  "lt": less,
  "max": larger,
  "min": smaller,
  "mul": product,
  "ne": unequal,
  "neg": negative,
  "not": opposite,
  "or": either,
  "pow": powers,
  "reduce_max": largest,
  "reduce_min": smallest,
  "rsqrt": of_one(lambda x: affine.power(x, -0.5)),
  "select_n": selection,
  "sin": of_one(affine.sin),
  "sqrt": of_one(lambda x: affine.power(x, 0.5)),
  "square": of_one(lambda x: affine.power(x, 2)),
  "sub": difference,
  "tanh": of_one(affine.tanh),
} | {
  name: rule_of_monotone(getattr(lax, f"{name}_p"))
  for name in ("asinh", "atan", "cbrt", "ceil", "expm1", "floor", "round", "sign")
}
