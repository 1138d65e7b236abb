"""Python's own server of files, on this machine."""

import contextlib
import functools
import http.server
import threading


class _Handler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *args):
    self.server.paths.append(self.path)


@contextlib.contextmanager
def served(folder):
  """Address of a folder, and the paths asked for so far."""
  handler = functools.partial(_Handler, directory=str(folder))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    server.paths = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
      yield f"http://127.0.0.1:{server.server_port}/", server.paths
    finally:  # a thread that is left would keep the process from its end
      server.shutdown()
      thread.join()
