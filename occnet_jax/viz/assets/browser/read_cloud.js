// The points of a file, as a Float64Array of x y z x y z ..., in the file's own frame.
// Text as text_points.js reads it, and PLY as text and binary.

import { readText } from "./text_points.js";

const FEWEST = 3; // points of a cloud

// Of a property of PLY by either of its names: bytes, and the reader of a DataView.
const TYPES = {
  char: [1, "getInt8"], int8: [1, "getInt8"], uchar: [1, "getUint8"], uint8: [1, "getUint8"],
  short: [2, "getInt16"], int16: [2, "getInt16"], ushort: [2, "getUint16"], uint16: [2, "getUint16"],
  int: [4, "getInt32"], int32: [4, "getInt32"], uint: [4, "getUint32"], uint32: [4, "getUint32"],
  float: [4, "getFloat32"], float32: [4, "getFloat32"],
  double: [8, "getFloat64"], float64: [8, "getFloat64"],
};

// Throws an Error with one sentence for a file that cannot be used.
export function readCloud(name, buffer) {
  const bytes = new Uint8Array(buffer);
  const isPly = String.fromCharCode(...bytes.subarray(0, 3)) === "ply";
  const points = isPly ? readPly(name, buffer) : readText(name, decode(bytes));
  const count = points.length / 3;
  const bad = countRows(points, (row) => !row.every(Number.isFinite));
  if (bad) throw new Error(`${name}: ${bad} of ${count} points are not finite; remove them`);
  if (count < FEWEST) {
    throw new Error(`${name}: ${count} points; want at least ${FEWEST} rows of x y z`);
  }
  return points;
}

// Text in UTF-8, or in UTF-16 if its byte order mark says so.
function decode(bytes) {
  const [first, second] = bytes;
  let encoding = "utf-8";
  if (first === 0xff && second === 0xfe) encoding = "utf-16le";
  if (first === 0xfe && second === 0xff) encoding = "utf-16be";
  return new TextDecoder(encoding).decode(bytes);
}

function countRows(points, isCounted) {
  let count = 0;
  for (let i = 0; i < points.length; i += 3) count += isCounted(points.subarray(i, i + 3));
  return count;
}

function readPly(name, buffer) {
  const { form, elements, start } = readHeader(name, buffer);
  const vertex = elements.find((element) => element.name === "vertex");
  const columns = ["x", "y", "z"].map(
    (axis) => vertex?.properties.findIndex((p) => p.name === axis && !p.counts) ?? -1,
  );
  if (columns.includes(-1)) {
    throw new Error(`${name}: no element vertex with x, y and z; want the points of a cloud`);
  }
  const next = form === "ascii"
    ? wordReader(name, decode(new Uint8Array(buffer, start)))
    : numberReader(name, new DataView(buffer, start), form === "binary_little_endian");
  for (const element of elements) {
    if (!element.properties.length) continue; // it has no bytes, whatever its count
    const isVertex = element === vertex;
    const points = isVertex ? allocate(name, element.count, buffer) : null;
    for (let i = 0; i < element.count; i++) {
      element.properties.forEach((property, column) => {
        const length = property.counts ? next(property.counts) : 1;
        for (let k = 0; k < length; k++) {
          const value = next(property.type);
          const axis = isVertex ? columns.indexOf(column) : -1;
          if (axis >= 0) points[3 * i + axis] = value;
        }
      });
    }
    if (isVertex) return points; // what follows, such as faces, is not needed
  }
  return null;
}

// A header may promise more than the file can hold: a number takes a byte or more.
function allocate(name, count, buffer) {
  if (!(3 * count <= buffer.byteLength)) {
    throw new Error(`${name}: promises ${count} points, more than the file can hold`);
  }
  return new Float64Array(3 * count);
}

function readHeader(name, buffer) {
  const head = decode(new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 65536)));
  const end = /^end_header[ \t]*(\r\n|\n|\r)/m.exec(head);
  if (!end) throw new Error(`${name}: the header of PLY has no end; want a whole file`);
  const elements = [];
  let form = "";
  for (const line of head.slice(0, end.index).split(/[\r\n]+/)) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "format") form = words[1];
    if (words[0] === "element") {
      elements.push({ name: words[1], count: Number(words[2]), properties: [] });
    } else if (words[0] === "property") {
      const types = words[1] === "list" ? words.slice(2, 4) : [words[1]];
      const unknown = types.find((type) => !Object.hasOwn(TYPES, type));
      if (unknown !== undefined || !elements.length) {
        throw new Error(`${name}: the header has "${line.slice(0, 40)}", which PLY has not`);
      }
      const counts = types.length > 1 ? types[0] : null;
      elements.at(-1).properties.push({ name: words.at(-1), type: types.at(-1), counts });
    }
  }
  if (!["ascii", "binary_little_endian", "binary_big_endian"].includes(form)) {
    throw new Error(`${name}: the format of PLY is "${form}"; want ascii or a binary one`);
  }
  // The header is ASCII but for comments, so that its bytes are counted, not its letters.
  const text = head.slice(0, end.index + end[0].length);
  return { form, elements, start: new TextEncoder().encode(text).length };
}

function cutOff(name) {
  return new Error(`${name}: ends before all of its points; want a whole file`);
}

function wordReader(name, text) {
  const words = text.matchAll(/\S+/g);
  return () => {
    const { value, done } = words.next();
    if (done) throw cutOff(name);
    if (Number.isNaN(Number(value[0])) && !/^[+-]?(nan|inf)/i.test(value[0])) {
      throw new Error(`${name}: "${value[0].slice(0, 40)}" among its numbers; want numbers`);
    }
    return Number(value[0]);
  };
}

function numberReader(name, view, littleEndian) {
  let offset = 0;
  return (type) => {
    const [size, get] = TYPES[type];
    if (offset + size > view.byteLength) throw cutOff(name);
    offset += size;
    return view[get](offset - size, littleEndian);
  };
}
