"""The exported page in headless Chromium makes the mesh of the Python example.

The server is Python's own of files; networks run in onnxruntime-web.
"""

import io
import json
import re
import shutil
import tarfile

import numpy as np
import pytest
from scipy.spatial import cKDTree
from selenium.webdriver.common.by import By

from occnet_jax.cli import occnet
from occnet_jax.interop import exports, weights
from occnet_jax.trained_model import Model
from occnet_jax.viz import browser_page
from tests.helpers import ROOT, npm
from tests.helpers.browser import (
  WITHOUT_VIEWERS,
  PageUser,
  picture,
  started,
  wait,
)
from tests.helpers.file_server import served
from tests.helpers.pretrained import make_config, make_model, random_variables

PLACE = np.array([1000.0, -2000.0, 0.0])


@pytest.fixture(scope="module")
def runtime():
  pytest.importorskip("onnx", reason="the extra onnx is missing")
  return npm.fetch(browser_page.RUNTIME, browser_page.RUNTIME_VERSION)


@pytest.fixture(scope="module")
def folder(tiny_run, runtime, tmp_path_factory):
  """The page of a small trained network, as the command writes it."""
  folder = tmp_path_factory.mktemp("pages") / "page"
  command = ["export", f"--workdir={tiny_run}", "--format=page", "-o", str(folder)]
  occnet.main([*command, f"--onnxruntime-web={runtime}"])
  return folder


def make_cloud():
  """As many points as the network was trained with, on an ellipsoid far from 0."""
  points = np.random.default_rng(0).standard_normal((32, 3))
  points /= np.linalg.norm(points, axis=1, keepdims=True)
  return points * [30, 20, 10] + PLACE


def run_example(folder, cloud, monkeypatch, cells):
  """The mesh of the Python example in docs/export.md."""
  example = re.search(
    r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL
  )
  work = folder.parent / f"example_{cells}"
  shutil.copytree(folder, work / "exported", dirs_exist_ok=True)
  path = work / "exported" / "network.json"
  path.write_text(json.dumps(json.loads(path.read_text()) | {"cells": cells}))
  np.savetxt(work / "scan.xyz", cloud)
  monkeypatch.chdir(work)
  names = {}
  exec(example[1], names)
  return names["mesh"]


def assert_same_surface(mesh, expected):
  """The same triangles, to 1e-4 of the largest side."""
  assert len(mesh.faces) == len(expected.faces)
  assert mesh.is_watertight
  side = expected.extents.max()
  for points, others in ((mesh, expected), (expected, mesh)):
    distances, _ = cKDTree(others.vertices).query(points.vertices)
    assert distances.max() < 1e-4 * side
  assert mesh.volume == pytest.approx(expected.volume, rel=1e-4)
  outwards = np.einsum(
    "ij,ij->i",
    mesh.vertex_normals,
    expected.vertex_normals[cKDTree(expected.vertices).query(mesh.vertices)[1]],
  )
  assert np.median(outwards) > 0.9


def write_plys(folder, cloud):
  """The cloud as PLY files that differ in form: binary with more columns, and text."""
  rows = np.zeros(len(cloud), [("r", "u1"), ("x", "<f8"), ("y", "<f8"), ("z", "<f8")])
  for axis, name in enumerate("xyz"):
    rows[name] = cloud[:, axis]
  head = (
    "ply\nformat {} 1.0\ncomment été\nelement strip 1\nproperty list uchar int ids\n"
    f"element vertex {len(cloud)}\nproperty uchar red\nproperty double x\n"
    "property double y\nproperty double z\nelement face 0\n"
    "property list uchar int vertex_indices\nend_header\n"
  )
  strip = np.array([2], "u1").tobytes() + np.array([0, 1], "<i4").tobytes()
  binary, text = folder / "binary.ply", folder / "text.ply"
  binary.write_bytes(
    head.format("binary_little_endian").encode() + strip + rows.tobytes()
  )
  lines = "".join(f"7 {x!r} {y!r} {z!r}\n" for x, y, z in cloud.tolist())
  text.write_text(head.format("ascii") + "2 0 1\n" + lines, encoding="utf-8")
  return binary, text


BROKEN = {
  "words.xyz": (
    b"1 2 3\n4 5 6\nfour five\n",
    'line 3 is "four five"; want numbers x y z',
  ),
  "few.csv": (b"x,y,z\n1,2,3\n4,5,6\n", "2 points; want at least 3"),
  "nan.xyz": (b"1 2 3\n4 5 6\n7 8 nan\n", 'line 3 is "7 8 nan"; want numbers x y z'),
  "same.xyz": (b"1 2 3\n" * 5, "all points lie in one place"),
  "empty.txt": (b"", "0 points; want at least 3"),
  "cut.ply": (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty float x\n"
    b"property float y\nproperty float z\nend_header\n" + bytes(40),
    "ends before all of its points",
  ),
  "large.ply": (
    b"ply\nformat ascii 1.0\nelement vertex 4000000000\nproperty float x\n"
    b"property float y\nproperty float z\nend_header\n1 2 3\n",
    "promises 4000000000 points",
  ),
  "flat.ply": (
    b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n",
    "no element vertex with x, y and z",
  ),
  "head.ply": (b"ply\nformat ascii 1.0\n", "the header of PLY has no end"),
  "form.ply": (b"ply\nformat zip 1.0\nend_header\n", 'the format of PLY is "zip"'),
}


