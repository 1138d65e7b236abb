"""Geometry without task knowledge; each file says host (numpy) or device (jnp)."""
