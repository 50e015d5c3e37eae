// Outputs as people read them: classes as bars, pictures, sounds, texts, tables and heat strips.

import { html, useEffect, useMemo, useRef, useState } from "../dom.js";
import { count, figure, plural } from "../format.js";
import { imageLayout, viewFor } from "./kinds.js";
import { toPicture } from "./pixels.js";
import { product, shapeText } from "./tensors.js";

const MAX_ROWS = 16;
const MAX_CLASSES = 10;
const MAX_CELLS = 256;
const MAX_TEXT = 20_000;
const STRIP_HEIGHT = 40;

// Rows of a batch; one, if there is no batch.
export function rowsOf({ shape, data }, batched) {
  if (!batched || shape.length < 1) return { dims: shape, rows: [data], total: 1 };
  const dims = shape.slice(1);
  const step = product(dims);
  return { dims, rows: Array.from({ length: Math.min(shape[0], MAX_ROWS) }, (_, row) => data.slice(row * step, (row + 1) * step)), total: shape[0] };
}

function Bars({ data, labels }) {
  const ranked = useMemo(() => [...data.keys()].sort((a, b) => Number(data[b]) - Number(data[a])).slice(0, MAX_CLASSES), [data]);
  const values = ranked.map((index) => Number(data[index]));
  const shares = data.every((value) => value >= 0 && value <= 1);
  const low = Math.min(0, ...data.map(Number));
  const high = shares ? 1 : Math.max(...values, low + 1e-9);
  const name = (index) => labels?.[index] || `class ${index}`;
  return html`<ol class="bars">${ranked.map((index, rank) => html`<li key=${index} class=${rank === 0 ? "best" : ""}>
      <span class="bar-name">${name(index)}</span>
      <span class="bar-track" aria-hidden="true"><span class="bar-fill" style=${{ width: `${Math.max(0, Math.min(1, (values[rank] - low) / (high - low))) * 100}%` }}></span></span>
      <span class="bar-value">${shares ? `${(values[rank] * 100).toFixed(1)} %` : figure(data[index])}</span>
    </li>`)}</ol>
    ${data.length > ranked.length && html`<p class="note">the highest ${ranked.length} of ${count(data.length)}</p>`}`;
}

function Picture({ data, dims, name }) {
  const canvas = useRef(null);
  const { height, width, channels, order } = imageLayout(dims);
  useEffect(() => {
    canvas.current.width = width;
    canvas.current.height = height;
    canvas.current.getContext("2d").putImageData(toPicture(data, width, height, channels, order), 0, 0);
  }, [data]);
  return html`<canvas class="picture-out" ref=${canvas} role="img" aria-label=${`${name}: a picture of ${width} × ${height}`}></canvas>`;
}

const TYPES = [["/9j", "image/jpeg"], ["iVBOR", "image/png"], ["R0lG", "image/gif"], ["UklG", "image/webp"]];

// Bytes as base64: a picture, if they begin like one, or something to save.
export function Bytes({ data, name }) {
  return data.slice(0, MAX_ROWS).map((text, index) => {
    const type = TYPES.find(([start]) => text.startsWith(start))?.[1];
    const size = Math.floor((text.replace(/=+$/, "").length * 3) / 4);
    if (type && !(type === "image/webp" && !atob(text.slice(0, 24)).includes("WEBP"))) {
      return html`<img class="picture-out" key=${index} src=${`data:${type};base64,${text}`} alt=${`${name}: picture ${index + 1}`} />`;
    }
    return html`<p key=${index}>${plural(size, "byte")} <a href=${`data:application/octet-stream;base64,${text}`} download=${`${name}-${index + 1}.bin`}>Save</a></p>`;
  });
}

// A file of RIFF/WAVE: 16 bits, one channel.
export function wavOf(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at, letters) => [...letters].forEach((letter, index) => bytes.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, rate * 2, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, samples.length * 2, true);
  samples.forEach((value, index) => bytes.setInt16(44 + index * 2, Math.max(-32768, Math.min(32767, Math.round(value))), true));
  return new Blob([bytes], { type: "audio/wav" });
}

function Sound({ data, datatype, name }) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const scale = datatype === "INT16" ? 1 : 32767;
    const url = URL.createObjectURL(wavOf(data.map((value) => Number(value) * scale), 16000));
    setAddress(url);
    return () => URL.revokeObjectURL(url);
  }, [data]);
  return html`<audio controls src=${address} aria-label=${`${name}: sound`}></audio><p class="note">${count(data.length)} samples, played at 16,000 in a second</p>`;
}

