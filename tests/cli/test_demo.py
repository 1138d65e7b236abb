"""The page's routes in process: meshes, limits, and what strangers send."""

import io
import json
import pathlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimesh
from PIL import Image

from configs import base
from occnet_jax.cli import occnet, process, user_mesh
from occnet_jax.cli.demo import jobs as jobs_lib
from occnet_jax.cli.demo import server
from occnet_jax.interop import weights
from occnet_jax.trained_model import Model
from tests.helpers.pretrained import (
  install,
  make_cloud,
  make_model,
  random_variables,
)

testclient = pytest.importorskip(
  "starlette.testclient", reason="the extra demo is missing"
)
from occnet_jax.cli.demo import app as app_lib  # noqa: E402


@pytest.fixture(scope="module")
def model():
  return make_model()


@pytest.fixture(scope="module")
def client(model):
  app = app_lib.make_app(model, "small", max_upload=200_000)
  with testclient.TestClient(app, base_url="http://localhost:8000") as client:
    yield client


def cloud_file(scale=1.0, shift=0.0):
  buffer = io.BytesIO()
  np.savetxt(buffer, make_cloud() * scale + shift)
  return buffer.getvalue()


def wait(client, job):
  while job["state"] not in ("done", "failed"):
    time.sleep(0.02)
    job = client.get(f"/api/jobs/{job['id']}").json()
  return job


def refusal(answer, code):
  assert answer.status_code == code, answer.text
  sentence = answer.json()["error"]
  assert "\n" not in sentence and "/tmp" not in sentence
  return sentence


def load(content, form):
  return trimesh.load(io.BytesIO(content), file_type=form, force="mesh", process=False)


@pytest.mark.parametrize("form", ["glb", "ply", "obj", "stl"])
def test_a_program_sends_a_file_and_gets_the_mesh_in_its_frame(client, model, form):
  answer = client.post(
    f"/api/reconstruct?name=My scan.xyz&format={form}", content=cloud_file(10, 100)
  )
  assert answer.status_code == 200
  assert answer.headers["content-disposition"].endswith(f'"My_scan.{form}"')
  mesh = load(answer.content, form)
  expected = model.reconstruct(make_cloud() * 10 + 100)
  np.testing.assert_allclose(mesh.bounds, expected.bounds, atol=1e-2)
  assert len(mesh.faces) == len(expected.faces)


def test_resolution_threshold_and_seed_are_those_of_the_request(client, model):
  above = 1 / (1 + np.exp(-model.level - 1e-3))  # a probability
  meshes = {}
  for options in ("", "&resolution=32", f"&threshold={above}", "&seed=5"):
    address = f"/api/reconstruct?name=a.xyz&format=ply{options}"
    answer = client.post(address, content=cloud_file())
    assert answer.status_code == 200, answer.text
    meshes[options] = load(answer.content, "ply")
  plain, fine, small, other = meshes.values()
  assert len(fine.faces) > 2 * len(plain.faces)
  assert small.volume < plain.volume != other.volume


def test_a_job_has_states_a_view_and_every_format(client):
  job = client.post("/api/jobs?name=scan.xyz", content=cloud_file())
  assert job.status_code == 202
  job = wait(client, job.json())
  assert job["state"] == "done" and job["facts"]["Input"] == "200 points"
  assert job["facts"]["Mesh"].endswith("closed")
  view = client.get(f"/api/jobs/{job['id']}/view").text
  assert view.count("<model-viewer alt") == 2 and "<title>scan.xyz</title>" in view
  for form in ("glb", "ply", "obj", "off", "stl"):
    mesh = load(client.get(f"/api/jobs/{job['id']}/mesh.{form}").content, form)
    mesh.merge_vertices()  # which STL has once a face
    assert mesh.is_watertight
  again = client.post(f"/api/jobs?like={job['id']}&resolution=8").json()
  finer, again = job, wait(client, again)
  counts = [j["facts"]["Mesh"].split()[0] for j in (finer, again)]
  counts = [int(count.replace(",", "")) for count in counts]
  assert counts[1] < counts[0]


def test_the_page_and_the_description_are_those_of_the_network(client, model):
  about = client.get("/api/model").json()
  assert about["name"] == "small" and about["inputs"] == "cloud"
  assert about["resolution"] == 16 and ".ply" in about["accepted"]
  assert about["threshold"] == pytest.approx(1 / (1 + np.exp(-model.level)), abs=1e-3)
  page = client.get("/")
  assert page.headers["x-frame-options"] == "DENY"
  assert 'id="threshold"' in page.text and "default-src 'none'" in page.text
  assert "http://" not in page.text and "https://" not in page.text
  assert client.get("/healthz").text == "ok"


