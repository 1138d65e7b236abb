"""The page in headless Chromium: a file goes up, a mesh comes back and is shown."""

import json
import re
import threading
import urllib.request

import numpy as np
import pytest
from selenium.webdriver.common.by import By

from occnet_jax.cli.demo import server
from tests.helpers.browser import picture, started, wait
from tests.helpers.pretrained import make_cloud, make_model

uvicorn = pytest.importorskip("uvicorn", reason="the extra demo is missing")


@pytest.fixture(scope="module")
def address():
  """A server of a small network."""
  from occnet_jax.cli.demo import app as app_lib

  listener = server.open_socket(0)
  app = app_lib.make_app(make_model(), "small")
  serving = server.make_server(app)
  thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
  thread.start()
  yield f"http://127.0.0.1:{listener.getsockname()[1]}"
  serving.should_exit = True
  thread.join()
  listener.close()


def requested(page):
  """The addresses that the page asked for."""
  events = [
    json.loads(entry["message"])["message"] for entry in page.get_log("performance")
  ]
  return [
    event["params"]["request"]["url"]
    for event in events
    if event["method"] == "Network.requestWillBeSent"
  ]


def test_a_file_goes_up_and_its_mesh_is_shown_and_offered(address, tmp_path):
  path = tmp_path / "scan.xyz"
  np.savetxt(path, make_cloud())
  with started(tmp_path) as page:
    page.set_window_size(1100, 1250)  # viewers load where they can be seen
    page.get(address)
    assert not page.find_element(By.ID, "again").is_enabled()
    page.find_element(By.ID, "file").send_keys(str(path))
    status = page.find_element(By.ID, "status")
    wait(page, lambda: "done" in status.text)
    links = page.find_elements(By.CSS_SELECTOR, "#downloads a")
    assert [link.text for link in links] == ["GLB", "OBJ", "OFF", "PLY", "STL"]
    with urllib.request.urlopen(links[0].get_attribute("href")) as answer:
      assert answer.read()[:4] == b"glTF"

    page.switch_to.frame(page.find_element(By.ID, "view"))
    viewers = page.find_elements(By.TAG_NAME, "model-viewer")
    assert len(viewers) == 2
    wait(page, lambda: all(viewer.get_property("loaded") for viewer in viewers))
    wait(page, lambda: all(picture(viewer).std() > 5 for viewer in viewers))
    first = page.find_element(By.CLASS_NAME, "facts").text
    page.switch_to.default_content()
    page.save_screenshot(str(tmp_path / "page.png"))

    # It was followed by events, and is by asking where these do not come.
    before_block = requested(page)
    job = re.compile(rf"{address}/api/jobs/[^/?]+")
    assert [url for url in before_block if url.endswith("/events")]
    assert [url for url in before_block if job.fullmatch(url)] == []
    page.execute_cdp_cmd("Network.enable", {})
    page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/events"]})

    # A coarser grid, by the slider, from the same file.
    page.execute_script(
      "const s = document.getElementById('resolution'); s.value = 32;"
      "s.dispatchEvent(new Event('input'))"
    )
    assert page.find_element(By.ID, "resolution-shown").text == "32"
    page.find_element(By.ID, "again").click()
    view = page.find_element(By.ID, "view")
    before = view.get_attribute("src")
    wait(page, lambda: view.get_attribute("src") != before)
    page.switch_to.frame(view)
    wait(page, lambda: page.find_element(By.CLASS_NAME, "facts").text != first)
    page.switch_to.default_content()

    (tmp_path / "words.xyz").write_text("no numbers")
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "words.xyz"))
    wait(page, lambda: "words.xyz" in status.text and "want" in status.text)
    assert not page.find_element(By.ID, "progress").is_displayed()

    own = ("data:", "blob:", "chrome:", "about:", address)
    urls = requested(page)
    assert [url for url in urls if job.fullmatch(url)]
    assert [url for url in before_block + urls if not url.startswith(own)] == []
    errors = [e for e in page.get_log("browser") if e["level"] == "SEVERE"]
    assert [e["message"] for e in errors if "/events" not in e["message"]] == []
