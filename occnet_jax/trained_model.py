"""A trained network with all that its use needs: encode, decode, reconstruct (host).

Everything takes and gives host arrays; networks run on JAX's default device.

Shape letters: b shapes, n input points, t query points, z latent.
"""

import contextlib
import copy
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import trimesh
from jaxtyping import Array, Float, Shaped

from occnet_jax import config as config_lib
from occnet_jax import kept_programs, ranges, types
from occnet_jax.data import inputs as inputs_lib
from occnet_jax.data import user_clouds, user_inputs
from occnet_jax.data.input_arrays import as_batch, batch_of_one
from occnet_jax.extract.batch import windows
from occnet_jax.extract.batch.parallel import map_in_order, naming_errors
from occnet_jax.extract.batch.shared_field import SharedEvaluator
from occnet_jax.extract.field import Field, decoder_field, shared_jit
from occnet_jax.extract.to_mesh import mesh_from_frame, settings_of, to_mesh
from occnet_jax.geometry.colours import Cloud, colour_mesh
from occnet_jax.interop import cards, weights
from occnet_jax.models import finetuning, latent_optimization, latent_prior
from occnet_jax.types import Latent, Method, Posterior, Variables


class Model:
  """A trained network with all that its use needs.

  Attributes:
    method: the functions, without arrays.
    variables: the arrays: {"params", "batch_stats"}.
    config: config of its training, nested dicts of the fields of configs/base.py.
    record: the step, and the results of validation, such as loss, iou and level.
    settings: the config, typed.
  """

  def __init__(
    self, method: Method, variables: Variables, config: dict, record: dict[str, Any]
  ):
    self.method, self.config, self.record = method, config, record
    self.variables = jax.device_put(variables)
    self.settings = config_lib.parse(config)
    self.observation = inputs_lib.make(self.settings.data)
    self._shared_evaluator: SharedEvaluator | None = None

  @property
  def level(self) -> float | None:
    """Value at the surface, a logit or negated distance; None for points and meshes."""
    return getattr(self.method.output, "level", None)

  def encode(self, inputs: Any) -> Latent:
    """Observations -> latent, leading axis b; a random z is at its prior's mean.

    Args:
      inputs: observations in the cube's frame, as types.py lists them: clouds
        (b, n, 3), or (b, n, 6) with normals for a network that takes them, images
        (b, h, w, 3) from 0 to 1, ...

    Raises:
      ValueError: inputs of another shape than the network's, or not finite.
    """
    kind, normals = self.settings.data.inputs, self.method.takes_normals
    batch = as_batch(inputs, kind, self.observation.spec, normals=normals)
    if self.method.pads:
      batch = user_clouds.pad_clouds(batch, len(self.observation.spec))
    return kept_programs.call(shared_jit(self.method.encode), self.variables, batch)

  def prior(
    self, count: int, *, seed: int | Sequence[int] = 0, inputs: Any = None
  ) -> Latent:
    """Latents with z drawn from its prior N(0, 1), leading axis `count`.

    Args:
      count: number of latents.
      seed: seed of the draw, one number or several.
      inputs: observations, as for `encode`; None for a model without.

    Raises:
      ValueError: the model has no random z.
    """
    z = latent_prior.draw(self.method, count, seed)
    inputs = np.zeros((count, 0), np.float32) if inputs is None else inputs
    return self.with_z(self.encode(inputs), z)

  def posterior(
    self,
    points: Float[np.ndarray | Array, "b t 3"],
    occupancies: Shaped[np.ndarray | Array, "b t"],
    inputs: Any = None,
  ) -> Posterior:
    """Mean and logarithm of the standard deviation of z (b, z) of labelled shapes.

    Raises:
      ValueError: the model has no random z; numbers that are not finite.
    """
    prior = latent_prior.prior_of(self.method)
    inputs = np.zeros((len(points), 0), np.float32) if inputs is None else inputs
    batch = {"points": points, "occupancies": occupancies, "inputs": inputs}
    batch = {name: ranges.to_finite(x, np.float32, name) for name, x in batch.items()}
    return shared_jit(prior.posterior)(self.variables, batch)

  def with_z(self, latent: Latent, z: Float[np.ndarray | Array, "b z"]) -> Latent:
    """The latent with this z in it."""
    return latent_prior.prior_of(self.method).insert(latent, jax.numpy.asarray(z))

  def fit(
    self,
    points: Float[np.ndarray | Array, "b t 3"],
    labels: Shaped[np.ndarray | Array, "b t"],
    *,
    steps: int = 300,
    learning_rate: float = 1e-2,
    prior_weight: float = 1e-4,
  ) -> Latent:
    """The latent that fits labelled points best, found by optimisation.

    For new shapes of a code table above all, whose rows are the training shapes. The
    network stays as it is.

    Args:
      points: labelled points of each shape, in the cube's frame.
      labels: their occupancies, or for a network of distances their signed distances,
        negative inside, in cube units.
      steps: number of steps of Adam.
      learning_rate: peak learning rate.
      prior_weight: weight of |latent - its start|^2 per shape beside the mean error per
        point; larger values suit fewer points.

    Raises:
      ValueError: arrays that do not go together; a system without such a fit.
    """
    # The start is the mean code of a table, or else the code of an input of zeros.
    inputs = batch_of_one(self.observation.spec)
    if self.settings.data.inputs == "index":
      inputs = np.arange(self.settings.model["codes"], dtype=np.int32)
    settings = {"learning_rate": learning_rate, "prior_weight": prior_weight}
    start = self.encode(inputs)
    return latent_optimization.fit_labels(
      self.method, self.variables, start, points, labels, steps=steps, **settings
    )

  def decode(
    self, latent: Latent, points: Float[np.ndarray | Array, "b t 3"]
  ) -> Float[Array, "b t"]:
    """Values at points of the cube's frame, a shape each row: logits of occupancy, or
    negated signed distances.

    Raises:
      ValueError: points of another shape or not finite; a system that is no field.
    """
    self._check_field()
    if np.ndim(points) != 3 or np.shape(points)[-1] != 3:
      raise ValueError(f"points of shape {np.shape(points)}; want (b, t, 3)")
    points = ranges.to_finite(points, np.float32, "points")
    return shared_jit(self.method.decode)(self.variables, latent, points)

  def field(self, latent: Latent, points_per_batch: int | None = None) -> Field:
    """One shape's values as a field of points (t, 3) -> (t,), for `extract_mesh`.

    Args:
      latent: the latent of one shape, leading axis 1.
      points_per_batch: number of points per call of the network; None chooses.
    """
    self._check_field()
    alone = decoder_field(self.method.decode, self.variables, latent, points_per_batch)
    evaluator = self._shared_evaluator
    return evaluator.field(latent, alone) if evaluator else alone

  def _check_field(self) -> None:
    if not isinstance(self.method.output, types.Field):
      raise ValueError(
        f"config.model.name={self.settings.model['name']}: this system has no values "
        "at points; use extract, which gives its mesh"
      )

  def extract(self, latent: Latent, **settings) -> trimesh.Trimesh:
    """The surface of one shape's latent (leading axis 1), in the cube's frame.

    Args:
      latent: as `encode` returns it for a batch of one.
      **settings: arguments of `extract_mesh`, in place of those of the run's config.
    """
    settings = {**self.extraction_settings(), **settings}
    field = None
    if self._shared_evaluator and isinstance(self.method.output, types.Field):
      field = self.field(latent, settings.get("points_per_batch"))
    return to_mesh(self.method, self.variables, latent, field=field, **settings)

  def reconstruct(
    self, observed: Any, *, normalise: bool = True, seed: int = 0, **settings
  ) -> trimesh.Trimesh:
    """The observation of one shape -> mesh with vertex normals.

    Args:
      observed: a point cloud (n, 3) in any unit, of which as many points are used as
        in training, drawn at random; a network of scans takes any number up to the most
        of its training. A `read_scan` colours the mesh, and its normals help a network
        that takes them (`method.takes_normals`). Or images (h, w, 3 or 4) of
        uint8 on white squares, a grid of 0 and 1, or what `images.fit_view` takes.
      normalise: whether to map a cloud's bounding box to the unit cube, and the mesh
        back to the cloud's own frame. False for clouds that are in the cube's frame.
      seed: seed of the draw of points.
      **settings: arguments of `extract_mesh`, and finetune_steps, in which a copy of
        the network is trained further on all points of a cloud first; in place of those
        of the run's config.

    Raises:
      ValueError: a cloud with NaN, too few points or no extent; inputs of another
        kind; no surface.
    """
    kind, shape = self.settings.data.inputs, self.observation.shape
    generation, model = self.settings.generation, self
    steps = settings.pop("finetune_steps", generation.finetune_steps)
    finetuning.check(self.method, generation._replace(finetune_steps=steps))
    if generation.cell_size:
      return self.reconstruct_scene(observed, **settings)
    inputs, loc, scale = user_inputs.prepare(
      *(observed, kind, shape),
      normalise=normalise,
      seed=seed,
      scan=self.observation.scan,
      normals=self.method.takes_normals and not steps,
    )
    if steps:
      cloud = user_inputs.in_frame(observed, kind, loc, scale)
      model = self.finetuned(inputs, cloud, steps)
    if self.method.windows is None:
      mesh = model.extract(model.encode(batch_of_one(inputs)), **settings)
    else:
      mesh = self.reconstruct_scene(inputs, **settings)
    return colour_mesh(mesh_from_frame(mesh, loc, scale), observed)

  def finetuned(
    self, inputs: Float[np.ndarray, "n 3"], cloud: np.ndarray, steps: int
  ) -> "Model":
    """A copy whose network was trained further on one cloud.

    Args and errors: those of `models.finetuning.finetune`, but of one shape.
    """
    rate = self.settings.generation.finetune_learning_rate
    tuned = copy.copy(self)
    tuned._shared_evaluator = None  # whose shapes have their variables in common
    tuned.variables = finetuning.finetune(
      self.method, self.variables, inputs[None], cloud, steps=steps, learning_rate=rate
    )
    return tuned

  def reconstruct_scene(
    self, cloud: Float[np.ndarray, "n 3"] | Cloud, **settings
  ) -> trimesh.Trimesh:
    """A cloud of any extent -> one mesh in its frame, by a network of windows.

    Args and errors: those of `extract.batch.windows.reconstruct_scene`.
    """
    settings = {**windows.settings_of(self.settings.generation), **settings}
    scene = user_clouds.as_cloud(cloud)
    mesh = windows.reconstruct_scene(self.method, self.variables, scene, **settings)
    return colour_mesh(mesh, cloud)

  def reconstruct_batch(
    self,
    observed: Iterable[Any],
    *,
    threads: int | None = None,
    together: int = 1,
    **settings,
  ) -> Iterator[trimesh.Trimesh]:
    """Meshes of many shapes, each as by `reconstruct`, as they are ready.

    Shapes are spread over the devices. Several are under way at a time, so that the
    host's work on one falls together with the devices' on another.

    Args:
      observed: an observation of each shape, read as needed; there may be any number.
      threads: shapes under way; None for two a device, or one more than `together`.
      together: largest number of shapes in one call of the network.
      **settings: arguments of `reconstruct`.

    Yields:
      A mesh for each, in their order; with on_empty="empty" one without a surface has
      no faces and the next shapes follow.

    Raises:
      ValueError: as `reconstruct`, at the turn of that shape and with its index in
        `observed`; `together` below 1.
    """
    copies = self.replicas()
    threads = threads or (together + 1 if together > 1 else 2) * len(copies)

    def reconstruct(number: int, observation: Any) -> trimesh.Trimesh:
      with naming_errors(f"observed[{number}]"):
        return copies[number % len(copies)].reconstruct(observation, **settings)

    with contextlib.ExitStack() as stack:
      for model in copies if together != 1 else ():
        shared = SharedEvaluator(self.method.decode, model.variables, together)
        model._shared_evaluator = stack.enter_context(shared)
      yield from map_in_order(reconstruct, observed, threads=threads)

  def replicas(self) -> list["Model"]:
    """The model on each local device; the copies share their compiled functions.

    Variables that are on a device stay as they are: `device_put` would commit them to
    it, and for committed arrays everything is compiled again.
    """
    copies = []
    for device in jax.local_devices():
      copies.append(copy.copy(self))
      if any(leaf.devices() != {device} for leaf in jax.tree.leaves(self.variables)):
        copies[-1].variables = jax.device_put(self.variables, device)
    return copies

  def extraction_settings(self) -> dict[str, Any]:
    """The arguments of `extract_mesh` that the run's config sets."""
    return settings_of(self.settings.generation)

  def save_pretrained(
    self,
    directory: str | pathlib.Path,
    card: str | None = None,
    *,
    dtype: str = "float16",
  ) -> None:
    """Writes the model as a directory that `occnet_jax.from_pretrained` reads.

    Args:
      directory: a new or empty directory, or one of a model, which is replaced.
      card: text of README.md, the model card, which replaces an earlier one too; None
        writes what is in the config and the record.
      dtype: type of the stored numbers, one of `weights.STORED`.

    Raises:
      ValueError: a directory of other files; weights that are not finite or too large
        for the type; a system that is not in the package.
    """
    if card is None:
      settings = config_lib.parse(weights.shareable(self.config))
      card = cards.generate(settings, self.record, self.variables, dtype)
    weights.write(
      directory, self.variables, self.config, self.record, card, dtype=dtype
    )
