"""Arrays of users as inputs: the same picture from an array as from a file."""

import io
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from occnet_jax.data import user_grids, user_inputs
from occnet_jax.data.user_inputs import InputItem, prepare, read_item

SIDE = 64
IMAGE = (SIDE, SIDE, 3)


def wide_photo(alpha=False):
  """A red bar, almost as wide as the white photograph of 120 x 60 pixels."""
  image = np.full((60, 120, 4), 255, np.uint8)
  image[20:40, 5:115, :3] = 200, 50, 20
  if alpha:
    image[..., 3] = 0
    image[20:40, 5:115, 3] = 255
  return image if alpha else image[..., :3]


def item_of(folder, *images):
  paths = [pathlib.Path(folder, f"{i}.png") for i in range(len(images))]
  for path, image in zip(paths, images, strict=True):
    Image.fromarray(image).save(path)
  return InputItem("x", "x", paths, [])


@pytest.mark.parametrize("alpha", [False, True])
def test_an_array_of_an_image_and_its_file_are_the_same_input(tmp_path, alpha):
  photo = wide_photo(alpha)
  from_array = prepare(photo, "image", IMAGE).inputs
  from_file = prepare(
    read_item(item_of(tmp_path, photo), "image", IMAGE), "image", IMAGE
  )
  np.testing.assert_array_equal(from_array, from_file.inputs)
  assert from_array.shape == IMAGE and from_array.dtype == np.float32


def test_a_wide_image_keeps_its_sides():
  found = prepare(wide_photo(), "image", IMAGE).inputs
  inked = (found < 0.9).any(2)
  # The bar takes 110 of the 120 columns and 20 of the 120 rows of the white square.
  np.testing.assert_allclose(inked.any(0).mean(), 110 / 120, atol=2 / SIDE)
  np.testing.assert_allclose(inked.any(1).mean(), 20 / 120, atol=2 / SIDE)


def test_a_transparent_image_shows_its_object_in_the_middle():
  found = prepare(wide_photo(alpha=True), "image", IMAGE).inputs
  rows, columns = np.nonzero((found < 0.9).any(2))
  np.testing.assert_allclose(np.ptp(columns) + 1, 0.61 * SIDE, atol=2)
  np.testing.assert_allclose((rows.mean(), columns.mean()), (SIDE - 1) / 2, atol=1)


def test_several_images_may_differ_in_size(tmp_path):
  images = [wide_photo(), wide_photo()[:, :70]]
  found = prepare(images, "images", (4, *IMAGE)).inputs
  assert found.shape == (2, *IMAGE)
  read = read_item(item_of(tmp_path, *images), "images", (4, *IMAGE))
  np.testing.assert_array_equal(prepare(read, "images", (4, *IMAGE)).inputs, found)


@pytest.mark.parametrize(
  "image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)]
)
def test_images_of_another_form_are_refused(image):
  with pytest.raises(ValueError, match=r"want \(h, w, 3\) or \(h, w, 4\) of uint8"):
    prepare(image, "image", IMAGE)


def test_a_cloud_comes_with_the_frame_that_its_mesh_goes_back_to():
  cloud = np.random.default_rng(0).uniform(-1, 1, (500, 3)) * [5, 2, 1] + [100, 0, 0]
  inputs, loc, scale = prepare(cloud, "cloud", (300, 3))
  assert inputs.shape == (300, 3) and inputs.dtype == np.float32
  assert np.abs(inputs).max() <= 0.5
  back = inputs * scale + loc
  gaps = np.linalg.norm(back[:, None] - cloud[None], axis=-1).min(1)
  assert gaps.max() < 1e-4
  same, loc, scale = prepare(cloud, "cloud", (300, 3), normalise=False)
  assert scale == 1 and not loc.any() and same[:, 0].mean() > 90


def test_few_points_are_drawn_again_and_a_seed_draws_the_same(tmp_path):
  cloud = np.random.default_rng(0).normal(size=(5, 3))
  first, second, third = (
    prepare(cloud, "cloud", (300, 3), seed=seed).inputs for seed in (1, 1, 2)
  )
  assert len(np.unique(first, axis=0)) == 5
  np.testing.assert_array_equal(first, second)
  assert not np.array_equal(first, third)


