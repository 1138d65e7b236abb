"""Where the log of a training goes; TensorBoard's files are in test_progress.py."""

import csv
import sys

import numpy as np
import pytest

from occnet_jax.cli import stages
from occnet_jax.train.metric_log import MetricLog
from tests.helpers.small_data import wait_until

SCALARS = {"train/loss": 2.5, "val/iou": 0.25}
PICTURE = np.full((4, 6, 3), 99, np.uint8)


def read_csv(directory):
  with (directory / "metrics.csv").open(newline="") as stream:
    rows = list(csv.DictReader(stream))
  return [(int(row["step"]), row["name"], float(row["value"])) for row in rows]


def test_the_table_has_a_line_for_each_scalar_and_none_twice_when_resumed(tmp_path):
  log = MetricLog(tmp_path, start=0, sinks=["csv"])
  for step in (1, 2, 3):
    log.write(step, {"train/loss": step / 2})
  log.show(3, "meshes", PICTURE)
  log.close()
  log = MetricLog(tmp_path, start=2, sinks=["csv"])  # steps after 2 come again
  log.write(3, SCALARS)
  log.close()
  assert read_csv(tmp_path) == [
    (1, "train/loss", 0.5),
    (2, "train/loss", 1.0),
    (3, "train/loss", 2.5),
    (3, "val/iou", 0.25),
  ]


def test_a_sink_that_is_added_later_gets_what_was_logged_before(tmp_path):
  log = MetricLog(tmp_path, start=0)
  log.write(1, SCALARS)
  log.close()
  MetricLog(tmp_path, start=1, sinks=["csv"]).close()
  assert read_csv(tmp_path) == [(1, "train/loss", 2.5), (1, "val/iou", 0.25)]


def test_weights_and_biases_keeps_a_run_without_a_network(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  monkeypatch.setenv("WANDB_SILENT", "true")
  log = MetricLog(tmp_path / "logs", start=0, sinks=["wandb"])
  log.write(1, SCALARS)
  log.show(1, "meshes", PICTURE)
  log.close()
  [record] = (tmp_path / "logs" / "wandb").glob("offline-run-*/*.wandb")
  names = b"train/loss", b"val/iou", b"meshes"
  # A process of its own writes them.
  wait_until(lambda: all(name in record.read_bytes() for name in names))


def test_weights_and_biases_says_how_it_is_installed(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "wandb", None)  # as if not installed
  with pytest.raises(ValueError, match="has 'wandb', which is not installed; pip inst"):
    MetricLog(tmp_path, start=0, sinks=["wandb"])


def test_an_unknown_sink_is_refused_before_training(tiny_config, tmp_path):
  tiny_config["train"]["sinks"] = ("tensorboard", "mlflow")
  with pytest.raises(ValueError, match=r"'mlflow'; want some of tensorboard, csv, wan"):
    stages.train(tiny_config, tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sinks", [(), ("tensorboard",), ("csv",)])
def test_a_run_logs_where_its_config_says(tiny_config, tmp_path, sinks):
  tiny_config["train"].update(sinks=sinks, steps=2, log_every=1, validate_every=2)
  stages.train(tiny_config, tmp_path)
  logs = tmp_path / "logs"
  assert (logs / "metrics.jsonl").exists()
  assert bool(list(logs.glob("events.*"))) == ("tensorboard" in sinks)
  assert (logs / "metrics.csv").exists() == ("csv" in sinks)
  if sinks == ("csv",):
    names = {name for _, name, _ in read_csv(logs)}
    assert {"train/loss", "val/iou"} <= names
