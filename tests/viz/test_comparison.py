"""The page of an input beside its reconstruction: where what it shows lies."""

import numpy as np
import pytest
import trimesh

from occnet_jax.viz import comparison, glb


@pytest.mark.parametrize("has_faces", [True, False])
def test_both_are_in_the_unit_cube_whatever_the_unit_of_the_scan(
  has_faces, monkeypatch
):
  ball = trimesh.creation.icosphere(3, 400)
  ball.apply_translation([5000, -300, 20])
  mesh = ball if has_faces else trimesh.Trimesh(ball.vertices, process=False)
  drawn = []
  for name in ("cloud_glb", "mesh_glb"):
    monkeypatch.setattr(glb, name, lambda points, *_: drawn.append(points) or b"")
  comparison.page(
    title="ball", facts={}, observation=np.asarray(ball.vertices), mesh=mesh
  )
  assert len(drawn) == 2
  for points in drawn:
    np.testing.assert_allclose(points.min(0), -0.5)
    np.testing.assert_allclose(points.max(0), 0.5)
