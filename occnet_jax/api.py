"""What notebooks and other programs call: restore, encode, decode, reconstruct.

  model = occnet_jax.restore("runs/quickstart")
  mesh = model.reconstruct(cloud)          # (n, 3) -> trimesh.Trimesh

Everything takes and gives host arrays; networks run on JAX's default device.
"""

import pathlib
from typing import Any

import jax
import numpy as np
import trimesh
from jaxtyping import Array, Float

from occnet_jax.extract.field import Field, decoder_field
from occnet_jax.extract.pipeline import extract_mesh
from occnet_jax.geometry import clouds
from occnet_jax.models import registry
from occnet_jax.train import checkpoint
from occnet_jax.types import Latent, Method, Variables

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
  method = registry.build(config["model"], tau=tau)
  data = config["data"]
  forms = {
    "points": np.zeros((1, 1, 3), np.float32),
    "inputs": np.zeros((1, data["cloud_points"], 3), np.float32),
  }
  wanted = jax.eval_shape(method.init, jax.random.PRNGKey(0), forms)
  state = saved.state
  given = state.get("ema") or {k: state[k] for k in ("params", "batch_stats")}
  variables = checkpoint.refill({k: wanted[k] for k in sorted(given)}, given)
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
    self._encode = jax.jit(method.encode)
    self._decode = jax.jit(method.decode)

  @property
  def tau(self) -> float:
    """Occupancy probability of the surface."""
    return float(jax.nn.sigmoid(self.method.level))

  def encode(self, inputs: Float[np.ndarray | Array, "b n 3"]) -> Latent:
    """Observations in the cube's frame -> latent, leading axis b."""
    if np.ndim(inputs) != 3 or np.shape(inputs)[-1] != 3:
      raise ValueError(f"inputs of shape {np.shape(inputs)}; want (b, n, 3)")
    return self._encode(self.variables, np.asarray(inputs, np.float32))

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
    return decoder_field(self.method.decode, self.variables, latent, points_per_batch)

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
    cloud: Float[np.ndarray, "n 3"],
    *,
    normalise: bool = True,
    seed: int = 0,
    **settings,
  ) -> trimesh.Trimesh:
    """Point cloud -> mesh with vertex normals.

    As in training, `config.data.cloud_points` of the points are used, drawn at random.

    Args:
      cloud: points on a surface, in any unit.
      normalise: whether to map the cloud's bounding box to the unit cube, and the mesh
        back to the cloud's own frame. False for clouds that are in the cube's frame.
      seed: of the draw.
      **settings: of `extract_mesh`, over those of the run's config.

    Raises:
      ValueError: a cloud with NaN, too few points or no extent; no surface.
    """
    cloud = np.asarray(cloud, np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
      raise ValueError(f"a cloud of shape {cloud.shape}; want (n, 3)")
    clouds.check_cloud(cloud)
    loc, scale = clouds.cloud_frame(cloud) if normalise else (np.zeros(3), 1.0)
    count = self.config["data"]["cloud_points"]
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(cloud), count, replace=len(cloud) < count)
    inputs = clouds.to_frame(cloud[chosen], loc, scale).astype(np.float32)
    mesh = self.extract(self.encode(inputs[None]), **settings)
    normals = mesh.vertex_normals
    mesh.vertices = clouds.from_frame(mesh.vertices, loc, scale)
    mesh.vertex_normals = normals
    return mesh

  def generation(self) -> dict[str, Any]:
    """The settings of `extract_mesh` that the run's config holds."""
    generation = self.config["generation"]
    names = (
      "resolution_0",
      "upsampling_steps",
      "simplify_faces",
      "refine_steps",
      "points_per_batch",
    )
    return {name: generation[name] for name in names}
