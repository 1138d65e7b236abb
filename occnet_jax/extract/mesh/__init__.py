"""What happens to an extracted mesh: checks, simplification, refinement, normals."""
