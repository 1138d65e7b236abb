"""What notebooks display: pages of meshes that stand alone, in a frame of a cell."""

import html
import io
import re

import numpy as np
import pytest
import trimesh
from PIL import Image
from selenium.webdriver.common.by import By

from occnet_jax import plotting
from tests.helpers.browser import picture, started, wait

BALL = trimesh.creation.icosphere(2).apply_scale(30).apply_translation([500, 0, 0])
BAR = trimesh.creation.box((2, 20, 2)).apply_translation([500, 0, 0])


def test_a_view_is_a_frame_that_holds_its_page(tmp_path):
  view = plotting.show(BALL, np.asarray(BALL.vertices), title="a <scan>", height=400)
  frame = view._repr_html_()
  assert 'height="400"' in frame
  page = html.unescape(re.search(r'srcdoc="([^"]*)"', frame).group(1))
  assert page == view.page and "<title>a &lt;scan&gt;</title>" in page
  assert view.save(tmp_path / "view.html").read_text() == view.page
  assert page.count("<model-viewer alt") == 2
  assert f"{len(BALL.vertices)} points" in page


def test_a_slider_in_a_notebook_changes_the_mesh(tmp_path):
  view = plotting.slide([BALL, BAR], ["a ball", "a bar"])
  (tmp_path / "notebook.html").write_text(view._repr_html_())  # as a cell's output
  with started(tmp_path) as chrome:
    chrome.get((tmp_path / "notebook.html").as_uri())
    chrome.switch_to.frame(0)
    viewer = chrome.find_element(By.TAG_NAME, "model-viewer")
    label = chrome.find_element(By.ID, "label")
    wait(chrome, lambda: viewer.get_property("loaded") and picture(viewer).std() > 5)
    ball = picture(viewer)
    assert label.text == "a ball"
    chrome.execute_script(
      "const p = document.getElementById('place'); p.value = 1;"
      "p.dispatchEvent(new Event('input'))"
    )
    wait(chrome, lambda: np.abs(picture(viewer) - ball).mean() > 5)
    assert label.text == "a bar"
    errors = [e for e in chrome.get_log("browser") if e["level"] == "SEVERE"]
    assert not errors


def test_a_mesh_alone_and_its_faces_are_shown():
  page = plotting.show(BALL).page
  assert page.count("<model-viewer alt") == 1 and "320 faces" in page


def still(view):
  """The still picture of a view in grey, cut into its squares."""
  pytest.importorskip("embreex")
  sheet = np.asarray(Image.open(io.BytesIO(view._repr_png_())).convert("L"))
  return np.split(sheet, sheet.shape[1] // len(sheet), axis=1)


def extent(picture):
  """Height and width in pixels of what is not white."""
  rows, columns = np.nonzero(picture < 255)
  return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_the_still_picture_has_a_cloud_and_its_mesh_in_one_frame():
  far = np.array([[5000.0, 0, 0]])  # an outlier does not change the frame
  cloud, mesh = still(plotting.show(BALL, np.concatenate([BALL.vertices, far])))
  np.testing.assert_allclose(extent(cloud), extent(mesh), atol=6)
  high, wide = extent(mesh)
  assert abs(high - wide) <= 2  # the outline of a ball
  np.testing.assert_allclose((mesh < 255).sum(), np.pi / 4 * high * wide, rtol=0.03)


def test_the_still_picture_of_many_meshes_has_the_first_the_last_and_four_between():
  pictures = still(plotting.slide([*[BALL] * 9, BAR]))
  assert len(pictures) == 6
  (high, wide), (bar_high, bar_wide) = extent(pictures[0]), extent(pictures[-1])
  assert abs(high - wide) <= 2
  assert bar_high > 2 * bar_wide


@pytest.mark.parametrize(
  ("meshes", "labels", "message"),
  [
    ([], None, "0 meshes, 0 of them without faces; want at least one"),
    ([BALL, trimesh.Trimesh()], None, "2 meshes, 1 of them without faces"),
    ([BALL], ["a", "b"], "2 labels for 1 meshes; want one for each"),
  ],
)
def test_what_a_slider_cannot_show_is_refused(meshes, labels, message):
  with pytest.raises(ValueError, match=message):
    plotting.slide(meshes, labels)
