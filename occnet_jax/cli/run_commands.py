"""The commands of `occnet` that work on a run: from its preparation to its report.

They call the modes of main.py (`dispatch`), and leave JAX alone until they run (host).
"""

import argparse
from typing import Any

from occnet_jax.cli import recipes

_OVERRIDES = """
Any field of the config can be changed, as in --config.train.steps=5000; occnet config
lists them."""
_CONFIG_HELP = (
  "recipe, by name (own_data, onet:pointcloud) or by file; by default that of the run"
)
WATCH_SECONDS = 30
_EXAMPLES = {
  "prepare": "occnet prepare folder:meshes --out=data/mine",
  "train": "occnet train --config=own_data --data=data/mine --workdir=runs/mine",
  "generate": "occnet generate --workdir=runs/mine",
  "evaluate": "occnet evaluate --workdir=runs/mine --config.test.shapes=50",
  "report": "occnet report --workdir=runs/mine",
  "run": "occnet run folder:meshes --out=data/mine --workdir=runs/mine",
  "interpolate": "occnet interpolate --workdir=runs/mine --steps=6",
  "import": "occnet import onet_pcl2mesh-5c0be168.pt --config=onet:pointcloud "
  "--workdir=runs/official",
  "export": "occnet export --workdir=runs/mine --format=onnx -o exported",
  "demo": "occnet demo --model=scan",
  "config": "occnet config onet:image",
}
_HELP = {
  "prepare": "make a data set of meshes: watertight solids, labelled points",
  "train": "train a network on a data set; run it again to resume",
  "generate": "make the meshes of the test split",
  "evaluate": "measure the meshes: IoU, Chamfer distance, normals, F-score",
  "report": "write report.html, which opens offline",
  "run": "prepare, train, generate, evaluate and report, in this order",
  "interpolate": "make the meshes between pairs of test shapes, and a picture",
  "import": "make a run of published weights (.pt, .tar, .pth)",
  "export": "write a network for programs without this package",
  "demo": "serve a page that reconstructs, on this machine and for it",
  "config": "list the recipes, or the fields of one with their meaning",
}


def add(commands: Any) -> None:
  """Adds the parsers to argparse's sub-parsers `commands`."""
  parsers = {name: _add(commands, name) for name in _EXAMPLES}
  for name in ("prepare", "run"):
    parsers[name].add_argument(
      "source",
      nargs="?",
      help="folder:PATH (sub-folders are categories), csv:PATH, shapenet:PATH, "
      "synthetic and others, see docs/own_meshes.md; by default that of the config",
    )
    parsers[name].add_argument(
      "--out", metavar="DIR", help="directory of the data set; data/own by default"
    )
  parsers["prepare"].add_argument(
    "--shard",
    metavar="I/N",
    help="make every N-th shard from the I-th on, I from 0: for several machines that "
    "share the directory, as of a Slurm array",
  )
  parsers["prepare"].add_argument(
    "--dask",
    metavar="ADDRESS",
    help="make the shards by the workers of a Dask cluster: the address of its "
    "scheduler, or local:N for N workers on this machine",
  )
  for name in ("train", "generate", "evaluate", "report", "interpolate", "run"):
    parsers[name].add_argument("--workdir", required=True, help="directory of the run")
  parsers["report"].add_argument(
    "--watch",
    type=int,
    nargs="?",
    const=WATCH_SECONDS,
    metavar="SECONDS",
    help="while the run trains, write the page anew where there is something new, at "
    f"most every so many seconds ({WATCH_SECONDS}); the page loads itself again",
  )
  parsers["train"].add_argument(
    "--data", dest="out", metavar="DIR", help="directory of the data set"
  )
  for name in ("prepare", "run"):
    _add_config(parsers[name], "recipe, by name or by file; own_data by default")
    parsers[name].set_defaults(default_config="own_data")
  for name in ("train", "generate", "evaluate", "report", "interpolate"):
    _add_config(parsers[name], _CONFIG_HELP)
  for name in ("train", "generate", "run"):
    _add_cluster(parsers[name])
  parsers["interpolate"].add_argument(
    "--steps", type=int, default=8, help="meshes of a row, both ends included (8)"
  )
  parsers["import"].add_argument("checkpoint", help="file of published weights")
  parsers["import"].add_argument("--workdir", required=True, help="directory to make")
  _add_config(parsers["import"], "recipe that the weights belong to", required=True)
  _add_export(parsers["export"])
  _add_demo(parsers["demo"])
  parsers["config"].add_argument("recipe", nargs="?", help="name or file of a recipe")
  parsers["config"].set_defaults(run=_show_config, takes_overrides=True)


