"""From a field f(points) -> values to a mesh."""
