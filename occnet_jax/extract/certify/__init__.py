"""Experimental: bounds of a field over boxes, and the audit of an extraction.

It runs the field's program, a jaxpr, in affine arithmetic, and reads primitives by
their names in `jax.extend.core`. These belong to no stable interface of JAX, so a new
release may need new rules here. No other part of the package imports it.
"""
