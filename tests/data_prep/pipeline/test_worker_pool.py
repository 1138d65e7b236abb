"""Work in processes, some of which die, hang or fill the memory."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from data_prep.pipeline import worker_pool
from data_prep.pipeline.worker_pool import Limits, WorkerLostError
from tests.helpers.small_data import wait_until

_kept = []


def _work(task):
  """Numbers are computed, words are what can go wrong."""
  if task == "exit":
    os._exit(3)
  if task == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
  if task == "hang":
    while True:
      time.sleep(60)
  if task == "fill":
    kept = []
    while True:
      kept.append(b"1" * 2**24)
  if task == "segfault":
    signal.raise_signal(signal.SIGSEGV)
  if task == "unpicklable":
    raise _TwoWordsError("a", "b")
  if task == "keep":
    return _kept.append(b"1" * 2**29)
  if task == "pid":
    return os.getpid()
  return math.sqrt(task)


class _TwoWordsError(Exception):
  def __init__(self, first, second):
    super().__init__(f"{first} and {second}")


def test_every_task_is_answered_whatever_becomes_of_its_process():
  limits = Limits(seconds=4.0)
  tasks = [4, "exit", 9, -1, "hang", 16, 25, "killed", "segfault", 36]
  tasks += ["unpicklable", 49]
  answers = dict(worker_pool.run_tasks(_work, tasks, workers=2, limits=limits))
  assert answers.keys() == set(tasks)
  for task in (4, 9, 16, 25, 36, 49):
    assert answers[task] == math.sqrt(task)
  assert isinstance(answers[-1], ValueError)
  assert str(answers["unpicklable"]) == "_TwoWordsError: a and b"
  lost = {word: answers[word] for word in tasks if isinstance(word, str)}
  del lost["unpicklable"]
  assert all(isinstance(answer, WorkerLostError) for answer in lost.values())
  assert {word: answer.outcome for word, answer in lost.items()} == {
    "exit": "crash",
    "hang": "timeout",
    "killed": "crash",
    "segfault": "crash",
  }
  assert "exit code 3" in str(lost["exit"]) and "no memory" in str(lost["killed"])
  assert "SIGSEGV" in str(lost["segfault"])
  assert "not done after 4 s" in str(lost["hang"])
  assert lost["hang"].seconds >= 4


def test_a_task_that_fills_the_memory_is_ended_at_its_limit():
  # No limit of time: a busy machine takes its time to hand out a gibibyte.
  limits = Limits(gibibytes=1.0)
  answers = dict(worker_pool.run_tasks(_work, [4, "fill", 9], workers=1, limits=limits))
  assert (answers[4], answers[9]) == (2, 3)
  assert answers["fill"].outcome == "memory"
  assert "GiB, more than 1;" in str(answers["fill"])


def test_a_process_does_one_task_after_another_and_is_replaced_when_it_was_killed():
  worker = worker_pool.Worker(_work)
  with contextlib.closing(worker):
    first = worker.run("pid")
    assert first != os.getpid()
    assert worker.run("pid") == first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not _is_alive(first))
    assert worker.run(4) == 2
    second = worker.run("pid")
    assert second != first
  assert not _is_alive(second)


def test_memory_that_a_process_keeps_does_not_count_against_the_next_task():
  with contextlib.closing(worker_pool.Worker(_work, Limits(gibibytes=1.0))) as worker:
    first = worker.run("pid")
    assert worker.run("keep") is None
    assert worker.run("pid") != first


def test_a_caller_that_stops_ends_its_processes_amid_their_work():
  answers = worker_pool.run_tasks(_work, ["pid", *["hang"] * 9], workers=2)
  _, process = next(answers)
  answers.close()
  assert not _is_alive(process)


def test_a_worker_that_is_stopped_starts_no_process_for_another_task():
  worker = worker_pool.Worker(math.sqrt)
  worker.stop()
  answer = worker.run(4)
  assert isinstance(answer, worker_pool.WorkerLostError) and str(answer) == "stopped"
  assert worker._process is None


def test_workers_compute_on_one_thread_and_the_caller_keeps_its_settings():
  before = dict(os.environ)
  [(_, answer)] = worker_pool.run_tasks(os.getenv, ["IGL_NUM_THREADS"], workers=1)
  assert answer == "1"
  assert dict(os.environ) == before


def _run_script(path, text):
  path.write_text(text)
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
  return subprocess.Popen(
    [sys.executable, str(path)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=environment,
    text=True,
  )


_PARENT = """
import os, time
from data_prep.pipeline import worker_pool
if __name__ == "__main__":
  tasks = ["__import__('os').getpid()"] * 3
  for _, worker in worker_pool.run_tasks(eval, tasks, workers=1):
    print(worker, flush=True)
    time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
  with _run_script(tmp_path / "parent.py", _PARENT) as parent:
    worker = int(parent.stdout.readline())
    assert _is_alive(worker)
    parent.kill()
  wait_until(lambda: not _is_alive(worker))


_UNGUARDED = """
import math
from data_prep.pipeline import worker_pool
print(list(worker_pool.run_tasks(math.sqrt, [4, 9], workers=1)))
"""


def test_a_script_that_every_worker_would_run_again_is_told_so(tmp_path):
  with _run_script(tmp_path / "unguarded.py", _UNGUARDED) as script:
    _, errors = script.communicate(timeout=60)
  assert script.returncode
  assert "must call this below `if __name__ == '__main__':`" in errors


def test_a_limit_of_zero_is_none():
  [(_, answer)] = worker_pool.run_tasks(_work, [4], workers=1, limits=Limits(0, 0))
  assert answer == 2


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_more_tasks_than_workers_are_all_done_once(workers):
  answers = list(worker_pool.run_tasks(math.sqrt, range(20), workers=workers))
  assert sorted(answers) == [(n, math.sqrt(n)) for n in range(20)]


def _is_alive(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  return True