@pytest.mark.parametrize(
  ("query", "body", "code", "sentence"),
  [
    ("name=a.exe", b"x", 415, "name='a.exe': this network wants a file of .3mf"),
    ("name=../../etc/passwd", b"x", 415, "this network wants a file of"),
    ("", b"x", 415, "name=''"),
    ("name=a.xyz", b"", 422, "a.xyz: the body of the request is empty; want a file"),
    ("name=a.xyz", b"words", 422, "a.xyz"),
    ("name=a.npy", b"\x93NUMPY" + b"\xff" * 50, 422, "a.npy"),
    ("name=a.ply", b"ply\n" * 1000, 422, "a.ply"),
    ("name=a.xyz&resolution=9999", b"x", 422, "want a number from 8 to 512"),
    ("name=a.xyz&resolution=many", b"x", 422, "resolution='many'; want a number"),
    ("name=a.xyz&threshold=1", b"x", 422, "want a probability between 0 and 1"),
    ("name=a.xyz&threshold=nan", b"x", 422, "want a number from 0 to 1"),
    ("name=a.xyz&format=gif", b"x", 422, "cannot write '.gif'"),
    ("like=nothing", b"", 404, "no such job any more; send the file again"),
    ("name=a.xyz", b"1 2 3\n" * 40_000, 413, "want at most 0 MB"),
  ],
  ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
  client, query, body, code, sentence
):
  answer = client.post(f"/api/reconstruct?{query}", content=body)
  assert sentence in refusal(answer, code)


def test_a_body_without_a_length_is_cut_off(client):
  chunks = (b"1 2 3\n" * 1000 for _ in range(100))
  answer = client.post("/api/jobs?name=a.xyz", content=chunks)
  assert "a.xyz: too large" in refusal(answer, 413)


def test_other_hosts_and_other_pages_are_refused(client):
  answer = client.get("/", headers={"host": "evil.example"})
  assert answer.status_code == 400
  answer = client.post(
    "/api/jobs?name=a.xyz",
    content=cloud_file(),
    headers={"origin": "http://evil.example"},
  )
  assert "http://evil.example cannot use" in refusal(answer, 403)
  same = {"origin": "http://localhost:8000"}
  job = client.post("/api/jobs?name=a.xyz", content=cloud_file(), headers=same)
  assert wait(client, job.json())["state"] == "done"
  assert "access-control-allow-origin" not in job.headers


def test_what_does_not_exist_or_is_not_finished_is_said(client, monkeypatch):
  assert refusal(client.get("/api/jobs/none"), 404) == "no such job"
  job = client.post("/api/jobs?name=a.xyz", content=b"words").json()
  job = wait(client, job)
  assert job["state"] == "failed" and job["message"].startswith("a.xyz")
  message = refusal(client.get(f"/api/jobs/{job['id']}/mesh.glb"), 409)
  assert message == job["message"]


def test_a_bug_ends_its_job_alone(client, monkeypatch):
  def fail(*args):
    raise KeyError("x")

  monkeypatch.setattr(user_mesh, "make_mesh", fail)
  answer = client.post("/api/reconstruct?name=a.xyz", content=cloud_file())
  assert refusal(answer, 422) == "a.xyz: KeyError in the program"
  monkeypatch.undo()
  answer = client.post("/api/reconstruct?name=a.xyz", content=cloud_file())
  assert answer.status_code == 200


def test_a_full_queue_says_so_and_old_jobs_are_forgotten(model, monkeypatch):
  monkeypatch.setattr(jobs_lib, "MAX_WAITING", 0)
  app = app_lib.make_app(model, "small")
  with testclient.TestClient(app, base_url="http://localhost") as client:
    answer = client.post("/api/jobs?name=a.xyz", content=cloud_file())
    assert "too many files wait" in refusal(answer, 503)
    monkeypatch.setattr(jobs_lib, "MAX_WAITING", 8)
    monkeypatch.setattr(jobs_lib, "KEPT", 1)
    first = wait(client, client.post("/api/jobs?name=a.xyz", content=b"?").json())
    wait(client, client.post("/api/jobs?name=b.xyz", content=b"?").json())
    assert refusal(client.get(f"/api/jobs/{first['id']}"), 404) == "no such job"


