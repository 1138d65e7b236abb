"""What notebooks and other programs call: restore, encode, decode, reconstruct.

  model = occnet_jax.restore("runs/quickstart")
  mesh = model.reconstruct(cloud)          # (n, 3) -> trimesh.Trimesh

Everything takes and gives host arrays; networks run on JAX's default device.
"""

import contextlib
import copy
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
import trimesh
from jaxtyping import Array, Float, Shaped

from occnet_jax.data import inputs as inputs_lib
from occnet_jax.extract.batch.parallel import map_in_order
from occnet_jax.extract.batch.shared_field import SharedEvaluator
from occnet_jax.extract.field import Field, decoder_field
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry import frames, pointcloud_io
from occnet_jax.models import latent_optimization, registry
from occnet_jax.train import checkpoint
from occnet_jax.train import state as state_lib
from occnet_jax.types import Latent, Method, Posterior, Variables

__all__ = ["Model", "extract_mesh", "restore"]


def restore(
  workdir: str | pathlib.Path,
  step: int | None = None,
  *,
  overriding: dict[str, Any] | None = None,
) -> "Model":
  """The trained model of a run.

  Args:
    workdir: the run's directory.
    step: of an explicit checkpoint; None for the best in validation.
    overriding: a config whose `test.tau` and `generation` count instead of the
      checkpoint's own.

  Raises:
    ValueError: no such checkpoint, or it does not fit the config beside it.
  """
  saved = checkpoint.restore(workdir, step)
  config = saved.config
  if overriding is not None:
    config = config | {name: overriding[name] for name in ("test", "generation")}
  tau = saved.record.get("tau", config["model"]["tau"])
  if config["test"]["tau"] is not None:
    tau = config["test"]["tau"]
  precision = config["generation"].get("precision", "auto")  # older runs have none
  method = registry.build(config["model"], tau=tau, precision=precision)
  state = saved.state
  given = state.get("ema") or state
  names = ("params", "batch_stats")  # of which the second may be empty
  wanted = registry.variable_forms(method, inputs_lib.make(config["data"]).spec)
  variables = state_lib.refill(wanted, {k: given.get(k) or {} for k in names})
  return Model(method, variables, config, saved.record)


