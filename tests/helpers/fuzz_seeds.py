"""Sound small files of every kind that is read, from which the fuzzer starts."""

import importlib.util
import io
import json
import pathlib
import shutil
import zipfile
from collections.abc import Callable

import numpy as np
import trimesh
from PIL import Image

import occnet_jax
from occnet_jax import pretrained
from occnet_jax.data import images, user_grids
from occnet_jax.geometry import depth, depth_cameras, photos
from occnet_jax.interop import weights
from occnet_jax.interop.torch_format import file as torch_file
from tests.geometry import test_scan_formats, test_volumes

Write = Callable[[pathlib.Path], object]
RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-1, 1, (30, 3)).round(4)
COLOURS = RNG.integers(0, 256, (30, 3))
BOX = trimesh.creation.icosphere(1)


def table(separator: str, heading: str = "") -> bytes:
  rows = np.hstack([POINTS.astype(object), COLOURS.astype(object)])
  lines = [separator.join(map(str, row)) for row in rows]
  return ("\n".join([*([heading] if heading else []), *lines]) + "\n").encode()


def ply(form: str) -> bytes:
  cloud = trimesh.Trimesh(BOX.vertices, BOX.faces, process=False)
  cloud.visual.vertex_colors = RNG.integers(0, 256, (len(BOX.vertices), 3))
  return trimesh.exchange.ply.export_ply(cloud, encoding=form)


def array(**arrays: np.ndarray) -> bytes:
  stream = io.BytesIO()
  np.savez_compressed(stream, **arrays)
  return stream.getvalue()


def one_array(values: np.ndarray) -> bytes:
  stream = io.BytesIO()
  np.save(stream, values)
  return stream.getvalue()


def picture(form: str, mode: str = "RGBA") -> bytes:
  stream = io.BytesIO()
  pixels = RNG.integers(0, 256, (24, 32, 4)).astype(np.uint8)
  image = Image.fromarray(pixels).convert("RGB" if form in ("JPEG", "BMP") else mode)
  image.save(stream, form)
  return stream.getvalue()


def depth_picture(form: str) -> bytes:
  stream = io.BytesIO()
  Image.fromarray(RNG.integers(500, 900, (24, 32)).astype(np.uint16)).save(stream, form)
  return stream.getvalue()


def binvox() -> bytes:
  runs = bytes([1, 255, 0, 255, 1, 2])
  head = "#binvox 1\ndim 8 8 8\ntranslate 0 0 0\nscale 1\ndata\n"
  return head.encode() + runs


def exported(form: str) -> Write:
  def write(path: pathlib.Path) -> None:
    path.write_bytes(BOX.export(file_type=form))

  return write


def text_mesh(form: str) -> bytes:
  data = BOX.export(file_type=form)
  return data.encode() if isinstance(data, str) else data


def gltf(path: pathlib.Path) -> None:
  for name, content in BOX.export(file_type="gltf").items():
    target = path if name.endswith(".gltf") else path.with_name(name)
    target.write_bytes(content)


def threemf(path: pathlib.Path) -> None:
  build = '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 0 0 5"/>'
  test_scan_formats.write_3mf(path, test_scan_formats.mesh_xml(1), build)


def draco_payload(path: pathlib.Path) -> None:
  """The compressed mesh of a glTF file beside it, which stays sound."""
  test_scan_formats.write_draco(path.with_name("a.gltf"))
  path.with_name("a.bin").rename(path)
  tree = path.with_name("a.gltf")
  tree.write_text(tree.read_text().replace("a.bin", path.name))


def las(path: pathlib.Path) -> None:
  import laspy

  cloud = laspy.create(point_format=2)
  cloud.header.scales = [1e-3] * 3
  cloud.x, cloud.y, cloud.z = POINTS.T
  cloud.red, cloud.green, cloud.blue = COLOURS.T * 257
  cloud.write(path)


def dicom(path: pathlib.Path) -> None:
  folder = path.parent / "series"
  test_volumes.write_dicom(folder, test_volumes.values()[:, :, :2])
  first, second = sorted(folder.iterdir())
  first.rename(path)
  second.rename(path.with_name("second.dcm"))
  folder.rmdir()


def exr(path: pathlib.Path) -> None:
  import OpenEXR

  values = RNG.uniform(0.5, 2, (24, 32)).astype(np.float32)
  OpenEXR.File({}, {"Z": values}).write(str(path))


def packaged(path: pathlib.Path) -> None:
  """A file of a pretrained model, beside the others of it, which stay sound."""
  for file in (pretrained.DIRECTORY / "scan").iterdir():
    shutil.copy(file, path.with_name(file.name))


def torch_weights(path: pathlib.Path) -> None:
  source = pathlib.Path(__file__).parents[1] / "interop" / "data"
  path.write_bytes(sorted(source.glob("*.pt"))[0].read_bytes())


