"""Strict for every test: shapes are checked, rank promotion and warnings are errors.

(Warnings: pyproject.toml.) OCCNET_TEST_PLATFORM=cuda runs the tests on a GPU instead of
two CPU devices; products are then computed in full float32.
"""

import gc
import os

from tests.helpers import HAS_OLD_EMITTERS, ROOT

PLATFORM = os.environ.get("OCCNET_TEST_PLATFORM", "cpu")
os.environ["JAX_PLATFORMS"] = PLATFORM
if PLATFORM == "cpu":
  # Small programs take longer to compile than to run: without LLVM's optimisations, and
  # with XLA's older emitters of fusions, which take half the time; in one piece, since
  # no core is idle that could compile a second one meanwhile.
  os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    " --xla_cpu_parallel_codegen_split_count=1"
    + " --xla_cpu_use_fusion_emitters=false"
    * HAS_OLD_EMITTERS,
  )
else:  # TF32 products have errors of 1e-3, above all tolerances here
  os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

# Tests spend most of their time in compilation, often of the same program in another
# process; all of them share the results, and the next run has them, too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # lowers faster

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(["occnet_jax", "data_prep"], "beartype.beartype")

import jax  # noqa: E402
from absl import flags  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # Grain defines absl flags

import filelock  # noqa: E402
import pytest  # noqa: E402
import trimesh  # noqa: E402

from configs import base  # noqa: E402
from tests.helpers import convolutions  # noqa: E402

# Tracing makes so many objects that the collector would look through all imported
# modules again and again.
gc.freeze()
gc.set_threshold(100_000, 20, 20)


def pytest_addoption(parser):
  text = "changed files of each kind that tests/test_fuzzing.py reads"
  parser.addoption("--fuzz", type=int, default=8, metavar="N", help=text)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
  """A function (name, make) -> path that `make` has filled, once for all workers.

  Tests only read what lies there; one that changes it works on a copy.
  """
  folder = tmp_path_factory.getbasetemp()
  if "PYTEST_XDIST_WORKER" in os.environ:
    folder = folder.parent

  def get(name, make):
    path, done = folder / name, folder / f"{name}.done"
    with filelock.FileLock(folder / f"{name}.lock"):
      if not done.exists():
        make(path)
        done.touch()
    return path

  return get


@pytest.fixture(scope="session")
def write_meshes():
  """A function (folder, count) -> folder, now with so many boxes and ellipsoids."""
  return _write_meshes


def _write_meshes(folder, count):
  for i in range(count):
    wide, narrow = 0.9 - 0.4 * i / count, 0.4 + 0.6 * i / count
    box = trimesh.creation.box((1, narrow, wide))
    ball = trimesh.creation.icosphere(2)
    ball.apply_scale((1, wide, narrow))
    for category, mesh in (("box", box), ("ellipsoid", ball)):
      path = folder / category / f"{category}_{i:02}.ply"
      path.parent.mkdir(parents=True, exist_ok=True)
      mesh.export(path)
  return folder


@pytest.fixture(scope="session")
def tiny_data(made_once, write_meshes):
  """A prepared data set of 20 boxes and 20 ellipsoids, 2,000 points and 16^3 cells."""
  from data_prep.pipeline.prepare import prepare

  def make(directory):
    prepare(
      source=f"folder:{write_meshes(directory / 'meshes', 20)}",
      out=directory / "data",
      points=2000,
      surface_points=1000,
      voxel_side=16,
      distances=True,
      shard_size=8,
      workers=1,
    )

  return made_once("tiny", make) / "data"


@pytest.fixture(scope="session")
def tiny_views(made_once, write_meshes):
  """Eight boxes and eight ellipsoids with three views of 64 x 64 pixels each."""
  from data_prep.pipeline.prepare import prepare

  def make(directory):
    prepare(
      source=f"folder:{write_meshes(directory / 'meshes', 8)}",
      out=directory / "data",
      points=2000,
      surface_points=1000,
      near_points=500,
      voxel_side=16,
      views=3,
      view_side=64,
      val_fraction=0.25,
      test_fraction=0.25,
      workers=1,
    )

  return made_once("tiny_views", make) / "data"


@pytest.fixture(scope="session")
def tiny_run(made_once, tiny_data):
  """Workdir in which tiny_config has been trained to its end."""
  from occnet_jax.train import loop

  return made_once("tiny_run", lambda path: loop.train(_tiny_config(tiny_data), path))


@pytest.fixture(scope="session")
def tiny_task(made_once, tiny_views):
  """A function variant of configs/onet.py -> config and workdir of a small run of it.

  For every kind of input beside clouds: images, grids, nothing.
  """
  from occnet_jax.cli import stages
  from tests.helpers.small_tasks import make_config

  def get(variant):
    config = make_config(variant, tiny_views)
    name = f"tiny_task_{variant}"
    return config, made_once(name, lambda path: stages.train(config, path))

  return get


@pytest.fixture
def tiny_config(tiny_data):
  """configs/base.py, small enough to train in seconds; nested dicts."""
  return _tiny_config(tiny_data)


def _tiny_config(data):
  config = base.get_config()
  config.prep.voxel_side = 16
  config.data.update(dir=str(data), points=128, cloud_points=32, workers=0)
  config.model.encoder = "pointnet_simple"  # compiles sooner than the paper's
  config.model.update(encoder_hidden_size=16, c_dim=16, hidden_size=16)
  config.optim.update(learning_rate=3e-3, ema_decay=0.9)
  config.train.update(
    steps=12, batch_size=8, log_every=2, save_every=4, validate_every=6
  )
  config.val.points = 500
  config.test.samples = 2000
  config.generation.update(resolution_0=8, upsampling_steps=1)
  config.report.shapes = 2
  return config.to_dict()


@pytest.fixture(scope="module")
def plain_convolutions():
  """XLA's own convolutions in place of the CPU's forms, which take long to compile.

  tests/nn compares the two forms, and the CPU's with recordings of the reference.
  """
  with convolutions.plain():
    yield


@pytest.fixture(scope="module", autouse=True)
def _freed_programs():
  """Frees the compiled programs of a file, which come to gigabytes over all files."""
  yield
  jax.clear_caches()


# Files that take longest, which go first so that no worker is left with one at the end.
LONG = (
  "test_parity",
  "test_every_method",
  "test_kills",
  "test_step",
  "test_multihost",
  "test_variants",
  "test_ifnet",
  "test_ifnet_recordings",
  "test_preemption",
  "test_main",
  "test_single_shape",
  "test_loop",
  "test_windows",
  "test_single",
  "test_scenes",
  "test_own_data",
  "test_bounds",
  "test_report_in_browser",
  "test_conv",
  "test_convonet",
  "test_finetuning",
  "test_siren",
  "test_prepare_faults",
  "test_notebooks",
  "test_reconstruct",
  "test_api",
  "test_runs",
)


def pytest_collection_modifyitems(items):
  order = {name: rank for rank, name in enumerate(LONG)}
  for item in items:
    if item.path.stem in order:
      item.add_marker("long")
  items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))
