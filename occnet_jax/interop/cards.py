"""Model cards: what a pretrained model is, in the words of its README.md (host)."""

import math
import os
import pathlib
from typing import Any

import jax

from occnet_jax.config import Settings
from occnet_jax.types import Variables

MAX_LINE = 120  # characters of a summary
_TEMPLATE = """\
---
library_name: occnet-jax
---

# {name}

{system} of {parameters:,} parameters: {inputs} to a mesh.

| | |
| --- | --- |
{rows}

## Frame and units

{frame}

## Use

```python
import occnet_jax

model = occnet_jax.from_pretrained("path/to/this/directory")
mesh = model.reconstruct(observed)  # trimesh.Trimesh
```

or `occnet reconstruct FILE --model path/to/this/directory` in a shell.
"""
_FRAMES = {
  "cloud": (
    "A cloud may be in any unit. It is scaled to the unit cube, and the mesh is in the "
    "frame and the unit of the cloud. In training shapes stand upright along y."
  ),
  "scan": (
    "A cloud may be in any unit and stand in any way. It is scaled by the box of its "
    "points without those that are alone, and the mesh is in its frame and unit."
  ),
  "other": (
    "The mesh is in the frame of the unit cube, in which the largest extent of a shape "
    "is 1, y is up and the centre is the origin."
  ),
}


def generate(
  settings: Settings, record: dict[str, Any], variables: Variables, dtype: str
) -> str:
  """The card of a trained network, of what its config and record say.

  Args:
    settings: config of its training.
    record: step and scores of validation.
    variables: its arrays.
    dtype: type of the stored numbers.
  """
  kind, scan = settings.data.inputs, settings.data.scan
  count = sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"]))
  inputs = {
    "cloud": f"from a cloud of {settings.data.cloud_points} points",
    "image": f"from an image of {settings.data.image_side} pixels a side",
    "image_camera": (
      f"from an image of {settings.data.image_side} pixels a side and its camera"
    ),
    "images": f"from images of {settings.data.image_side} pixels a side",
    "voxels": f"from a grid of {settings.data.voxel_side}^3 voxels",
  }.get(kind, "from a latent")
  noise = f"{settings.data.cloud_sigma:g} cube units" if kind == "cloud" else None
  if scan.points:
    fewest, most = scan.points
    inputs = f"from a cloud of {fewest:,} to {most:,} points"
    noise, kind = f"up to {scan.sigma:g} cube units", "scan"
  level = record.get("level")
  scores = [
    f"{name} {value:.4g}"
    for name, value in record.items()
    if name not in ("step", "level") and type(value) in (float, int)
  ]
  rows = {
    "System": settings.model["name"],
    "Stored numbers": dtype,
    "Training data": settings.prep["source"],
    "Noise of its clouds": noise,
    "Steps": record["step"],
    f"Validation (split {settings.val.split})": ", ".join(scores) or None,
    "Level of the surface": None if level is None else f"{level:.4g}",
  }
  return _TEMPLATE.format(
    name=settings.name,
    system=settings.model["name"],
    parameters=count,
    inputs=inputs,
    rows="\n".join(f"| {k} | {v} |" for k, v in rows.items() if v is not None),
    frame=_FRAMES.get(kind, _FRAMES["other"]),
  )


def summary(path: str | os.PathLike) -> str:
  """The first line of a card's text, of at most MAX_LINE characters; "" without one.

  Args:
    path: the card. Its front matter (between lines of ---) and headings do not count.
  """
  path = pathlib.Path(path)
  text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
  lines = [line.strip() for line in text.splitlines()]
  if lines[:1] == ["---"] and "---" in lines[1:]:
    lines = lines[lines.index("---", 1) + 1 :]
  first = next((line for line in lines if line and not line.startswith("#")), "")
  return "".join(char for char in first if char.isprintable())[:MAX_LINE]
