"""What lies between two codes, and volumes without a network, by the page's routes."""

import io
import time

import jax
import nibabel
import numpy as np
import pytest
import trimesh

from occnet_jax.cli.demo import reading
from tests.helpers.pretrained import SEEDS, make_cloud, make_model, make_random_model

testclient = pytest.importorskip(
  "starlette.testclient", reason="the extra demo is missing"
)
from occnet_jax.cli.demo import app as app_lib  # noqa: E402

AFFINE = np.array([[0, -2.0, 0, 30], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(scope="module")
def client(model):
  with serving(model) as client:
    yield client


def serving(model):
  app = app_lib.make_app(model, "small")
  return testclient.TestClient(app, base_url="http://localhost")


def cloud_file(stretch=1.0, shift=0.0):
  buffer = io.BytesIO()
  np.savetxt(buffer, make_cloud(32) * [1, 1, stretch] + shift)
  return buffer.getvalue()


def finish(client, answer):
  job = answer.json()
  while job.get("state") not in ("done", "failed"):
    assert "error" not in job, job
    time.sleep(0.02)
    job = client.get(f"/api/jobs/{job['id']}").json()
  return job


def make(client, query, body=None):
  """The job of a query, done, and its mesh."""
  job = finish(client, client.post(f"/api/jobs?{query}", content=body))
  assert job["state"] == "done", job["message"]
  content = client.get(f"/api/jobs/{job['id']}/mesh.ply").content
  return job, trimesh.load(io.BytesIO(content), file_type="ply", process=False)


def assert_same(mesh, expected):
  np.testing.assert_array_equal(mesh.faces, expected.faces)
  np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-5)


def test_seeds_and_a_share_are_the_way_between_two_random_shapes():
  model = make_random_model("none")
  ends = [model.prior(1, seed=seed) for seed in SEEDS]
  with serving(model) as client:
    about = client.get("/api/model").json()
    assert about["random"] and about["accepted"] == []
    page = client.get("/").text
    assert 'id="seed-a"' in page and "data-random" in page
    for share in (0, 0.25, 1):
      mix = jax.tree.map(lambda a, b, s=share: (1 - s) * a + s * b, *ends)
      job, mesh = make(client, f"seeds=3,8&share={share}")
      assert_same(mesh, model.extract(mix))
      assert job["facts"]["Between"] == f"seed_3 and seed_8, {share:.0%} of the way"
      assert job["name"] == f"seed_3_seed_8_{100 * share:.0f}"
      view = client.get(f"/api/jobs/{job['id']}/view").text
      assert "this network takes no input" in view
    assert_same(make(client, "seeds=3")[1], model.extract(ends[0]))
    answer = client.post("/api/jobs?name=a.xyz", content=cloud_file())
    assert answer.status_code == 415 and "want" in answer.json()["error"]


def test_a_random_code_stands_beside_the_input_of_a_job():
  model = make_random_model("cloud")
  with serving(model) as client:
    answer = client.post("/api/jobs?seeds=3,8&share=0.5")
    assert answer.status_code == 422
    assert "this network takes a file, too; want like=ID" in answer.json()["error"]
    first, _ = make(client, "name=a.xyz", cloud_file())
    _, mesh = make(client, f"like={first['id']}&seeds=3,8&share=1")
  # The cloud's points are all used, whose order does not matter to this network.
  cloud = make_cloud(32)
  low, high = cloud.min(0), cloud.max(0)
  loc, scale = (low + high) / 2, (high - low).max()
  inputs = ((cloud - loc) / scale)[None].astype(np.float32)
  own = model.extract(model.prior(1, seed=8, inputs=inputs))
  assert len(mesh.faces) == len(own.faces)
  np.testing.assert_allclose(mesh.bounds, own.bounds * scale + loc, atol=1e-4)


def test_two_files_have_meshes_between_them_that_move_from_one_to_the_other(
  client, model
):
  a, mesh_a = make(client, "name=a.xyz", cloud_file())
  b, mesh_b = make(client, "name=b.xyz", cloud_file(0.3, shift=100))
  both = f"like={a['id']},{b['id']}"
  assert_same(make(client, f"{both}&share=0")[1], mesh_a)
  assert_same(make(client, f"{both}&share=1")[1], mesh_b)
  job, middle = make(client, f"{both}&share=0.5")
  assert job["name"] == "a_b_50"
  expected = (mesh_a.bounds.mean(0) + mesh_b.bounds.mean(0)) / 2
  np.testing.assert_allclose(middle.bounds.mean(0), expected, atol=0.3)
  assert middle.is_watertight


@pytest.mark.parametrize(
  ("query", "sentence"),
  [
    ("seeds=1,2&share=0.5", "this network has no random codes; leave it out"),
    ("like={0},{0},{0}&share=0", "want one job or two of them"),
    ("like={0},{0}&share=2", "share=2; want a number from 0 to 1"),
    ("like={0},nothing&share=0", "no such job any more; send the file again"),
    ("like={0}&level=3", "level=3.0: is for volumes; want a threshold"),
  ],
)
def test_ends_that_are_none_are_refused_in_a_sentence(client, query, sentence):
  job, _ = make(client, "name=a.xyz", cloud_file())
  answer = client.post(f"/api/jobs?{query.format(job['id'])}")
  assert answer.status_code in (404, 422) and sentence in answer.json()["error"]


def ball_values(radius=10.0):
  """The distance from a ball's surface in millimetres, positive inside."""
  indices = np.stack(np.meshgrid(*map(np.arange, (24, 20, 16)), indexing="ij"), -1)
  places = indices @ AFFINE[:3, :3].T + AFFINE[:3, 3]
  centre = AFFINE[:3, :3] @ [11, 9, 7] + AFFINE[:3, 3]
  distance = radius - np.linalg.norm(places - centre, axis=-1)
  return distance.astype(np.float32), centre


def volume_file(values):
  return nibabel.Nifti1Image(values, AFFINE).to_bytes()


def test_a_volume_becomes_a_mesh_in_millimetres_with_a_level(client):
  values, centre = ball_values()
  job, mesh = make(client, "name=head.nii&level=0", volume_file(values))
  assert mesh.is_watertight
  assert mesh.volume == pytest.approx(4 / 3 * np.pi * 1000, rel=0.03)  # cubic mm
  np.testing.assert_allclose(mesh.bounds.mean(0), centre, atol=0.1)
  assert job["facts"]["Input"].startswith("24 x 20 x 16 voxels of 1.5 x 2 x 3 mm")
  assert job["levels"]["level"] == 0
  assert job["levels"]["low"] < 0 < job["levels"]["high"]
  view = client.get(f"/api/jobs/{job['id']}/view").text
  assert 'class="observation"' in view and view.count("<model-viewer alt") == 1
  # Another level of the same file, which is not sent again.
  again, smaller = make(client, f"like={job['id']}&level=4")
  assert smaller.volume == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.1)
  assert again["levels"]["level"] == 4 and again["name"] == "head.nii"


