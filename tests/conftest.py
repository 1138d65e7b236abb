"""Strict for every test: shapes checked, rank promotion and warnings are errors."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

from jaxtyping import install_import_hook

install_import_hook(["occnet_jax", "data_prep"], "beartype.beartype")

import jax  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # Grain defines absl flags
