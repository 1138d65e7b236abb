"""Photographs: what is read of each kind of file, and where the object comes to lie."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from data_prep.sources import synthetic
from occnet_jax.geometry import frames, photos, rendering, solids
from occnet_jax.geometry.depth import read_depth

RED = np.array([200, 30, 40], np.uint8)


def disc(h, w, row, column, radius):
  rows, columns = np.mgrid[:h, :w]
  return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def red(h=12, w=20):
  return np.broadcast_to(RED, (h, w, 3)).copy()


def save(path, array, mode=None, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return path


def check_disc(square, radius):
  """Asserts that the picture is a centred RED disc of this radius on white."""
  assert square.shape[0] == square.shape[1]
  side = len(square)
  seen = (square == RED).all(2)
  assert (square[~seen] == 255).all()
  rows, columns = np.nonzero(seen)
  assert np.ptp(rows) == np.ptp(columns) == 2 * radius
  np.testing.assert_allclose(seen.sum(), np.pi * radius**2, rtol=0.05)
  for middle in (rows.mean(), columns.mean()):
    assert abs(middle + 0.5 - side / 2) <= 0.5


@pytest.mark.parametrize("margin", [0.0, 0.1, photos.MARGIN, 0.4])
def test_a_masked_disc_stays_a_disc_of_the_expected_size_in_the_middle(margin):
  mask = disc(90, 160, 30, 110, 20)
  image = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
  image[mask] = RED
  square = photos.prepare_photo(image, mask, margin=margin)
  check_disc(square, 20)
  np.testing.assert_allclose(41 / len(square), 1 - 2 * margin, atol=0.01)


def test_a_wide_object_fills_the_width_and_keeps_its_aspect():
  mask = np.zeros((50, 80), bool)
  mask[10:20, 5:65] = True
  square = photos.prepare_photo(red(50, 80), mask, margin=0.2)
  assert square.shape == (100, 100, 3)
  want = np.zeros((100, 100), bool)
  want[45:55, 20:80] = True
  np.testing.assert_array_equal((square == RED).all(2), want)


def test_transparency_is_a_mask_and_its_soft_edge_goes_to_white():
  alpha = np.where(disc(60, 60, 20, 30, 10), 255, 0).astype(np.uint8)
  image = np.dstack([red(60, 60), alpha])
  check_disc(photos.prepare_photo(image, margin=0.1), 10)
  image[:, :5, 3] = 51  # a haze that is no object: a fifth of its colour remains
  check_disc(photos.prepare_photo(image, margin=0.1), 10)
  image[..., 3] = np.maximum(image[..., 3], 51)
  square = photos.prepare_photo(image, margin=0.0)
  np.testing.assert_allclose(square[0, 0], 0.2 * RED + 0.8 * 255, atol=0.51)


def test_a_given_mask_counts_before_the_transparency():
  image = np.dstack([red(60, 60), np.full((60, 60), 255, np.uint8)])
  image[:, :30, 3] = 0
  check_disc(photos.prepare_photo(image, disc(60, 60, 20, 45, 10)), 10)


@pytest.mark.parametrize("channels", [3, 4])
def test_without_a_mask_the_whole_photograph_is_padded_to_a_square(channels):
  image = np.random.default_rng(0).integers(0, 255, (10, 30, channels), np.uint8)
  image[..., 3:] = 255
  square = photos.prepare_photo(image)
  np.testing.assert_array_equal(square[10:20], image[..., :3])
  assert (square[:10] == 255).all() and (square[20:] == 255).all()
  np.testing.assert_array_equal(photos.prepare_photo(square), square)


@pytest.mark.parametrize(
  ("image", "mask", "words"),
  [
    (red(), np.zeros((12, 20), bool), "mask is empty, want at least one pixel"),
    (red(), np.ones((20, 12), bool), "mask of 12 x 20 pixels, want 20 x 12"),
    (np.dstack([red(), red()[..., 0] * 0]), None, "mask is empty"),
    (red()[..., :2], None, r"shape \(12, 20, 2\).*want \(h, w, 3\)"),
  ],
)
def test_what_cannot_be_prepared_is_said_in_one_sentence(image, mask, words):
  with pytest.raises(ValueError, match=words):
    photos.prepare_photo(image, mask)
  with pytest.raises(ValueError, match=r"margin is 0\.5, want"):
    photos.prepare_photo(red(), margin=0.5)


@pytest.mark.parametrize("suffix", photos.SUFFIXES)
def test_every_format_is_read(tmp_path, suffix):
  assert suffix == suffix.lower()
  image = photos.read_photo(save(tmp_path / f"photo{suffix}", red()))
  assert image.shape == (12, 20, 3)
  np.testing.assert_allclose(image.astype(int), red(), atol=6)


def test_grey_palette_cmyk_and_16_bits_become_rgb_of_8(tmp_path):
  web = np.full((12, 20, 3), (204, 51, 0), np.uint8)  # a colour of the web palette
  luma = np.full((12, 20, 3), 0.299 * 204 + 0.587 * 51)
  for name, mode, want in (
    ("a.png", "P", web),
    ("b.jpg", "CMYK", web),
    ("c.png", "L", luma),
    ("d.bmp", "1", luma > 255),
  ):
    image = photos.read_photo(save(tmp_path / name, web * (mode != "1"), mode))
    np.testing.assert_allclose(image.astype(int), want, atol=5)
  ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
  image = photos.read_photo(save(tmp_path / "deep.png", ramp))
  np.testing.assert_array_equal(image[0, :, 1], [0, 1, 128, 255])
  assert image.shape == (1, 4, 3)
  clear = np.dstack([red(), np.full((12, 20), 9, np.uint8)])
  for mode in ("RGBA", "LA"):
    image = photos.read_photo(save(tmp_path / f"{mode}.png", clear, mode))
    assert image.shape == (12, 20, 4) and (image[..., 3] == 9).all()


@pytest.mark.parametrize("deep", [False, True])
def test_the_exif_orientation_is_applied(tmp_path, deep):
  exif = Image.Exif()
  exif[0x0112] = 6  # turn by 90 degrees clockwise to show it
  stored = np.zeros((2, 3), np.uint16 if deep else np.uint8)
  stored[0, 0] = 65535 if deep else 255
  image = photos.read_photo(save(tmp_path / "turned.png", stored, exif=exif))
  assert image.shape == (3, 2, 3)
  assert np.argwhere(image[..., 0]).tolist() == [[0, 1]]


def test_a_file_that_is_no_picture_is_named(tmp_path):
  whole = save(tmp_path / "a.png", np.arange(30000, dtype=np.uint16).reshape(100, -1))
  whole.write_bytes(whole.read_bytes()[:-200])
  (tmp_path / "b.png").write_bytes(b"")
  for name in ("a.png", "b.png"):
    for read in (photos.read_photo, photos.read_mask):
      with pytest.raises(ValueError, match=rf"{name}: cannot be decoded .*save it"):
        read(tmp_path / name)
  with pytest.raises(ValueError, match=r"c\.png: no such file"):
    photos.read_photo(tmp_path / "c.png")


def test_whatever_is_not_zero_in_a_mask_is_the_object(tmp_path):
  want = disc(12, 20, 5, 9, 4)
  colours = np.zeros((12, 20, 3), np.uint8)
  colours[want, 2] = 1
  clear = np.full((12, 20, 4), 255, np.uint8)
  clear[..., 3] = 7 * want
  masks = {
    "small": 1 * want.astype(np.uint8),
    "large": 300 * want.astype(np.uint16),
    "bits": want,
    "colours": colours,
    "clear": clear,
    "opaque": np.dstack([colours, np.full((12, 20), 255, np.uint8)]),
  }
  for name, mask in masks.items():
    found = photos.read_mask(save(tmp_path / f"{name}.png", mask))
    np.testing.assert_array_equal(found, want)
  labels = Image.fromarray(5 * want.astype(np.uint8)).convert("P")
  labels.putpalette([99, 98, 97] * 256)  # index 0 is not black
  labels.save(tmp_path / "labels.png")
  np.testing.assert_array_equal(photos.read_mask(tmp_path / "labels.png"), want)


def test_masks_are_found_by_relative_name(tmp_path):
  source, masks = tmp_path / "in", tmp_path / "masks"
  paths = [save(source / name, red()) for name in ("a.jpg", "cars/b.c.png")]
  with pytest.raises(ValueError, match="masks: no such folder"):
    photos.find_masks(masks, source, paths)
  save(masks / "cars" / "b.c.png", np.eye(12, 20, dtype=bool))
  found = photos.find_masks(masks, source, paths)
  assert [found[p].relative_to(masks).as_posix() for p in paths] == [
    "a.png",
    "cars/b.c.png",
  ]
  square = photos.read_squares(paths[1:], [found[paths[1]]])[0]
  diagonal = len(square) // 2 - 6 + np.arange(12)
  want = np.zeros(square.shape[:2], bool)
  want[diagonal, diagonal] = True
  np.testing.assert_array_equal((square == RED).all(2), want)
  with pytest.raises(ValueError, match=r"a\.jpg: has no mask .*a\.png"):
    photos.read_squares(paths[:1], [found[paths[0]]])
  single = found[paths[1]]
  assert photos.find_masks(single, paths[0], paths[:1]) == {paths[0]: single}
  with pytest.raises(ValueError, match="is one file for the folder"):
    photos.find_masks(single, source, paths)


def test_a_contact_sheet_fills_rows_first():
  pictures = np.stack([np.full((2, 2, 3), i, np.uint8) for i in range(3)])
  sheet = photos.contact_sheet(pictures)
  assert sheet[::2, ::2, 0].tolist() == [[0, 1], [2, 255]]
  np.testing.assert_array_equal(photos.contact_sheet(pictures[:1]), pictures[0])


def test_the_margin_is_that_of_the_rendered_pictures():
  """Objects of all categories take the same share of a side as a masked one here."""
  shares = []
  for category in synthetic.CATEGORIES:
    vertices, faces = synthetic.make_shape(category, 0, 0)
    loc, scale = frames.unit_cube_frame(vertices)
    shape = solids.Solid((vertices - loc) / scale, faces)
    shot = rendering.render_views(shape, np.random.default_rng(0), views=6, side=64)
    for image in shot.images:
      rows, columns = np.nonzero(image[..., 0] < 255)
      shares.append((max(np.ptp(rows), np.ptp(columns)) + 1) / 64)
  assert abs(np.mean(shares) - (1 - 2 * photos.MARGIN)) < 0.06


@pytest.mark.parametrize("read", [photos.read_photo, photos.read_mask, read_depth])
def test_an_image_of_too_many_pixels_is_to_be_scaled_down(read, tmp_path, monkeypatch):
  Image.new("I;16", (30, 20)).save(tmp_path / "a.png")
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
  with pytest.raises(
    ValueError, match=r"a\.png: has 600 pixels, .* 400; scale it down"
  ):
    read(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(60_000, 1), (1, 43_807), (13_378, 24)])
def test_a_thin_picture_whose_square_would_take_gigabytes_is_refused(size, tmp_path):
  Image.new("L", size).save(tmp_path / "strip.png")
  width, height = size
  words = rf"has {width:,} x {height:,} pixels, want at most 13,377 along a side"
  tracemalloc.start()
  for read in (photos.read_photo, lambda path: photos.read_squares([path])):
    with pytest.raises(ValueError, match=rf"strip\.png: {words}"):
      read(tmp_path / "strip.png")
  with pytest.raises(ValueError, match=rf"a photograph: {words}"):
    photos.prepare_photo(np.zeros((height, width, 3), np.uint8))
  assert tracemalloc.get_traced_memory()[1] < 10_000_000
  tracemalloc.stop()


def test_a_large_transparent_picture_takes_a_few_bytes_a_pixel(tmp_path):
  image = np.zeros((1500, 2000, 4), np.uint8)
  image[:, :1000, 3] = 255
  tracemalloc.start()
  square = photos.prepare_photo(image)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert not square[1000, 1000].any() and square[0, 0].all()
  pixels = image.size // 4 + square.size // 3
  assert peak < 12 * pixels + 40_000_000  # blocks of floats
