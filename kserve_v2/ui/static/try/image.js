// An input that is a picture: drawn, chosen from a file or taken by the camera, and shown as the model gets it.

import { html, useCallback, useEffect, useRef, useState } from "../dom.js";
import { base64OfBlob } from "./bytes.js";
import { CameraSource } from "./camera.js";
import { DrawSource } from "./draw.js";
import { imageLayout, sidesOf } from "./kinds.js";
import { conventions, planes, RANGES, resample, toPicture, toTensor } from "./pixels.js";
import { inkOf } from "./strokes.js";
import { fitShape, rowDims } from "./tensors.js";

const DEFAULT_SIDE = 224;
const DRAWN_SIDE = 32;
const SMALL_SIDE = 64;

// What is sent of a source, {picture, kind, strokes}: the tensor, and the planes that it is made of.
function prepare(source, layout, input, options) {
  const { picture, kind } = source;
  let { width, height } = picture;
  let colours = planes(picture, layout.channels);
  if (options.fit && kind === "draw") {
    const ink = inkOf(source.strokes, Math.min(options.width, options.height));
    ({ width, height } = ink);
    // Drawn dark on light.
    const paper = ink.plane.map((value) => 1 - value);
    colours = colours.map(() => paper);
  } else if (kind !== "draw" && options.crop) {
    const scale = Math.min(width / options.width, height / options.height);
    const [w, h] = [Math.round(options.width * scale), Math.round(options.height * scale)];
    const [left, top] = [Math.floor((width - w) / 2), Math.floor((height - h) / 2)];
    colours = colours.map((plane) => Float32Array.from({ length: w * h }, (_, at) => plane[(top + Math.floor(at / w)) * width + left + (at % w)]));
    [width, height] = [w, h];
  }
  colours = colours.map((plane) => resample(plane, width, height, options.width, options.height));
  if (options.invert) colours = colours.map((plane) => plane.map((value) => 1 - value));
  return { tensor: toTensor(colours, options.width, options.height, layout, input.datatype, options.range), colours };
}

const isPaper = (picture) => {
  const [grey] = planes(picture, 1);
  const border = grey.filter((_, at) => at < picture.width || at >= grey.length - picture.width);
  return border.reduce((all, value) => all + value, 0) / border.length > 0.5;
};

