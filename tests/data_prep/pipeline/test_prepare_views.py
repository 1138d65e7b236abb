"""Rendered views in a prepared data set."""

import importlib.util

import numpy as np
import pytest

from data_prep.pipeline.prepare import prepare
from occnet_jax.data import images
from occnet_jax.data import source as source_lib
from occnet_jax.geometry import cameras
from tests.helpers.small_data import SMALL, read_examples


@pytest.fixture(scope="module")
def pictured(source, tmp_path_factory):
  """The same run with three views of each shape."""
  out = tmp_path_factory.mktemp("pictured")
  return prepare(source=source, out=out, **SMALL, views=3, view_side=40)


def test_views_leave_everything_else_as_it_was(prepared, pictured):
  with_views, without = (
    read_examples(pictured.directory),
    read_examples(prepared.directory),
  )
  assert with_views.keys() == without.keys()
  for key, example in with_views.items():
    assert example.pop("views").keys() == {"images", "world_mat", "camera_mat"}
    assert example == without[key]


def test_the_surface_of_a_shape_is_where_its_views_show_it(pictured):
  """300 surface points fall on the silhouette and nearly span it."""
  fields = {"views": images.FIELDS, "pointcloud": {"points": True}}
  shapes = source_lib.open_split(pictured.directory, "train", fields)
  for i in range(len(shapes)):
    views, surface = shapes[i]["views"], shapes[i]["pointcloud"]["points"]
    assert images.count_views(views) == 3
    for view in range(3):
      image = images.decode_view(views, view)
      assert image.shape == (40, 40, 3)
      pixels, _ = cameras.project(
        surface.astype(np.float64), views["world_mat"][view], views["camera_mat"][view]
      )
      columns, rows = np.floor(pixels).astype(int).T
      assert (image[rows, columns, 0] < 255).mean() > 0.9  # a border pixel may be white
      covered = np.argwhere(image[..., 0] < 255)
      low, high = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
      np.testing.assert_allclose(covered.min(0), low[::-1], atol=4)
      np.testing.assert_allclose(covered.max(0) + 1, high[::-1], atol=4)


def test_shapes_have_cameras_of_their_own_that_do_not_depend_on_the_workers(
  pictured, source, tmp_path
):
  other = {**SMALL, "workers": 1, "shard_size": 100}
  prepare(source=source, out=tmp_path, **other, views=3, view_side=40)
  found = read_examples(tmp_path)
  assert found == read_examples(pictured.directory)
  assert len({example["views"]["world_mat"] for example in found.values()}) == 12


def test_other_views_on_the_same_directory_are_refused(prepared, pictured, source):
  with pytest.raises(ValueError, match="views is 3, there 0"):
    prepare(source=source, out=prepared.directory, **SMALL, views=3)
  with pytest.raises(ValueError, match="views is 0, there 3"):
    prepare(source=source, out=pictured.directory, **SMALL)
  with pytest.raises(ValueError, match="view_side is 137, there 40"):
    prepare(source=source, out=pictured.directory, **SMALL, views=3)


def test_views_without_the_renderer_are_refused_at_once(source, tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="Embree is not installed: pip install embreex"):
    prepare(source=source, out=tmp_path, **SMALL, views=1)