def test_other_shapes_of_clouds_are_refused():
  with pytest.raises(ValueError, match=r"a cloud of shape \(5, 4\); want \(n, 3\)"):
    prepare(np.zeros((5, 4)), "cloud", (300, 3))


def test_items_keep_the_suffix_where_two_would_have_the_same_mesh(tmp_path):
  for name in ("a.npy", "a.xyz", "b.ply", "c/b.ply"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
  items = user_inputs.find_items(tmp_path, tmp_path / "out", "cloud")
  stems = {item.name: item.stem for item in items}
  assert stems == {"a.npy": "a.npy", "a.xyz": "a.xyz", "b.ply": "b", "c/b.ply": "c/b"}


def write_binvox(path, shape):
  """An empty grid: runs of value and count, at most 255 each."""
  header = f"#binvox 1\ndim {' '.join(map(str, shape))}\ntranslate 0 0 0\nscale 1\n"
  full, rest = divmod(int(np.prod(shape)), 255)
  path.write_bytes(
    f"{header}data\n".encode() + bytes([0, 255]) * full + bytes([0, rest])
  )


@pytest.mark.parametrize("shape", [(8, 8, 4), (16, 16, 16), (1290, 1290, 1290)])
def test_a_grid_of_another_shape_is_refused_by_its_header(shape, tmp_path):
  path = tmp_path / "a.binvox"
  if max(shape) < 100:
    write_binvox(path, shape)
  else:  # nothing of that size is read
    path.write_text(f"#binvox 1\ndim {' '.join(map(str, shape))}\ndata\n")
  numbers = ", ".join(map(str, shape))
  message = rf"a\.binvox: a grid of shape \({numbers}\), want \(8, 8, 8\) .*again in"
  with pytest.raises(ValueError, match=message):
    user_grids.read_grid(path, 8)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_grid_of_numpy_is_refused_before_its_numbers_are_read(suffix, tmp_path):
  stream = io.BytesIO()
  header = {"descr": "|u1", "fortran_order": False, "shape": (9000, 9000, 9000)}
  np.lib.format.write_array_header_1_0(stream, header)  # nothing follows
  path = tmp_path / f"a{suffix}"
  path.write_bytes(stream.getvalue())
  if suffix == ".npz":
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr("voxels.npy", stream.getvalue())
  with pytest.raises(ValueError, match=r"shape \(9000, 9000, 9000\), want \(8, 8, 8\)"):
    user_grids.read_grid(path, 8)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_grids_of_every_version_of_numpys_format_are_read(version, tmp_path):
  grid = np.eye(8, dtype=np.uint8)[None] * np.eye(8, dtype=np.uint8)[:, :, None]
  with (tmp_path / "a.npy").open("wb") as stream:
    np.lib.format.write_array(stream, grid, version)
  np.testing.assert_array_equal(user_grids.read_grid(tmp_path / "a.npy", 8), grid)


def test_a_strip_of_pixels_is_refused_before_its_square_is_made(tmp_path):
  strip = np.zeros((1, 60_000, 3), np.uint8)
  message = r"has 60,000 x 1 pixels, want at most 13,377 along a side"
  with pytest.raises(ValueError, match=message):
    read_item(item_of(tmp_path, strip), "image", IMAGE)
  with pytest.raises(ValueError, match=message):
    prepare(strip, "image", IMAGE)
  (tmp_path / "0.png").write_bytes(b"no picture")
  with pytest.raises(ValueError, match="cannot be decoded"):
    read_item(InputItem("x", "x", [tmp_path / "0.png"], []), "image", IMAGE)


def test_a_binvox_file_without_a_shape_is_refused(tmp_path):
  (tmp_path / "a.binvox").write_bytes(b"#binvox 1\ndata\n")
  with pytest.raises(ValueError, match="no line with dim"):
    user_grids.read_grid(tmp_path / "a.binvox", 8)
