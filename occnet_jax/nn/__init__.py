"""Linen layers without task knowledge."""