def test_a_cloud_becomes_the_mesh_of_the_python_example(folder, tmp_path, monkeypatch):
  pytest.importorskip("onnxruntime", reason="the extra onnx is missing")
  cloud = make_cloud()
  np.savetxt(tmp_path / "scan.xyz", cloud)
  expected = run_example(folder, cloud, monkeypatch, 16)
  with served(folder) as (address, paths), started(tmp_path) as page:
    page.set_window_size(1100, 1000)
    page.get(address)
    user = PageUser(page, tmp_path)
    user.wait_for("^ready$")
    assert not page.find_element(By.ID, "result").is_displayed()
    user.choose(tmp_path / "scan.xyz")
    user.wait_for(r"^scan\.xyz: done")
    assert user.text("input-facts") == "32 points"
    assert_same_surface(user.download(), expected)
    viewers = page.find_elements(By.TAG_NAME, "model-viewer")
    wait(page, lambda: all(viewer.get_property("loaded") for viewer in viewers))
    wait(page, lambda: all(picture(viewer).std() > 5 for viewer in viewers))

    # Another number of cells and another threshold, of the same cloud.
    page.set_window_size(*WITHOUT_VIEWERS)
    user.slide("cells", 40)
    wait(page, lambda: user.faces() > 3 * len(expected.faces))
    fine = user.download()
    assert_same_surface(fine, run_example(folder, cloud, monkeypatch, 40))
    shown = user.faces()
    threshold = float(user.text("threshold-shown"))
    user.slide("threshold", threshold + 0.02)
    wait(page, lambda: user.faces() != shown)
    assert user.download().volume < fine.volume
    user.slide("threshold", 0.98)
    user.wait_for("no surface at this threshold; choose a lower one")

    # Other forms of the same cloud, dropped and chosen, at the sliders' first places.
    user.slide("cells", 16)
    default = page.find_element(By.ID, "threshold").get_attribute("defaultValue")
    user.slide("threshold", default)
    binary, text = write_plys(tmp_path, cloud)
    user.choose(binary)
    user.wait_for(r"^binary\.ply: done")
    assert_same_surface(user.download(), expected)
    user.drop(text)
    user.wait_for(r"^text\.ply: done")
    assert_same_surface(user.download(), expected)

    for name, (content, sentence) in BROKEN.items():
      (tmp_path / name).write_bytes(content)
      user.choose(tmp_path / name)
      user.wait_for(f"^{re.escape(name)}: (?!done)")
      assert sentence in user.status.text
    assert not page.find_element(By.ID, "progress").is_displayed()

    # More points than in training; the grid takes long, is stopped, and made anew.
    np.savetxt(tmp_path / "many.xyz", np.repeat(cloud, 40, axis=0), delimiter=";")
    user.slide("cells", 192)
    user.choose(tmp_path / "many.xyz")
    user.wait_for("evaluating the network")
    page.find_element(By.ID, "stop").click()
    user.wait_for("^stopped$")
    user.slide("cells", 16)
    user.choose(tmp_path / "many.xyz")
    user.wait_for(r"^many\.xyz: done")
    assert user.text("input-facts") == "1,280 points, 32 of them used, at random"

    errors = [e for e in page.get_log("browser") if e["level"] == "SEVERE"]
    assert [e["message"] for e in errors] == []
    asked = {path.lstrip("/") or "index.html" for path in paths}
    assert asked <= {path.name for path in folder.iterdir()}
    assert {"worker.js", *browser_page.RUNTIME_FILES, "decoder.onnx"} <= asked


def test_the_page_may_ask_nothing_but_its_folder(folder, tmp_path):
  with (
    served(folder) as (address, _),
    served(tmp_path) as (elsewhere, asked),
    started(tmp_path) as page,
  ):
    page.get(address)
    PageUser(page, tmp_path).wait_for("^ready$")
    # Of the page, and of a worker as the page makes it.
    program = (
      "const [address, end] = arguments; let left = 2;"
      "const done = (text) => { answers.push(text); left -= 1; left || end(answers); };"
      "const answers = [];"
      "fetch(address).then(() => done('answered'), () => done('refused'));"
      "const text = `fetch('${address}').then(() => postMessage('answered'), () => "
      "postMessage('refused'))`;"
      "const worker = new Worker(URL.createObjectURL(new Blob([text])));"
      "worker.onmessage = ({ data }) => done(data);"
    )
    assert page.execute_async_script(program, elsewhere) == ["refused", "refused"]
    assert asked == []


