"""Readers of volumes: an ellipsoid in millimetres is written in each format."""

import gzip
import os
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import occnet_jax

SHAPE = (14, 20, 9)
TURN = Rotation.from_euler("xyz", [15, -25, 40], degrees=True).as_matrix()
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN * [1.5, 0.8, 2.5], [-30, 12, 100]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def values():
  """Whole numbers that differ everywhere, as of a CT."""
  return np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)


def write_nifti(path, array=None, affine=AFFINE, units="mm"):
  nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: optional")
  image = nibabel.Nifti1Image(values() if array is None else array, affine)
  image.header.set_xyzt_units(units)
  nibabel.save(image, path)
  return path


def write_nrrd(path, affine=AFFINE, space="right-anterior-superior", **header):
  nrrd = pytest.importorskip("nrrd", reason="pynrrd is not installed: optional")
  frame = {"space": space, "space directions": affine[:3, :3].T}
  nrrd.write(str(path), values(), frame | {"space origin": affine[:3, 3]} | header)
  return path


def write_dicom(folder, array=None, affine=AFFINE, uid="1.2.3", **changes):
  """A series whose files are in no order; `changes` hold a tag of each slice."""
  pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: optional")
  folder.mkdir(parents=True, exist_ok=True)
  array = values() if array is None else array
  lps = LPS @ affine
  sides = np.linalg.norm(lps[:3, :3], axis=0)
  for index in range(array.shape[2]):
    d = pydicom.Dataset()
    d.file_meta = pydicom.dataset.FileMetaDataset()
    d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{index + 1}"
    d.SeriesInstanceUID, d.InstanceNumber = uid, 1
    d.Columns, d.Rows = array.shape[:2]
    d.ImageOrientationPatient = [*(lps[:3, 0] / sides[0]), *(lps[:3, 1] / sides[1])]
    d.ImagePositionPatient = list(lps[:3, 3] + index * lps[:3, 2])
    d.PixelSpacing = [sides[1], sides[0]]  # of rows first
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
    d.RescaleSlope, d.RescaleIntercept = 2, -1024
    d.PixelData = np.ascontiguousarray(array[:, :, index].T).tobytes()
    for tag, of_slice in changes.items():
      setattr(d, tag, of_slice(index))
    d.save_as(folder / f"IM{(7 * index) % 97:04}", enforce_file_format=True)
  return folder


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".npz"])
def test_values_and_place_come_back(tmp_path, suffix):
  path = tmp_path / f"a.b{suffix}"
  if suffix == ".nrrd":
    write_nrrd(path)
  elif suffix == ".npz":
    np.savez(path, volume=values(), affine=AFFINE)
  else:
    write_nifti(path)
  volume = occnet_jax.read_volume(path)
  np.testing.assert_array_equal(volume.values, values())
  np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
  np.testing.assert_allclose(volume.spacing, [1.5, 0.8, 2.5], atol=1e-5)
  np.testing.assert_allclose(volume.origin, [-30, 12, 100], atol=1e-4)


def test_a_dicom_series_is_sorted_by_place_rescaled_and_turned_from_its_frame(tmp_path):
  volume = occnet_jax.read_volume(write_dicom(tmp_path / "series"))
  np.testing.assert_array_equal(volume.values, 2 * values().astype(float) - 1024)
  np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)


