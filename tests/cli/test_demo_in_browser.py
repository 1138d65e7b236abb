"""The page in headless Chromium: a file goes up, a mesh comes back and is shown."""

import contextlib
import json
import re
import threading
import urllib.request

import nibabel
import numpy as np
import pytest
from selenium.webdriver.common.by import By

from occnet_jax.cli.demo import server
from tests.helpers.browser import WITHOUT_VIEWERS, picture, started, wait
from tests.helpers.pretrained import (
  SEEDS,
  make_cloud,
  make_model,
  make_random_model,
)

uvicorn = pytest.importorskip("uvicorn", reason="the extra demo is missing")


@pytest.fixture(scope="module")
def address():
  with serving(make_model()) as address:
    yield address


@contextlib.contextmanager
def serving(model):
  """The address of a server of a network."""
  from occnet_jax.cli.demo import app as app_lib

  listener = server.open_socket(0)
  app = app_lib.make_app(model, "small")
  serving = server.make_server(app)
  thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
  thread.start()
  try:
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
  finally:  # a thread that is left would keep the process from its end
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
    page.set_window_size(1100, 1250)
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
    page.set_window_size(*WITHOUT_VIEWERS)
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


def slide(page, name, value):
  page.execute_script(
    "const slider = document.getElementById(arguments[0]);"
    "slider.value = arguments[1];"
    "for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind))",
    name,
    str(value),
  )


def send(page, path):
  """Chooses a file and waits for its mesh; the facts on the page."""
  page.find_element(By.ID, "file").send_keys(str(path))
  return facts_of(page, path.name)


def facts_of(page, name):
  """The facts of a mesh, once the page has said that it is done."""
  status = page.find_element(By.ID, "status")
  wait(page, lambda: status.text.startswith(f"{name}: done"))
  wait(page, lambda: not page.find_element(By.ID, "progress").is_displayed())
  address = page.find_element(By.ID, "view").get_attribute("src")
  with urllib.request.urlopen(address.removesuffix("/view")) as answer:
    return json.loads(answer.read())["facts"]


def test_a_volume_has_a_level_and_two_clouds_have_meshes_between_them(
  address, tmp_path
):
  places = np.stack(np.meshgrid(*3 * [np.linspace(-1, 1, 24)], indexing="ij"))
  values = 100 * (1 - np.linalg.norm(places, axis=0))  # 100 in the centre of a ball
  image = nibabel.Nifti1Image(values.astype(np.float32), np.diag([2, 2, 2, 1]))
  nibabel.save(image, tmp_path / "ball.nii.gz")
  for name, stretch in (("round.xyz", 1), ("flat.xyz", 0.2)):
    np.savetxt(tmp_path / name, make_cloud() * [1, 1, stretch])
  with started(tmp_path) as page:
    page.set_window_size(*WITHOUT_VIEWERS)
    page.get(address)
    assert not page.find_element(By.ID, "between").is_displayed()
    facts = send(page, tmp_path / "ball.nii.gz")
    assert "in millimetres" in facts["Mesh"]
    assert not page.find_element(By.ID, "resolution").is_displayed()
    level = page.find_element(By.ID, "level")
    assert level.is_displayed()
    most = np.percentile(values, 99.9)
    assert float(level.get_attribute("max")) == pytest.approx(most, rel=1e-5)
    slide(page, "level", 50)
    wait(page, lambda: facts_of(page, "ball.nii.gz")["Level"] == "50")

    send(page, tmp_path / "round.xyz")
    assert not level.is_displayed()
    assert page.find_element(By.ID, "resolution").is_displayed()
    assert not page.find_element(By.ID, "between").is_displayed()
    send(page, tmp_path / "flat.xyz")
    legend = page.find_element(By.ID, "between-title")
    assert legend.text == "Between round.xyz and flat.xyz"
    slide(page, "share", 0.5)
    facts = facts_of(page, "round_flat_50")
    assert facts["Between"] == "round and flat, 50% of the way"
    # Another resolution is for what is shown.
    slide(page, "resolution", 32)
    page.find_element(By.ID, "again").click()
    wait(page, lambda: facts_of(page, "round_flat_50")["Mesh"] != facts["Mesh"])
    errors = [e for e in page.get_log("browser") if e["level"] == "SEVERE"]
    assert [e["message"] for e in errors] == []


def test_a_generative_network_has_seeds_in_place_of_files(tmp_path):
  with serving(make_random_model("none")) as address, started(tmp_path) as page:
    page.set_window_size(*WITHOUT_VIEWERS)
    page.get(address)
    for name, seed in (("a", SEEDS[0]), ("b", SEEDS[1])):
      field = page.find_element(By.ID, f"seed-{name}")
      field.clear()
      field.send_keys(str(seed))
    page.find_element(By.ID, "make").click()
    first = facts_of(page, "seed_3_seed_8_0")
    slide(page, "share", 1)
    last = facts_of(page, "seed_3_seed_8_100")
    assert first["Mesh"] != last["Mesh"]
    assert last["Between"] == "seed_3 and seed_8, 100% of the way"
