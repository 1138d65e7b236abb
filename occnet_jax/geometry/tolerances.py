"""Distances off a surface at which rays start and points are tested (host).

All are in cube units, where the largest extent of a shape is 1. The padded cube ends at
0.55, so float32 coordinates, which Embree has, are exact to 3e-8, and a point that it
computes on a face is off it by some 1e-7. Each offset lies well above that error and
well below the thinnest part that a sampled shape can show.
"""

# A shadow ray starts at a hit that Embree computed in float32 from more than a unit
# away: the widest of these errors, and a shadow that starts late is not visible.
SHADOW_RAY_OFFSET = 1e-4
# A ray starts at a sample that float64 arithmetic put on the face, rounded to float32.
RAY_OFFSET = 1e-5
# A point just off a face is given to the winding number, which works in float64; the
# nearer, the thinner a wall may be whose two sides are still told apart.
PROBE_OFFSET = 1e-6
