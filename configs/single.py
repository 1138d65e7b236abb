"""One shape as a neural field: from a mesh file to its field and back in minutes.

  python main.py --config=configs/single.py:hashgrid --workdir=runs/one \
    --config.prep.source=folder:one.obj --config.prep.out=data/one

Variants: fourier (occupancies, random Fourier features), hashgrid (distances, a hash
grid), siren (surface points with normals, no labels) and multires (distances, feature
grids of 4^3 to 32^3 cells). A network of multires decodes at each of its resolutions:
--mode=generate with --config.model.levels_used=2 gives the meshes of the first two.

The networks are smaller than the published ones, whose sizes configs/models has, and
they are trained for less time. The test split is the same shape with points that were
not trained on. On several devices set config.train.batch_size to their number: each
then draws its own points.
"""

from configs import base

VARIANTS = {
  "fourier": {
    "model.hidden_size": 128,
    "model.hidden_layers": 4,
    "model.fourier_features": 128,
    "model.fourier_sigma": 1.5,
    "data.near_fraction": 0.5,
    "optim.learning_rate": 2e-3,
  },
  "hashgrid": {
    "model.encoding": "hash",
    "model.loss": "relative_l1",
    "model.hidden_size": 64,
    "model.hidden_layers": 2,
    "model.use_bias": False,
    "model.levels": 8,
    "model.finest_resolution": 256,
    "model.hash_log2_entries": 15,
    "data.targets": ("distances",),
    "data.near_fraction": 0.875,
    "optim.learning_rate": 1e-2,
  },
  "multires": {
    "model.encoding": "grids",
    "model.loss": "squared",
    "model.hidden_size": 64,
    "model.hidden_layers": 1,
    "model.levels": 4,
    "model.level_features": 8,
    "model.base_resolution": 5,
    "data.targets": ("distances",),
    "data.near_fraction": 0.5,
    "optim.learning_rate": 5e-3,
  },
  "siren": {
    "model.hidden_size": 128,
    "data.targets": ("surface",),
    "data.points": 1024,  # and as many on the surface
    "optim.learning_rate": 1e-3,
    "optim.clip_norm": 1.0,
    "train.steps": 1500,
  },
}


def get_config(variant: str = "hashgrid"):
  if variant not in VARIANTS:
    names = ", ".join(VARIANTS)
    raise ValueError(f"configs/single.py:{variant}: unknown; want one of: {names}")
  config = base.get_config("siren" if variant == "siren" else "single")
  config.name = f"single:{variant}"
  config.prep.update(
    out="data/single",
    single_shape=True,
    near_points=100_000,
    near_sigmas=(0.002, 0.02),
    distances=True,
    dtype="float32",  # the rounding of float16 is as large as the details
    shard_size=1,
  )
  config.data.update(inputs="none", points=8192)
  config.optim.update(schedule="cosine", warmup_steps=20)
  config.train.update(
    steps=500,
    batch_size=1,
    log_every=20,
    save_every=500,
    validate_every=500,
    preview_shapes=0,  # the report shows the shape
  )
  config.val.update(points=16_384, batch_size=1)
  config.update_from_flattened_dict(VARIANTS[variant])
  return config