class Model:
  """A trained network with all that its use needs.

  Attributes:
    method: the functions, without arrays.
    variables: the arrays: {"params", "batch_stats"}.
    config: what it was trained with, nested dicts of the fields of configs/base.py.
    record: step, and what validation measured: iou, tau.
  """

  def __init__(
    self, method: Method, variables: Variables, config: dict, record: dict[str, Any]
  ):
    self.method, self.config, self.record = method, config, record
    self.variables = jax.device_put(variables)
    self.observation = inputs_lib.make(config["data"])
    self._encode = jax.jit(method.encode)
    self._decode = jax.jit(method.decode)
    self._posterior = jax.jit(method.posterior) if method.posterior else None
    self._together: SharedEvaluator | None = None

  @property
  def tau(self) -> float:
    """Occupancy probability of the surface."""
    return float(jax.nn.sigmoid(self.method.level))

  def encode(self, inputs: Any) -> Latent:
    """Observations -> latent, leading axis b; a random z is at its prior's mean.

    Args:
      inputs: of the kind that the network was trained with (types.py lists them), in
        the cube's frame: clouds (b, n, 3), images (b, h, w, 3) from 0 to 1, ...

    Raises:
      ValueError: inputs of another form.
    """
    inputs = np.asarray(inputs, self.observation.spec.dtype)
    kind, want = self.config["data"]["inputs"], list(self.observation.spec.shape)
    free = {"cloud": 1, "images": 1}.get(kind, 0)  # points or images, any number
    if inputs.ndim != 1 + len(want) or list(inputs.shape[1 + free :]) != want[free:]:
      form = ", ".join(["b", *("kn"[kind == "cloud"] * free), *map(str, want[free:])])
      raise ValueError(f"inputs of shape {inputs.shape}; want ({form}): {kind}")
    return self._encode(self.variables, inputs)

  def prior(self, count: int, *, seed: int = 0, inputs: Any = None) -> Latent:
    """Latents with z drawn from its prior N(0, 1), leading axis `count`.

    Args:
      count: how many.
      seed: of the draw.
      inputs: what is observed, as for `encode`; None for a model that sees nothing.

    Raises:
      ValueError: the model has no random z.
    """
    self._want_z()
    inputs = np.zeros((count, 0), np.float32) if inputs is None else inputs
    z = jax.random.normal(jax.random.key(seed), (count, self.method.z_dim))
    return self.method.with_z(self.encode(inputs), z)

  def posterior(
    self,
    points: Float[np.ndarray | Array, "b t 3"],
    occupancies: Shaped[np.ndarray | Array, "b t"],
    inputs: Any = None,
  ) -> Posterior:
    """Mean and logarithm of the standard deviation of z (b, z) of labelled shapes.

    Raises:
      ValueError: the model has no random z.
    """
    self._want_z()
    inputs = np.zeros((len(points), 0), np.float32) if inputs is None else inputs
    batch = {"points": points, "occupancies": occupancies, "inputs": inputs}
    batch = {name: np.asarray(value, np.float32) for name, value in batch.items()}
    return self._posterior(self.variables, batch)

  def with_z(self, latent: Latent, z: Float[np.ndarray | Array, "b z"]) -> Latent:
    """The latent with this z in it."""
    self._want_z()
    return self.method.with_z(latent, jax.numpy.asarray(z))

  def fit(
    self,
    points: Float[np.ndarray | Array, "b t 3"],
    occupancies: Shaped[np.ndarray | Array, "b t"],
    *,
    steps: int = 300,
    learning_rate: float = 1e-2,
    prior: float = 1e-4,
  ) -> Latent:
    """The latent that explains labelled points, found by optimisation.

    For shapes that no encoder has seen: of a code table above all, whose rows are the
    training shapes. The network stays as it is.

    Args:
      points, occupancies: what is known of each shape.
      steps: of Adam.
      learning_rate: its step.
      prior: weight of |latent - its start|^2; more of it where less is known.
    """
    start = jax.tree.map(
      lambda leaf: jax.numpy.repeat(leaf, len(points), axis=0), self._mean_latent()
    )
    return latent_optimization.fit_latent(
      self.method,
      self.variables,
      start,
      np.asarray(points, np.float32),
      np.asarray(occupancies, np.float32),
      steps=steps,
      learning_rate=learning_rate,
      prior=prior,
    )

  def _mean_latent(self) -> Latent:
    """Where `fit` starts, leading axis 1: the mean code of the table, or no input's."""
    inputs = np.zeros_like(self.observation.spec)[None]
    if self.config["data"]["inputs"] == "index":
      inputs = np.arange(self.config["model"]["codes"], dtype=np.int32)
    latents = self.encode(inputs)
    return jax.tree.map(lambda leaf: leaf.mean(0, keepdims=True), latents)

  def _want_z(self) -> None:
    if not self.method.z_dim:
      raise ValueError(
        "this model has no random z (config.model.z_dim is 0); encode an observation, "
        "or train configs/onet.py:unconditional"
      )

  def decode(
    self, latent: Latent, points: Float[np.ndarray | Array, "b t 3"]
  ) -> Float[Array, "b t"]:
    """Logits of occupancy at points of the cube's frame; a shape each row."""
    if np.ndim(points) != 3 or np.shape(points)[-1] != 3:
      raise ValueError(f"points of shape {np.shape(points)}; want (b, t, 3)")
    return self._decode(self.variables, latent, np.asarray(points, np.float32))

  def field(self, latent: Latent, points_per_batch: int | None = None) -> Field:
    """One shape's logits as a field of points (t, 3) -> (t,), for `extract_mesh`.

    Args:
      latent: of one shape, leading axis 1.
      points_per_batch: how many points are evaluated at a time; None chooses.
    """
    alone = decoder_field(self.method.decode, self.variables, latent, points_per_batch)
    return self._together.field(latent, alone) if self._together else alone

  def extract(self, latent: Latent, **settings) -> trimesh.Trimesh:
    """The surface of one shape's latent (leading axis 1), in the cube's frame.

    Args:
      latent: as `encode` returns it for a batch of one.
      **settings: of `extract_mesh`, over those of the run's config.
    """
    settings = {"level": self.method.level, **self.generation(), **settings}
    field = self.field(latent, settings.pop("points_per_batch"))
    return extract_mesh(field, **settings)

  def reconstruct(
    self,
    observed: Any,
    *,
    normalise: bool = True,
    seed: int = 0,
    **settings,
  ) -> trimesh.Trimesh:
    """What was observed of one shape -> mesh with vertex normals.

    Args:
      observed: a point cloud (n, 3) in any unit, of which `config.data.cloud_points`
        points are used as in training, drawn at random; or an image (h, w, 3) from 0 to
        255, several (k, h, w, 3), or a grid (r, r, r) of 0 and 1, for a network of such
        inputs.
      normalise: whether to map a cloud's bounding box to the unit cube, and the mesh
        back to the cloud's own frame. False for clouds that are in the cube's frame.
      seed: of the draw.
      **settings: of `extract_mesh`, over those of the run's config.

    Raises:
      ValueError: a cloud with NaN, too few points or no extent; inputs of another
        kind; no surface.
    """
    inputs, loc, scale = self._observe(observed, normalise, seed)
    mesh = self.extract(self.encode(inputs[None]), **settings)
    if len(mesh.faces) and (scale != 1 or loc.any()):
      normals = mesh.vertex_normals
      mesh.vertices = frames.from_frame(mesh.vertices, loc, scale)
      mesh.vertex_normals = normals
    return mesh

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
      observed: one for each shape; read as they are needed, so there may be any number.
      threads: shapes under way; None for two a device, or one more than `together`.
      together: shapes that one call of the network may evaluate.
      **settings: of `reconstruct`.

    Yields:
      A mesh for each, in their order; with on_empty="empty" one without a surface has
      no faces and the stream goes on.

    Raises:
      ValueError: as `reconstruct`, at the turn of that shape; `together` below 1.
    """
    copies = self.on_devices()
    threads = threads or (together + 1 if together > 1 else 2) * len(copies)

    def reconstruct(number: int, one: Any) -> trimesh.Trimesh:
      return copies[number % len(copies)].reconstruct(one, **settings)

    with contextlib.ExitStack() as stack:
      for model in copies if together != 1 else ():
        shared = SharedEvaluator(self.method.decode, model.variables, together)
        model._together = stack.enter_context(shared)
      yield from map_in_order(reconstruct, observed, threads=threads)

  def on_devices(self) -> list["Model"]:
    """The model on each local device; the copies share their compiled functions."""
    copies = []
    for device in jax.local_devices():
      copies.append(copy.copy(self))
      copies[-1].variables = jax.device_put(self.variables, device)
    return copies

  def _observe(
    self, observed: Any, normalise: bool, seed: int
  ) -> tuple[np.ndarray, Float[np.ndarray, "3"], float]:
    """What the network sees of one shape, and the frame that its mesh is to go to."""
    kind = self.config["data"]["inputs"]
    if kind != "cloud":
      if kind in ("image", "images"):
        side = self.config["data"]["image_side"]
        pictures = observed[None] if kind == "image" else observed
        seen = np.stack([inputs_lib.fit_image(p, side) for p in pictures])
        observed = seen[0] if kind == "image" else seen
      return np.asarray(observed), np.zeros(3), 1.0
    cloud = np.asarray(observed, np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
      raise ValueError(f"a cloud of shape {cloud.shape}; want (n, 3)")
    pointcloud_io.check_cloud(cloud)
    loc, scale = frames.cloud_frame(cloud) if normalise else (np.zeros(3), 1.0)
    count = self.config["data"]["cloud_points"]
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(cloud), count, replace=len(cloud) < count)
    return frames.to_frame(cloud[chosen], loc, scale).astype(np.float32), loc, scale

  def generation(self) -> dict[str, Any]:
    """The settings of `extract_mesh` in the run's config; an older one has fewer."""
    generation = self.config["generation"]
    names = (
      "method",
      "resolution_0",
      "upsampling_steps",
      "simplify_faces",
      "refine_steps",
      "points_per_batch",
    )
    return {name: generation[name] for name in names if name in generation}
