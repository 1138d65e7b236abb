// GLB files (glTF 2.0) of a mesh, and of points as balls that are drawn once each.

const FLOAT = 5126;
const UINT = 5125;
const PADDING = 0x20202020; // JSON is padded by blanks

// mesh: { positions, normals, indices }; colour: linear red, green and blue from 0 to 1;
// translation, scale: of the mesh in its file; instances: points at which it is drawn.
export function encodeGlb(mesh, colour, { translation, scale, instances } = {}) {
  const arrays = [];
  const accessor = (array, type, extra = {}) => {
    const count = array.length / (type === "VEC3" ? 3 : 1);
    const componentType = array instanceof Uint32Array ? UINT : FLOAT;
    arrays.push({ array, accessor: { componentType, count, type, ...extra } });
    return arrays.length - 1;
  };
  const attributes = {
    POSITION: accessor(mesh.positions, "VEC3", bounds(mesh.positions)),
    NORMAL: accessor(mesh.normals, "VEC3"),
  };
  // Model-viewer complains of an instanced mesh unless it is in a group, which takes two
  // primitives, and unless the extras name its origin.
  const middle = instances ? Math.floor(mesh.indices.length / 6) * 3 : mesh.indices.length;
  const parts = [mesh.indices.slice(0, middle), mesh.indices.slice(middle)];
  const primitives = parts
    .filter((part) => part.length)
    .map((part) => ({ attributes, indices: accessor(part, "SCALAR"), material: 0 }));
  const node = { mesh: 0 };
  if (translation) Object.assign(node, { translation, scale: [scale, scale, scale] });
  const instancing = "EXT_mesh_gpu_instancing";
  if (instances) {
    const places = { TRANSLATION: accessor(instances, "VEC3") };
    node.extensions = { [instancing]: { attributes: places } };
  }
  const document = {
    asset: { version: "2.0", generator: "occnet-jax" },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [node],
    meshes: [{ primitives, extras: { associations: { meshes: 0, primitives: 0 } } }],
    materials: [
      {
        pbrMetallicRoughness: {
          baseColorFactor: [...colour, 1], metallicFactor: 0, roughnessFactor: 0.8,
        },
      },
    ],
    ...(instances ? { extensionsUsed: [instancing], extensionsRequired: [instancing] } : {}),
  };
  return pack(document, arrays);
}

function bounds(positions) {
  const min = [Infinity, Infinity, Infinity];
  const max = [-Infinity, -Infinity, -Infinity];
  positions.forEach((value, i) => {
    min[i % 3] = Math.min(min[i % 3], value);
    max[i % 3] = Math.max(max[i % 3], value);
  });
  return { min, max };
}

// Header, chunk of JSON, chunk of arrays; all arrays have numbers of four bytes.
function pack(document, arrays) {
  let offset = 0;
  document.bufferViews = arrays.map(({ array }) => {
    const view = { buffer: 0, byteOffset: offset, byteLength: array.byteLength };
    offset += array.byteLength;
    return view;
  });
  document.accessors = arrays.map(({ accessor }, i) => ({ bufferView: i, ...accessor }));
  document.buffers = [{ byteLength: offset }];
  const json = new TextEncoder().encode(JSON.stringify(document));
  const jsonLength = Math.ceil(json.length / 4) * 4;
  const total = 12 + 8 + jsonLength + 8 + offset;
  const file = new DataView(new ArrayBuffer(total));
  const word = (place, value) => file.setUint32(place, value, true);
  word(0, 0x46546c67); // "glTF"
  word(4, 2);
  word(8, total);
  word(12, jsonLength);
  word(16, 0x4e4f534a); // "JSON"
  if (jsonLength) word(20 + jsonLength - 4, PADDING);
  new Uint8Array(file.buffer).set(json, 20);
  word(20 + jsonLength, offset);
  word(24 + jsonLength, 0x004e4942); // "BIN"
  let place = 28 + jsonLength;
  for (const { array } of arrays) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    new Uint8Array(file.buffer).set(bytes, place);
    place += array.byteLength;
  }
  return file.buffer;
}

// An octahedron, which stands for a ball.
export function ball(radius) {
  const directions = [1, 0, 0, -1, 0, 0, 0, 1, 0, 0, -1, 0, 0, 0, 1, 0, 0, -1];
  const indices = [];
  for (const x of [0, 1]) {
    for (const y of [2, 3]) {
      for (const z of [4, 5]) {
        // An odd number of negative directions mirrors a triangle.
        indices.push(...((x + y + z) % 2 ? [x, z, y] : [x, y, z]));
      }
    }
  }
  return {
    positions: Float32Array.from(directions, (value) => radius * value),
    normals: Float32Array.from(directions),
    indices: Uint32Array.from(indices),
  };
}
