// A request to a model, from what is in the form: as JSON, and as what travels, which has binary parts where JSON cannot
// carry the numbers.

import { parseJson, writeJson } from "../json.js";
import { bytesToHalves, halvesToBytes } from "./halves.js";
import { HALVES, product, toNested } from "./tensors.js";

// The request in JSON, as `infer` takes it. `tensors`: {shape, data, base64} by the name of the input. `encoded`: the
// outputs of BYTES that are no texts, and come as base64, which has to be asked for.
export function inferRequest(form, tensors, parameters, encoded = []) {
  const inputs = form.inputs
    .filter(({ name }) => tensors[name])
    .map(({ name, datatype }) => {
      const { shape, data, base64 } = tensors[name];
      return { name, datatype, shape, ...(base64 ? { parameters: { content_type: "base64" } } : {}), data };
    });
  const outputs = form.outputs.map(({ name }) => (encoded.includes(name) ? { name, parameters: { content_type: "base64" } } : { name }));
  return { ...(Object.keys(parameters).length ? { parameters } : {}), inputs, ...(encoded.length ? { outputs } : {}) };
}

// By name, as `generate` takes it: flat, but where only lists in lists say the shape.
export function generateRequest(form, tensors, parameters) {
  const members = Object.entries(tensors).map(([name, { shape, data, base64 }]) => {
    const wanted = form.inputs.find((input) => input.name === name).shape;
    const elements = base64 ? data.map((text) => ({ b64: text })) : data;
    if (wanted.filter((size) => size < 0).length > 1 && shape.length > 2) return [name, toNested(elements, shape)];
    return [name, elements.length === 1 ? elements[0] : elements];
  });
  return { ...Object.fromEntries(members), ...(Object.keys(parameters).length ? { parameters } : {}) };
}

export const needsBinary = (form) => [...form.inputs, ...form.outputs].some(({ datatype }) => HALVES.has(datatype));

// {body, headers} for `infer`.
export function encode(form, request) {
  if (!needsBinary(form)) return { body: writeJson(request), headers: { "content-type": "application/json" } };
  const parts = [];
  const inputs = request.inputs.map((input) => {
    if (!HALVES.has(input.datatype)) return input;
    const { data, ...others } = input;
    const bytes = halvesToBytes(data, input.datatype);
    parts.push(bytes);
    return { ...others, parameters: { binary_data_size: bytes.length } };
  });
  const outputs = form.outputs.map(({ name, datatype }) => {
    const asked = request.outputs?.find((output) => output.name === name)?.parameters;
    return { name, parameters: asked ?? { binary_data: HALVES.has(datatype) } };
  });
  const head = new TextEncoder().encode(writeJson({ ...request, inputs, outputs }));
  return {
    body: new Blob([head, ...parts]),
    headers: { "content-type": "application/octet-stream", "inference-header-content-length": String(head.length) },
  };
}

// The answer of `infer` as an object.
export async function decode(answer) {
  const length = answer.headers.get("inference-header-content-length");
  if (length === null) return parseJson(await answer.text());
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const found = parseJson(new TextDecoder().decode(bytes.subarray(0, Number(length))));
  let at = Number(length);
  for (const output of found.outputs) {
    const size = output.parameters?.binary_data_size;
    if (size === undefined) continue;
    output.data = bytesToHalves(bytes.slice(at, at + size), output.datatype);
    at += size;
  }
  return found;
}

// {queue: 0.1, compute: 2, …} in milliseconds, of the header Server-Timing.
export function serverTimes(header) {
  const times = {};
  for (const [, name, duration] of (header ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) times[name] = Number(duration);
  return times;
}

export const elements = (request) => request.inputs.reduce((all, { shape }) => all + product(shape), 0);
