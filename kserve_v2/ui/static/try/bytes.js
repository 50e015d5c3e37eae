// Tensors as the bytes of the protocol, for snippets that have no other form, and texts as base64.

import { halvesToBytes } from "./halves.js";
import { HALVES } from "./tensors.js";

const WRITERS = {
  BOOL: [1, "setUint8"], UINT8: [1, "setUint8"], INT8: [1, "setInt8"], UINT16: [2, "setUint16"], INT16: [2, "setInt16"],
  UINT32: [4, "setUint32"], INT32: [4, "setInt32"], UINT64: [8, "setBigUint64"], INT64: [8, "setBigInt64"], FP32: [4, "setFloat32"], FP64: [8, "setFloat64"],
};

export function base64OfBytes(bytes) {
  let text = "";
  // The arguments of a call have a limit.
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export const base64OfBlob = async (blob) => base64OfBytes(new Uint8Array(await blob.arrayBuffer()));

export const base64OfText = (text) => base64OfBytes(new TextEncoder().encode(text));

export function tensorBytes({ datatype, data }, base64 = false) {
  if (HALVES.has(datatype)) return halvesToBytes(data, datatype);
  if (datatype === "BYTES") {
    const texts = data.map((text) => (base64 ? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)) : new TextEncoder().encode(text)));
    const all = new Uint8Array(texts.reduce((size, each) => size + 4 + each.length, 0));
    let at = 0;
    for (const each of texts) {
      new DataView(all.buffer).setUint32(at, each.length, true);
      all.set(each, at + 4);
      at += 4 + each.length;
    }
    return all;
  }
  const [size, write] = WRITERS[datatype];
  const view = new DataView(new ArrayBuffer(data.length * size));
  data.forEach((value, index) => view[write](index * size, size === 8 && datatype !== "FP64" ? BigInt(value) : Number(value), true));
  return new Uint8Array(view.buffer);
}
