// Marching cubes (Lorensen and Cline, SIGGRAPH 1987) on a whole grid, with one vertex for
// each crossed edge, so that the mesh of a closed surface is closed.
//
// Corner c of a cell lies at (c >> 2, c >> 1 & 1, c & 1) in x, y, z. Edges are numbered by
// axis, then by their lower corner: 0 to 3 along x, 4 to 7 along y, 8 to 11 along z. The
// triangles of the 256 cases are those of the package, in table.js.

import { TRIANGLES } from "./table.js";

const EDGES = [0, 1, 2].flatMap((axis) =>
  [0, 1, 2, 3, 4, 5, 6, 7].filter((c) => !(c & (4 >> axis))).map((corner) => ({ axis, corner })),
);

// values: Float32Array of side^3 nodes, x fastest, then y, then z; larger inside.
// level: value at the surface. Nodes on the border count as outside.
// half: the grid is the cube [-half, half]^3.
// Gives { positions, normals, indices }: triangles counter-clockwise as seen from outside.
export function marchingCubes(values, side, level, half) {
  const outside = level - 1;
  const last = side - 1;
  const at = (x, y, z) =>
    x && y && z && x < last && y < last && z < last
      ? values[x + side * (y + side * z)]
      : outside;
  const positions = [];
  const indices = [];
  // Numbers of the vertices on the edges of two layers of nodes, by axis and the lower
  // node; of those along z one layer starts in the cells at hand.
  const layer = () => new Int32Array(side * side).fill(-1);
  let along = [[layer(), layer()], [layer(), layer()], [layer()]];
  const step = (2 * half) / last;

  function vertexOn({ axis, corner }, x, y, z) {
    const up = corner & 1;
    const node = [x + (corner >> 2), y + ((corner >> 1) & 1), z + up];
    const numbers = along[axis][up];
    const place = node[0] + side * node[1];
    if (numbers[place] < 0) {
      const end = node.map((index, k) => index + (k === axis));
      const first = at(...node);
      const share = (level - first) / (at(...end) - first);
      for (let k = 0; k < 3; k++) {
        positions.push((node[k] + (k === axis ? share : 0)) * step - half);
      }
      numbers[place] = positions.length / 3 - 1;
    }
    return numbers[place];
  }

  for (let z = 0; z < last; z++) {
    for (let y = 0; y < last; y++) {
      for (let x = 0; x < last; x++) {
        let config = 0;
        for (let c = 0; c < 8; c++) {
          config |= (at(x + (c >> 2), y + ((c >> 1) & 1), z + (c & 1)) > level) << c;
        }
        for (const edge of TRIANGLES[config]) {
          indices.push(vertexOn(EDGES[edge], x, y, z));
        }
      }
    }
    along = [[along[0][1], layer()], [along[1][1], layer()], [layer()]];
  }
  const mesh = { positions: Float32Array.from(positions), indices: Uint32Array.from(indices) };
  return { ...mesh, normals: vertexNormals(mesh) };
}

// The normals of a vertex's triangles, weighted by area, at length 1.
function vertexNormals({ positions, indices }) {
  const sums = new Float64Array(positions.length);
  for (let i = 0; i < indices.length; i += 3) {
    const [a, b, c] = [0, 1, 2].map((k) => 3 * indices[i + k]);
    const u = [0, 1, 2].map((k) => positions[b + k] - positions[a + k]);
    const v = [0, 1, 2].map((k) => positions[c + k] - positions[a + k]);
    for (let k = 0; k < 3; k++) {
      const [m, n] = [(k + 1) % 3, (k + 2) % 3];
      const product = u[m] * v[n] - u[n] * v[m];
      for (const corner of [a, b, c]) sums[corner + k] += product;
    }
  }
  const normals = new Float32Array(positions.length);
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(sums[i], sums[i + 1], sums[i + 2]);
    for (let k = 0; k < 3; k++) normals[i + k] = length ? sums[i + k] / length : +(k === 1);
  }
  return normals;
}
