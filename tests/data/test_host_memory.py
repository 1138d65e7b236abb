"""Free memory within the limits of a container, from copies of the kernel's files."""

import pytest

from occnet_jax.data import host_memory

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """A root folder in which files can be written, of a machine with 64 GiB free."""

  class Memory:
    available = 64 * GIB

  monkeypatch.setattr(host_memory.psutil, "virtual_memory", lambda: Memory)
  return tmp_path


def limit_v2(root, folder, limit, used, cache=0):
  where = root / "sys/fs/cgroup" / folder
  where.mkdir(parents=True, exist_ok=True)
  (where / "memory.max").write_text(f"{limit}\n")
  (where / "memory.current").write_text(f"{used}\n")
  (where / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")


def enter(root, line):
  (root / "proc/self").mkdir(parents=True)
  (root / "proc/self/cgroup").write_text(line + "\n")


def test_a_machine_without_control_groups_has_all_its_memory(machine):
  assert host_memory.available(machine) == 64 * GIB


def test_a_group_without_a_limit_takes_nothing_away(machine):
  limit_v2(machine, "", "max", GIB)
  assert host_memory.available(machine) == 64 * GIB


def test_the_limit_of_a_container_counts_less_what_it_uses(machine):
  limit_v2(machine, "", 4 * GIB, 3 * GIB, cache=GIB // 2)  # cache can be dropped
  assert host_memory.available(machine) == 1.5 * GIB


def test_the_limit_of_a_group_above_counts_as_well(machine):
  enter(machine, "0::/slurm/job_7/step")
  limit_v2(machine, "slurm/job_7/step", "max", GIB)
  limit_v2(machine, "slurm/job_7", 8 * GIB, 2 * GIB)
  limit_v2(machine, "slurm", 32 * GIB, 2 * GIB)
  assert host_memory.available(machine) == 6 * GIB


def test_a_limit_of_version_1_counts(machine):
  enter(machine, "5:cpu,cpuacct:/a\n9:memory:/docker/abc")
  where = machine / "sys/fs/cgroup/memory/docker/abc"
  where.mkdir(parents=True)
  (where / "memory.limit_in_bytes").write_text(f"{2 * GIB}\n")
  (where / "memory.usage_in_bytes").write_text(f"{GIB}\n")
  assert host_memory.available(machine) == GIB


def test_a_group_that_is_full_leaves_nothing(machine):
  limit_v2(machine, "", GIB, 2 * GIB)
  assert host_memory.available(machine) == 0