def write_enhanced(path, array, affine=AFFINE, order=None, shared=True, **changes):
  """An enhanced file, whose frames are the slices in an order."""
  pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: optional")

  def group(name, **tags):
    return {f"{name}Sequence": pydicom.Sequence([make(tags)])}

  def make(tags):
    dataset = pydicom.Dataset()
    for tag, value in tags.items():
      setattr(dataset, tag, value)
    return dataset

  lps = LPS @ affine
  sides = np.linalg.norm(lps[:3, :3], axis=0)
  order = range(array.shape[2]) if order is None else order
  directions = [*(lps[:3, 0] / sides[0]), *(lps[:3, 1] / sides[1])]
  common = (
    group("PixelMeasures", PixelSpacing=[sides[1], sides[0]], SliceThickness=sides[2])
    | group("PlaneOrientation", ImageOrientationPatient=directions)
    | group("PixelValueTransformation", RescaleSlope=2, RescaleIntercept=-1024)
  )
  frames = []
  for index in order:
    place = list(lps[:3, 3] + index * lps[:3, 2])
    own = group("PlanePosition", ImagePositionPatient=place)
    frames.append(make(own if shared else own | common))
  path.parent.mkdir(parents=True, exist_ok=True)
  d = pydicom.Dataset()
  d.file_meta = pydicom.dataset.FileMetaDataset()
  d.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
  d.SOPInstanceUID = d.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1"
  d.SeriesInstanceUID, d.NumberOfFrames = "1.2.3", len(frames)
  d.Columns, d.Rows = array.shape[:2]
  d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
  d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
  if shared:
    d.SharedFunctionalGroupsSequence = pydicom.Sequence([make(common)])
  d.PerFrameFunctionalGroupsSequence = pydicom.Sequence(frames)
  d.PixelData = np.ascontiguousarray(array[:, :, list(order)].T).tobytes()
  for tag, value in changes.items():
    if value is None:
      delattr(d, tag)
    else:
      setattr(d, tag, value)
  d.save_as(path, enforce_file_format=True)
  return path


@pytest.mark.parametrize("shared", [True, False])
def test_frames_of_an_enhanced_file_are_sorted_by_place(tmp_path, shared):
  order = np.random.default_rng(0).permutation(9).tolist()
  path = write_enhanced(tmp_path / "a.dcm", values(), order=order, shared=shared)
  for source in (path, tmp_path):
    volume = occnet_jax.read_volume(source)
    np.testing.assert_array_equal(volume.values, 2 * values().astype(float) - 1024)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)


def test_one_frame_has_the_thickness_that_its_group_names(tmp_path):
  path = write_enhanced(tmp_path / "a.dcm", values()[:, :, :1])
  volume = occnet_jax.read_volume(path)
  np.testing.assert_array_equal(volume.values[..., 0], 2.0 * values()[..., 0] - 1024)
  np.testing.assert_allclose(volume.spacing, [1.5, 0.8, 2.5], atol=1e-4)


@pytest.mark.parametrize(
  ("order", "changes", "message"),
  [
    ([0, 1, 2, 2, 3], {}, "several slices at one place"),
    ([0, 1, 2, 4, 5, 6], {}, "apart"),
    (None, {"PerFrameFunctionalGroupsSequence": None}, "9 frames but says of 0 .*dcm2"),
    (None, {"NumberOfFrames": 8}, "8 frames but says of 9 where they lie"),
    (None, {"SharedFunctionalGroupsSequence": None}, "has no ImageOrientationPatient"),
  ],
)
def test_frames_that_are_no_even_stack_are_a_sentence(
  tmp_path, order, changes, message
):
  path = write_enhanced(tmp_path / "a.dcm", values(), order=order, **changes)
  with pytest.raises(ValueError, match=message) as caught:
    occnet_jax.read_volume(path)
  assert "\n" not in str(caught.value)


def test_a_tilted_gantry_shears_the_volume(tmp_path):
  tilted = AFFINE.copy()
  tilted[:3, 2] += 0.4 * TURN[:, 1]
  volume = occnet_jax.read_volume(write_dicom(tmp_path / "series", affine=tilted))
  np.testing.assert_allclose(volume.affine, tilted, atol=1e-4)