def test_a_random_code_is_at_the_mean_of_its_prior(runtime, tmp_path):
  config = make_config()
  config["model"].update(z_dim=4, decoder="cbatchnorm2")
  method, specs = weights.build(config, {"step": 1})
  model = Model(method, random_variables(specs), config, {"step": 1})
  low, high = make_cloud().min(0), make_cloud().max(0)
  loc, scale = (low + high) / 2, (high - low).max()
  latent = model.encode(((make_cloud() - loc) / scale)[None])
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 500, 3))
  record = {"step": 1, "level": float(np.median(model.decode(latent, points)))}
  model = Model(weights.build(config, record)[0], model.variables, config, record)
  exports.write(tmp_path / "page", "onnx", model.method, model.variables, model.config)
  browser_page.write(tmp_path / "page", "random", browser_page.read_runtime(runtime))
  np.savetxt(tmp_path / "scan.xyz", make_cloud())
  with served(tmp_path / "page") as (address, _), started(tmp_path) as page:
    page.set_window_size(*WITHOUT_VIEWERS)
    page.get(address)
    user = PageUser(page, tmp_path)
    user.choose(tmp_path / "scan.xyz")
    user.wait_for(r"^scan\.xyz: done")
    mesh = user.download()
  inner = (mesh.vertices - loc) / scale
  inner = inner[np.abs(inner).max(1) < 0.48]  # not in the cells of the border
  assert len(inner) > 50
  # The surface of 16 cells is linear along edges, and the field nearly so.
  off = np.asarray(model.decode(latent, inner[None])) - model.level
  assert np.abs(off).max() < 0.05 * np.std(model.decode(latent, points))


def test_without_its_runtime_the_page_says_what_to_put_beside_it(
  folder, tmp_path, capsys
):
  bare = tmp_path / "bare"
  shutil.copytree(folder, bare)
  for name in browser_page.RUNTIME_FILES:
    (bare / name).unlink()
  with served(bare) as (address, _), started(tmp_path) as page:
    page.get(address)
    user = PageUser(page, tmp_path)
    user.wait_for(
      "onnxruntime-web is missing: put ort.wasm.bundle.min.mjs and .*1.30.0"
    )
    page.get((folder / "index.html").as_uri())
    user = PageUser(page, tmp_path)
    user.wait_for("opened as a file; serve its folder, as python -m http.server does")


def test_the_command_says_what_it_wants(tiny_run, tmp_path, capsys, monkeypatch):
  pytest.importorskip("onnx", reason="the extra onnx is missing")
  command = ["export", f"--workdir={tiny_run}", "-o", str(tmp_path / "out")]
  occnet.main([*command, "--format=page"])
  said = capsys.readouterr().out
  assert "npm pack onnxruntime-web@1.30.0" in said and "python -m http.server" in said
  assert not (tmp_path / "out" / browser_page.RUNTIME_FILES[0]).exists()
  package = tmp_path / "package"
  (package / "dist").mkdir(parents=True)
  for name in browser_page.RUNTIME_FILES:
    (package / "dist" / name).write_bytes(b"program")
  wrong = {"": "is not the package onnxruntime-web; want the file that npm pack"}
  wrong['{"name": "onnxruntime-web", "version": "1.2.3"}'] = (
    "is onnxruntime-web 1.2.3; want onnxruntime-web 1.30.0"
  )
  flag = f"--onnxruntime-web={package}"
  for text, sentence in wrong.items():
    (package / "package.json").write_text(text)
    with pytest.raises(SystemExit, match=sentence):
      occnet.main([*command, "--format=page", flag])
  with pytest.raises(SystemExit, match="is for --format=page, not onnx; leave it out"):
    occnet.main([*command, "--format=onnx", flag])
  text = '{"name": "onnxruntime-web", "version": "1.30.0"}'
  (package / "package.json").write_text(text)
  occnet.main([*command, "--format=page", flag])
  for name in browser_page.RUNTIME_FILES:
    assert (tmp_path / "out" / name).read_bytes() == b"program"


def test_an_archive_that_is_cut_off_or_damaged_is_no_package(tmp_path):
  path = tmp_path / "package.tgz"
  with tarfile.open(path, "w:gz") as archive:
    for name in [f"dist/{name}" for name in browser_page.RUNTIME_FILES]:
      info = tarfile.TarInfo(f"package/{name}")
      info.size = 5000
      archive.addfile(info, io.BytesIO(np.random.default_rng(0).bytes(5000)))
  whole = path.read_bytes()
  damaged = [whole[: len(whole) * part // 8] for part in range(9)]
  damaged.append(whole[:3000] + bytes(100) + whole[3100:])
  for content in damaged:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not the package onnxruntime-web; want"):
      browser_page.read_runtime(path)


def test_networks_of_images_have_no_page():
  model = make_model()
  about = exports.describe(
    model.method,
    model.settings._replace(data=model.settings.data._replace(inputs="image")),
  )
  with pytest.raises(ValueError, match="is for networks of clouds, and this one takes"):
    browser_page.check(about)
