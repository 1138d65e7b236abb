"""From a solid to the arrays of one example: labelled points, surface, voxels."""
