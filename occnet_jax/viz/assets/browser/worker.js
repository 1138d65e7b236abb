// Clouds become meshes here, apart from the page, which stays quick: encoder once, decoder
// at the nodes of a grid in chunks, marching cubes.
//
// Takes { kind: "cloud", id, name, data, cells, level }, { kind: "grid", id, cells, level }
// for the last cloud once more, { kind: "surface", id, level } for the last grid once more,
// and { kind: "stop" }. Gives "ready", "progress", "cloud", "mesh", "failed", "stopped".

import { ball, encodeGlb } from "./glb.js";
import { marchingCubes } from "./marching_cubes.js";
import { readCloud } from "./read_cloud.js";

const RUNTIME = "ort.wasm.bundle.min.mjs";
const BINARY = "ort-wasm-simd-threaded.wasm";
const CHUNK = 16384; // points of one call of the decoder
const MOST_BALLS = 3000; // points that are drawn
const SEED = 1;
// Linear light of "#7a8fab" and "#bd7743", the colours of the package's pages.
const MESH_COLOUR = [0.195, 0.275, 0.407];
const CLOUD_COLOUR = [0.509, 0.184, 0.056];

let network = null; // { ort, about, encoder, decoder }
let cloud = null; // { latent, loc, scale, facts }
let grid = null; // { values, side }
let current = 0; // id of the last request: an earlier one gives up

function send(kind, values, transfer = []) {
  self.postMessage({ kind, ...values }, transfer);
}

async function fetched(name, sentence) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(sentence ?? `${name} is missing beside this page`);
  return answer.arrayBuffer();
}

async function load() {
  const text = new TextDecoder().decode(await fetched("network.json"));
  const about = JSON.parse(text);
  const missing =
    `onnxruntime-web is missing: put ${RUNTIME} and ${BINARY} beside this page, from ` +
    `dist/ of what npm pack onnxruntime-web@${about.onnxruntime_web} fetches`;
  const wasmBinary = await fetched(BINARY, missing);
  const ort = await import(new URL(RUNTIME, import.meta.url)).catch(() => {
    throw new Error(missing);
  });
  ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send
  ort.env.wasm.wasmBinary = wasmBinary;
  const open = async (name) =>
    ort.InferenceSession.create(new Uint8Array(await fetched(name)), {
      executionProviders: ["wasm"],
    });
  const [encoder, decoder] = [await open("encoder.onnx"), await open("decoder.onnx")];
  network = { ort, about, encoder, decoder };
  send("ready", { about });
}

// A message that came meanwhile is handled in this pause.
async function pause(id) {
  await new Promise((resolve) => setTimeout(resolve));
  if (id !== current) throw new Stopped();
}

class Stopped extends Error {}

// Centre of the box of the points, and the length of a unit of the cube.
function frame(name, points) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  points.forEach((value, i) => {
    low[i % 3] = Math.min(low[i % 3], value);
    high[i % 3] = Math.max(high[i % 3], value);
  });
  const longest = Math.max(...low.map((least, k) => high[k] - least));
  if (!(longest > 0)) throw new Error(`${name}: all points lie in one place; want a shape`);
  const loc = low.map((least, k) => (least + high[k]) / 2);
  return { loc, scale: longest / network.about.extent };
}

// A uniform number from 0 to 1 at each call (mulberry32), the same at every visit.
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Indices of at most `count` points, drawn without replacement (Fisher and Yates).
function draw(total, count) {
  const indices = Uint32Array.from({ length: total }, (_, i) => i);
  if (total <= count) return indices;
  const uniform = random(SEED);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(uniform() * (total - i));
    [indices[i], indices[j]] = [indices[j], indices[i]];
  }
  return indices.subarray(0, count);
}

function select(points, indices, { loc, scale }) {
  const chosen = new Float32Array(3 * indices.length);
  indices.forEach((index, i) => {
    for (let k = 0; k < 3; k++) chosen[3 * i + k] = (points[3 * index + k] - loc[k]) / scale;
  });
  return chosen;
}