def test_a_level_is_chosen_where_none_is_named(client):
  values, _ = ball_values()
  job, _ = make(client, "name=a.nii", volume_file(values))
  low, high = np.percentile(values, [0.5, 99.9])
  assert job["levels"] == pytest.approx(
    {"low": low, "high": high, "level": (low + high) / 2}
  )
  mask = (values > 0).astype(np.uint8)
  job, mesh = make(client, "name=mask.nii", volume_file(mask))
  assert job["levels"]["level"] == 0.5
  assert mesh.volume == pytest.approx(4 / 3 * np.pi * 1000, rel=0.1)


@pytest.mark.parametrize(
  ("query", "body", "code", "sentence"),
  [
    ("name=a.nii", b"words", 422, "a.nii: cannot be read as a volume"),
    ("name=a.nii&threshold=0.5", b"x", 422, "threshold: a volume has its own grid"),
    ("name=a.xyz&level=3", b"x", 415, "a level wants a volume of .mgh"),
    ("name=a.dcm", b"x", 415, "name='a.dcm': this network wants a file of"),
    ("name=a.nii&level=much", b"x", 422, "level='much'; want a number"),
    ("name=a.nii&level=50", None, 422, "a.nii: no surface"),
  ],
  ids=lambda value: str(value)[:30],
)
def test_volumes_that_cannot_be_used_are_refused(client, query, body, code, sentence):
  body = volume_file(ball_values()[0]) if body is None else body
  answer = client.post(f"/api/reconstruct?{query}", content=body)
  assert answer.status_code == code
  assert sentence in answer.json()["error"] and "/tmp" not in answer.json()["error"]


def test_compressed_volumes_keep_both_suffixes_and_are_no_input_of_the_network(
  client,
):
  import gzip

  content = gzip.compress(volume_file(ball_values()[0]))
  job, _ = make(client, "name=My head.NII.GZ&level=0", content)
  assert job["name"] == "My_head.nii.gz"
  cloud, _ = make(client, "name=a.xyz", cloud_file())
  answer = client.post(f"/api/jobs?like={job['id']},{cloud['id']}&share=0")
  assert answer.status_code == 422
  assert "a volume is no input of the network" in answer.json()["error"]


def test_a_volume_is_read_in_a_process_that_is_ended(tmp_path):
  values, _ = ball_values()
  path = tmp_path / "a.nii"
  path.write_bytes(volume_file(values))
  volume = reading.read(path, reading.VOLUME, ())
  np.testing.assert_array_equal(volume.values, values)
  np.testing.assert_allclose(volume.affine, AFFINE)
  with pytest.raises(ValueError, match=r"a\.nii: not read within 0 s"):
    reading.read(path, reading.VOLUME, (), seconds=1e-6)


def test_a_mask_for_a_network_of_grids_keeps_its_place(tmp_path):
  values, centre = ball_values()
  path = tmp_path / "mask.nii"
  path.write_bytes(volume_file((values > 0).astype(np.uint8)))
  placed = reading.read(path, "voxels", (16, 16, 16))
  inside = (np.argwhere(placed.grid > 0.5) + 0.5) / 16 - 0.5
  np.testing.assert_allclose(
    inside.mean(0) * placed.scale + placed.loc, centre, atol=0.5
  )
