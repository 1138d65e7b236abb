"""From a field on a sparse grid to triangles: MISE, edge roots, marching cubes."""
