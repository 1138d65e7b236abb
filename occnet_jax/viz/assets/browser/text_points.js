// The points of a text file, by the rules of the package's own reader
// (geometry/text_points.py): the columns that a heading or a comment calls x, y and z,
// else the first three. What may mean other points is refused.

const AXES = ["x", "y", "z"];
const ALIASES = new Map( // names of ParaView, and of surveyors
  ["points:0 points:1 points:2", "easting northing height"].flatMap((names) =>
    names.split(" ").map((name, i) => [name, AXES[i]]),
  ),
);
const IS_NORMAL = /^(n|norm.*)$/; // a word of a name such as "normal_x"
const DECIMAL_COMMA = /^[-+]?\d+,\d+([eE][-+]?\d+)?$/;
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/;
const NOT_FINITE = /^[-+]?(nan|inf|infinity)$/i; // of a row that is refused, no heading

// Gives a Float64Array of x y z x y z ...; throws an Error with one sentence.
export function readText(name, text) {
  const { rows, comment } = splitLines(text);
  let heading = "";
  let promised = 0;
  let first = 0;
  for (; first < rows.length && !isPoint(fieldsOf(name, rows[first].line)); first++) {
    const { line } = rows[first];
    if (!promised && /^\d+$/.test(line)) promised = Number(line);
    else if (!heading && /\p{L}/u.test(line)) heading = line;
    else break;
  }
  const points = rows.slice(first);
  if (points.length < promised) {
    throw new Error(
      `${name}: promises ${promised} points, but ends after ${points.length}; ` +
        "want a whole file",
    );
  }
  if (!points.length) return new Float64Array(0);
  const delimiter = delimiterOf(points[0].line);
  const columns = fieldsOf(name, points[0].line).length;
  if (columns > 3 && points.length < columns) {
    throw new Error(
      `${name}: ${points.length} rows of ${columns} numbers; want a point in every row`,
    );
  }
  const named = namedColumns(name, heading, columns, comment);
  if (!named && columns === 6 && delimiter === ",") checkDecimalMarks(name, points);
  const values = load(name, points, delimiter, named ?? [0, 1, 2]);
  if (!named && columns > 3) checkFirstColumn(name, points, delimiter, values);
  return values;
}

