"""Chromium without a screen, and pictures of what it shows."""

import contextlib
import io
import re
import shutil

import numpy as np
import pytest
import trimesh
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60  # seconds; without a graphics card, on a busy machine
# Size of a window that ends above the viewers of the demo and of an exported page. They
# load where they can be seen, and each draws for seconds without a graphics card.
WITHOUT_VIEWERS = 1100, 450
FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader
--window-size=1000,800
"""


def find_browser():
  names = ("chromium", "chromium-browser", "google-chrome")
  browser = next(filter(None, map(shutil.which, names)), None)
  driver = shutil.which("chromedriver")
  if not (browser and driver):
    pytest.skip(
      "Chromium or chromedriver is not installed; run sh tests/install_browser.sh"
    )
  return browser, driver


@contextlib.contextmanager
def started(directory):
  """A browser whose profile is in a directory; the test is skipped without one."""
  browser, driver = find_browser()
  options = webdriver.ChromeOptions()
  options.binary_location = browser
  for flag in (*FLAGS.split(), f"--user-data-dir={directory / 'profile'}"):
    options.add_argument(flag)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
  with webdriver.Chrome(options=options, service=Service(driver)) as chrome:
    chrome.set_page_load_timeout(PATIENCE)
    yield chrome


def wait(page, condition):
  return WebDriverWait(page, PATIENCE, 0.3).until(lambda _: condition())


def picture(viewer):
  with Image.open(io.BytesIO(viewer.screenshot_as_png)) as image:
    return np.asarray(image.convert("RGB"), np.float64)


class PageUser:
  """What a user does on the page of an exported network; downloads go to a folder."""

  def __init__(self, page, folder):
    self.page, self._folder = page, folder
    self.status = page.find_element(By.ID, "status")
    page.execute_cdp_cmd(
      "Browser.setDownloadBehavior",
      {"behavior": "allow", "downloadPath": str(folder)},
    )

  def choose(self, path):
    wait(self.page, lambda: self.page.find_element(By.ID, "file").is_enabled())
    self.page.find_element(By.ID, "file").send_keys(str(path))

  def drop(self, path):
    """The same by the events of a dragged file."""
    self.page.execute_script(
      "const data = new DataTransfer();"
      "data.items.add(new File([arguments[1]], arguments[0]));"
      "document.getElementById('drop').dispatchEvent("
      "new DragEvent('drop', { dataTransfer: data, bubbles: true }))",
      path.name,
      path.read_text(),
    )

  def slide(self, name, value):
    self.page.execute_script(
      "const slider = document.getElementById(arguments[0]);"
      "slider.value = arguments[1];"
      "for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind))",
      name,
      str(value),
    )

  def text(self, name):
    return self.page.find_element(By.ID, name).text

  def wait_for(self, pattern):
    wait(self.page, lambda: re.search(pattern, self.status.text))

  def faces(self):
    return int(
      re.search(r"([\d,]+) faces", self.text("mesh-facts"))[1].replace(",", "")
    )

  def download(self):
    """The mesh, as the link gives it."""
    link = self.page.find_element(By.ID, "download")
    path = self._folder / link.get_attribute("download")
    path.unlink(missing_ok=True)
    link.click()
    wait(self.page, path.exists)
    return trimesh.load(path, force="mesh", process=False)