def test_one_of_several_series_is_named_by_a_file_of_it(tmp_path):
  folder = write_dicom(tmp_path / "series")
  other = write_dicom(tmp_path / "more", values()[:, :, :3], uid="4.5.6")
  for file in other.iterdir():
    file.rename(folder / f"other{file.name}")
  with pytest.raises(ValueError, match=r"2 series.*IM\d+ \(9 slices.*other.*3 slices"):
    occnet_jax.read_volume(folder)
  volume = occnet_jax.read_volume(folder / "otherIM0007")
  assert volume.values.shape == (14, 20, 3)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"Rows": lambda i: 20 - (i == 3)}, "want one size"),
    ({"PixelSpacing": lambda i: [1 + (i == 3), 1]}, "pixel sizes"),
    ({"ImageOrientationPatient": lambda i: [1, 0, 0, 0, 1, 0] if i else [0, 1, 0, 0, 0, 1]}, "several directions"),  # noqa: E501
    ({"ImagePositionPatient": lambda i: [0, 0, 2.0 * i]}, "one place|apart"),
    ({"ImagePositionPatient": lambda i: None}, "no ImagePositionPatient"),
    ({"NumberOfFrames": lambda i: 4}, "dcm2niix"),
    ({"SamplesPerPixel": lambda i: 3}, "in colour"),
  ],
)  # fmt: skip
def test_a_series_that_is_no_even_stack_is_a_sentence(tmp_path, changes, message):
  flat = np.diag([1.0, 1.0, 0.0, 1.0])  # so that places are those of `changes`
  flat[2, 2] = 1
  if "ImagePositionPatient" in changes and changes["ImagePositionPatient"](1):
    changes = {"ImagePositionPatient": lambda i: [0, 0, 2.0 * (i + (i > 5))]}
  with pytest.raises(ValueError, match=message) as caught:
    occnet_jax.read_volume(write_dicom(tmp_path / "s", affine=flat, **changes))
  assert "\n" not in str(caught.value)


def test_doubled_slices_are_a_sentence(tmp_path):
  folder = write_dicom(tmp_path / "s")
  for file in write_dicom(tmp_path / "again").iterdir():
    file.rename(folder / f"again{file.name}")
  with pytest.raises(ValueError, match="several slices at one place"):
    occnet_jax.read_volume(folder)


@pytest.mark.parametrize(
  ("space", "signs"),
  [
    ("left-posterior-superior", [-1, -1, 1]),
    ("LPS", [-1, -1, 1]),
    ("left-anterior-superior", [-1, 1, 1]),
    ("right-anterior-superior", [1, 1, 1]),
  ],
)
def test_frames_of_nrrd_are_turned_into_that_of_nifti(tmp_path, space, signs):
  turned = np.diag([*map(float, signs), 1.0]) @ AFFINE
  volume = occnet_jax.read_volume(write_nrrd(tmp_path / "a.nrrd", turned, space))
  np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


def test_units_become_millimetres(tmp_path):
  metres = AFFINE.copy()
  metres[:3] /= 1000
  path = write_nifti(tmp_path / "a.nii", affine=metres, units="meter")
  np.testing.assert_allclose(occnet_jax.read_volume(path).affine, AFFINE, atol=1e-3)
  units = {"space units": ["cm", "cm", "cm"]}
  path = write_nrrd(tmp_path / "a.nrrd", **units)
  np.testing.assert_allclose(occnet_jax.read_volume(path).affine[:3], 10 * AFFINE[:3])


def test_arrays_have_voxels_of_a_millimetre_or_as_they_say(tmp_path):
  np.save(tmp_path / "a.npy", values())
  volume = occnet_jax.read_volume(tmp_path / "a.npy")
  np.testing.assert_array_equal(volume.values, values())
  np.testing.assert_array_equal(volume.affine, np.eye(4))
  np.savez(tmp_path / "a.npz", volume=values(), spacing=[1, 2, 3], origin=[4, 5, 6])
  volume = occnet_jax.read_volume(tmp_path / "a.npz")
  np.testing.assert_array_equal(volume.spacing, [1, 2, 3])
  np.testing.assert_array_equal(volume.origin, [4, 5, 6])


