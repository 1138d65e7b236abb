"""Names of what a call writes: no two inputs of one call have the same output."""

import numpy as np
import pytest

from configs import base
from occnet_jax import config as config_lib
from occnet_jax import files
from occnet_jax.cli import generative
from tests.evaluation.test_evaluate import generate
from tests.helpers.box_split import box_shape, make_split
from tests.helpers.occnet_command import enter_directory, load, run
from tests.helpers.pretrained import make_cloud, make_model


@pytest.mark.parametrize(
  ("names", "stems"),
  [
    (["mug.ply", "cup.csv"], ["mug", "cup"]),
    (["mug.ply", "mug.csv"], ["mug.ply", "mug.csv"]),
    (["a.ply", "a.csv", "a.ply.xyz"], ["a.ply", "a.csv", "a.ply.xyz"]),
    (["Mug.ply", "mug.csv"], ["Mug.ply", "mug.csv"]),
    (["Mug.ply", "mug.ply"], ["Mug.ply", "mug.ply-2"]),
    (["a.ply", "A.ply", "a.ply-2"], ["a.ply", "A.ply-3", "a.ply-2"]),
    (["x/a.ply", "y/a.ply"], ["x/a", "y/a"]),
  ],
)
def test_names_stay_apart_without_their_suffixes(names, stems):
  assert files.output_stems(names) == stems
  assert len(set(map(str.casefold, files.output_stems(names)))) == len(names)


def test_any_names_stay_apart_on_any_system():
  rng = np.random.default_rng(0)
  pieces = ["a", "A", ".ply", ".csv", "-2", "-3", "b/"]
  for _ in range(300):
    words = {"".join(rng.choice(pieces, rng.integers(1, 5))) for _ in range(12)}
    stems = files.output_stems(sorted(words))
    assert len(set(map(str.casefold, stems))) == len(words), words


def test_files_of_a_folder_that_are_alike_have_a_mesh_each(
  tmp_path, monkeypatch, capsys
):
  here = enter_directory(tmp_path, monkeypatch, make_model(), make_cloud())
  (here / "scans").mkdir()
  np.savetxt(here / "scans" / "mug.xyz", make_cloud())
  np.savetxt(here / "scans" / "mug.csv", 3 * make_cloud(), delimiter=",")
  run("reconstruct", "scans", "-o", "out")
  sizes = {path.name: np.ptp(load(path).vertices) for path in here.glob("out/*.glb")}
  assert sorted(sizes) == ["mug.csv.glb", "mug.xyz.glb"]
  assert sizes["mug.csv.glb"] == pytest.approx(3 * sizes["mug.xyz.glb"], rel=0.05)
  assert (
    "scans: mug.csv, mug.xyz are alike but for their suffixes, which stay in the names "
    "of their meshes (mug.csv.glb)\n"
  ) in capsys.readouterr().out
  (here / "scans" / "mug.csv").unlink()
  run("reconstruct", "scans", "-o", "single")
  assert [path.name for path in here.glob("single/*.glb")] == ["mug.glb"]
  assert "alike" not in capsys.readouterr().out


def test_two_shapes_of_one_name_are_refused_before_one_replaces_the_other(tmp_path):
  shapes = [*make_split("a"), box_shape("a1", 0.9)]
  with pytest.raises(ValueError, match=r"shapes 1 and 3 of .* are both box/a1, "):
    generate(shapes, tmp_path)
  assert np.ptp(load(tmp_path / "meshes/box/a1.ply").vertices[:, 0]) == pytest.approx(
    0.4
  )


def test_pairs_of_equal_names_in_two_categories_have_a_folder_each():
  shapes = [box_shape(name, 0.5) for name in ("0", "1", "0", "1", "2", "3")]
  for shape in shapes[2:4]:
    shape["category"] = b"chair"
  settings = config_lib.parse(base.get_config().to_dict())
  pairs = [(0, 1), (4, 5)]
  assert generative._name_pairs(settings, shapes, pairs) == ["0_1", "2_3"]
  pairs = [(0, 1), (2, 3)]
  names = generative._name_pairs(settings, shapes, pairs)
  assert names == ["box-0_box-1", "chair-0_chair-1"]
