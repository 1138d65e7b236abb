"""Triangulations of a cell, as Deep Marching Cubes chooses among them (host, NumPy).

Liao et al., "Deep Marching Cubes", CVPR 2018. A cell has 256 topologies t: bit v is set
if corner v is free, so 0 is full and 255 empty space. Its corners and edges, with x to
the right, y to the back and z up, are numbered as in the published code:

              4 -------- e4 -------- 5
             /|                     /|
           e7 |                   e5 |              z
           /  e8                  /  e9             |   y
          7 -------- e6 -------- 6   |              |  /
          |   |                  |   |              | /
          |   0 -------- e0 -------- 1              0 ------ x
         e11 /                 e10  /
          | e3                   | e1
          |/                     |/
          3 -------- e2 -------- 2

Shape letters: m topologies, k triangles, c pairs.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

# The triangles of each topology: three edges each, in hexadecimal. The table is Paul
# Bourke's, by Cory Gene Bloyd, which is in the public domain. The order of a triangle's
# edges matters to the distance from a point.
_TRIANGLES = """
  - 083 019 183981 12a 08312a 92a029 2832a8a98 3b2 0b28b0 19023b 1b219b98b 3a1ba3
  0a108a8ba 3903b9ba9 98aa8b 478 430734 019847 419471731 12a847 34730412a 92a902847
  2a9297273794 8473b2 b47b24204 90184723b 47b94b9b2921 3a13ba784 1ba14b1047b4
  47890b9bab03 47b4b99ba 954 954083 054150 854835315 12a954 30812a495 52a542402
  2a5325354348 95423b 0b208b495 05401523b 21525828b485 a3ba13954 4950818a18ba
  54050b5bab03 54858aa8b 978579 930953573 078017157 153357 978957a12 a12950530573
  802825857a52 2a5253357 7957893b2 95797292027b 23b018178157 b21b17715 958857a13a3b
  5705097b010aba0 ba0b03a50807570 ba57b5 a65 0835a6 9015a6 1831985a6 165261 165126308
  965906026 598582526328 23ba65 b08b20a65 01923b5a6 5a61929b298b 63b653513
  08b0b50515b6 3b6036065059 65969bb98 5a6478 43047365a 1905a6847 a65197173794
  612651478 125526304347 847905065026 739794329596269 3b2784a65 5a647242027b
  01947823b5a6 9219b294b7b45a6 8473b53515b6 51b5b610b7b404b 059065036b63847
  65969b4797b9 a4964a 4a649a083 a01a60640 83181686461a 149124264 308129249264 024426
  832824426 a49a64b23 08228b49a4a6 3b201606461a 64161a48121b8b1 964936913b63
  8b1810b61914641 3b6360064 648b68 7a678a89a 0730a709a67a a671a7178180 a67a71173
  126168189867 269291679093739 780706602 732672 23ba68a89867 20727b09767a9a7
  1801781a767a23b b21b17a61671 896867916b63136 091b67 7807063b0b60 7b6 76b 308b76
  019b76 819831b76 a126b7 12a3086b7 2902a96b7 6b72a3a83a98 723627 708760620 276237019
  162186198876 a76a17137 a7617a187108 03707a0a96a7 76a7a88a9 684b86 36b306046
  86b846901 946963931b36 6846b82a1 12a30b06b046 4b846b0292a9 a93a32943b36463 823842462
  042462 190234246438 194142246 8138618466a1 a10a06604 4634386a3039a93 a946a4 49576b
  083495b76 50154076b b76834354315 954a1276b 6b712a083495 76b54a42a402 348354325a52b76
  723762549 954086062687 362376150540 628687218485158 954a16176137 16a176107870954
  40a4a503a6a737a 76a7a854a48a 6956b9b89 36b063056095 0b805b01556b 6b3635531
  12a95b9b8b56 0b306b09656912a b85b56805a52025 6b36352a3a53 589528562382 956960062
  158180568382628 156216 13616a386569896 a10a06950560 03856a a56 b5a75b b5ab75830
  5b75ab190 a75ab7981831 b12b71751 08312717572b 9759279022b7 75272b592328982 25a235375
  820852875a25 9015a35373a2 982921872a25752 135375 087071175 903935537 987597
  5845a8ab8 5045b05abb30 01984a8aba45 ab4a45b34941314 2512852b8458 04b0b345b2b151b
  0250592b5458b85 9452b3 25a352345384 5a2524420 3a235a385458019 5a2524192942 845853351
  045105 845853905035 945 4b749b9ab 0834979b79ab 1ab1b414074b 3143481a474bab4
  4b79b492b912 9749b791b2b1083 b74b42240 b74b42834324 29a279237749 9a7974a27870207
  37a3a274a1a040a 1a2874 491417713 491417081871 403743 487 9a8ab8 30939bb9a 01a0a88ab
  31ab3a 12b1b99b8 30939b1292b9 02b80b 32b 23828aa89 9a2092 23828a0181a8 1a2 138918
  091 038 -
