"""Clouds written by hand, by NumPy and by trimesh, read back."""

import tracemalloc

import numpy as np
import pytest
import trimesh

from occnet_jax.geometry import frames, mesh_io, pointcloud_io

CLOUD = np.random.default_rng(0).normal(size=(50, 3)).round(4)


def text(points, separator=" "):
  return "".join(separator.join(map(str, point)) + "\n" for point in points.tolist())


def write_ply_with_numpy(path, points, *, with_normals=False, with_no_faces=False):
  names = "x y z" + (" nx ny nz" if with_normals else "")
  header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
  header += [f"property double {name}" for name in names.split()]
  if with_no_faces:
    header += ["element face 0", "property list uchar int vertex_indices"]
  header += ["end_header", ""]
  rows = np.hstack([points, np.ones_like(points)]) if with_normals else points
  path.write_bytes("\n".join(header).encode() + rows.astype("<f8").tobytes())


WRITERS = {
  "a.xyz": lambda path: path.write_text(text(CLOUD)),
  "b.txt": lambda path: path.write_text("# scan\n" + text(CLOUD, ", ") + "\n"),
  "c.txt": lambda path: path.write_text(text(np.hstack([CLOUD, CLOUD + 9]), "\t")),
  "d.csv": lambda path: path.write_text("x;y;z\n" + text(CLOUD, ";")),
  "e.pts": lambda path: path.write_text("50\n" + text(CLOUD)),
  "f.npy": lambda path: np.save(path, CLOUD),
  "g.npy": lambda path: np.save(path, np.hstack([CLOUD, CLOUD])),
  "h.npz": lambda path: np.savez(path, points=CLOUD, normals=CLOUD),
  "i.ply": lambda path: write_ply_with_numpy(path, CLOUD, with_normals=True),
  "n.ply": lambda path: write_ply_with_numpy(path, CLOUD, with_no_faces=True),
  "j.ply": lambda path: trimesh.PointCloud(CLOUD).export(path),
  "k.ply": lambda path: trimesh.PointCloud(CLOUD).export(path, encoding="ascii"),
  "l.obj": lambda path: path.write_text(
    "v " + text(CLOUD).strip().replace("\n", "\nv ")
  ),
  "m.OFF": lambda path: path.write_text("OFF\n50 0 0\n" + text(CLOUD)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_points_of_a_cloud_file_come_back_in_order(name, tmp_path):
  WRITERS[name](tmp_path / name)
  points = pointcloud_io.read_cloud(tmp_path / name)
  assert points.dtype == np.float64
  np.testing.assert_allclose(points, CLOUD, rtol=1e-6)


def test_half_precision_arrays_become_doubles(tmp_path):
  np.savez(tmp_path / "a.npz", points=CLOUD.astype(np.float16))
  points = pointcloud_io.read_cloud(tmp_path / "a.npz")
  assert points.dtype == np.float64
  np.testing.assert_array_equal(points, CLOUD.astype(np.float16))


@pytest.mark.parametrize("suffix", mesh_io.WRITTEN_SUFFIXES)
def test_a_mesh_file_gives_points_spread_evenly_over_its_surface(suffix, tmp_path):
  box = trimesh.creation.box((4, 2, 1))
  mesh_io.write_mesh(
    tmp_path / f"a{suffix}", np.array(box.vertices), np.array(box.faces)
  )
  points = pointcloud_io.read_cloud(tmp_path / f"a{suffix}")
  assert points.shape == (pointcloud_io.MESH_SAMPLES, 3)
  on_side = np.isclose(np.abs(points), [2, 1, 0.5])
  assert on_side.any(axis=1).all()
  np.testing.assert_allclose(on_side.mean(axis=0), np.array([2, 4, 8]) / 14, atol=0.01)
  np.testing.assert_array_equal(
    points, pointcloud_io.read_cloud(tmp_path / f"a{suffix}")
  )
  other = pointcloud_io.read_cloud(tmp_path / f"a{suffix}", seed=1)
  assert not np.array_equal(points, other)


def test_an_off_file_of_polygons_is_a_mesh(tmp_path):
  square = "OFF4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
  (tmp_path / "a.off").write_text(square)
  points = pointcloud_io.read_cloud(tmp_path / "a.off")
  np.testing.assert_allclose(points.mean(axis=0), [0.5, 0.5, 0], atol=0.01)


BROKEN = {
  "a.ply": (b"ply\nelement vertex 3\n", "has no PLY header"),
  "b.ply": (b"\x00\x01", "has no PLY header"),
  "c.xyz": (b"1 2 3\n1 2\n", "cannot be read as a point cloud"),
  "d.txt": (b"1 2 3\n4 five 6\n", "cannot be read as a point cloud .*five"),
  "e.npy": (b"12", "cannot be read as a point cloud"),
  "f.npz": (b"12", "cannot be read as a point cloud"),
  "g.off": (b"", "cannot be read"),
  "h.obj": (b"v 1 2 x\n", "cannot be read .*convert string 'x'"),
  "i.stl": (b"", "has no faces"),
  "j.glb": (b"glTF", "cannot be read as a mesh"),
  "k.xyz": (b"", "0 points, want at least 3"),
  "l.txt": (b"1 2 3\n4 5 6\n", "2 points, want at least 3"),
  "m.txt": (b"1 2 3\nnan 5 6\n7 8 inf\n0 0 0", "2 of 4 points are not finite"),
  "n.xyz": (b"1 2 3\n" * 4, r"all 4 points lie at \[1.0, 2.0, 3.0\]"),
  "o.las2": (b"", "suffix '.las2'; want one of .3mf .csv"),
  "p.obj": (b"v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "1 faces have area 0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_faulty_file_is_named_with_what_is_wrong(name, tmp_path):
  content, message = BROKEN[name]
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=message) as caught:
    pointcloud_io.read_cloud(tmp_path / name)
  assert str(tmp_path / name) in str(caught.value)


_PLY_HEAD = (
  "ply\nformat {form} 1.0\nelement vertex {count}\nproperty float x\n"
  "property float y\nproperty float z\n{more}end_header\n"
)


def ply_head(count=50, form="ascii", more=""):
  return _PLY_HEAD.format(count=count, form=form, more=more)


CUT = {
  "a.ply": (ply_head() + text(CLOUD[:20])).encode(),
  "b.ply": ply_head(form="binary_little_endian").encode()
  + CLOUD[:20].astype("<f4").tobytes(),
  "c.off": ("OFF\n50 0 0\n" + text(CLOUD[:20])).encode(),
  "d.pts": ("50\n" + text(CLOUD[:20])).encode(),
  "e.xyz": ("50\n" + text(CLOUD[:20])).encode(),
  "f.txt": ("//X Y Z\n50\n" + text(CLOUD[:20])).encode(),
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_with_fewer_points_than_it_promises_is_refused(name, tmp_path):
  (tmp_path / name).write_bytes(CUT[name])
  with pytest.raises(ValueError, match=r"promises 50 .*, but ends after 20"):
    pointcloud_io.read_cloud(tmp_path / name)


COLOURS = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
COUNTED = np.column_stack([np.arange(50), CLOUD])
# Files of other programs that hold CLOUD, though not as x y z from the first column on.
UNUSUAL = {
  "german.csv": text(CLOUD, ";").replace(".", ","),
  "german_tabs.txt": "x\ty\tz\n" + text(CLOUD, "\t").replace(".", ","),
  "numbered.csv": "id,x,y,z\n" + text(COUNTED, ","),
  "named.csv": "name,X [m],Y [m],Z [m]\n"
  + "".join(f"P{i},{row}" for i, row in enumerate(text(CLOUD, ",").splitlines(True))),
  "reversed.csv": "z,y,x\n" + text(CLOUD[:, ::-1], ","),
  "paraview.csv": '"Scalars","Points:2","Points:1","Points:0"\n'
  + text(np.hstack([COUNTED[:, :1], CLOUD[:, ::-1]]), ","),
  "words.csv": "Z-coord,Y-coord,X-coord\n" + text(CLOUD[:, ::-1], ","),
  "joined.txt": "posZ posY posX\n" + text(CLOUD[:, ::-1]),
  "normals.csv": "normal_x,normal_y,normal_z,pos_x,pos_y,pos_z\n"
  + text(np.hstack([CLOUD + 9, CLOUD]), ","),
  "survey.csv": "Northing;Easting;Height\n" + text(CLOUD[:, [1, 0, 2]], ";"),
  "sentence.txt": "Object X, with y and z in mm\n" + text(CLOUD),
  "labels.xyz": text(CLOUD).replace("\n", " chair\n"),
  "quoted.csv": '"x";"y";"z"\n' + text(CLOUD, ";"),
  "comment.txt": "# z y x\n" + text(CLOUD[:, ::-1]),
  "cloudcompare.txt": "//X Y Z R G B\n50\n" + text(np.hstack([CLOUD, CLOUD])),
  "mark.xyz": "\ufeff" + text(CLOUD),
  "title.txt": "Scan of a chair, 12 May\n" + text(np.hstack([CLOUD, CLOUD])),
  "trailing.csv": "x;y;z;\n" + text(CLOUD, ";").replace("\n", ";\n"),
  "intensity.xyz": text(np.hstack([CLOUD, COUNTED[:, :1]])),
  "tabs.obj": "  v\t" + text(CLOUD, "\t").strip().replace("\n", "\n  v\t"),
  "realsense.ply": ply_head(more=COLOURS) + text(CLOUD).replace("\n", "\n9 9 9\n"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_the_columns_that_a_file_means_are_read(name, tmp_path):
  (tmp_path / name).write_text(UNUSUAL[name], encoding="utf-8")
  points = pointcloud_io.read_cloud(tmp_path / name)
  np.testing.assert_allclose(points, CLOUD, atol=1e-6)


def test_comments_in_latin_1_and_text_in_utf_16_can_be_read(tmp_path):
  (tmp_path / "a.xyz").write_bytes(
    "# gr\u00f6\u00dfe\n".encode("latin-1") + text(CLOUD).encode()
  )
  (tmp_path / "b.xyz").write_text(text(CLOUD), encoding="utf-16")
  for name in ("a.xyz", "b.xyz"):
    np.testing.assert_allclose(pointcloud_io.read_cloud(tmp_path / name), CLOUD)


AMBIGUOUS = {
  "a.txt": (text(CLOUD).replace(".", ","), "a comma may be a decimal mark"),
  "b.xyz": (text(COUNTED.astype(object)), "that number or label the points"),
  "g.txt": (text(COUNTED * [7, 1, 1, 1]), "that number or label the points"),
  "h.csv": (text(CLOUD + 9, ",").replace(".", ","), "comma may be a decimal mark"),
  "c.csv": ("a,b,c,d\n" + text(COUNTED, ","), "want x, y and z among them"),
  "d.csv": ("x,y,z\n" + text(COUNTED, ","), "3 columns are named .* there are 4"),
  "e.txt": (text(CLOUD.T), r"shape \(3, 50\)"),
  "f.csv": (text(np.hstack([CLOUD, CLOUD]), ";").replace(";", ";;"), "convert string"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_text_that_may_mean_other_points_is_refused(name, tmp_path):
  content, message = AMBIGUOUS[name]
  (tmp_path / name).write_text(content)
  with pytest.raises(ValueError, match=message):
    pointcloud_io.read_cloud(tmp_path / name)


def test_an_array_with_a_point_in_every_column_is_refused(tmp_path):
  np.save(tmp_path / "a.npy", CLOUD.T)
  np.savez(tmp_path / "a.npz", points=CLOUD.T)
  for name in ("a.npy", "a.npz"):
    with pytest.raises(ValueError, match=r"shape \(3, 50\).*transpose it"):
      pointcloud_io.read_cloud(tmp_path / name)


@pytest.mark.parametrize(
  ("array", "message"),
  [
    (
      np.ones((4, 5, 6)),
      r"shape \(4, 5, 6\), want \(n, 3\); a volume .* --level=VALUE",
    ),
    (CLOUD + 1j, "numbers of type complex128; want real ones"),
  ],
)
def test_an_array_that_is_no_cloud_is_refused(tmp_path, array, message):
  np.save(tmp_path / "a.npy", array)
  with pytest.raises(ValueError, match=message):
    pointcloud_io.read_cloud(tmp_path / "a.npy")


def test_an_array_that_starts_with_the_number_of_the_row_is_refused(tmp_path):
  np.save(tmp_path / "a.npy", COUNTED)
  np.savez(tmp_path / "a.npz", points=COUNTED * [0.0, 1, 1, 1] + [3, 0, 0, 0])
  for name in ("a.npy", "a.npz"):
    with pytest.raises(ValueError, match="number or label the points"):
      pointcloud_io.read_cloud(tmp_path / name)


def test_a_cloud_with_whole_coordinates_is_read(tmp_path):
  whole = np.array([[3, 0.5, 0.25], [1, 2.5, 0.5], [7, 0.5, 2.5], [2, 0.5, 0.5]])
  (tmp_path / "a.xyz").write_text(text(whole).replace("\n", " chair\n"))
  np.testing.assert_array_equal(pointcloud_io.read_cloud(tmp_path / "a.xyz"), whole)
  lattice = np.argwhere(np.ones((5, 5, 5)))
  np.save(tmp_path / "a.npy", np.hstack([lattice, lattice]))
  (tmp_path / "a.xyz").write_text(text(np.hstack([lattice, lattice]), ","))
  for name in ("a.npy", "a.xyz"):
    np.testing.assert_array_equal(pointcloud_io.read_cloud(tmp_path / name), lattice)


def test_a_ply_without_points_has_too_few(tmp_path):
  (tmp_path / "a.ply").write_text(ply_head(0))
  with pytest.raises(ValueError, match="0 points, want at least 3"):
    pointcloud_io.read_cloud(tmp_path / "a.ply")


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"nowhere\.xyz: no such file"):
    pointcloud_io.read_cloud(tmp_path / "nowhere.xyz")


def test_arrays_of_another_form_are_refused(tmp_path):
  np.save(tmp_path / "a.npy", CLOUD[:, :2])
  with pytest.raises(ValueError, match=r"shape \(50, 2\), want \(n, 3\)"):
    pointcloud_io.read_cloud(tmp_path / "a.npy")
  np.savez(tmp_path / "b.npz", cloud=CLOUD)
  with pytest.raises(ValueError, match="keys cloud; want points"):
    pointcloud_io.read_cloud(tmp_path / "b.npz")


def test_query_points_are_not_taken_for_a_surface(tmp_path):
  np.savez(tmp_path / "points.npz", points=CLOUD, occupancies=np.zeros(50))
  with pytest.raises(ValueError, match=r"want points on a surface, as in pointcloud"):
    pointcloud_io.read_cloud(tmp_path / "points.npz")


def test_the_frame_takes_a_cloud_to_the_unit_cube_and_back():
  points = CLOUD * [3, 1, 1] + [100, 0, -7]
  loc, scale = frames.cloud_frame(points)
  inside = frames.to_frame(points, loc, scale)
  np.testing.assert_allclose(inside.max(axis=0), -inside.min(axis=0), atol=1e-12)
  np.testing.assert_allclose(np.ptp(inside, axis=0).max(), 1)
  np.testing.assert_allclose(frames.from_frame(inside, loc, scale), points)


def test_an_array_of_zeros_beyond_any_cloud_is_refused_before_it_is_unpacked(tmp_path):
  path = tmp_path / "bomb.npz"
  np.savez_compressed(path, points=np.zeros((1_000_000, 3)))
  assert path.stat().st_size < 100_000
  tracemalloc.start()
  with pytest.raises(ValueError, match=r"promises 24,000,128 bytes in points\.npy"):
    pointcloud_io.read_cloud(path)
  assert tracemalloc.get_traced_memory()[1] < 2_000_000
  tracemalloc.stop()