CAMERA = {"fx": 30.0, "fy": 30.0, "cx": 16, "cy": 12, "depth_scale": 1000}
POSES = {"camera_to_world": {"0.png": np.eye(4).tolist()}}
SEEDS: dict[str, bytes | Write] = {
  "ascii.ply": ply("ascii"),
  "binary.ply": ply("binary"),
  "a.obj": text_mesh("obj"),
  "a.off": text_mesh("off"),
  "binary.stl": text_mesh("stl"),
  "text.stl": text_mesh("stl_ascii"),
  "a.glb": text_mesh("glb"),
  "a.gltf": gltf,
  "draco.glb": test_scan_formats.write_draco,
  "draco.bin": draco_payload,
  "a.3mf": threemf,
  "inner.3mf": threemf,
  "a.dae": exported("dae"),
  "a.xyz": table(" "),
  "a.csv": table(",", "x,y,z,r,g,b"),
  "a.pts": b"30\n" + table(" "),
  "a.npy": one_array(POINTS),
  "a.npz": array(points=POINTS, colours=COLOURS.astype(np.uint8)),
  "ascii.pcd": lambda path: test_scan_formats.write_pcd(path, "ascii"),
  "binary.pcd": test_scan_formats.write_pcd,
  "packed.pcd": lambda path: test_scan_formats.write_pcd(path, "binary_compressed"),
  "a.las": las,
  "a.laz": las,
  "a.e57": test_scan_formats.write_e57,
  "pages.e57": test_scan_formats.write_e57,
  "a.nii": test_volumes.write_nifti,
  "b.nii.gz": test_volumes.write_nifti,
  "a.nrrd": test_volumes.write_nrrd,
  "a.dcm": dicom,
  "enhanced.dcm": lambda path: test_volumes.write_enhanced(path, test_volumes.values()),
  "volume.npz": array(volume=RNG.normal(size=(8, 9, 7)), spacing=np.ones(3)),
  "a.png": picture("PNG"),
  "a.jpg": picture("JPEG"),
  "a.webp": picture("WEBP"),
  "a.bmp": picture("BMP"),
  "depth.png": depth_picture("PNG"),
  "depth.tiff": depth_picture("TIFF"),
  "depth.exr": exr,
  "grid.npz": array(voxels=RNG.random((8, 8, 8)) < 0.5),
  "grid.binvox": binvox(),
  "camera.json": json.dumps(CAMERA).encode(),
  "poses.json": json.dumps(POSES).encode(),
  "weights.pt": torch_weights,
  "model.safetensors": packaged,
  "config.json": packaged,
}
LIBRARIES = {
  "pypcd4": ("ascii.pcd", "binary.pcd", "packed.pcd"),
  "laspy": ("a.las", "a.laz"),
  "lazrs": ("a.laz",),
  "pye57": ("a.e57", "pages.e57"),
  "DracoPy": ("draco.glb", "draco.bin"),
  "collada": ("a.dae",),
  "nibabel": ("a.nii", "b.nii.gz"),
  "nrrd": ("a.nrrd",),
  "pydicom": ("a.dcm", "enhanced.dcm"),
  "OpenEXR": ("depth.exr",),
}
ABSENT = {
  kind
  for library, kinds in LIBRARIES.items()
  if importlib.util.find_spec(library) is None
  for kind in kinds
}


def _read_photo(path: pathlib.Path) -> None:
  images.fit_image(photos.read_squares([path])[0], 64)


def _reader(kind: str) -> Callable[[pathlib.Path], object]:
  volumes = ("a.nii", "b.nii.gz", "a.nrrd", "a.dcm", "enhanced.dcm", "volume.npz")
  if kind in volumes:
    return occnet_jax.read_volume
  if kind.startswith("depth"):
    return lambda path: depth.read_depth(path, 1000.0)
  if kind.startswith("grid"):
    return lambda path: user_grids.read_grid(path, 8)
  others = {
    "draco.bin": lambda path: occnet_jax.read_scan(path.with_name("a.gltf")),
    "camera.json": depth_cameras.read_camera,
    "poses.json": depth_cameras.read_poses,
    "weights.pt": torch_file.read,
    "model.safetensors": lambda path: weights.read(path.parent),
    "config.json": lambda path: weights.read(path.parent),
  }
  pictures = dict.fromkeys(("a.png", "a.jpg", "a.webp", "a.bmp"), _read_photo)
  return (others | pictures).get(kind, occnet_jax.read_scan)


READERS = {kind: _reader(kind) for kind in SEEDS}


def unwrap(kind: str, path: pathlib.Path) -> bytes:
  """What of a sound file is to be changed: what checksums or compression protect."""
  if kind == "inner.3mf":
    with zipfile.ZipFile(path) as archive:
      return archive.read("3D/start.model")
  return path.read_bytes()


def wrap(kind: str, content: bytes) -> bytes:
  """The file of changed content, with checksums that are right."""
  if kind == "inner.3mf":
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
      archive.writestr("3D/3dmodel.model", content)
    return stream.getvalue()
  if kind == "pages.e57":  # of 1024 bytes, the last four of which are a checksum
    pages = [content[at : at + 1020] for at in range(0, len(content), 1024)]
    whole = [page for page in pages if len(page) == 1020]
    return b"".join(page + crc_32c(page).to_bytes(4, "big") for page in whole)
  return content


def crc_32c(data: bytes) -> int:
  """CRC with Castagnoli's polynomial, reflected (RFC 3720, appendix B.4)."""
  crc = 0xFFFFFFFF
  for byte in data:
    crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
  return crc ^ 0xFFFFFFFF


def _crc_entry(byte: int) -> int:
  for _ in range(8):
    byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
  return byte


CRC_TABLE = [_crc_entry(byte) for byte in range(256)]


def write_seed(kind: str, directory: pathlib.Path) -> pathlib.Path:
  """The sound file of a kind."""
  path, content = directory / kind, SEEDS[kind]
  if isinstance(content, bytes):
    path.write_bytes(content)
  else:
    content(path)
  return path
