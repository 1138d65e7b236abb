"""The notebooks, run top to bottom with small sizes in place of their parameters."""

import ast
import json
import re
import sys
import types

import nbclient
import nbformat
import numpy as np
import pytest
import trimesh
from PIL import Image

from occnet_jax.geometry import photos
from tests.helpers import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICKSTART = """
OUT = pathlib.Path({out!r})
CATEGORIES, SHAPES = ("car", "sofa"), 5
POINTS, NEAR_POINTS, SURFACE_POINTS = 2000, 500, 1000
SIZES = {{
  "model.encoder": "pointnet_simple",
  "model.encoder_hidden_size": 16,
  "model.c_dim": 16,
  "model.hidden_size": 16,
  "optim.name": "adam",  # it compiles faster
  "data.cloud_points": 50,
}}
STEPS, RUN_STEPS = 6, 6
SLICE_SIDE, RESOLUTION_0, UPSAMPLING_STEPS, MORPHS = 16, 8, 1, 2
SCAN, UPLOAD = OUT / "brick.ply", False
"""
OFFICIAL = """
OUT = pathlib.Path({out!r})
DOWNLOAD, CLOUD, IMAGE, UPLOAD = False, "", "", False
CHECKPOINTS = {{"pointcloud": "absent.pt", "image": "absent_too.pt"}}
GRID = {{"generation.resolution_0": 16, "generation.upsampling_steps": 1}}
DECODER = {{"model.c_dim": 16, "model.hidden_size": 16, **GRID}}
CHANGES = {{
  "pointcloud": {{"model.encoder_hidden_size": 16, **DECODER}},
  "image": {{"model.encoder": "simple_conv", "data.image_side": 64, **DECODER}},
}}
"""

EXPERIMENTS = """
OUT = pathlib.Path({out!r})
CATEGORIES, SHAPES = ("car", "sofa"), 5
HIDDEN, CODE, STEPS = 16, 16, 3
RESOLUTION_0, UPSAMPLING_STEPS, MORPHS = 8, 1, 2
"""


