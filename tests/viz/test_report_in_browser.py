"""The pages in headless Chromium, opened from disk: pictures, cameras, no requests."""

import contextlib
import json
import time

import numpy as np
import pytest
import trimesh
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By

from occnet_jax.viz.comparison import write_comparison
from occnet_jax.viz.report import write_report
from tests.helpers.browser import picture, started, wait
from tests.helpers.report_example import write

OWN_SCHEMES = ("data:", "blob:", "chrome:", "chrome-extension:", "about:")


@contextlib.contextmanager
def opened(path, directory):
  """A browser that has the page open and the first shape on screen, loaded."""
  with started(directory) as chrome:
    chrome.get(path.as_uri())
    show_first_shape(chrome)
    yield chrome


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  directory = tmp_path_factory.mktemp("browser")
  write(directory / "report.html")
  with opened(directory / "report.html", directory) as chrome:
    yield chrome


def test_the_comparison_of_a_cloud_and_its_mesh_is_on_screen(tmp_path):
  """In any frame: the mesh fills its picture, wherever the scanner stood."""
  mesh = trimesh.creation.icosphere(3).apply_scale(5).apply_translation([900, 0, 0])
  write_comparison(
    tmp_path / "page.html",
    title="scan.ply",
    facts={"Mesh": "closed"},
    observation=np.asarray(mesh.vertices[::3]),
    mesh=mesh,
  )
  with opened(tmp_path / "page.html", tmp_path) as chrome:
    cloud, ball = (picture(viewer) for viewer in viewers(chrome))
    for shown in (cloud, ball):
      changed = np.abs(shown - shown[0, 0]).sum(-1) > 20
      assert np.ptp(np.nonzero(changed)[0]) > 0.5 * len(shown)
    assert np.abs(cloud - ball).mean() > 2


def viewers(page):
  """The three pictures of the first shape."""
  shape = page.find_element(By.CLASS_NAME, "shape")
  return shape.find_elements(By.TAG_NAME, "model-viewer")


def show_first_shape(page):
  page.execute_script("document.querySelector('.shape').scrollIntoView()")
  wait(page, lambda: all(viewer.get_property("loaded") for viewer in viewers(page)))
  wait(page, lambda: all(picture(viewer).std() > 5 for viewer in viewers(page)))


def orbit(page, viewer):
  """Angle round the vertical axis in radians, and distance."""
  script = "const o = arguments[0].getCameraOrbit(); return [o.theta, o.radius]"
  return np.array(page.execute_script(script, viewer))


def test_every_picture_shows_its_shape_in_its_colour(page):
  ochre, blue, stone = (picture(viewer) for viewer in viewers(page))
  for image in (ochre, blue, stone):
    background = image[5, 5]
    share = (np.abs(image - background).max(axis=2) > 20).mean()
    assert 0.02 < share < 0.7
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 50  # shaded, not flat

  def redness(image):
    shape = np.abs(image - image[5, 5]).max(axis=2) > 20
    return (image[..., 0] - image[..., 2])[shape].mean()

  assert redness(ochre) > 40 > redness(stone) > 0 > redness(blue)


def test_dragging_turns_the_three_pictures_together(page):
  first, second, third = viewers(page)
  before = [picture(viewer) for viewer in (first, second, third)]
  start = orbit(page, first)
  ActionChains(page).click_and_hold(second).move_by_offset(60, 10).release().perform()
  wait(page, lambda: abs(orbit(page, second)[0] - start[0]) > 0.2)
  for viewer in (first, third):
    wait(page, lambda v=viewer: np.allclose(orbit(page, v), orbit(page, second)))
  for viewer, old in zip((first, second, third), before, strict=True):
    wait(page, lambda v=viewer, o=old: np.abs(picture(v) - o).max() > 50)


def test_the_wheel_scrolls_the_page_until_a_picture_is_held(page):
  first, second, _ = viewers(page)
  heading = page.find_element(By.TAG_NAME, "h1")
  ActionChains(page).move_to_element(heading).perform()  # lets go
  show_first_shape(page)
  distance, top = orbit(page, first)[1], page.execute_script("return scrollY")
  origin = ScrollOrigin.from_element(first)
  ActionChains(page).scroll_from_origin(origin, 0, -100).perform()
  wait(page, lambda: page.execute_script("return scrollY") < top)
  np.testing.assert_allclose(orbit(page, first)[1], distance)
  show_first_shape(page)
  ActionChains(page).click(first).perform()
  ActionChains(page).scroll_from_origin(origin, 0, -100).perform()
  wait(page, lambda: orbit(page, first)[1] < distance - 0.02)
  wait(page, lambda: np.allclose(orbit(page, second), orbit(page, first)))


def test_the_button_puts_the_view_back(page):
  first, second, _ = viewers(page)
  page.find_element(By.CLASS_NAME, "reset").click()
  wait(page, lambda: np.allclose(orbit(page, first)[1], 2.35))
  np.testing.assert_allclose(orbit(page, first), orbit(page, second))


def test_the_page_fits_a_narrow_screen(page):
  metrics = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
  page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
  width = page.execute_script("return document.documentElement.scrollWidth")
  page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
  assert width <= 400


def test_the_page_of_a_training_loads_itself_again_until_it_is_paused(tmp_path):
  path = tmp_path / "report.html"

  def write_page(title):
    content = {"facts": {}, "summary": [], "charts": [], "shapes": []}
    write_report(path, title=title, reload=1, **content)

  write_page("first")
  with started(tmp_path) as chrome:
    chrome.get(path.as_uri())
    write_page("second")
    wait(chrome, lambda: chrome.title == "second")
    chrome.find_element(By.ID, "pause").click()
    loaded = chrome.execute_script("window.mark = 1; return document.title")
    write_page("third")
    time.sleep(3)  # the page would have been loaded three times
    assert chrome.execute_script("return window.mark") == 1
    assert chrome.title == loaded == "second"
    chrome.find_element(By.ID, "pause").click()
    wait(chrome, lambda: chrome.title == "third")


def test_nothing_was_asked_of_the_network_and_nothing_failed(page):
  events = [json.loads(entry["message"]) for entry in page.get_log("performance")]
  asked = [
    event["message"]["params"]["request"]["url"]
    for event in events
    if event["message"]["method"] == "Network.requestWillBeSent"
  ]
  asked = [url for url in asked if not url.startswith(OWN_SCHEMES)]
  assert asked == [page.current_url.partition("#")[0]]
  complaints = [
    entry
    for entry in page.get_log("browser")
    # How fast the software renderer is, and model-viewer's wait for it.
    if entry["source"] != "rendering" and "rAF timed out" not in entry["message"]
  ]
  assert complaints == []
