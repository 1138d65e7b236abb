"""Work in processes, of which some die."""

import math
import os
import subprocess
import sys
import time

from data_prep import pool


def _work(task):
  if task == "die":
    os._exit(1)
  return math.sqrt(task)


def test_every_task_is_answered_though_some_raise_and_some_kill_their_process():
  tasks = [4, "die", 9, -1, 16, "die", 25]
  answers = list(pool.run_tasks(_work, tasks, workers=2))
  assert sorted(map(str, tasks)) == sorted(str(task) for task, _ in answers)
  for task, answer in answers:
    if task == "die":
      assert isinstance(answer, pool.WorkerDied)
    elif task == -1:
      assert isinstance(answer, ValueError)
    else:
      assert answer == math.sqrt(task)


def test_workers_compute_on_one_thread_and_the_caller_keeps_its_settings():
  before = dict(os.environ)
  [(_, answer)] = pool.run_tasks(os.getenv, ["IGL_NUM_THREADS"], workers=1)
  assert answer == "1"
  assert dict(os.environ) == before


_PARENT = """
import os, time
from data_prep import pool
if __name__ == "__main__":
  for _, worker in pool.run_tasks(eval, ["__import__('os').getpid()"] * 3, workers=1):
    print(worker, flush=True)
    time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
  script = tmp_path / "parent.py"
  script.write_text(_PARENT)
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  with subprocess.Popen(
    [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True
  ) as parent:
    worker = int(parent.stdout.readline())
    assert _is_alive(worker)
    parent.kill()
  deadline = time.monotonic() + 20
  while _is_alive(worker) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not _is_alive(worker)


def _is_alive(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  return True