async function encode({ id, name, data }) {
  const { ort, about, encoder } = network;
  const points = readCloud(name, data);
  const place = frame(name, points);
  const count = points.length / 3;
  const inputs = select(points, draw(count, about.points), place);
  const feeds = { inputs: new ort.Tensor("float32", inputs, [1, inputs.length / 3, 3]) };
  for (const [key, shape] of Object.entries(about.inputs)) {
    // A random code is at the mean of its prior.
    if (key !== "inputs") feeds[key] = new ort.Tensor("float32", new Float32Array(shape[1]), [1, shape[1]]);
  }
  const started = performance.now();
  const latent = await encoder.run(feeds);
  const shown = select(points, draw(count, MOST_BALLS), place);
  const radius = Math.min(0.016, Math.max(0.004, 0.012 * Math.sqrt(300 / (shown.length / 3))));
  const glb = encodeGlb(ball(radius), CLOUD_COLOUR, { instances: shown });
  cloud = { latent, name, ...place, encoding: performance.now() - started };
  send("cloud", { id, glb, points: count, used: inputs.length / 3 }, [glb]);
}

// The nodes of a part of the grid, x fastest; axis has the coordinates along each side.
function nodes(axis, start, stop) {
  const side = axis.length;
  const points = new Float32Array(3 * (stop - start));
  for (let i = start; i < stop; i++) {
    points[3 * (i - start)] = axis[i % side];
    points[3 * (i - start) + 1] = axis[Math.floor(i / side) % side];
    points[3 * (i - start) + 2] = axis[Math.floor(i / side ** 2)];
  }
  return points;
}

async function evaluate({ id, cells }) {
  const { ort, about, decoder } = network;
  const [half, side] = [about.half_side, cells + 1];
  const axis = Float32Array.from({ length: side }, (_, i) => i * ((2 * half) / cells) - half);
  const values = new Float32Array(side ** 3);
  const started = performance.now();
  for (let start = 0; start < values.length; start += CHUNK) {
    const stop = Math.min(start + CHUNK, values.length);
    const points = new ort.Tensor("float32", nodes(axis, start, stop), [1, stop - start, 3]);
    const { logits } = await decoder.run({ points, ...cloud.latent });
    values.set(logits.data, start);
    logits.dispose();
    send("progress", { id, share: stop / values.length });
    await pause(id);
  }
  grid = { values, side, decoding: performance.now() - started };
}

function extract({ id, level }) {
  const started = performance.now();
  const mesh = marchingCubes(grid.values, grid.side, level, network.about.half_side);
  if (!mesh.indices.length) {
    throw new Error(`${cloud.name}: no surface at this threshold; choose a lower one`);
  }
  const { loc, scale } = cloud;
  const shown = encodeGlb(mesh, MESH_COLOUR);
  const file = encodeGlb(mesh, MESH_COLOUR, { translation: loc, scale });
  const seconds = {
    encoder: cloud.encoding / 1000,
    decoder: grid.decoding / 1000,
    surface: (performance.now() - started) / 1000,
  };
  const facts = { vertices: mesh.positions.length / 3, faces: mesh.indices.length / 3 };
  send("mesh", { id, name: cloud.name, shown, file, seconds, ...facts }, [shown, file]);
}

async function work(request) {
  if (request.kind === "cloud") {
    cloud = grid = null;
    await encode(request);
  }
  if (request.kind !== "surface") {
    grid = null;
    await evaluate(request);
  }
  extract(request);
}

const ready = load();
ready.catch((error) => send("failed", { id: 0, message: error.message }));
let last = Promise.resolve(); // requests are worked on one after another

self.addEventListener("message", ({ data: request }) => {
  const { id } = request;
  current = id;
  if (request.kind === "stop") return;
  last = last.then(async () => {
    try {
      await ready;
      await pause(id);
      await work(request);
    } catch (error) {
      const kind = error instanceof Stopped ? "stopped" : "failed";
      send(kind, { id, message: error.message });
    }
  });
});
