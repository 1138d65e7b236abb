"""Exported networks give what the networks give, where there is no package of ours."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from configs import base, onet
from occnet_jax import config as config_lib
from occnet_jax.cli import occnet, process
from occnet_jax.data import inputs as inputs_lib
from occnet_jax.interop import exports, stablehlo, weights
from occnet_jax.models import registry
from occnet_jax.types import Field
from tests.helpers.pretrained import install, make_model, random_variables

pytestmark = pytest.mark.usefixtures("plain_convolutions")
SMALL = {"encoder_hidden_size": 12, "c_dim": 8, "hidden_size": 16}


def make_network(config):
  config = json.loads(json.dumps(config.to_dict()))
  method, specs = weights.build(config, {})
  return method, random_variables(specs), config


def close(actual, expected):
  """Within 1e-5 of the largest number, or of 1."""
  expected = np.asarray(expected)
  assert actual.shape == expected.shape and actual.dtype == expected.dtype
  largest = max(1, np.abs(expected).max())
  np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * largest)


def draw(*shape, seed=0):
  return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def fill(array, *shape):
  """The array, repeated along its axes until it has a larger shape."""
  added = [(0, size - own) for size, own in zip(shape, array.shape, strict=True)]
  return np.pad(array, added, mode="wrap")


def compile_network(method):
  """One program (variables, observed, points, z or nothing) -> logits."""

  @jax.jit
  def logits(variables, observed, points, *z):
    latent = method.encode(variables, observed)
    if z:
      latent = method.prior.insert(latent, *z)
    return method.decode(variables, latent, points)

  return logits


def run_onnx(folder, name, arrays):
  onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is missing")
  session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
  names = [output.name for output in session.get_outputs()]
  return dict(zip(names, session.run(None, arrays), strict=True))


@pytest.mark.parametrize(
  "model",
  [
    {},
    {"encoder": "pointnet_simple", "fourier_octaves": 3},
    {"decoder": "cbatchnorm2", "z_dim": 4},
    {"decoder": "cbatchnorm_noresnet", "decoder_leaky": True},
    {"decoder": "batchnorm", "fourier_octaves": 2},
    {"decoder": "simple", "z_dim": 4},
    {"decoder": "cbatchnorm", "z_dim": 4, "decoder_leaky": True},
    {"encoder": "none", "c_dim": 0, "decoder": "simple", "z_dim": 4},
  ],
  ids=str,
)
def test_graphs_give_the_logits_of_the_network_for_any_sizes(model, tmp_path):
  config = base.get_config()
  config.model.update(SMALL | model)
  if model.get("encoder") == "none":
    config.data.inputs = "none"
  method, variables, config = make_network(config)
  pytest.importorskip("onnx", reason="the extra onnx is missing")
  path = exports.write(tmp_path, "onnx", method, variables, config)
  about = json.loads(path.read_text())
  network, largest = compile_network(method), (2, 30, 7)
  for b, n, t in ((1, 9, 5), largest):
    sizes = {"b": b, "n": n, "t": t}
    observed = draw(b, n, 3) if config["data"]["inputs"] == "cloud" else draw(b, 0)
    points, arrays = draw(b, t, 3, seed=2), {"inputs": observed}
    if model.get("z_dim"):
      arrays["z"] = draw(b, 4, seed=1)
    arrays = {name: arrays[name] for name in about["inputs"]}
    folded = run_onnx(tmp_path, "encoder", arrays)
    for name, shape in about["latent"].items():
      assert folded[name].shape == tuple(sizes.get(size, size) for size in shape)
    decoded = run_onnx(tmp_path, "decoder", {"points": points, **folded})
    # The network's own program has one size; what is missing is there twice, which
    # the encoders do not notice, because they take the maximum over a cloud's points.
    bs, ns, ts = largest
    whole = fill(observed, *((bs, ns, 3) if observed.ndim == 3 else (bs, 0)))
    z = [fill(arrays["z"], bs, 4)] if model.get("z_dim") else []
    expected = network(variables, whole, fill(points, bs, ts, 3), *z)
    close(decoded["logits"], expected[:b, :t])


def keep_size(kernel):
  """A random kernel, scaled so that features keep their size over layers."""
  if kernel.ndim < 4:
    return kernel
  return kernel / kernel.std() * (2 / np.prod(kernel.shape[:-1])) ** 0.5


@pytest.mark.parametrize(
  ("encoder", "side"),
  [
    ("voxel_simple", 16),
    ("simple_conv", 64),
    ("resnet18", 40),
    ("resnet50", 33),
  ],
)
def test_graphs_encode_images_and_grids(encoder, side, tmp_path):
  pytest.importorskip("onnx", reason="the extra onnx is missing")
  config = base.get_config()
  config.data.update(image_side=side)
  config.data.inputs = "voxels" if encoder == "voxel_simple" else "image"
  config.prep.voxel_side = side
  config.model.update({**SMALL, "encoder": encoder})
  method, variables, config = make_network(config)
  variables = jax.tree.map(keep_size, variables)
  path = exports.write(tmp_path, "onnx", method, variables, config)
  shape = json.loads(path.read_text())["inputs"]["inputs"]
  observed = np.abs(draw(2, *shape[1:]))
  folded = run_onnx(tmp_path, "encoder", {"inputs": observed})
  points = draw(2, 7, 3, seed=2)
  decoded = run_onnx(tmp_path, "decoder", {"points": points, **folded})
  expected = compile_network(method)(variables, observed, points)
  assert np.ptp(expected) > 1e-2 * np.abs(expected).max()
  close(decoded["logits"], expected)


def test_the_papers_network_at_its_full_size_is_the_same_graph(tmp_path):
  pytest.importorskip("onnx", reason="the extra onnx is missing")
  method, variables, config = make_network(onet.get_config("pointcloud"))
  small = jax.tree.map(lambda x: x if x.ndim == 1 else 0.2 * x, variables)
  exports.write(tmp_path, "onnx", method, small, config)
  assert 35e6 < (tmp_path / "encoder.onnx").stat().st_size < 45e6
  cloud, points = draw(1, 300, 3), draw(1, 64, 3, seed=1)
  folded = run_onnx(tmp_path, "encoder", {"inputs": cloud})
  decoded = run_onnx(tmp_path, "decoder", {"points": points, **folded})
  expected = compile_network(method)(small, cloud, points)
  close(decoded["logits"], expected)


def test_networks_that_graphs_cannot_hold_are_refused(tmp_path):
  config = base.get_config("ifnet").to_dict()
  method = registry.build(config["model"])
  with pytest.raises(
    ValueError,
    match=r"this is ifnet and inputs of shape .*; --format=stablehlo has every",
  ):
    exports.write(tmp_path, "onnx", method, {}, config)
  assert not list(tmp_path.iterdir())
  with pytest.raises(ValueError, match=r"format 'caffe'; want one of: stablehlo, onnx"):
    exports.write(tmp_path, "caffe", method, {}, config)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
  method, variables, config = make_network(base.get_config())
  monkeypatch.setattr(exports.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match=r"pip install 'occnet-jax\[onnx\]'"):
    exports.write(tmp_path, "onnx", method, variables, config)


@pytest.fixture(scope="module")
def small_programs(tmp_path_factory):
  """A small network: method, variables, and the folder of its programs."""
  config = base.get_config()
  config.model.update(SMALL)
  method, variables, config = make_network(config)
  folder = tmp_path_factory.mktemp("programs")
  exports.write(folder, "stablehlo", method, variables, config)
  return method, jax.device_put(variables), folder


def test_programs_give_the_bits_of_the_network_for_any_sizes(small_programs):
  method, variables, folder = small_programs
  encoder, decoder = (
    export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes()))
    for name in ("encoder", "decoder")
  )
  assert set(encoder.platforms) == set(decoder.platforms) == {"cpu", "cuda", "tpu"}

  @jax.jit
  def exported(cloud, points):
    latent = encoder.call(cloud)
    return latent["c"], decoder.call(latent, points)

  @jax.jit
  def own(cloud, points):
    latent = method.encode(variables, cloud)
    return latent.c, method.decode(variables, latent, points)

  for b, n, t in ((1, 300, 50), (3, 20, 7)):
    arrays = draw(b, n, 3), draw(b, t, 3, seed=1)
    for found, expected in zip(exported(*arrays), own(*arrays), strict=True):
      np.testing.assert_array_equal(found, expected)


def shrink(config, **fields):
  config.update_from_flattened_dict(fields)
  return config


OTHERS = {
  "deepsdf": lambda: shrink(
    base.get_config("deepsdf"),
    **{"data.inputs": "index", "data.targets": ("distances",), "model.codes": 5},
    **{"model.hidden_sizes": (16, 16), "model.skip_layers": (1,), "model.c_dim": 8},
  ),
  "r2n2": lambda: shrink(
    base.get_config("r2n2"),
    **{"data.targets": ("voxels",), "model.channels": (8, 8, 8)},
    **{f"model.{name}": 16 for name in ("encoder_hidden_size", "c_dim")},
  ),
  "voxels": lambda: shrink(
    onet.get_config("voxels"),
    **{"prep.voxel_side": 16, "model.c_dim": 8, "model.hidden_size": 8},
  ),
  "psgn": lambda: shrink(
    base.get_config("psgn"),
    **{"data.targets": ("surface",), "model.n_points": 16, "model.hidden_size": 8},
    **{f"model.{name}": 8 for name in ("encoder_hidden_size", "c_dim")},
  ),
  "atlasnet": lambda: shrink(
    base.get_config("atlasnet"),
    **{"data.targets": ("surface",), "model.n_points": 8, "model.patches": 2},
    **{"model.c_dim": 16, "model.hidden_size": 8},
  ),
  "scan": lambda: shrink(
    base.get_config("scan"),
    **{"data.scan.points": (20, 32), "data.targets": ("cloud_normals",)},
    **{"model.grid_resolution": 8, "model.unet3d_levels": 2, "model.c_dim": 4},
    **{"model.unet3d_filters": 4, "model.hidden_size": 8, "model.moment_sides": (32,)},
    **{"model.poisson_side": 16, "model.fine_poisson_side": 16},
  ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_kind_of_network_becomes_programs(name):
  method, variables, config = make_network(OTHERS[name]())
  settings = config_lib.parse(config)
  spec = inputs_lib.make(settings.data).spec
  programs = stablehlo.programs(method, variables, spec, platforms=("cpu",))
  b = 2 if programs.inputs["inputs"][0] == "b" else 1
  observed = np.zeros((b, *spec.shape), spec.dtype)
  if spec.dtype == np.float32:
    observed = draw(*observed.shape)
  points = [draw(b, 9, 3, seed=1)] if isinstance(method.output, Field) else []

  @jax.jit
  def exported(observed, *points):
    latent = programs.encoder.call(observed)
    return latent, programs.decoder.call(latent, *points)

  @jax.jit
  def network(variables, observed, *points):
    latent = method.encode(variables, observed)
    return latent, method.decode(variables, latent, *points)

  latent, values = exported(observed, *points)
  assert latent.keys() == programs.latent.keys()
  own, expected = network(variables, observed, *points)
  for key, array in zip(stablehlo.latent_names(own), jax.tree.leaves(own), strict=True):
    close(np.asarray(latent[key]), array)
  jax.tree.map(close, jax.tree.map(np.asarray, values), expected)


def test_programs_need_no_package_of_ours(small_programs, tmp_path):
  folder = small_programs[2]
  program = (
    "import pathlib, sys, numpy, jax; from jax import export\n"
    f"path = pathlib.Path({str(folder)!r}) / 'encoder.stablehlo'\n"
    "encoder = export.deserialize(bytearray(path.read_bytes()))\n"
    "print(encoder.call(numpy.zeros((1, 9, 3), 'float32'))['c'].shape)\n"
    "print('occnet_jax' in sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
  )
  assert done.stdout.split("\n")[:2] == ["(1, 8)", "False"], done.stderr[-2000:]


@pytest.fixture
def here(tmp_path, monkeypatch):
  """The current directory and the package's one small model, scan."""
  model = make_model()
  install(model, tmp_path / "package", monkeypatch)
  monkeypatch.setattr(process, "keep_freed_memory", lambda: None)
  monkeypatch.chdir(tmp_path)
  return tmp_path, model


