"""The routes of the page and of programs, by Starlette (host).

GET  /                              the page
GET  /healthz                       "ok"
GET  /api/model                     what the network takes and gives
POST /api/reconstruct?name=a.ply    file in the body -> mesh in the body
POST /api/jobs?name=a.ply           file in the body -> a job; without a body: with
                                    like=ID the file of that job once more, with
                                    like=ID,ID or seeds=1,2 and share what lies between
GET  /api/jobs/ID                   its state
GET  /api/jobs/ID/events            every change of it, as server-sent events
GET  /api/jobs/ID/view              a page: input and mesh
GET  /api/jobs/ID/mesh.glb          the mesh, or .ply, .obj, .off, .stl

All take resolution, threshold and seed, or level for a volume; reconstruct also format.
Errors are JSON, {"error": "one sentence"}. The server is for one's own machine: other
host names, and pages of other origins, are refused.
"""

import asyncio
import contextlib
import json
import math
import pathlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import (
  HTMLResponse,
  JSONResponse,
  PlainTextResponse,
  Response,
  StreamingResponse,
)
from starlette.routing import Route

from occnet_jax import api
from occnet_jax.cli.demo.jobs import OVER, Job, Jobs, TooManyJobs
from occnet_jax.cli.demo.queries import (
  COARSEST_RESOLUTION,
  LARGEST_LEVEL,
  LARGEST_RESOLUTION,
  LARGEST_SEED,
  VOLUMES,
  Refused,
  number,
  safe_name,
)
from occnet_jax.cli.demo.tasks import Between, LevelSet, Reconstruction, Task
from occnet_jax.data.user_inputs import ACCEPTED
from occnet_jax.geometry import mesh_io
from occnet_jax.geometry.volumes import Volume
from occnet_jax.version import __version__
from occnet_jax.viz import pages

HOSTS = ("localhost", "127.0.0.1")
MAX_UPLOAD = 200_000_000  # bytes
MEDIA = {".glb": "model/gltf-binary"}  # others are application/octet-stream


def make_app(model: api.Model, name: str, *, max_upload: int = MAX_UPLOAD) -> Starlette:
  """The application for one network.

  Args:
    model: the network; it takes files.
    name: what the page calls it.
    max_upload: largest accepted file in bytes.

  Raises:
    ValueError: a network that takes no files and has no random codes.
  """
  kind = model.settings.data.inputs
  if kind not in ACCEPTED and model.method.prior is None:
    raise ValueError(
      f"config.data.inputs of this network is {kind!r}, so it takes no files; want one "
      f"of {', '.join(ACCEPTED)}"
    )
  jobs = Jobs(model)

  @contextlib.asynccontextmanager
  async def lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    await run_in_threadpool(jobs.close)

  routes = _Routes(jobs, name, max_upload)
  app = Starlette(
    routes=[
      Route("/", routes.page),
      Route("/healthz", lambda request: PlainTextResponse("ok")),
      Route("/api/model", routes.model),
      Route("/api/reconstruct", routes.reconstruct, methods=["POST"]),
      Route("/api/jobs", routes.submit, methods=["POST"]),
      Route("/api/jobs/{id}", routes.job),
      Route("/api/jobs/{id}/events", routes.events),
      Route("/api/jobs/{id}/view", routes.view),
      Route("/api/jobs/{id}/mesh.{form}", routes.mesh),
    ],
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    exception_handlers={Refused: _answer, ValueError: _answer},
    lifespan=lifespan,
  )
  app.state.jobs = jobs
  return app


def _answer(request: Request, error: Exception) -> Response:
  code = error.code if isinstance(error, Refused) else 422
  headers = {"Retry-After": "10"} if code == 503 else None
  return JSONResponse({"error": str(error)}, code, headers)


