"""From a field, a function of space that is larger inside, to a mesh."""