def test_the_command_writes_every_format(here, tiny_run, capsys):
  folder, model = here
  for name in ("onnx", "stablehlo"):
    occnet.main(["export", f"--format={name}", "-o", name])
    about = json.loads((folder / name / "network.json").read_text())
    assert about["format"] == name
    assert about["level"] == pytest.approx(model.level)
    assert about["inputs"] == {"inputs": ["b", "n", 3]} and about["cells"] == 16
    assert (folder / name / f"encoder.{name}").exists()
  size = (folder / "onnx" / "decoder.onnx").stat().st_size
  assert f"decoder.onnx: {size / 1e3:.0f} kB\n" in capsys.readouterr().out
  run = ["--workdir", str(tiny_run)]
  occnet.main(["export", *run, "--format=safetensors", "-o", "weights"])
  assert (folder / "weights" / "model.safetensors").exists()
  occnet.main(["export", *run, "--format=torch", "-o", "network.pt"])
  assert (folder / "network.pt").stat().st_size > 10_000
  for wrong, message in {
    ("--format=torch",): "want --workdir=DIR",
    ("--format=onnx", "--model=scan", *run): "name two networks; want one",
  }.items():
    with pytest.raises(SystemExit, match=message):
      occnet.main(["export", *wrong, "-o", "out"])
  assert not (folder / "out").exists()
