"""Serves the page on this machine until Ctrl-C (host)."""

import contextlib
import errno
import importlib.util
import os
import socket
from typing import Any

from occnet_jax import api
from occnet_jax.cli import mesh_options, process

ADDRESS = "127.0.0.1"  # of this machine, for this machine


def serve(
  workdir: str | None, pretrained: str | None, *, port: int, max_upload: int
) -> None:
  """Loads a network, prints the address of the page and serves it.

  Args:
    workdir: directory of a run; None for a pretrained model.
    pretrained: the model in place of a run; the packaged one without both.
    port: of the address; 0 for a free one.
    max_upload: largest accepted file in megabytes.

  Raises:
    ValueError: a package of the extra `demo` is missing; both a run and a model; a
      network that takes no files; a port that cannot be used, or a size that no
      upload has.
  """
  mesh_options.check(max_upload=max_upload, port=port)
  missing = [n for n in ("starlette", "uvicorn") if not importlib.util.find_spec(n)]
  if missing:
    raise ValueError(
      f"occnet demo needs the package {missing[0]}: pip install 'occnet-jax[demo]'"
    )
  if workdir and pretrained:
    raise ValueError(
      f"--workdir={workdir} and --model={pretrained} name two networks; want one"
    )
  from occnet_jax.cli.demo import app as app_lib
  from occnet_jax.cli.reconstruct import DEFAULT_MODEL

  process.compute_in_caller()
  with open_socket(port) as listener:
    with process.announced("loading the network"):
      name = workdir or pretrained or DEFAULT_MODEL
      model = api.restore(workdir) if workdir else api.from_pretrained(name)
      app = app_lib.make_app(model, name, max_upload=max_upload * 1_000_000)
    server = make_server(app)
    address = f"http://{ADDRESS}:{listener.getsockname()[1]}"
    print(f"{address}: the network {name}; Ctrl-C ends", flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt):  # raised again when it has ended
      server.run(sockets=[listener])


def make_server(app: Any) -> Any:
  """The server of an application, which ends although clients follow their jobs."""
  import uvicorn

  class Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
      app.state.jobs.end_streams()  # or it would wait until the last job is done
      await super().shutdown(sockets)

  return Server(
    uvicorn.Config(
      app, log_level="warning", access_log=False, server_header=False, ws="none"
    )
  )


def open_socket(port: int) -> socket.socket:
  """A socket of this machine that listens.

  Raises:
    ValueError: the port is taken, or not allowed.
  """
  try:
    return socket.create_server((ADDRESS, port))
  except OSError as error:
    reason = {
      errno.EADDRINUSE: "is taken by another program",
      errno.EACCES: "is not for users without special rights",
    }.get(error.errno, f"cannot be used ({os.strerror(error.errno)})")
    raise ValueError(
      f"port {port} {reason}; choose another by --port, or 0 for a free one"
    ) from error
