"""Train occupancy networks, extract meshes, evaluate them: see README.md.

python main.py --mode=all --config=configs/quickstart.py --workdir=runs/quickstart
python main.py --mode=reconstruct --workdir=runs/quickstart --input=scan.ply
python main.py --mode=reconstruct --model=scan --input=scan.ply --output=mesh.glb
python main.py --mode=prepare --config=configs/own_data.py \
  --config.prep.source=folder:/path/to/meshes --config.prep.out=data/mine
"""

import logging
import sys

from absl import app, flags
from ml_collections import config_flags

from occnet_jax import files
from occnet_jax.cli import command_line, dispatch, process, recipes, stages

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  help_string="Config file, such as configs/onet.py:pointcloud, or its name, as in "
  "onet:pointcloud.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "Directory of the run; prepare, and reconstruct with a pretrained model, need none.",
)
_MODE = flags.DEFINE_enum(
  "mode",
  "all",
  [*dispatch.MODES, "reconstruct"],
  "One stage, all in this order, or a use of a trained network.",
)
_CHECKPOINT = flags.DEFINE_string(
  "checkpoint",
  None,
  "import: file of published weights, as torch.save wrote it: .pt of (convolutional) "
  "occupancy networks, .tar of IF-Net, .pth of DeepSDF in its folder ModelParameters, "
  "beside LatentCodes. export_torch: file to write, likewise.",
)
_STEPS = flags.DEFINE_integer(
  "steps", 8, "interpolate: meshes from one shape to the next, both ends included."
)
_INPUT = flags.DEFINE_string(
  "input", None, "reconstruct: the observation, a file or a folder of files."
)
_OUTPUT = flags.DEFINE_string(
  "output",
  None,
  "reconstruct: mesh file (GLB, PLY, OBJ, OFF or STL), or folder for a folder; "
  "reconstruction.glb or reconstructions by default.",
)
_MODEL = flags.DEFINE_string(
  "model",
  None,
  "reconstruct without --workdir: a packaged model (scan by default), a directory that "
  "Model.save_pretrained wrote, or owner/repo of the Hugging Face hub.",
)
_MASKS = flags.DEFINE_string(
  "masks", None, "reconstruct: PNG mask of an image, or folder of masks."
)
_INTRINSICS = flags.DEFINE_string(
  "intrinsics", None, "reconstruct of depth images: camera file, see docs/depth.md."
)
_POSES = flags.DEFINE_string(
  "poses", None, "reconstruct of depth images of one object: file of their poses."
)
_PREVIEW = flags.DEFINE_string(
  "preview",
  None,
  "reconstruct: HTML page to write that shows one input beside its mesh, in 3D.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "host:port of the first of several processes that train and generate together, each "
  "called with its own --process.",
)
_PROCESSES = flags.DEFINE_integer("processes", 1, "Number of processes.")
_PROCESS = flags.DEFINE_integer("process", 0, "Index of this process, from 0.")
_HEARTBEAT = flags.DEFINE_integer(
  "heartbeat_timeout",
  100,
  "Seconds of silence after which one of several processes counts as gone.",
  lower_bound=1,
)
_SHARD = flags.DEFINE_string(
  "shard",
  None,
  "prepare, reconstruct: i/n makes every n-th shard or mesh from the i-th on, from 0, "
  "for machines that share a directory.",
)
_DASK = flags.DEFINE_string(
  "dask",
  None,
  "prepare: address of a Dask scheduler whose workers make the shards, or local:N for "
  "N workers on this machine.",
)
_WATCH = flags.DEFINE_integer(
  "watch",
  None,
  "report: while the run trains, write the page anew where there is something new, at "
  "most every so many seconds; the page loads itself again.",
)
_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise ValueError(f"not understood: {' '.join(argv[1:])}; see --help")
  config = files.expand_home(command_line.to_dict(_CONFIG.value))
  paths = {
    flag.name: files.expand_home(flag.value)
    for flag in (
      *(_WORKDIR, _CHECKPOINT, _INPUT, _OUTPUT, _MODEL),
      *(_MASKS, _INTRINSICS, _POSES, _PREVIEW),
    )
  }
  if _MODE.value == "reconstruct":
    if not _INPUT.value:
      raise ValueError("--mode=reconstruct needs --input=FILE")
    stages.reconstruct(
      dispatch.check_workdir_path(paths["workdir"]),
      paths["input"],
      paths["output"],
      paths["masks"],
      config,
      paths["model"],
      preview=paths["preview"],
      intrinsics=paths["intrinsics"],
      poses=paths["poses"],
      shard=_SHARD.value,
    )
    return
  if _MODEL.value:
    raise ValueError(
      f"--model={_MODEL.value} is for --mode=reconstruct; want --workdir for "
      f"--mode={_MODE.value}"
    )
  dispatch.run(
    _MODE.value,
    config,
    paths["workdir"],
    checkpoint=paths["checkpoint"],
    steps=_STEPS.value,
    cluster=dispatch.Cluster(
      _COORDINATOR.value, _PROCESSES.value, _PROCESS.value, _HEARTBEAT.value
    ),
    shard=_SHARD.value,
    watch=_WATCH.value,
    dask=_DASK.value,
  )


def run(argv: list[str]) -> None:
  """The program; `process.ending_in_one_sentence` has its exit codes."""
  with process.ending_in_one_sentence(
    debug=_DEBUG.value,
    several=bool(_COORDINATOR.value),
    resumes=process.resumes(_MODE.value, _INPUT.value),
  ):
    main(argv)


def parse(argv: list[str]) -> list[str]:
  """Flags and config; an unknown flag or field, or a wrong value, is one sentence."""
  if {"--help", "-help", "-h"} & set(argv):
    app.usage(shorthelp=True, writeto_stdout=True)
    sys.exit()
  try:
    argv = recipes.resolve_argv(argv)
    command_line.check_config(argv)
    return flags.FLAGS(argv)
  except Exception as error:  # a config file may raise anything
    sys.exit(f"error: {command_line.explain(error, argv)}")


if __name__ == "__main__":
  logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)  # of absent TPUs
  with command_line.quiet_pipe():
    app.run(run, flags_parser=parse)