def test_a_nifti_becomes_a_mesh_in_millimetres(tmp_path):
  centre, radii = np.array([3.0, -8.0, 40.0]), np.array([20.0, 14.0, 26.0])
  affine = np.eye(4)
  affine[:3, :3] = TURN * [-1.5, 1.0, 2.0]  # mirrored, as radiologists store it
  affine[:3, 3] = centre - affine[:3, :3] @ [22, 30, 16]
  points = np.moveaxis(np.indices((45, 61, 33)), 0, -1) @ affine[:3, :3].T
  inner = 1 - (((points + affine[:3, 3] - centre) / radii) ** 2).sum(-1)
  path = write_nifti(tmp_path / "e.nii.gz", (1000 * inner).astype(np.int16), affine)
  mesh = occnet_jax.extract_mesh(occnet_jax.read_volume(path), level=0)
  np.testing.assert_allclose(mesh.volume, 4 / 3 * np.pi * radii.prod(), rtol=0.01)
  np.testing.assert_allclose(mesh.center_mass, centre, atol=0.05)
  np.testing.assert_allclose(np.abs(mesh.vertices - centre).max(0), radii, atol=0.1)


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "s"])
def test_a_missing_library_is_a_line_for_pip(tmp_path, monkeypatch, name):
  (tmp_path / "s").mkdir()
  (tmp_path / "a.nii").write_bytes(b"")
  (tmp_path / "a.nrrd").write_bytes(b"")
  for module in ("nibabel", "nrrd", "pydicom"):
    monkeypatch.setitem(sys.modules, module, None)  # so that importing it raises
  with pytest.raises(ValueError, match=r"pip install .*occnet-jax\[medical\]"):
    occnet_jax.read_volume(tmp_path / name)


def truncate(path, share=0.7):
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  return path


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda d: d / "none.nii", "no such file"),
    (lambda d: write_nifti(d / "a.nii", np.zeros((4, 4, 4, 5), np.int16)), "want one"),
    (lambda d: truncate(write_nifti(d / "a.nii")), "cannot be read as a volume"),
    (lambda d: truncate(write_nifti(d / "a.nii.gz")), "cannot be read as a volume"),
    (lambda d: truncate(write_nrrd(d / "a.nrrd")), "cannot be read as a volume"),
    (lambda d: d, "no DICOM series"),
  ],
)
def test_what_holds_no_volume_is_a_sentence(tmp_path, make, message):
  pytest.importorskip("pydicom", reason="pydicom is not installed: optional")
  with pytest.raises(ValueError, match=message):
    occnet_jax.read_volume(make(tmp_path))


def test_several_volumes_of_length_one_and_rescaled_numbers_are_read(tmp_path):
  nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed: optional")
  image = nibabel.Nifti1Image(values()[..., None], AFFINE)
  image.header.set_slope_inter(0.5, 7)
  nibabel.save(image, tmp_path / "a.nii")
  volume = occnet_jax.read_volume(tmp_path / "a.nii")
  assert volume.values.shape == SHAPE
  np.testing.assert_allclose(volume.values, 0.5 * values() + 7)


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path):
  path = write_nifti(tmp_path / "a.nii")
  data = bytearray(path.read_bytes())
  data[42:48] = np.array([30000, 30000, 4], "<i2").tobytes()  # dim[1..3]
  path.write_bytes(data)
  with pytest.raises(ValueError, match="promises an array of shape"):
    occnet_jax.read_volume(path)
  with gzip.open(tmp_path / "b.nii.gz", "wb") as stream:
    stream.write(data)
  with pytest.raises(ValueError, match="promises an array of shape"):
    occnet_jax.read_volume(tmp_path / "b.nii.gz")


def test_nrrd_headers_open_no_other_file(tmp_path):
  pytest.importorskip("nrrd", reason="pynrrd is not installed: optional")
  (tmp_path / "secret.raw").write_bytes(bytes(64))
  head = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
  path = tmp_path / "a.nrrd"
  path.write_text(f"{head}data file: {os.fspath(tmp_path / 'secret.raw')}\n\n")
  with pytest.raises(ValueError, match="names other files"):
    occnet_jax.read_volume(path)
