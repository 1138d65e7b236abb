"""Steps after extraction: checks, simplification, refinement, normals."""
