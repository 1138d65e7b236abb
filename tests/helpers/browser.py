"""Chromium without a screen, and pictures of what it shows."""

import contextlib
import io
import shutil

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60  # seconds; without a graphics card, on a busy machine
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
