"""Data that several tests look at, prepared once."""

import numpy as np
import pytest
import trimesh

from data_prep.pipeline.prepare import prepare
from tests.helpers.small_data import SMALL, write_source


@pytest.fixture(scope="session")
def source(tmp_path_factory):
  return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def prepared(source, tmp_path_factory):
  """An uninterrupted run."""
  return prepare(source=source, out=tmp_path_factory.mktemp("prepared"), **SMALL)


@pytest.fixture(scope="session")
def soup(tmp_path_factory):
  """A box, and a file of a million triangles without rhyme or reason."""
  root = tmp_path_factory.mktemp("soup")
  trimesh.creation.box().export(root / "box.ply")
  rng = np.random.default_rng(0)
  count = 1_000_000
  record = np.zeros(
    count, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("x", "<u2")]
  )
  record["corners"] = rng.random((count, 3, 3))
  header = np.zeros(80, np.uint8).tobytes() + np.uint32(count).tobytes()
  (root / "soup.stl").write_bytes(header + record.tobytes())
  return f"folder:{root}"