def _add(commands: Any, name: str) -> argparse.ArgumentParser:
  fields = "" if name in ("export", "demo") else _OVERRIDES
  parser = commands.add_parser(
    name,
    help=_HELP[name],
    description=f"{_HELP[name][0].upper()}{_HELP[name][1:]}.{fields}",
    epilog=f"example:\n  {_EXAMPLES[name]}",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
  parser.set_defaults(run=_run, parser=parser, mode="all" if name == "run" else name)
  return parser


def _add_config(
  parser: argparse.ArgumentParser, text: str, *, required: bool = False
) -> None:
  parser.add_argument(
    "--config", metavar="NAME[:VARIANT]", required=required, help=text
  )
  parser.set_defaults(takes_overrides=True, default_config=None)


def _add_export(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--workdir", help="directory of a run")
  parser.add_argument(
    "--model", help="a pretrained model in its place; scan by default"
  )
  parser.add_argument(
    "--format",
    required=True,
    choices=["stablehlo", "onnx", "page", "safetensors", "torch"],
    help="stablehlo: programs for JAX on any device, of every network; onnx: graphs "
    "for ONNX runtimes, of occupancy networks; page: these and a page that makes "
    "meshes of clouds in the browser; safetensors: the weights; torch: the file of the "
    "published implementation",
  )
  parser.add_argument(
    "--onnxruntime-web",
    metavar="PATH",
    help="for page: the package of this name as npm pack fetches it, or its folder, "
    "whose files are put beside the page",
  )
  parser.add_argument(
    "-o", "--output", required=True, help="directory to write to; for torch a file"
  )
  parser.set_defaults(run=_export)


def _add_demo(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--workdir", help="directory of a run")
  parser.add_argument(
    "--model", help="a pretrained model in its place; scan by default"
  )
  parser.add_argument("--port", type=int, default=8000, help="of the page; 0 for any")
  parser.add_argument(
    "--max-upload",
    type=int,
    default=200,
    metavar="MB",
    help="largest file that is accepted (200)",
  )
  parser.set_defaults(run=_serve)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group("several processes that share the work")
  group.add_argument(
    "--coordinator", metavar="HOST:PORT", help="address of the first of them"
  )
  group.add_argument("--processes", type=int, default=1, help="their number")
  group.add_argument("--process", type=int, default=0, help="index of this one, from 0")
  group.add_argument(
    "--heartbeat-timeout",
    type=int,
    default=100,
    metavar="SECONDS",
    help="silence after which one of them counts as gone (100)",
  )


def _run(arguments: argparse.Namespace) -> None:
  from occnet_jax import files
  from occnet_jax.cli import dispatch

  options = vars(arguments)
  chosen = {"source": "--config.prep.source", "out": "--config.prep.out"}
  overrides = [f"{flag}={options[k]}" for k, flag in chosen.items() if options.get(k)]
  overrides += arguments.overrides
  if recipe := arguments.config or arguments.default_config:
    config = recipes.load(recipe, overrides)
  else:
    config = recipes.load_run(arguments.workdir, overrides)
  several = {
    name: options[name] for name in dispatch.Cluster._fields if name in options
  }
  dispatch.run(
    arguments.mode,
    files.expand_home(config),
    options.get("workdir"),
    checkpoint=options.get("checkpoint"),
    steps=options.get("steps", 0),
    cluster=dispatch.Cluster(**several),
    shard=options.get("shard"),
    watch=options.get("watch"),
    dask=options.get("dask"),
  )


def _export(arguments: argparse.Namespace) -> None:
  from occnet_jax.cli import export

  export.export(
    arguments.format,
    arguments.output,
    workdir=arguments.workdir,
    pretrained=arguments.model,
    runtime=arguments.onnxruntime_web,
  )


def _serve(arguments: argparse.Namespace) -> None:
  from occnet_jax.cli.demo import server

  server.serve(
    arguments.workdir,
    arguments.model,
    port=arguments.port,
    max_upload=arguments.max_upload,
  )


def _show_config(arguments: argparse.Namespace) -> None:
  from occnet_jax.cli import config_table

  print(config_table.as_text(arguments.recipe, arguments.overrides))  # noqa: T201
