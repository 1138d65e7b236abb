"""The mesh of a job: of a file, of a volume, or of what lies between two codes (host).

Each task says what its file holds and makes a mesh of it, with what is shown beside.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
import trimesh

from occnet_jax import api
from occnet_jax.cli import user_mesh, user_volume
from occnet_jax.cli.demo.reading import VOLUME
from occnet_jax.cli.user_mesh import Observed
from occnet_jax.data import user_inputs
from occnet_jax.data.input_arrays import batch_of_one
from occnet_jax.data.user_grids import PlacedGrid
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.extract.to_mesh import mesh_from_frame
from occnet_jax.geometry import frames
from occnet_jax.geometry.volumes import Volume
from occnet_jax.viz import panes, slices

MAX_MEMORY = 4 * 2**30  # bytes of a mesh of a volume on the way
# Of a volume's values, between which levels are offered.
SHOWN_PERCENTILES = (0.5, 99.9)


class Made(NamedTuple):
  """What became of a job.

  Attributes:
    mesh: in the frame of the input.
    facts: names and values to show with it.
    observation: the input as `viz.comparison.page` takes it.
    shown: the mesh as the page shows it, which has y up.
    levels: of a volume, those to choose from, and the one at hand.
  """

  mesh: trimesh.Trimesh
  facts: dict[str, str]
  observation: Any
  shown: trimesh.Trimesh
  levels: dict[str, float] | None = None


class Reconstruction(NamedTuple):
  """A file becomes a mesh by the network.

  Attributes:
    model: the network.
    options: arguments of `Model.reconstruct`.
  """

  model: api.Model
  options: dict[str, Any]

  @property
  def reads(self) -> str:
    return self.model.settings.data.inputs

  def make(self, observed: Observed) -> Made:
    points = user_mesh.points_of(observed)
    mesh = user_mesh.make_mesh(self.model, observed, self.options)
    facts = {"Mesh": user_mesh.describe(mesh)}
    if self.reads == "cloud":
      facts["Input"] = f"{len(observed):,} points"
    if sentence := user_mesh.use_of_normals(self.model, observed):
      facts["Normals"] = sentence
    doubts = list(user_mesh.doubts(self.model, points, mesh))
    facts |= {"Mind": "; ".join(doubts)} if doubts else {}
    shown = panes.viewable(self.reads, points)
    if isinstance(observed, PlacedGrid):  # the page wants it in the frame of the mesh
      vertices = frames.from_frame(shown[0], observed.loc, observed.scale)
      shown = vertices, shown[1]
    return Made(mesh, facts, shown, mesh)


class LevelSet(NamedTuple):
  """A volume becomes the mesh of a level, in millimetres, without a network.

  Attributes:
    level: value at the surface; None for one half of a mask, and else for the middle of
      the values.
  """

  level: float | None
  reads = VOLUME

  def make(self, volume: Volume) -> Made:
    levels = choose_levels(volume)
    if self.level is not None:
      levels["level"] = self.level
    mesh = extract_mesh(volume, level=levels["level"], max_memory=MAX_MEMORY)
    facts = {
      "Mesh": f"{user_mesh.describe(mesh)}, in millimetres",
      "Input": user_volume.describe(volume),
      "Level": f"{levels['level']:.4g}",
    }
    picture = slices.draw_slices(volume)
    return Made(mesh, facts, picture, slices.upright(mesh), levels)


def choose_levels(volume: Volume) -> dict[str, float]:
  """The least, the largest and the first `level` to offer for a volume.

  Raises:
    ValueError: no value is a number.
  """
  values = volume.values
  few = values[tuple(slice(None, None, -(-side // 128)) for side in values.shape)]
  few = few[np.isfinite(few)].astype(np.float64)
  if not len(few):
    raise ValueError("a volume without a finite value among those looked at")
  if values.dtype == np.bool_ or np.isin(few, (0, 1)).all():
    return {"low": 0.0, "high": 1.0, "level": 0.5}
  low, high = np.percentile(few, SHOWN_PERCENTILES).tolist()
  return {"low": low, "high": high, "level": (low + high) / 2}


class Between(NamedTuple):
  """The mesh at a share of the straight way from one latent to another.

  Attributes:
    model: the network.
    options: arguments of `Model.reconstruct`.
    names: of both ends, to be shown.
    ends: what is observed at both ends, for a network that observes something.
    seeds: of the random codes of both ends, for a generative network.
    share: of the way, 0 at the first end.
  """

  model: api.Model
  options: dict[str, Any]
  names: tuple[str, str]
  ends: tuple[Any, Any]
  seeds: tuple[int, int] | None
  share: float
  reads = None

  def make(self, observed: Any) -> Made:
    """Args: observed: not used; the ends are read already."""
    settings, kind = self.model.settings.generation, self.model.settings.data.inputs
    if self.model.method.windows is not None or settings.cell_size:
      raise ValueError(
        "this network reads a scene in windows, so that an object has no code of its "
        "own; want another network for what lies between two"
      )
    (a, place_a), (b, place_b) = (self._latent(end) for end in (0, 1))
    if jax.tree.map(np.shape, a) != jax.tree.map(np.shape, b):
      raise ValueError(
        "the codes of the two inputs have different shapes, so that nothing lies "
        "between them; want inputs of one size"
      )
    options = {name: x for name, x in self.options.items() if name != "seed"}
    with user_mesh.explained_no_surface(self.model):
      mesh = self.model.extract(jax.tree.map(self._mix, a, b), **options)
    loc, scale = map(self._mix, place_a, place_b)
    mesh = mesh_from_frame(mesh, loc, scale)
    observed = self.ends[round(self.share)]  # the nearer one
    facts = {
      "Mesh": user_mesh.describe(mesh),
      "Between": f"{self.names[0]} and {self.names[1]}, {self.share:.0%} of the way",
    }
    if observed is None:
      return Made(mesh, facts, None, mesh)
    points = user_mesh.points_of(observed)
    return Made(mesh, facts, panes.viewable(kind, points), mesh)

  def _mix(self, x: Any, y: Any) -> Any:
    return (1 - self.share) * x + self.share * y

  def _latent(self, end: int) -> tuple[Any, tuple[Any, float]]:
    """A latent, and the centre and length of a unit of its frame."""
    model, observed = self.model, self.ends[end]
    inputs, place = None, (np.zeros(3), 1.0)
    if observed is not None:
      inputs, *place = user_inputs.prepare(
        observed,
        model.settings.data.inputs,
        model.observation.shape,
        seed=self.options.get("seed", 0),
        scan=model.observation.scan,
        normals=model.method.takes_normals,
      )
      inputs = batch_of_one(inputs)
    if self.seeds is None:
      return model.encode(inputs), tuple(place)
    return model.prior(1, seed=self.seeds[end], inputs=inputs), tuple(place)


Task = Reconstruction | LevelSet | Between