def test_uploads_count_as_jobs_that_wait(model, monkeypatch):
  monkeypatch.setattr(jobs_lib, "MAX_WAITING", 1)
  app = app_lib.make_app(model, "small")
  with testclient.TestClient(app, base_url="http://localhost") as client:
    with app.state.jobs.room():  # as while a file comes in
      answer = client.post("/api/jobs?name=a.xyz", content=cloud_file())
      assert "too many files wait" in refusal(answer, 503)
    answer = client.post("/api/jobs?name=a.xyz", content=cloud_file())
    assert wait(client, answer.json())["state"] == "done"


def test_a_refused_upload_leaves_no_file(model):
  app = app_lib.make_app(model, "small", max_upload=10)
  folder = pathlib.Path(app.state.jobs._root.name)
  with testclient.TestClient(app, base_url="http://localhost") as client:
    for body in (cloud_file(), iter([b"1 2 3\n"] * 10), b""):
      answer = client.post("/api/jobs?name=a.xyz", content=body)
      assert answer.status_code in (413, 422)
      assert list(folder.iterdir()) == []


def test_the_colours_of_a_cloud_reach_the_mesh(client):
  colours = np.tile([[200, 30, 10]], (200, 1))
  buffer = io.BytesIO()
  np.savetxt(
    buffer,
    np.hstack([make_cloud(), colours]),
    fmt="%.6f",
    header="x y z red green blue",
    comments="",
  )
  address = "/api/reconstruct?name=a.txt&format=ply"
  mesh = load(client.post(address, content=buffer.getvalue()).content, "ply")
  shown = np.unique(mesh.visual.vertex_colors[:, :3], axis=0)
  np.testing.assert_array_equal(shown, [[200, 30, 10]])


def test_the_command_serves_and_says_what_it_lacks(tmp_path, monkeypatch):
  install(make_model(), tmp_path / "package", monkeypatch)
  monkeypatch.setattr(process, "compute_in_caller", lambda: None)
  taken = socket.create_server(("127.0.0.1", 0))
  port = taken.getsockname()[1]
  with (
    taken,
    pytest.raises(SystemExit, match=f"port {port} is taken by another program; "),
  ):
    occnet.main(["demo", f"--port={port}"])
  monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(SystemExit, match=r"pip install 'occnet-jax\[demo\]'"):
    occnet.main(["demo"])


def test_a_network_that_takes_no_files_has_no_page(model):
  other = make_model()
  other.settings = model.settings._replace(
    data=model.settings.data._replace(inputs="index")
  )
  with pytest.raises(ValueError, match=r"is 'index', so it takes no files"):
    app_lib.make_app(other, "codes")


def test_clients_at_once_get_the_mesh_of_their_own_file(client, model):
  places = [0.0, 100.0, 200.0, 300.0]

  def send(place):
    address = "/api/reconstruct?name=a.xyz&format=ply"
    return client.post(address, content=cloud_file(shift=place))

  with ThreadPoolExecutor(len(places)) as pool:
    answers = list(pool.map(send, places))
  expected = model.reconstruct(make_cloud())
  for place, answer in zip(places, answers, strict=True):
    mesh = load(answer.content, "ply")
    np.testing.assert_allclose(mesh.bounds, expected.bounds + place, atol=1e-3)


def make_photo_model():
  """A network of photographs for which about half of the cube is inside."""
  config = base.get_config()
  config.data.update(inputs="image", image_side=64)
  config.model.update(encoder="simple_conv", c_dim=8, hidden_size=16)
  config.generation.update(resolution_0=8, upsampling_steps=0)
  config = json.loads(json.dumps(config.to_dict()))
  record = {"step": 1}
  method, specs = weights.build(config, record)
  variables = random_variables(specs)
  model = Model(method, variables, config, record)
  points = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 500, 3))
  values = model.decode(model.encode(np.ones((1, 64, 64, 3), np.float32)), points)
  record["level"] = float(np.median(values))
  return Model(weights.build(config, record)[0], variables, config, record)


def test_a_photograph_becomes_a_mesh_beside_it():
  app = app_lib.make_app(make_photo_model(), "photos")
  buffer = io.BytesIO()
  Image.new("RGB", (90, 70), "white").save(buffer, "PNG")
  with testclient.TestClient(app, base_url="http://localhost") as client:
    assert client.get("/api/model").json()["accepted"][0] == ".bmp"
    job = client.post("/api/jobs?name=chair.png", content=buffer.getvalue()).json()
    job = wait(client, job)
    assert job["state"] == "done", job["message"]
    view = client.get(f"/api/jobs/{job['id']}/view").text
    assert view.count("<model-viewer alt") == 1 and 'class="observation"' in view
    answer = client.post("/api/jobs?name=a.ply", content=cloud_file())
    assert "this network wants a file of .bmp" in refusal(answer, 415)