function pretty(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function Texts({ data, dims }) {
  const shown = data.slice(0, MAX_ROWS);
  return html`${shown.map((text, index) => html`<pre class="text" key=${index}>${pretty(String(text)).slice(0, MAX_TEXT)}</pre>`)}
    ${data.length > shown.length && html`<p class="note">the first ${shown.length} of ${plural(data.length, "text")}, shape ${shapeText(dims)}</p>`}`;
}

function HeatStrip({ data, dims, name }) {
  const canvas = useRef(null);
  const { low, high, mean, across, wide, tall } = useMemo(() => {
    let [lowest, highest, sum] = [Infinity, -Infinity, 0];
    for (const each of data) {
      const value = Number(each);
      lowest = Math.min(lowest, value);
      highest = Math.max(highest, value);
      sum += value;
    }
    const inRow = dims.length > 1 ? dims.at(-1) : data.length;
    return { low: lowest, high: highest, mean: sum / data.length, across: inRow, wide: Math.min(inRow, 4096), tall: Math.min(Math.ceil(data.length / inRow), 1024) };
  }, [data]);
  useEffect(() => {
    const picture = new ImageData(wide, tall);
    for (let row = 0; row < tall; row += 1) {
      for (let column = 0; column < wide; column += 1) {
        const value = Number(data[row * across + Math.floor((column * across) / wide)]);
        const share = high > low ? (value - low) / (high - low) : 0.5;
        // From blue over grey to orange, which those who do not tell red from green can read.
        const at = (row * wide + column) * 4;
        picture.data[at] = 40 + 205 * share;
        picture.data[at + 1] = 90 + 70 * (1 - Math.abs(2 * share - 1));
        picture.data[at + 2] = 215 - 190 * share;
        picture.data[at + 3] = 255;
      }
    }
    canvas.current.width = wide;
    canvas.current.height = tall;
    canvas.current.getContext("2d").putImageData(picture, 0, 0);
  }, [data]);
  return html`<canvas class="heat" ref=${canvas} style=${{ height: `${Math.max(STRIP_HEIGHT, Math.min(tall * 2, 300))}px` }} role="img" aria-label=${`${name}: ${count(data.length)} values from ${figure(low)} to ${figure(high)}`}></canvas>
    <p class="note">${count(data.length)} values: lowest ${figure(low)}, mean ${figure(mean)}, highest ${figure(high)}. The first: ${data.slice(0, 8).map(figure).join(", ")}${data.length > 8 ? ", …" : ""}</p>`;
}

function Numbers({ data, dims, name }) {
  if (data.length === 0) return html`<p class="muted">no elements, shape ${shapeText(dims)}</p>`;
  if (data.length === 1) return html`<p class="figure">${String(data[0])}</p>`;
  if (data.length > MAX_CELLS) return html`<${HeatStrip} data=${data} dims=${dims} name=${name} />`;
  const across = dims.at(-1);
  const rows = Array.from({ length: data.length / across }, (_, row) => data.slice(row * across, (row + 1) * across));
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`${name}: table of values`}><table class="values"><tbody>
    ${rows.map((row, index) => html`<tr key=${index}>${row.map((value, column) => html`<td key=${column} class="number">${figure(value)}</td>`)}</tr>`)}
  </tbody></table></div>`;
}

function Row({ output, dims, data, labels, content }) {
  const view = viewFor(output, dims, data, labels, content);
  if (view === "classes") return html`<${Bars} data=${data} labels=${labels} />`;
  if (view === "image") return html`<${Picture} data=${data} dims=${dims} name=${output.name} />`;
  if (view === "bytes") return html`<${Bytes} data=${data} name=${output.name} />`;
  if (view === "sound") return html`<${Sound} data=${data} datatype=${output.datatype} name=${output.name} />`;
  if (view === "texts") return html`<${Texts} data=${data} dims=${dims} />`;
  return html`<${Numbers} data=${data} dims=${dims} name=${output.name} />`;
}

// `contents`: what is in outputs of BYTES, by name.
export function Outputs({ answer, form, contents }) {
  const batched = form.max_batch_size > 0;
  return (answer.outputs ?? []).map((output) => {
    const data = Array.isArray(output.data?.[0]) ? output.data.flat(Infinity) : (output.data ?? []);
    const { dims, rows, total } = rowsOf({ shape: output.shape, data }, batched);
    return html`<section class="output" key=${output.name}>
      <h3>${output.name} <span class="muted small">${output.datatype} ${shapeText(output.shape)}</span></h3>
      ${rows.map((row, index) => html`<div key=${index}>
        ${total > 1 && html`<h4>Row ${index + 1}</h4>`}
        <${Row} output=${output} dims=${dims} data=${row} labels=${form.output_labels[output.name]} content=${output.parameters?.content_type ?? contents[output.name]} />
      </div>`)}
      ${total > rows.length && html`<p class="note">the first ${rows.length} of ${plural(total, "row")}</p>`}
    </section>`;
  });
}