"""
CORNERS = np.array(
  [
    [0, 1, 0],
    [1, 1, 0],
    [1, 0, 0],
    [0, 0, 0],
    [0, 1, 1],
    [1, 1, 1],
    [1, 0, 1],
    [0, 0, 1],
  ]
)
EDGES = np.array(  # the corners at their ends
  [
    *([0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6]),
    *([6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]),
  ]
)
HIGHER = np.maximum(CORNERS[EDGES[:, 0]], CORNERS[EDGES[:, 1]])  # end of each edge
AXES = np.abs(CORNERS[EDGES[:, 0]] - CORNERS[EDGES[:, 1]]).argmax(1)  # and its axis
FULL, EMPTY = 0, 255
# Edges of the face that a cell shares with the next one along each axis, and the same
# edges as numbered there.
SHARED = (
  ((5, 9, 1, 10), (7, 8, 3, 11)),
  ((4, 9, 0, 8), (6, 10, 2, 11)),
  ((4, 5, 6, 7), (0, 1, 2, 3)),
)


@functools.cache
def triangles_of(topology: int) -> tuple[tuple[int, int, int], ...]:
  """The triangles of a topology: edges on which they have their corners."""
  word = _TRIANGLES.split()[topology]
  edges = [] if word == "-" else [int(digit, 16) for digit in word]
  return tuple(zip(edges[::3], edges[1::3], edges[2::3], strict=True))


def is_simple(topology: int, most: int) -> bool:
  """Whether the surface is one piece without holes: k triangles on k + 2 edges."""
  triangles = triangles_of(topology)
  edges = {edge for triangle in triangles for edge in triangle}
  return 0 < len(triangles) <= most and len(edges) == len(triangles) + 2


class Accepted(NamedTuple):
  """The topologies of training, and their triangles.

  Attributes:
    half: (48,) those with at most four free corners, then the full one.
    both: (96,) the same, and the complements of them, in reverse.
    meshing: (140,) those among which a mesh is chosen.
    triangles: (220, 3) edges of the triangles of `both`.
    owner: (220,) column of `both` that each triangle belongs to.
    slots: (47, 3) triangles of each topology of `half` but the full one, as rows of
      `triangles`; the first again where there are fewer.
    inner: (c, 2) pairs of triangles of one topology that share two vertices.
  """

  half: Int[np.ndarray, "48"]
  both: Int[np.ndarray, "96"]
  meshing: Int[np.ndarray, "140"]
  triangles: Int[np.ndarray, "220 3"]
  owner: Int[np.ndarray, "220"]
  slots: Int[np.ndarray, "47 3"]
  inner: Int[np.ndarray, "c 2"]


@functools.cache
def accepted() -> Accepted:
  """The lists of the published code, by its rules.

  In training surfaces have up to three triangles, in meshing up to four.
  """
  half = [*(t for t in range(1, 128) if is_simple(t, 3)), FULL]
  both = [*half, *(EMPTY - t for t in reversed(half))]
  meshing = [t for t in range(256) if t in (FULL, EMPTY) or is_simple(t, 4)]
  rows = [(column, tri) for column, t in enumerate(both) for tri in triangles_of(t)]
  owner = np.array([column for column, _ in rows])
  triangles = np.array([triangle for _, triangle in rows])
  slots = []
  for column in range(len(half) - 1):
    own = np.flatnonzero(owner == column)
    slots.append(np.concatenate([own, np.repeat(own[:1], 3 - len(own))]))
  inner = [
    (i, j)
    for i, j in itertools.permutations(range(len(rows)), 2)
    if owner[i] == owner[j] and len(set(triangles[i]) & set(triangles[j])) == 2
  ]
  return Accepted(
    np.array(half),
    np.array(both),
    np.array(meshing),
    triangles,
    owner,
    np.array(slots),
    np.array(inner),
  )


@functools.cache
def face_classes(
  axis: int,
) -> tuple[Int[np.ndarray, "220 6"], Int[np.ndarray, "220 6"]]:
  """Which triangles have two vertices on the face shared along an axis, by the pair.

  A triangle of a cell meets one of the next cell in an edge of the face if both have
  vertices on the same two of the face's four edges: the six pairs are the columns.

  Returns:
    Flags of the triangles of the lower and of the upper cell.
  """
  flags = []
  for edges in SHARED[axis]:
    pairs = [set(pair) for pair in itertools.combinations(edges, 2)]
    on_face = [set(tri) & set(edges) for tri in accepted().triangles.tolist()]
    flags.append(np.array([[own == pair for pair in pairs] for own in on_face], int))
  return flags[0], flags[1]
