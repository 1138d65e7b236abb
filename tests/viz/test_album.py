"""The page of pictures."""

import numpy as np
from PIL import Image

from occnet_jax.viz import album


def test_an_album_holds_its_pictures_and_escapes_its_words(tmp_path):
  picture = tmp_path / "a.png"
  Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(picture)
  entry = album.Entry("<a>", "note & more", {"Input": picture}, "no <surface>")
  path = tmp_path / "index.html"
  album.write_album(path, title="A & B", facts={"x": "<y>"}, entries=[entry])
  page = path.read_text()
  assert page.count("data:image/png;base64,") == 1
  for words in ("&lt;a&gt;", "note &amp; more", "no &lt;surface&gt;", "A &amp; B"):
    assert words in page
  assert "<y>" not in page and "$" not in page