def run(name, parameters, question, out):
  """Runs a notebook with other parameters; the value of an expression at its end."""
  notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
  (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
  cell.source = parameters.format(out=str(out))
  answer = out / "answer.json"
  asked = f"json.dump({question}, open({str(answer)!r}, 'w'))"
  notebook.cells.append(nbformat.v4.new_code_cell(f"import json\n{asked}"))
  # The package need not be installed: a kernel imports from where it is started.
  nbclient.NotebookClient(
    notebook, timeout=500, resources={"metadata": {"path": str(ROOT)}}
  ).execute()
  return json.loads(answer.read_text())


def check_closed(path):
  mesh = trimesh.load_mesh(path, process=False)
  assert mesh.is_watertight
  assert mesh.volume > 0
  return mesh


def test_the_quickstart_trains_and_writes_a_closed_mesh_in_millimetres(tmp_path):
  question = (
    "{'loss': loss_per_point.tolist(), 'step': model.record['step'],"
    " 'scan': np.stack([scan.min(0), scan.max(0)]).tolist(),"
    " 'morphs': [len(morph.faces) for morph in morphs]}"
  )
  brick = trimesh.creation.box((300, 200, 100)).apply_translation([900, 0, 0])
  trimesh.PointCloud(brick.sample(3000, seed=0)).export(tmp_path / "brick.ply")
  found = run("quickstart", QUICKSTART, question, tmp_path)
  assert len(found["loss"]) == 6
  assert np.isfinite(found["loss"]).all()
  # A network that knows nothing gives every point a probability of about one half.
  np.testing.assert_allclose(found["loss"][0], np.log(2), rtol=0.2)
  assert found["step"] in (2, 4, 6)  # that were validated
  assert len(found["morphs"]) == 2
  mesh = check_closed(tmp_path / "reconstruction.ply")
  check_in_padded_box(mesh, np.array(found["scan"]))
  own = check_closed(tmp_path / "own_scan.glb")  # by the network of the package
  np.testing.assert_allclose(own.volume, brick.volume, rtol=0.1)
  np.testing.assert_allclose(own.bounds, brick.bounds, atol=15)


def test_the_experiments_train_their_own_encoder_and_loss(tmp_path):
  question = (
    "{'penalty': [row['penalty'] for row in history], 'volumes': volumes.tolist(),"
    " 'loss': [row['loss_per_point'] for row in history],"
    " 'decides': np.asarray(decides).tolist()}"
  )
  found = run("experiments", EXPERIMENTS, question, tmp_path)
  assert len(found["loss"]) == 3 and np.isfinite(found["loss"]).all()
  assert min(found["penalty"]) > 0  # the field has a slope
  assert len(found["volumes"]) == 8
  assert np.shape(found["decides"]) == (300, 3) and np.any(found["decides"])


def test_the_official_checkpoint_reconstructs_a_cloud_and_an_image(tmp_path):
  question = "np.stack([cloud.min(0), cloud.max(0)]).tolist()"
  box = np.array(run("official_checkpoint", OFFICIAL, question, tmp_path))
  from_cloud = check_closed(tmp_path / "from_cloud.ply")
  from_image = check_closed(tmp_path / "from_image.ply")
  check_in_padded_box(from_cloud, box)
  # The stand-ins have half of the padded cube inside, at the tau that was imported.
  for mesh, side in ((from_cloud, 1.1 * np.ptp(box, axis=0).max()), (from_image, 1.1)):
    np.testing.assert_allclose(mesh.volume, side**3 / 2, rtol=0.05)


def test_the_notebook_of_published_weights_turns_a_photograph_upright(tmp_path):
  notebook = nbformat.read(ROOT / "notebooks/official_checkpoint.ipynb", as_version=4)
  (cell,) = [cell for cell in notebook.cells if cell.source.startswith("if IMAGE:")]
  upright = np.zeros((30, 20, 3), np.uint8)
  upright[:10] = 255, 0, 0  # the top is red
  exif = Image.Exif()
  exif[274] = 6  # the orientation: to be turned by a quarter clockwise
  path = tmp_path / "photo.jpg"
  Image.fromarray(np.rot90(upright)).save(path, exif=exif, quality=95)
  names = {"IMAGE": path, "photos": photos}
  (branch,) = [n for n in ast.parse(cell.source).body if isinstance(n, ast.If)]
  exec(compile(ast.Module(branch.body, []), "cell", "exec"), names)
  assert names["picture"].shape == upright.shape
  np.testing.assert_allclose(names["picture"][:8].mean((0, 1)), (255, 0, 0), atol=10)


@pytest.mark.parametrize("name", ["quickstart", "official_checkpoint"])
def test_an_uploaded_file_takes_the_place_of_the_parameter(name, monkeypatch):
  colab = types.ModuleType("google.colab")  # there is none outside of Colab
  answers = iter([{"mine.ply": b"..."}, {}])  # a file, and a dialog that was cancelled
  colab.files = types.SimpleNamespace(upload=lambda: next(answers))
  monkeypatch.setitem(sys.modules, "google.colab", colab)
  notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
  cells = [c.source for c in notebook.cells if c.source.startswith("if UPLOAD:")]
  names = {"UPLOAD": True, "SCAN": "", "CLOUD": "", "IMAGE": "photo.jpg"}
  for source in cells:
    upload = ast.Module(ast.parse(source).body[:1], [])
    exec(compile(upload, "cell", "exec"), names)
  if name == "quickstart":
    assert names["SCAN"] == "mine.ply"
  else:
    assert (names["CLOUD"], names["IMAGE"]) == ("mine.ply", "photo.jpg")


def check_in_padded_box(mesh, box):
  """A mesh stays in the cube with padding of its cloud, and is of about its size."""
  centre, extent = box.mean(0), np.ptp(box, axis=0).max()
  assert np.abs(mesh.vertices - centre).max() <= 0.55 * extent * (1 + 1e-4)
  assert mesh.extents.max() > 0.2 * extent


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_parse_and_hold_no_outputs(path):
  notebook = nbformat.read(path, as_version=4)
  nbformat.validate(notebook)
  assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
  assert notebook.metadata.kernelspec.name == "python3"
  for cell in notebook.cells:
    if cell.cell_type == "code":
      ast.parse(cell.source)
      assert cell.outputs == []
      assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_notebooks_import_from_here_exists(path):
  cells = nbformat.read(path, as_version=4).cells
  code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
  ours = [
    node
    for node in ast.walk(ast.parse(code))
    if isinstance(node, ast.ImportFrom)
    and node.module.split(".")[0] in ("configs", "data_prep", "occnet_jax")
  ]
  assert ours
  for node in ours:
    exec(ast.unparse(node), {})


def test_there_are_three_notebooks():
  names = ["experiments", "official_checkpoint", "quickstart"]
  assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("name", ["experiments", "quickstart"])
def test_the_page_of_an_executed_notebook_has_its_cells_of_today(name):
  notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
  page = (ROOT / "docs" / f"notebook_{name}.md").read_text()
  cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
  shown = re.findall(r"^```python\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)
  assert shown == cells, (
    f"docs/notebook_{name}.md has other cells than notebooks/{name}.ipynb; "
    f"to run it and write the page: python docs/notebooks.py {name}"
  )
  for cell in notebook.cells:
    if cell.cell_type == "markdown":
      heading = cell.source.partition("\n")[0]
      assert heading.replace("../docs/", "") in page
  pictures = sorted((ROOT / "docs" / "executed").glob(f"{name}-*.png"))
  used = re.findall(r"\]\((executed/.*?)\)", page)
  assert used == [f"executed/{path.name}" for path in pictures]
  assert sum(path.stat().st_size for path in pictures) < 300_000
  assert str(ROOT) not in page and "/tmp/" not in page
