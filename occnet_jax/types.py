"""Shared vocabulary: shape letters, batch keys, the Method record and its outputs.

Shape letters: b shapes, n input points, t query points, v vertices, f faces, c code,
z latent, r grid side, h w image height and width, k images of one shape.

Batch keys (float32 unless said otherwise):
  points       (b, t, 3)  query points in the padded cube [-0.55, 0.55]^3
  occupancies  (b, t)     1 inside, 0 outside
  inputs                  the observation of the shape, by config.data.inputs:
    cloud      (b, n, 3)        noisy points on its surface
    image      (b, h, w, 3)     one view of it, 0 to 1
    images     (b, k, h, w, 3)  several views
    image_camera                one view and its camera, a dict of
      image      (b, h, w, 3)   0 to 1
      world_mat  (b, 3, 4)      from the cube's frame to the camera's
      camera_mat (b, 3, 3)      from there to the image, whose sides are -1 and 1
    voxels     (b, r, r, r)     a coarse occupancy grid, indexed (x, y, z)
    index      (b,) int32       its row in the training split, for a code table
    none       (b, 0)           nothing
and, where config.data.targets asks for them:
  distances    (b, t)        signed distance of each point to the surface, negative
                             inside, in cube units
  surface      (b, n, 3)     points on the surface; n is t in training
  normals      (b, n, 3)     outward normals there, of length 1 up to rounding; they
                             come with "surface"
  voxels       (b, r, r, r)  occupancy of the cells of [-0.5, 0.5]^3, indexed (x, y, z)
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

Batch = dict[str, Any]
Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}
Latent = PyTree  # arrays with a leading axis b
Key = Any  # a JAX random key
Scalars = dict[str, Float[Array, ""]]
ShapeScores = dict[str, Float[Array, "b ..."]]
Picture = UInt8[np.ndarray, "h w 3"]


class Posterior(NamedTuple):
  """q(z | points, occupancies, inputs): normal, independent along z.

  Attributes:
    mean, logstd: (b, z).
  """

  mean: Any
  logstd: Any


InitFn = Callable[[Key, Batch], Variables]
LossFn = Callable[
  [Variables, Batch, Key, bool], tuple[Float[Array, ""], tuple[PyTree, Scalars]]
]
EncodeFn = Callable[[Variables, Any], Latent]
DecodeFn = Callable[..., Any]  # (variables, latent[, points (b, t, 3)])
ScoreFn = Callable[[Variables, Batch], ShapeScores]
PosteriorFn = Callable[[Variables, Batch], Posterior]
InsertFn = Callable[[Latent, Float[Array, "b z"]], Latent]
FidelityFn = Callable[[Variables, Latent, Batch], Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class Field:
  """`decode(variables, latent, points (b, t, 3))` -> values (b, t), larger inside.

  Attributes:
    level: value at the surface: a logit for occupancies, 0 for signed distances.
    candidates: levels among which validation chooses; () where the level is given.
  """

  level: float
  candidates: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Grid:
  """`decode(variables, latent)` -> values (b, r, r, r) of the cells of [-0.5, 0.5]^3.

  Attributes:
    level: a cell is inside if its value is at least this.
  """

  level: float


@dataclasses.dataclass(frozen=True)
class Points:
  """`decode(variables, latent)` -> points (b, n, 3) on the surface."""


@dataclasses.dataclass(frozen=True)
class Mesh:
  """`decode(variables, latent)` -> vertices (b, v, 3) and faces (f, 3).

  Attributes:
    closed: whether the faces close a volume, by whose sign they can be turned outward.
  """

  closed: bool = True


@dataclasses.dataclass(frozen=True)
class CellTopologies:
  """`decode(variables, latent)` -> occupancies of the corners of a grid (b, s, s, s),
  and offsets (b, 3, s, s, s) of the vertices on its edges.

  Attributes:
    box: side of the cube that the grid covers, about the origin, in cube units.
  """

  box: float


Output = Field | Grid | Points | Mesh | CellTopologies


class LatentPrior(NamedTuple):
  """The random part z ~ N(0, 1) of a generative model's latent.

  Attributes:
    dim: size of z.
    posterior: (variables, batch) -> distribution of z given labelled points.
    insert: (latent, z (b, z)) -> the latent with this z.
  """

  dim: int
  posterior: PosteriorFn
  insert: InsertFn


class Windows(NamedTuple):
  """How a network whose latent is local covers a scene, a window at a time.

  Its inputs are clouds in the frame of a window, whose centre is the origin; points
  outside have no effect. Windows follow one another at multiples of `stride`.

  Attributes:
    unit_size: side of a cell in the network's own unit.
    side: cells a side of a window, even.
    query: cells a side of its middle, at whose points it is decoded.
    stride: cells from a window to the next, at most `query` and at least half of it;
      where two windows overlap, their values go over into one another.
  """

  unit_size: float
  side: int
  query: int
  stride: int


class Method(NamedTuple):
  """One published system, so that no caller asks which model it holds.

  Attributes:
    init: (key, batch) -> fresh variables for batches of this form.
    loss: (variables, batch, key, train) -> (loss, (new_stats, scalars)).
    encode: (variables, inputs) -> latent pytree, leading axis b; a random z is at the
      mean of its prior.
    decode: (variables, latent[, points]) -> values as `output` describes them.
    output: the kind of representation, on which `extract.to_mesh` alone matches.
    score: (variables, batch) -> scores of each shape, by name: (b,), or (b, k) for each
      of the k candidates of a Field. Has at least "loss".
    prior: the random part of the latent; None for a model without.
    fidelity: (variables, latent, batch) -> mean error of the decoder per labelled
      point, which fitting a latent at test time minimises; None where there is none.
    windows: how it covers scenes; None for a network of whole shapes.
    pads: whether rows of NaN in a cloud have no effect, so that clouds of any number of
      points need few compilations.
    takes_normals: whether `encode` takes clouds (b, n, 6) with outward normals behind
      the coordinates, zeros where there is none.
  """

  init: InitFn
  loss: LossFn
  encode: EncodeFn
  decode: DecodeFn
  output: Output
  score: ScoreFn
  prior: LatentPrior | None = None
  fidelity: FidelityFn | None = None
  windows: Windows | None = None
  pads: bool = False
  takes_normals: bool = False


class BuildOptions(NamedTuple):
  """Settings of a Method that are not the network's.

  Attributes:
    axis_name: device axis that batch norm averages over; None for one device.
    remat: whether training computes the decoder's blocks twice, for less memory.
    threshold: the surface's, in the unit of the system (a probability of occupancy, a
      distance, a value of the field); None for the candidates that its config lists.
    posterior_points: labelled points of a shape that the posterior gets in `score`, as
      many as in training because its encoder pools over them; 0 for all.
  """

  axis_name: str | None = None
  remat: bool = False
  threshold: float | None = None
  posterior_points: int = 0