function pngOf(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

// The pixels of a file, at most so many of them: no model gets more.
const MAX_SIDE = 1600;
async function pixelsOf(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function FileSource({ name, onPicture }) {
  const [problem, setProblem] = useState("");
  const take = async (file) => {
    if (!file) return;
    try {
      onPicture(await pixelsOf(file), "file", file);
      setProblem("");
    } catch {
      setProblem(`the browser cannot read ${file.name || "this"} as a picture`);
    }
  };
  return html`<div class="drop" onDragOver=${(event) => event.preventDefault()} onDrop=${(event) => { event.preventDefault(); take(event.dataTransfer.files[0]); }}
      onPaste=${(event) => take([...event.clipboardData.files][0])}>
      <label>Choose a picture, drop one here or paste it: <input type="file" accept="image/*" aria-label=${`${name}: picture`} onChange=${(event) => take(event.target.files[0])} /></label>
      ${problem && html`<p class="note bad" role="alert">${problem}</p>`}</div>`;
}

function Preview({ picture }) {
  const canvas = useRef(null);
  useEffect(() => {
    if (picture.address) return;
    canvas.current.width = picture.width;
    canvas.current.height = picture.height;
    canvas.current.getContext("2d").putImageData(picture, 0, 0);
  }, [picture]);
  if (picture.address) return html`<figure class="preview"><img src=${picture.address} alt="The picture of the sample" /><figcaption class="note">the model's sample</figcaption></figure>`;
  return html`<figure class="preview"><canvas ref=${canvas} width="8" height="8" role="img" aria-label="The picture as the model gets it"></canvas><figcaption class="note">as the model gets it</figcaption></figure>`;
}

const SOURCES = { draw: "Draw", file: "File", camera: "Camera" };

// A model whose pictures are small and grey was most likely made for drawn signs.
const drawsFirst = (layout) => layout !== null && layout.channels === 1 && layout.height <= SMALL_SIDE;

// The picture of a sample's first row, for the preview: of numbers, or an address of what is encoded.
function pictureOfSample(sample, layout) {
  if (!layout) return sample.base64 ? { address: `data:${sample.data[0].startsWith("/9j") ? "image/jpeg" : "image/png"};base64,${sample.data[0]}` } : null;
  const [height, width] = sidesOf(sample, layout);
  return toPicture(sample.data.slice(0, width * height * layout.channels), width, height, layout.channels, layout.order);
}

// `showSample`: whether the sample is what is sent at first.
export function ImageEditor({ input, form, sample, showSample, onTensor, live }) {
  const encoded = input.datatype === "BYTES";
  const layout = encoded ? null : imageLayout(rowDims(input.shape, form.max_batch_size > 0));
  const [kind, setKind] = useState(drawsFirst(layout) ? "draw" : "file");
  const [source, setSource] = useState(null);
  const [options, setOptions] = useState(() => {
    const side = drawsFirst(layout) ? DRAWN_SIDE : DEFAULT_SIDE;
    const [ofSampleHigh, ofSampleWide] = sample && layout ? sidesOf(sample, layout) : [side, side];
    const found = encoded ? {} : conventions(input.datatype, sample, layout);
    return { ...found, width: layout?.width > 0 ? layout.width : ofSampleWide, height: layout?.height > 0 ? layout.height : ofSampleHigh, fit: true, crop: true, invert: Boolean(found.paperIsLow) };
  });
  const [preview, setPreview] = useState(null);
  const [note, setNote] = useState("");
  const change = (some) => setOptions((all) => ({ ...all, ...some }));

  const nothing = (from) => onTensor(new Error(from === "draw" ? "draw something" : "there is no picture yet"));
  useEffect(() => {
    if (!sample || !(showSample || kind !== "draw")) {
      nothing(kind);
      return;
    }
    onTensor(sample);
    setPreview(pictureOfSample(sample, layout));
  }, []);

  useEffect(() => {
    if (!source) return undefined;
    let wanted = true;
    const tell = (tensor) => wanted && onTensor(tensor);
    if (encoded) {
      setPreview(null);
      Promise.resolve(source.file ?? pngOf(source.picture)).then(base64OfBlob).then((text) => tell({ shape: fitShape([1], input.shape), data: [text], base64: true }));
    } else {
      try {
        const { tensor, colours } = prepare(source, layout, input, options);
        tensor.shape = fitShape(tensor.shape, input.shape);
        const flat = colours.length === 1 ? colours[0] : colours.flatMap((plane) => [...plane]);
        setPreview(toPicture(flat, options.width, options.height, colours.length, "CHW", [0, 1]));
        setNote("");
        tell(tensor);
      } catch (error) {
        setNote(error.message);
        tell(error);
      }
    }
    return () => { wanted = false; };
  }, [source, options]);

  // `more`: the file, or what was drawn.
  const take = useCallback((picture, from, more = null) => {
    // Paper, or light, may be low or high for the model; a photograph of colours is left as it is.
    if (from !== "draw" && layout?.channels === 1) setOptions((all) => ({ ...all, invert: Boolean(all.paperIsLow) && drawsFirst(layout) && isPaper(picture) }));
    else if (from !== "draw") setOptions((all) => ({ ...all, invert: false }));
    setSource({ picture, kind: from, [from === "draw" ? "strokes" : "file"]: more });
  }, []);
  // The sheet is cleared when it comes, too: then there is nothing to take back.
  const sheets = useRef(0);
  const cleared = () => {
    sheets.current += 1;
    if (sheets.current === 1) return;
    setSource(null);
    setPreview(null);
    nothing("draw");
  };
  const choose = (next) => {
    sheets.current = 0;
    setKind(next);
    setSource(null);
    setPreview(null);
    nothing(next);
    if (next === "draw") change({ invert: Boolean(options.paperIsLow) });
  };
  const number = (name, title) => html`<label>${title} <input type="number" min="1" max="4096" value=${options[name]} onChange=${(event) => change({ [name]: Math.max(1, Math.min(4096, Math.round(Number(event.target.value)) || 1)) })} /></label>`;
  return html`
    <div class="bar tight" role="group" aria-label=${`${input.name}: where the picture comes from`}>
      ${Object.entries(SOURCES).map(([name, title]) => html`<button type="button" key=${name} aria-pressed=${String(kind === name)} onClick=${() => choose(name)}>${title}</button>`)}
    </div>
    <div class="picture">
      ${kind === "draw" && html`<${DrawSource} name=${input.name} onPicture=${take} onClear=${cleared} />`}
      ${kind === "file" && html`<${FileSource} name=${input.name} onPicture=${take} />`}
      ${kind === "camera" && html`<${CameraSource} name=${input.name} live=${live} onPicture=${take} />`}
      ${preview && html`<${Preview} picture=${preview} />`}
    </div>
    ${note && html`<p class="note bad" role="alert">${note}</p>`}
    ${!encoded && html`<div class="bar tight">
      ${layout.height < 0 && number("height", "Height")} ${layout.width < 0 && number("width", "Width")}
      <label>Values <select value=${options.range} onChange=${(event) => change({ range: event.target.value })}>${Object.keys(RANGES).map((name) => html`<option key=${name}>${name}</option>`)}</select></label>
      <label><input type="checkbox" checked=${options.invert} onChange=${(event) => change({ invert: event.target.checked })} /> Dark is high</label>
      ${kind === "draw"
        ? html`<label><input type="checkbox" checked=${options.fit} onChange=${(event) => change({ fit: event.target.checked })} /> Centred and scaled</label>`
        : html`<label><input type="checkbox" checked=${options.crop} onChange=${(event) => change({ crop: event.target.checked })} /> Cut to proportion</label>`}
    </div>`}`;
}
