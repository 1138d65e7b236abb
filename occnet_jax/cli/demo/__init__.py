"""A page of one's own machine that reconstructs, and the same routes for programs."""
