"""Offline preparation: mesh files in, TFDS shards out. Never imports JAX."""