class _Routes:
  """The answers to requests."""

  def __init__(self, jobs: Jobs, name: str, max_upload: int):
    self._jobs, self._name, self._max_upload = jobs, name, max_upload
    self._suffixes = ACCEPTED.get(jobs.model.settings.data.inputs, ("", ()))[1]

  async def page(self, request: Request) -> Response:
    return HTMLResponse(
      pages.render("demo.html", title=f"occnet: {self._name}", about=self._about()),
      headers={"X-Frame-Options": "DENY"},
    )

  async def model(self, request: Request) -> Response:
    return JSONResponse(self._about())

  async def reconstruct(self, request: Request) -> Response:
    form = request.query_params.get("format", "glb")
    mesh_io.check_written_suffix(pathlib.PurePath(f"mesh.{form}"))
    job = await self._begin(request)
    await asyncio.wrap_future(job.future)
    if job.state == "failed":
      raise Refused(422, job.message)
    return await self._send(job, form)

  async def submit(self, request: Request) -> Response:
    return JSONResponse((await self._begin(request)).describe(), 202)

  async def job(self, request: Request) -> Response:
    return JSONResponse(self._find(request).describe())

  async def events(self, request: Request) -> Response:
    return StreamingResponse(
      _stream(self._find(request)),
      media_type="text/event-stream",
      headers={"Cache-Control": "no-store"},
    )

  async def view(self, request: Request) -> Response:
    text = await run_in_threadpool(self._jobs.page, self._finished(request))
    return HTMLResponse(text, headers={"X-Frame-Options": "SAMEORIGIN"})

  async def mesh(self, request: Request) -> Response:
    return await self._send(self._finished(request), request.path_params["form"])

  def _about(self) -> dict[str, Any]:
    model = self._jobs.model
    generation = model.settings.generation
    threshold = None
    if self._jobs.has_threshold:
      threshold = round(1 / (1 + math.exp(-model.level)), 3)
    return {
      "name": self._name,
      "version": __version__,
      "system": model.settings.model["name"],
      "inputs": model.settings.data.inputs,
      "accepted": list(self._suffixes),
      "volumes": list(VOLUMES),
      "random": model.method.prior is not None,
      "formats": [suffix[1:] for suffix in mesh_io.WRITTEN_SUFFIXES],
      "resolution": generation.resolution_0 * 2**generation.upsampling_steps,
      "threshold": threshold,
      "max_upload": self._max_upload,
    }

  async def _begin(self, request: Request) -> Job:
    """A job for the file of a request, at the end of the queue."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
      raise Refused(403, f"a page of {origin} cannot use this server")
    try:
      with self._jobs.room() as folder:
        job = await self._make_job(request, folder)
        self._jobs.submit(job)
    except TooManyJobs as error:
      raise Refused(503, "too many files wait; try again in a while") from error
    return job

  async def _make_job(self, request: Request, folder: pathlib.Path) -> Job:
    """A job whose file, if it has one, lies in the folder."""
    query = request.query_params
    if not ("seeds" in query or "like" in query):
      name = safe_name(
        query.get("name", ""), self._suffixes, has_level="level" in query
      )
      job = Job(name, folder, self._task_of(query, name))
      await self._receive(request, folder / name)
    elif "seeds" in query or "," in query["like"]:
      task = self._between(query)
      name = f"{task.names[0]}_{task.names[1]}_{100 * task.share:.0f}"
      job = Job(name, folder, task)
    else:
      before = self._find_read(query["like"])
      is_volume = isinstance(before.observed, Volume)
      task = self._task_of(query, before.name, is_volume=is_volume)
      job = Job(before.name, folder, task)
      job.observed = before.observed
    return job

  def _options(self, query: Any) -> dict[str, Any]:
    """The arguments of `Model.reconstruct` that a query chooses."""
    return self._jobs.options(
      number(query, "resolution", int, COARSEST_RESOLUTION, LARGEST_RESOLUTION),
      number(query, "threshold", float, 0, 1),
      number(query, "seed", int, 0, LARGEST_SEED) or 0,
    )

  def _task_of(self, query: Any, name: str, is_volume: bool | None = None) -> Task:
    """What is made of a file of this name."""
    level = number(query, "level", float, -LARGEST_LEVEL, LARGEST_LEVEL)
    if is_volume is None:
      is_volume = level is not None or not name.lower().endswith(self._suffixes)
    if not is_volume:
      if level is not None:
        raise Refused(422, f"level={level}: is for volumes; want a threshold")
      return Reconstruction(self._jobs.model, self._options(query))
    if wrong := [key for key in ("resolution", "threshold") if key in query]:
      raise Refused(
        422, f"{wrong[0]}: a volume has its own grid and level; leave it out"
      )
    return LevelSet(level)

  def _between(self, query: Any) -> Between:
    """What lies between the codes that a query names."""
    model, seeds = self._jobs.model, None
    share = number(query, "share", float, 0, 1)
    ends: tuple[Any, Any] = (None, None)
    names = ("", "")
    if "like" in query:
      ids = query["like"].split(",")
      if len(ids) > 2:
        raise Refused(422, f"like={query['like']!r}; want one job or two of them")
      read = [self._find_read(key) for key in (ids[0], ids[-1])]
      if any(isinstance(job.observed, Volume) for job in read):
        raise Refused(422, "a volume is no input of the network; want another file")
      ends = (read[0].observed, read[1].observed)
      names = tuple(pathlib.PurePath(job.name).stem for job in read)
    if "seeds" in query:
      texts = query["seeds"].split(",")
      if len(texts) > 2:
        raise Refused(422, f"seeds={query['seeds']!r}; want one number or two of them")
      numbers = [
        number({"seeds": text}, "seeds", int, 0, LARGEST_SEED) for text in texts
      ]
      seeds = (numbers[0], numbers[-1])
      names = tuple(f"seed_{number}" for number in seeds)
      if model.method.prior is None:
        raise Refused(422, "seeds: this network has no random codes; leave it out")
      if ends[0] is None and self._suffixes:
        raise Refused(
          422, "seeds: this network takes a file, too; want like=ID of a job"
        )
    return Between(model, self._options(query), names, ends, seeds, share or 0.0)

  def _find_read(self, key: str) -> Job:
    """A job whose file is read."""
    job = self._jobs.get(key)
    if job is None or job.observed is None:
      raise Refused(404, "no such job any more; send the file again")
    return job

  async def _receive(self, request: Request, path: pathlib.Path) -> None:
    """Writes the body to a file, up to its largest size."""
    limit = f"want at most {self._max_upload / 1e6:.0f} MB"
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > self._max_upload:
      raise Refused(413, f"{path.name}: {int(length) / 1e6:.0f} MB; {limit}")
    received = 0
    with path.open("wb") as file:
      async for chunk in request.stream():
        received += len(chunk)
        if received > self._max_upload:
          raise Refused(413, f"{path.name}: too large; {limit}")
        file.write(chunk)
    if not received:
      raise Refused(422, f"{path.name}: the body of the request is empty; want a file")

  def _find(self, request: Request) -> Job:
    job = self._jobs.get(request.path_params["id"])
    if job is None:
      raise Refused(404, "no such job")
    return job

  def _finished(self, request: Request) -> Job:
    job = self._find(request)
    if job.state != "done":
      raise Refused(409, job.message or f"not finished: {job.state}")
    return job

  async def _send(self, job: Job, form: str) -> Response:
    data = await run_in_threadpool(self._jobs.mesh_bytes, job, form)
    stem = pathlib.PurePath(job.name).stem
    return Response(
      data,
      media_type=MEDIA.get(f".{form}", "application/octet-stream"),
      headers={"Content-Disposition": f'attachment; filename="{stem}.{form}"'},
    )


async def _stream(job: Job) -> AsyncIterator[str]:
  """The states of a job as server-sent events, to its end or the server's."""
  with job.watched() as changes:
    while described := await changes.get():
      yield f"data: {json.dumps(described)}\n\n"
      if described["state"] in OVER:
        return
