"""Extraction as one compiled program: octree, roots, triangles and normals (device)."""
