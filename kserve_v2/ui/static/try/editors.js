// The editors of an input that are texts. Each tells `onTensor` what is in it: {shape, data}, or an Error with what is
// wrong. They are mounted anew for another model, input or sample.

import { html, useEffect, useId, useState } from "../dom.js";
import { count, plural } from "../format.js";
import { writeJson } from "../json.js";
import { base64OfBlob } from "./bytes.js";
import { filled, fitShape, FLOATS, parseValues, rowDims, shapeText, toNested } from "./tensors.js";

const MAX_SHOWN_ELEMENTS = 5000;

// The shape that a fill has before anybody chooses one.
export const usualShape = (shape) => shape.map((size, index) => (size >= 0 ? size : index === 0 && shape.length > 1 ? 1 : 8));

const valuesText = ({ data, shape }) => writeJson(toNested(data, shape));

function firstTensor(input, sample) {
  if (sample) return sample;
  const shape = usualShape(input.shape);
  return filled(input.datatype, shape, FLOATS.has(input.datatype) ? "random" : "zeros");
}

export function ValuesEditor({ input, form, sample, onTensor }) {
  const id = useId();
  const [made, setMade] = useState(() => firstTensor(input, sample));
  const [text, setText] = useState("");
  const [fillShape, setFillShape] = useState(() => usualShape(input.shape).join(", "));
  const large = made !== null && made.data.length > MAX_SHOWN_ELEMENTS;
  const shown = made === null ? text : large ? `${made.data.slice(0, 100).join(", ")}, …` : valuesText(made);
  const [note, setNote] = useState({});

  useEffect(() => {
    try {
      const tensor = made ?? parseValues(text, input.datatype, input.shape);
      setNote({ text: `shape ${shapeText(tensor.shape)}, ${plural(tensor.data.length, "element")}. ${tensor.note ?? ""}` });
      onTensor(tensor);
    } catch (error) {
      setNote({ text: error.message, bad: true });
      onTensor(error);
    }
  }, [made, text]);

  const fill = (how) => {
    const shape = fillShape.split(/[\s,x×]+/).filter(Boolean).map(Number);
    try {
      if (!shape.every((size) => Number.isInteger(size) && size >= 0)) throw new Error(`a shape is a list of whole numbers, such as ${usualShape(input.shape).join(", ")}`);
      setMade(filled(input.datatype, fitShape(shape, input.shape), how));
    } catch (error) {
      setNote({ text: error.message, bad: true });
    }
  };
  const single = rowDims(input.shape, form.max_batch_size > 0).every((size) => size === 1);
  return html`
    <label class="hidden" for=${id}>${input.name}: values in JSON or CSV</label>
    ${single && input.datatype === "BOOL"
      ? html`<label><input type="checkbox" checked=${/true|1/.test(shown)} onChange=${(event) => { setMade(null); setText(String(event.target.checked)); }} /> true</label>`
      : html`<textarea id=${id} rows=${single ? 1 : Math.min(10, 3 + shown.length / 120)} spellcheck="false" value=${shown} readonly=${large} aria-describedby=${`${id}-note`} aria-invalid=${note.bad ? "true" : undefined}
          placeholder="JSON, or the lines of a CSV file" onInput=${(event) => { setMade(null); setText(event.target.value); }}></textarea>`}
    <p id=${`${id}-note`} class=${note.bad ? "note bad" : "note"}>${note.text}${large ? " Too long to show." : ""}</p>
    <div class="bar tight">
      ${!single && html`<label>Fill <input size="14" value=${fillShape} aria-label=${`${input.name}: shape to fill`} onInput=${(event) => setFillShape(event.target.value)} /></label>`}
      <button type="button" onClick=${() => fill("zeros")}>Zeros</button>
      <button type="button" onClick=${() => fill("random")}>Random</button>
      ${large && html`<button type="button" onClick=${() => { setMade(null); setText(""); }}>Clear</button>`}
    </div>`;
}

const shapeOfTexts = (input, number) => fitShape([number], input.shape);

export function TextEditor({ input, sample, content, onTensor }) {
  const [text, setText] = useState(() => (sample && !sample.base64 ? sample.data.join("\n") : content === "json" ? "{}" : "Hello"));
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let result;
    try {
      if (content === "json") JSON.parse(text);
      result = { shape: shapeOfTexts(input, 1), data: [text] };
      setProblem("");
    } catch (error) {
      result = error instanceof SyntaxError ? new Error(`this is no JSON: ${error.message}`) : error;
      setProblem(result.message);
    }
    onTensor(result);
  }, [text]);
  return html`<textarea rows="3" aria-label=${input.name} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
    ${problem && html`<p class="note bad">${problem}</p>`}`;
}

export function ListEditor({ input, sample, onTensor }) {
  const [text, setText] = useState(() => (sample && !sample.base64 ? sample.data.join("\n") : "one\ntwo"));
  const [note, setNote] = useState({});
  useEffect(() => {
    const data = text.split("\n");
    try {
      const shape = shapeOfTexts(input, data.length);
      setNote({ text: `shape ${shapeText(shape)}: a text on each line` });
      onTensor({ shape, data });
    } catch (error) {
      setNote({ text: error.message, bad: true });
      onTensor(error);
    }
  }, [text]);
  return html`<textarea rows="4" aria-label=${`${input.name}: a text on each line`} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
    <p class=${note.bad ? "note bad" : "note"}>${note.text}</p>`;
}

// Characters as numbers, for models that read UINT8.
export function CharactersEditor({ input, sample, onTensor }) {
  const [text, setText] = useState(() => (sample ? new TextDecoder().decode(Uint8Array.from(sample.data)) : "Hello"));
  useEffect(() => {
    const data = [...new TextEncoder().encode(text)];
    try {
      onTensor({ shape: fitShape([data.length], input.shape), data });
    } catch (error) {
      onTensor(error);
    }
  }, [text]);
  return html`<textarea rows="3" aria-label=${input.name} value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
    <p class="note">Sent as ${count(new TextEncoder().encode(text).length)} bytes of UTF-8.</p>`;
}

export function FileEditor({ input, onTensor }) {
  const [note, setNote] = useState("The bytes of the file are sent as they are.");
  useEffect(() => { onTensor(new Error("choose a file")); }, []);
  const choose = async (files) => {
    if (!files.length) return;
    try {
      const data = await Promise.all([...files].map(base64OfBlob));
      onTensor({ shape: shapeOfTexts(input, data.length), data, base64: true });
      setNote([...files].map((file) => `${file.name}, ${count(file.size)} bytes`).join("; "));
    } catch (error) {
      setNote(error.message);
      onTensor(error);
    }
  };
  return html`<input type="file" multiple aria-label=${`${input.name}: file`} onChange=${(event) => choose(event.target.files)} /><p class="note">${note}</p>`;
}
