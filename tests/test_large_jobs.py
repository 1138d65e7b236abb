"""The scripts that measure accelerators and simulate large jobs."""

import argparse
import json
import sys

import numpy as np
import pytest

from benchmarks import accelerator, scaling

OPTIONS = argparse.Namespace(link=100.0, network=10.0, latency=10.0)


def test_a_ring_sends_twice_the_gradients_in_messages_that_wait_for_each_other():
  # Of 1e9 bytes, 2 * 3 / 4 pass each of four devices at 100 GB/s, in six messages.
  alone = scaling.ring_seconds(250_000_000, 1, 8, OPTIONS)
  four = scaling.ring_seconds(250_000_000, 4, 8, OPTIONS)
  across_hosts = scaling.ring_seconds(250_000_000, 4, 2, OPTIONS)
  assert alone == 0
  assert four == pytest.approx(1.5e9 / 1e11 + 60e-6)
  assert across_hosts == pytest.approx(1.5e9 / 1e10 + 60e-6)


def test_a_step_lasts_as_long_as_its_slowest_part():
  assert scaling.simulate_training(0.1, 0.02, 0.0, 4, 0.0) == pytest.approx(0.12)
  assert scaling.simulate_training(0.1, 0.02, 0.5, 4, 0.0) == pytest.approx(0.5)
  one, many = (scaling.simulate_training(0.1, 0, 0, d, 0.05) for d in (1, 64))
  # The expected largest of 64 normal numbers is 2.38 standard deviations.
  assert one == pytest.approx(0.1, rel=0.01)
  assert many == pytest.approx(0.1 * np.exp(0.05 * 2.38), rel=0.01)


def test_workers_end_with_the_last_of_their_items():
  seconds = np.array([4.0, 1.0, 1.0, 1.0, 1.0])
  # Shards of two workers: 4 + 1 + 1 and 1 + 1; a queue gives the second all others.
  assert scaling.simulate_workers(seconds, 10.0, 2, queue=False) == 16
  assert scaling.simulate_workers(seconds, 10.0, 2, queue=True) == 14
  assert scaling.simulate_workers(seconds, 10.0, 9, queue=True) == 14


def run_accelerator(monkeypatch, path, *flags):
  arguments = ["accelerator", "--small", f"--out={path}", *flags]
  monkeypatch.setattr(sys, "argv", arguments)
  monkeypatch.setattr(accelerator.process, "keep_freed_memory", lambda: None)
  accelerator.main()
  return json.loads(path.read_text())


def test_an_accelerators_figures_are_written(monkeypatch, tmp_path, capsys):
  record = run_accelerator(
    monkeypatch, tmp_path / "a.json", "--parts=products,decoder", "--minutes=5"
  )
  assert record["results"]["products, 256, float32"]["tflops"] > 1e-4
  assert record["results"]["decoder, 2048 points, gradients"]["mpoints"] > 1e-4
  assert record["machine"]["backend"] == "cpu" and not record["left_out"]
  assert "products, 256, float32" in capsys.readouterr().out


def test_what_the_minutes_did_not_suffice_for_is_named(monkeypatch, tmp_path):
  record = run_accelerator(monkeypatch, tmp_path / "a.json", "--minutes=0")
  assert not record["results"]
  assert "meshes, 64 cells, device, 2 a call" in record["left_out"]
  assert "training, onet:pointcloud, float32, 1 a call" in record["left_out"]


def test_a_part_that_fails_does_not_end_the_others(monkeypatch, tmp_path):
  def fail(*_):
    raise RuntimeError("out of memory")

  monkeypatch.setattr(accelerator, "measure_products", fail)
  record = run_accelerator(monkeypatch, tmp_path / "a.json", "--parts=products,decoder")
  failed = record["results"]["products, 256, float32"]
  assert failed == {"failed": "RuntimeError: out of memory"}
  assert record["results"]["decoder, 2048 points, values"]["mpoints"] > 1e-4


def test_the_device_meshes_a_cloud_with_the_network_that_ships():
  host, device = (accelerator.measure_meshes(16, b, 1, 1) for b in ("host", "device"))
  assert (
    host["faces"] == pytest.approx(device["faces"], rel=0.01) and host["faces"] > 99
  )
