// What a tensor may be to a person: a picture, a sound, a text. Guesses, from names, datatypes and shapes; each can be
// overruled on the page, and none changes what is sent unseen.

import { FLOATS, rowDims } from "./tensors.js";

const IMAGE_NAME = /image|img|pixel|photo|picture|scan|frame|face/i;
const AUDIO_NAME = /audio|wav|sound|speech|sample|pcm|voice|signal/i;
const TEXT_NAME = /text|prompt|utf|char|string|sentence/i;
const SMALLEST_SIDE = 8;
const CHANNELS = new Set([1, 3, 4]);

const isSide = (size) => size < 0 || size >= SMALLEST_SIDE;

// How a picture lies in a tensor: {order, height, width, channels, lead}; -1 where a size varies. `lead`: sizes in front, of
// a batch of one that the model counts to its shape. Null if it cannot be one.
export function imageLayout(dims) {
  const lead = dims.length > 3 && dims.slice(0, -3).every((size) => size === 1 || size === -1) ? dims.slice(0, -3).map(() => 1) : [];
  const inner = lead.length ? dims.slice(lead.length) : dims;
  if (inner.length === 3) {
    const [a, b, c] = inner;
    if (CHANNELS.has(a) && isSide(b) && isSide(c)) return { order: "CHW", channels: a, height: b, width: c, lead };
    if (CHANNELS.has(c) && isSide(a) && isSide(b)) return { order: "HWC", channels: c, height: a, width: b, lead };
  }
  if (inner.length === 2 && isSide(inner[0]) && isSide(inner[1])) return { order: "HW", channels: 1, height: inner[0], width: inner[1], lead };
  return null;
}

// Height and width of the pictures in a sample.
export const sidesOf = (sample, layout) => (layout.order === "HWC" ? sample.shape.slice(-3, -1) : sample.shape.slice(-2));

function surelyImage(name, datatype, layout) {
  if (IMAGE_NAME.test(name)) return true;
  return layout.order === "HW" ? datatype === "UINT8" : FLOATS.has(datatype) || datatype === "UINT8";
}

const isLine = (dims) => dims.at(-1) === -1 && dims.slice(0, -1).every((size) => size === 1 || size === -1);

// The editors for an input, the most likely in front. `content`: what its elements are, if the model says so.
export function editorsFor({ name, datatype, shape }, { batched, decoupled, content }) {
  const dims = rowDims(shape, batched);
  if (datatype === "BYTES") {
    const all = ["text", "list", "file", "image"];
    const first = content === "image" ? "image" : IMAGE_NAME.test(name) ? "file" : "text";
    return [first, ...all.filter((each) => each !== first)];
  }
  if (datatype === "BOOL") return ["values"];
  const layout = imageLayout(dims);
  const found = [];
  if (layout && surelyImage(name, datatype, layout)) found.push("image");
  const line = dims.length > 0 && isLine(dims);
  if (line && (datatype === "FP32" || datatype === "INT16") && (AUDIO_NAME.test(name) || (decoupled && datatype === "FP32"))) found.push("audio");
  if (line && datatype === "UINT8" && TEXT_NAME.test(name)) found.push("characters");
  found.push("values");
  if (layout && !found.includes("image")) found.push("image");
  if (line && (datatype === "FP32" || datatype === "INT16") && !found.includes("audio")) found.push("audio");
  if (line && datatype === "UINT8" && !found.includes("characters")) found.push("characters");
  return found;
}

export const EDITOR_TITLES = {
  values: "Numbers",
  text: "Text",
  list: "List of texts",
  file: "File",
  image: "Picture",
  audio: "Sound",
  characters: "Text, a byte each",
};

const CLASSES_NAME = /prob|score|logit|class|label|softmax|dist|predict/i;

// How a row of an output is shown: classes, image, sound, texts or numbers.
export function viewFor({ name, datatype }, dims, data, labels, content) {
  if (datatype === "BYTES") return content === "image" || content === "base64" ? "bytes" : "texts";
  const count = data.length;
  if (labels && count > 1 && dims.length === 1) return "classes";
  if (FLOATS.has(datatype) && dims.length === 1 && count > 1 && count <= 2000) {
    const sum = data.reduce((all, each) => all + Number(each), 0);
    const shares = data.every((each) => each >= 0) && Math.abs(sum - 1) < 0.01;
    if (shares || CLASSES_NAME.test(name)) return "classes";
  }
  const layout = imageLayout(dims);
  if (layout && layout.height > 0 && layout.width > 0 && (layout.order !== "HW" || IMAGE_NAME.test(name) || (layout.height >= 32 && layout.width >= 32))) return "image";
  if (dims.length >= 1 && (datatype === "FP32" || datatype === "INT16") && count >= 4000 && AUDIO_NAME.test(name)) return "sound";
  return "numbers";
}
