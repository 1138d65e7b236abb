"""Server-sent events of jobs, from a real server: every state, for any client."""

import asyncio
import contextlib
import http.client
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from occnet_jax.cli import user_mesh
from occnet_jax.cli.demo import jobs as jobs_lib
from occnet_jax.cli.demo import server, tasks
from tests.helpers.pretrained import make_cloud, make_model

uvicorn = pytest.importorskip("uvicorn", reason="the extra demo is missing")
from occnet_jax.cli.demo import app as app_lib  # noqa: E402

PATIENCE = 60


@pytest.fixture
def jobs(monkeypatch):
  """The jobs of the server, as they are made."""
  made = []
  original = jobs_lib.Job

  def make(*args):
    made.append(original(*args))
    return made[-1]

  monkeypatch.setattr(app_lib, "Job", make)
  return made


@pytest.fixture
def gate(monkeypatch):
  """Reconstructions begin when it is set."""
  event, original = threading.Event(), user_mesh.make_mesh

  def wait_and_make(*args):
    assert event.wait(PATIENCE)
    return original(*args)

  monkeypatch.setattr(user_mesh, "make_mesh", wait_and_make)
  yield event
  event.set()


@pytest.fixture
def serving():
  return server.make_server(app_lib.make_app(make_model(), "small"))


@pytest.fixture
def port(jobs, serving):
  listener = server.open_socket(0)
  thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
  thread.start()
  yield listener.getsockname()[1]
  serving.should_exit = True
  thread.join()
  listener.close()


def cloud_file():
  buffer = io.BytesIO()
  np.savetxt(buffer, make_cloud())
  return buffer.getvalue()


def submit(port, body=None):
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
  connection.request("POST", "/api/jobs?name=a.xyz", body or cloud_file())
  answer = json.loads(connection.getresponse().read())
  connection.close()
  return answer["id"]


@contextlib.contextmanager
def listening(port, job):
  """The answer of the route, open."""
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
  connection.request("GET", f"/api/jobs/{job}/events")
  with contextlib.closing(connection):
    yield connection.getresponse()


def read_event(answer):
  line = answer.readline()
  assert line.startswith(b"data: ") and answer.readline() == b"\n"
  return json.loads(line.removeprefix(b"data: "))


def read_all(port, job):
  """The states to the end of the stream."""
  with listening(port, job) as answer:
    assert answer.status == 200
    assert answer.getheader("content-type").startswith("text/event-stream")
    blocks = answer.read().decode().split("\n\n")
  assert blocks.pop() == ""
  return [json.loads(block.removeprefix("data: ")) for block in blocks]


def wait_until(condition):
  end = time.monotonic() + PATIENCE
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.02)


def watchers(job):
  return len(job._watchers)


def test_several_clients_get_every_change_and_the_end(port, jobs, gate):
  first = submit(port)  # holds up the second
  second = submit(port)
  with ThreadPoolExecutor(4) as pool:
    reading = [pool.submit(read_all, port, second) for _ in range(4)]
    wait_until(lambda: watchers(jobs[1]) == 4)
    gate.set()
    streams = [future.result() for future in reading]
  for events in streams:
    states = [event["state"] for event in events]
    assert states == ["waiting", "reading", "reconstructing", "done"]
    assert events[-1]["facts"]["Input"] == "200 points"
    times = [event["seconds"] for event in events]
    assert times == sorted(times)
  wait_until(lambda: watchers(jobs[1]) == 0)
  # Who comes late gets the end at once.
  for job in (first, second):
    assert [event["state"] for event in read_all(port, job)] == ["done"]


def test_a_failed_job_ends_its_stream_with_the_sentence(port, jobs, gate):
  gate.set()
  events = read_all(port, submit(port, b"words"))
  assert events[-1]["state"] == "failed"
  assert events[-1]["message"].startswith("a.xyz")
  assert all(event["message"] == "" for event in events[:-1])


def test_a_client_that_leaves_is_forgotten_and_the_others_stay(port, jobs, gate):
  job = submit(port)
  with listening(port, job) as staying:
    with listening(port, job) as leaving:
      read_event(leaving)
      wait_until(lambda: watchers(jobs[0]) == 2)
    wait_until(lambda: watchers(jobs[0]) == 1)
    gate.set()
    states = [read_event(staying)["state"]]
    while states[-1] != "done":
      states.append(read_event(staying)["state"])
    assert states[-2:] == ["reconstructing", "done"]
    assert staying.read() == b""
  wait_until(lambda: watchers(jobs[0]) == 0)


def test_a_server_that_ends_ends_the_streams_of_jobs_that_wait(
  port, jobs, gate, serving
):
  submit(port)  # holds up the second, until after the stream has ended
  with listening(port, submit(port)) as answer:
    assert read_event(answer)["state"] == "waiting"
    serving.should_exit = True
    assert answer.read() == b""
    assert jobs[1].state == "waiting"


def test_an_unknown_job_has_no_stream(port):
  with listening(port, "nothing") as answer:
    assert answer.status == 404
    assert json.loads(answer.read()) == {"error": "no such job"}


def test_a_change_after_its_server_has_ended_harms_nobody(tmp_path):
  job = jobs_lib.Job("a.nii", tmp_path, tasks.LevelSet(None))

  async def watch():
    watching = job.watched()
    queue = watching.__enter__()
    return watching, (await queue.get())["state"]

  watching, state = asyncio.run(watch())
  job.move_to("reading")
  assert (state, job.describe()["state"]) == ("waiting", "reading")
  watching.__exit__(None, None, None)
