"""The command `occnet`: all that main.py does, a command each, and more (host).

occnet reconstruct scan.ply -o mesh.glb
occnet reconstruct depth.png --intrinsics camera.json -o mesh.glb
occnet run folder:meshes --workdir=runs/mine
occnet reconstruct ct.nii.gz --level 300 -o skull.glb
occnet models
"""

import argparse
import difflib
import logging
import pathlib
import re
import sys
from collections.abc import Sequence

from occnet_jax import files
from occnet_jax.cli import command_line, process, recipes, run_commands
from occnet_jax.geometry import volumes
from occnet_jax.version import __version__


def main(argv: Sequence[str] | None = None) -> None:
  """Runs a command line; an error that a user can put right is one sentence.

  Exit codes: those of `process.ending_in_one_sentence`, and 2 for a command line that
  is not understood.
  """
  logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)  # of absent TPUs
  with command_line.quiet_pipe():
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = make_parser()
    if not argv:
      parser.print_help()
      return
    _check_command(parser, argv)
    overrides = [arg for arg in argv if recipes.is_override(arg)]
    rest = [arg for arg in argv if not recipes.is_override(arg)]
    arguments, unknown = parser.parse_known_args(rest)
    if not arguments.takes_overrides:
      unknown += overrides
    if unknown:
      _refuse(arguments.parser, unknown)
    vars(arguments).update(files.expand_home(vars(arguments)), overrides=overrides)
    several = bool(getattr(arguments, "coordinator", None))
    with process.ending_in_one_sentence(
      debug=arguments.debug, several=several, resumes=_resumes(arguments)
    ):
      arguments.run(arguments)


