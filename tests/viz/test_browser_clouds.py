"""The exported page reads clouds as the package does: the same points, or a refusal."""

import json

import numpy as np
import pytest

from occnet_jax.viz import pages
from tests.geometry import test_pointcloud_io as files
from tests.helpers.browser import started
from tests.helpers.file_server import served

READ = """
const [name, bytes, end] = arguments;
import("/read_cloud.js").then(({ readCloud }) => {
  try {
    end({ points: Array.from(readCloud(name, Uint8Array.from(bytes).buffer)) });
  } catch (error) {
    end({ message: error.message });
  }
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """A browser at the page's programs, on Python's server of files."""
  with (
    served(pages.ROOT / "assets" / "browser") as (address, _),
    started(tmp_path_factory.mktemp("browser")) as browser,
  ):
    browser.get(f"{address}read_cloud.js")
    yield browser


def read(page, name, content):
  return page.execute_async_script(READ, name, list(content))


TEXTS = {
  name: content.encode()
  for name, content in files.UNUSUAL.items()
  if not name.endswith(".obj")
} | {
  "utf16.csv": ("x;y;z\n" + files.text(files.CLOUD, ";")).encode("utf-16"),
  "big_endian.xyz": ("\ufeff" + files.text(files.CLOUD)).encode("utf-16-be"),
  "latin.xyz": "# größe\n".encode("latin-1") + files.text(files.CLOUD).encode(),
  "counted.pts": ("50\n" + files.text(files.CLOUD)).encode(),
  "mac.xyz": files.text(files.CLOUD).replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_columns_that_a_file_means_are_read_in_the_browser(page, name):
  answer = read(page, name, TEXTS[name])
  points = np.reshape(answer.get("points", json.dumps(answer)), (-1, 3))
  np.testing.assert_allclose(points, files.CLOUD, atol=1e-6)


REFUSED = (
  {name: content.encode() for name, (content, _) in files.AMBIGUOUS.items()}
  | {name: content for name, content in files.CUT.items() if not name.endswith(".off")}
  | {"nan.xyz": ("nan nan nan\n" + files.text(files.CLOUD)).encode()}
)


@pytest.mark.parametrize("name", REFUSED)
def test_text_that_may_mean_other_points_is_refused_in_the_browser(page, name):
  answer = read(page, name, REFUSED[name])
  assert answer.keys() == {"message"}
  assert answer["message"].startswith(f"{name}: ")


def test_a_header_of_ply_costs_no_time_and_names_no_part_of_javascript(page):
  head = files.ply_head().replace(
    "element vertex", "element a 90000000000\nelement vertex"
  )
  points = read(page, "a.ply", (head + files.text(files.CLOUD)).encode())["points"]
  np.testing.assert_allclose(np.reshape(points, (-1, 3)), files.CLOUD, atol=1e-6)
  head = files.ply_head().replace("float x", "toString x").encode()
  assert "toString x" in read(page, "b.ply", head + b"1 2 3\n")["message"]
