// Tensors as a person writes them, and as the protocol has them: {shape, data}, with `data` flat. No element of the page.

import { parseJson } from "../json.js";

export const FLOATS = new Set(["FP16", "BF16", "FP32", "FP64"]);
export const HALVES = new Set(["FP16", "BF16"]);

export const product = (sizes) => sizes.reduce((all, size) => all * size, 1);

export const shapeText = (shape) => `[${shape.map((size) => (size < 0 ? "n" : size)).join(", ")}]`;

// The dimensions of one row: without that of the batch.
export const rowDims = (shape, batched) => (batched ? shape.slice(1) : shape);

const fits = (shape, wanted) => shape.length === wanted.length && wanted.every((size, index) => size < 0 || size === shape[index]);

// The shape of the request for elements that were written in the form `shape`. `wanted`: the input's, -1 where it varies.
export function fitShape(shape, wanted) {
  if (fits(shape, wanted)) return shape;
  // One row, without the dimension in front.
  if ((wanted[0] === -1 || wanted[0] === 1) && fits(shape, wanted.slice(1))) return [1, ...shape];
  const count = product(shape);
  const fixed = product(wanted.filter((size) => size >= 0));
  // What a list cannot say: the last dimension that varies takes what the fixed ones leave.
  if (shape.length <= 2 && fixed > 0 && count % fixed === 0) {
    let left = count / fixed;
    const found = [...wanted];
    // A batch is one row, if there is anything else that varies.
    for (let index = found.length - 1; index >= 0; index -= 1) {
      if (found[index] < 0) [found[index], left] = [left, 1];
    }
    if (left === 1) return found;
  }
  throw new Error(`expected the shape ${shapeText(wanted)}, got ${shapeText(shape)}`);
}

function flatten(value, shape, depth, into) {
  if (!Array.isArray(value)) {
    if (depth !== shape.length) throw new Error("the lists are not of the same depth everywhere");
    into.push(value);
    return;
  }
  if (depth === shape.length) throw new Error("the lists are not of the same depth everywhere");
  if (value.length !== shape[depth]) throw new Error(`the lists are not of the same length: expected ${shape[depth]} elements, got ${value.length}`);
  for (const each of value) flatten(each, shape, depth + 1, into);
}

// {shape, data} of lists in lists.
export function fromNested(value) {
  const shape = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  const data = [];
  flatten(value, shape, 0, data);
  return { shape, data };
}

export function toNested(data, shape) {
  if (shape.length === 0) return data[0];
  if (shape.length === 1) return data;
  const step = product(shape.slice(1));
  return Array.from({ length: shape[0] }, (_, index) => toNested(data.slice(index * step, (index + 1) * step), shape.slice(1)));
}

// An element from a text such as a cell of a CSV file; undefined if it is none of the datatype.
export function parseElement(text, datatype) {
  const word = text.trim();
  if (datatype === "BYTES") return word.replace(/^"(.*)"$/s, "$1").replaceAll('""', '"');
  if (datatype === "BOOL") return { true: true, 1: true, false: false, 0: false }[word.toLowerCase()];
  if (/^[-+]?\d+$/.test(word)) {
    const number = Number(word);
    return Number.isSafeInteger(number) ? number : BigInt(word);
  }
  if (!FLOATS.has(datatype)) return /^[-+]?\d+\.0*$/.test(word) ? Number(word) : undefined;
  if (/^[-+]?(nan|inf(inity)?)$/i.test(word)) return /nan/i.test(word) ? NaN : word.startsWith("-") ? -Infinity : Infinity;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(word) ? Number(word) : undefined;
}

function cells(line, datatype) {
  if (datatype === "BYTES") return line.match(/("([^"]|"")*"|[^,;\t]*)(?=[,;\t]|$)/g).filter((cell, index, all) => cell !== "" || all.length === 1);
  return line.trim().split(/\s*[,;\t]\s*|\s+/).filter((cell) => cell !== "");
}

function fromCsv(text, datatype) {
  let lines = text.split(/\r?\n/).filter((line) => line.trim() !== "").map((line) => cells(line, datatype));
  let note = "";
  if (lines.length > 1 && datatype !== "BYTES" && lines[0].every((cell) => parseElement(cell, datatype) === undefined)) {
    note = "The first line was taken for the names of columns.";
    lines = lines.slice(1);
  }
  const rows = lines.map((line, row) =>
    line.map((cell) => {
      const value = parseElement(cell, datatype);
      if (value === undefined) throw new Error(`line ${row + 1}: ${JSON.stringify(cell)} is no ${datatype}`);
      return value;
    }),
  );
  return { ...fromNested(rows.length === 1 ? rows[0] : rows), note };
}

function checkElements(data, datatype) {
  const kind = datatype === "BYTES" ? "string" : datatype === "BOOL" ? "boolean" : "number";
  for (const each of data) {
    const found = typeof each === "bigint" ? "number" : typeof each;
    if (found !== kind) throw new Error(`expected ${datatype}, got ${each === null ? "null" : `the ${found} ${JSON.stringify(each)}`}`);
    if (kind === "number" && !FLOATS.has(datatype) && typeof each === "number" && !Number.isInteger(each)) throw new Error(`expected ${datatype}, got ${each}`);
  }
}

// The tensor that a text says, in JSON or CSV: {shape, data, note}. Throws an Error for people.
export function parseValues(text, datatype, wanted) {
  const trimmed = text.trim();
  if (!trimmed) throw new Error("there is nothing in it");
  let found;
  if (trimmed.startsWith("[")) {
    try {
      found = fromNested(parseJson(trimmed));
    } catch (error) {
      throw error instanceof SyntaxError ? new Error(`this is no JSON: ${error.message}`) : error;
    }
  } else {
    found = fromCsv(trimmed, datatype);
  }
  checkElements(found.data, datatype);
  return { data: found.data, shape: fitShape(found.shape, wanted), note: found.note ?? "" };
}

const WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot"];
const RANGES = { UINT8: 256 };

function randomElement(datatype, index) {
  if (datatype === "BYTES") return WORDS[index % WORDS.length];
  if (datatype === "BOOL") return Math.random() < 0.5;
  if (FLOATS.has(datatype)) return Math.round(Math.random() * 1000) / 1000;
  return Math.floor(Math.random() * (RANGES[datatype] ?? 10));
}

const zero = (datatype) => (datatype === "BYTES" ? "" : datatype === "BOOL" ? false : 0);

export function filled(datatype, shape, how) {
  const make = how === "random" ? (_, index) => randomElement(datatype, index) : () => zero(datatype);
  return { shape, data: Array.from({ length: product(shape) }, make) };
}