def make_parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "occnet",
    description="Occupancy networks: meshes of point clouds, images and voxels, by\n"
    "networks of the package or your own.",
    epilog="example:\n  occnet reconstruct scan.ply -o mesh.glb\n\n"
    "occnet COMMAND --help has the options of a command.",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "--version", action="version", version=f"occnet-jax {__version__}"
  )
  parser.set_defaults(takes_overrides=False, debug=False)
  commands = parser.add_subparsers(
    title="commands", required=True, dest="command", metavar="COMMAND"
  )
  one = commands.add_parser(
    "reconstruct",
    help="make a mesh of a file, or of each file of a folder",
    description="Makes a closed mesh of a point cloud (PLY, XYZ, PTS, CSV, PCD, LAS, "
    "E57, NPY, NPZ,\nor a mesh file), or of what else the model takes; of each file of "
    "a folder.",
    epilog="example:\n  occnet reconstruct scan.ply -o mesh.glb --preview page.html",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  one.add_argument("input", nargs="+", help="the observation: one file or one folder")
  one.add_argument(
    "-o",
    "--output",
    help="mesh file (GLB, PLY, OBJ, OFF or STL), or folder for a folder; by default "
    "the name of the input with .glb, or reconstructions, in the current directory",
  )
  one.add_argument(
    "--model",
    help="a packaged model (see: occnet models), a directory, or owner/repo of the "
    "Hugging Face hub; scan by default",
  )
  one.add_argument("--workdir", help="a run of yours, in place of --model")
  one.add_argument(
    "--resolution",
    type=int,
    metavar="N",
    help="cells along a side; 128 for the packaged models",
  )
  one.add_argument(
    "--smooth",
    type=int,
    metavar="STEPS",
    help="smooth the mesh, which does not shrink; 20 for the packaged models",
  )
  one.add_argument(
    "--faces",
    type=int,
    metavar="N",
    help="simplify the mesh to so many faces; all are kept by default",
  )
  one.add_argument(
    "--shard",
    metavar="I/N",
    help="of a folder, take every N-th file from the I-th on, I from 0: for several "
    "machines that share the output, as of a Slurm array",
  )
  one.add_argument(
    "--texture",
    action="store_true",
    help="give a GLB the cloud's colours as a picture, not at its vertices",
  )
  one.add_argument(
    "--ignore-normals",
    action="store_true",
    help="leave out a cloud's normals, which say which side is inside",
  )
  one.add_argument(
    "--camera-normals",
    action="store_true",
    help="give depth images normals that face their cameras, for solid objects",
  )
  one.add_argument(
    "--preview",
    metavar="PAGE.html",
    help="write a page that shows the input beside the mesh, for a browser",
  )
  one.add_argument(
    "--seed", type=int, default=0, metavar="N", help="seed of the points drawn (0)"
  )
  one.add_argument(
    "--intrinsics",
    metavar="JSON",
    help="camera of depth images (16-bit PNG, TIFF, NPY, EXR), which a model of clouds "
    "then takes; see docs/depth.md",
  )
  one.add_argument(
    "--poses",
    metavar="JSON",
    help="poses of depth images; the images of a folder then are one object",
  )
  one.add_argument(
    "--masks", help="PNG mask of an image, or folder of masks: other than 0 is object"
  )
  one.add_argument(
    "--level",
    type=float,
    metavar="VALUE",
    help="value at the surface of a volume (NIfTI, NRRD, NPY, or a folder with a DICOM "
    "series), such as 300 for bone in a CT; no model takes part; see docs/volumes.md",
  )
  one.set_defaults(run=_reconstruct, parser=one)
  run_commands.add(commands)
  models = commands.add_parser(
    "models",
    help="list the models of this package",
    epilog="example:\n  occnet models",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  models.set_defaults(run=_list_models, parser=models)
  return parser


def _check_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
  """Ends the program for an unknown command, with the one that may be meant."""
  name = next((text for text in argv if not text.startswith("-")), None)
  (commands,) = (a for a in parser._actions if isinstance(a.choices, dict))
  if name is None or name in commands.choices:
    return
  near = difflib.get_close_matches(name, commands.choices, 1)
  hint = f"did you mean {near[0]}?" if near else f"want {', '.join(commands.choices)}"
  if not near and pathlib.Path(name).exists():
    hint = f"a mesh of it makes: {parser.prog} reconstruct {name}"
  parser.error(f"no such command: {name!r}; {hint}")


def _resumes(arguments: argparse.Namespace) -> bool:
  """Whether the same command continues where it was interrupted."""
  if arguments.command == "reconstruct":
    source = arguments.input[0]
    one_series = arguments.level is not None and not volumes.holds_volumes(source)
    return not one_series and process.resumes("reconstruct", source)
  return process.resumes(getattr(arguments, "mode", None))


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
  """Ends the program for arguments that there are not, with those that may be meant."""
  options = re.findall(r"--[\w-]+", parser.format_help())
  name = next((text for text in unknown if text.startswith("-")), unknown[0])
  near = difflib.get_close_matches(name.partition("=")[0], options, 1)
  hint = f"; did you mean {near[0]}?" if near else f"; see {parser.prog} --help"
  parser.error(f"not understood: {' '.join(unknown)}{hint}")


def _reconstruct(arguments: argparse.Namespace) -> None:
  if len(arguments.input) > 1:
    raise ValueError(
      f"{len(arguments.input)} inputs ({', '.join(arguments.input[:3])}, ...); want "
      "one file, or one folder that holds them"
    )
  source = pathlib.Path(arguments.input[0])
  if _is_volume(arguments, source):
    _reconstruct_volume(arguments, source)
    return
  with process.announced("starting"), process.importing():
    from occnet_jax.cli import reconstruct as reconstruct_lib  # imports JAX

  reconstruct_lib.reconstruct(
    arguments.workdir,
    source,
    arguments.output or _default_output(source),
    pretrained=arguments.model,
    masks=arguments.masks,
    intrinsics=arguments.intrinsics,
    poses=arguments.poses,
    resolution=arguments.resolution,
    smooth=arguments.smooth,
    faces=arguments.faces,
    seed=arguments.seed,
    preview=arguments.preview,
    texture=arguments.texture,
    ignore_normals=arguments.ignore_normals,
    camera_normals=arguments.camera_normals,
    shard=arguments.shard,
  )


def _is_volume(arguments: argparse.Namespace, source: pathlib.Path) -> bool:
  """Whether a mesh is made without a network: of a level, or of masks in volumes."""
  if arguments.level is not None:
    return True
  if arguments.model or arguments.workdir:
    return False
  return volumes.is_volume_file(source) or volumes.holds_volumes(source)


def _reconstruct_volume(arguments: argparse.Namespace, source: pathlib.Path) -> None:
  """The mesh of a level, for which there is neither a model nor what it takes."""
  for name in ("workdir", "model", "resolution", "masks", "intrinsics", "poses"):
    if getattr(arguments, name) is not None:
      raise ValueError(
        f"--{name}={getattr(arguments, name)} is for models, which take no part in the "
        "mesh of a volume; leave it out"
      )
  if arguments.texture:
    raise ValueError("--texture is for clouds with colours; leave it out for a volume")
  if arguments.shard:
    raise ValueError(
      f"--shard={arguments.shard} is for models; leave it out for volumes"
    )
  with process.announced("starting"):
    from occnet_jax.cli import user_volume  # imports JAX

  user_volume.reconstruct_volume(
    source,
    arguments.output,
    level=arguments.level,
    smooth=arguments.smooth,
    faces=arguments.faces,
    preview=arguments.preview,
  )


def _default_output(source: pathlib.Path) -> pathlib.Path | None:
  """<stem>.glb in the current directory, or another name where that is the input."""
  if source.is_dir():
    return None
  target = pathlib.Path(f"{source.stem}.glb")
  if target.resolve() == source.resolve():
    return target.with_stem(f"{source.stem}_reconstruction")
  return target


def _list_models(arguments: argparse.Namespace) -> None:
  del arguments  # there are none
  from occnet_jax import pretrained
  from occnet_jax.interop import cards

  for name in pretrained.names():
    print(f"{name:16} {cards.summary(pretrained.DIRECTORY / name / 'README.md')}")  # noqa: T201
  if not pretrained.names():
    print("no packaged models; --model takes a directory or owner/repo")  # noqa: T201


if __name__ == "__main__":
  main()