// Lines without comments and blanks, each with its number, and the last comment above.
function splitLines(text) {
  const rows = [];
  let comment = "";
  for (const [index, whole] of text.split(/\r\n|\n|\r/).entries()) {
    const line = whole.trim();
    if (/^(#|\/\/)/.test(line)) {
      if (!rows.length) comment = line.replace(/^[#/ ]+/, "");
    } else if (line.split("#")[0].trim()) {
      rows.push({ line: line.split("#")[0].trim(), number: index + 1 });
    }
  }
  return { rows, comment };
}

// The separator of a line's columns; null for blanks, with or without commas.
function delimiterOf(line) {
  if (line.includes(";")) return ";";
  if (line.includes("\t") && line.includes(",")) return "\t";
  const fields = line.split(",");
  return fields.length > 2 && fields.every((f) => !/\S\s+\S/.test(f)) ? "," : null;
}

// The columns of a line, with points as decimal marks.
function split(line, delimiter) {
  const fields =
    delimiter === "," ? line.split(",")
    : delimiter ? line.replaceAll(",", ".").split(delimiter)
    : line.replaceAll(",", " ").trim().split(/\s+/);
  const bare = fields.map((field) => field.trim().replace(/^"+|"+$/g, ""));
  return bare.at(-1) ? bare : bare.slice(0, -1); // a separator at the end
}

function fieldsOf(name, line) {
  const delimiter = delimiterOf(line);
  const words = line.split(/\s+/);
  if (!delimiter && words.length > 2 && words.every((w) => DECIMAL_COMMA.test(w))) {
    throw ambiguous(name, line);
  }
  return split(line, delimiter);
}

function ambiguous(name, line) {
  return new Error(
    `${name}: in "${line.slice(0, 60)}" a comma may be a decimal mark or separate ` +
      "columns; write decimal points",
  );
}

function isPoint(fields) {
  const isNumber = (field) => NUMBER.test(field) || NOT_FINITE.test(field);
  return fields.length >= 3 && fields.slice(0, 3).every(isNumber);
}

// The columns that a heading or a comment calls x, y and z; null if none does.
function namedColumns(name, heading, columns, comment) {
  for (const [line, isHeading] of [[heading, true], [comment, false]]) {
    const names = splitNames(line);
    const axes = findAxes(names, isHeading);
    if (axes) {
      if (names.length === columns || (!isHeading && Math.max(...axes) < columns)) {
        return axes;
      }
      if (isHeading) {
        throw new Error(
          `${name}: ${names.length} columns are named "${heading.slice(0, 60)}", but ` +
            `there are ${columns}; want a name for each`,
        );
      }
    } else if (isHeading && columns > 3 && names.length === columns) {
      throw new Error(
        `${name}: columns are named "${heading.slice(0, 60)}"; want x, y and z among them`,
      );
    }
  }
  return null;
}

// Names of columns in lower case, without quotes and units.
function splitNames(line) {
  const bare = line.replace(/[;,\t ]+$/, "");
  const names = bare.split(/[;,\t]/.test(bare) ? /[;,\t]/ : /\s+/);
  return names.map((text) =>
    text.replace(/^[ "']+|[ "']+$/g, "").toLowerCase().replace(/[\s_]*[[(].*/, ""),
  );
}

// The places of x, y and z among names. Loosely "pos_x" and "x-coord" count, too, and for
// three names "posx" or "xpos"; those of normals never do.
function findAxes(names, isLoose) {
  const readings = [names.map((text) => [ALIASES.get(text) ?? text])];
  if (isLoose) {
    const words = names.map((text) => text.match(/[a-z]+/g) ?? []);
    readings.push(words.map((each) => (each.some((w) => IS_NORMAL.test(w)) ? [] : each)));
    if (names.length === 3) {
      readings.push(names.map((text) => [text.at(-1)]), names.map((text) => [text[0]]));
    }
  }
  for (const reading of readings) {
    const places = AXES.map((axis) =>
      reading.flatMap((texts, i) => (texts.includes(axis) ? [i] : [])),
    );
    const isClear = places.every((place) => place.length === 1);
    if (isClear && new Set(places.flat()).size === 3) return places.flat();
  }
  return null;
}

function load(name, rows, delimiter, columns) {
  const values = new Float64Array(rows.length * columns.length);
  rows.forEach(({ line, number }, i) => {
    const fields = split(line, delimiter);
    columns.forEach((column, k) => {
      if (!NUMBER.test(fields[column] ?? "")) {
        throw new Error(
          `${name}: line ${number} is "${line.slice(0, 40)}"; want numbers x y z in ` +
            "each line",
        );
      }
      values[columns.length * i + k] = Number(fields[column]);
    });
  });
  return values;
}

// Refuses "1,50,2,07,3,10", where every second comma may be a mark.
function checkDecimalMarks(name, rows) {
  if (rows.some(({ line }) => line.includes("."))) return;
  const isFraction = (field, i) => i % 2 && field.startsWith("0") && field.length > 1;
  if (rows.some(({ line }) => split(line, ",").some(isFraction))) {
    throw ambiguous(name, rows[0].line);
  }
}

// Refuses a first column of whole numbers that count or label the points.
function checkFirstColumn(name, rows, delimiter, values) {
  if (rows.length < 3) return;
  const isWhole = [true, true, true, true];
  let counts = true;
  for (const [i, { line }] of rows.entries()) {
    const fourth = split(line, delimiter)[3];
    if (!NUMBER.test(fourth ?? "")) return; // the name of the point
    [...values.subarray(3 * i, 3 * i + 3), Number(fourth)].forEach((value, k) => {
      isWhole[k] &&= Number.isInteger(value);
    });
    if (i && values[3 * i] - values[3 * i - 3] !== 1) counts = false;
  }
  if (isWhole[0] && (counts || !isWhole.slice(1).some(Boolean))) {
    throw new Error(
      `${name}: the first of ${split(rows[0].line, delimiter).length} columns holds ` +
        `whole numbers, such as ${values[0]} and ${values.at(-3)}, that number or label ` +
        "the points; want x y z first, or a heading that names them",
    );
  }
}
