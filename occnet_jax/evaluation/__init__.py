"""Meshes of a split, metrics after the reference's protocol, and tables."""
