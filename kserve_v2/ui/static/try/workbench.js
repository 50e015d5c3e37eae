// The form of a model, its answer, and the request as code.

import { ask, modelPath } from "../api.js";
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../dom.js";
import { parseJson, writeJson } from "../json.js";
import { AudioEditor } from "./audio.js";
import { Code } from "./code.js";
import { CharactersEditor, FileEditor, ListEditor, TextEditor, ValuesEditor } from "./editors.js";
import { ImageEditor } from "./image.js";
import { EDITOR_TITLES, editorsFor } from "./kinds.js";
import { Outputs } from "./outputs.js";
import { decode, elements, encode, inferRequest, serverTimes } from "./request.js";
import { context } from "./snippets.js";
import { StreamAnswer, useStream } from "./streaming.js";
import { fromNested, shapeText } from "./tensors.js";
import { Timing } from "./timing.js";

const EDITORS = { values: ValuesEditor, text: TextEditor, list: ListEditor, file: FileEditor, image: ImageEditor, audio: AudioEditor, characters: CharactersEditor };
const MAX_RAW = 50_000;
const LIVE_ELEMENTS = 200_000;

function contentsOf(form) {
  try {
    const found = JSON.parse(form.content_types || "{}");
    return { inputs: found.inputs ?? {}, outputs: found.outputs ?? {} };
  } catch {
    return { inputs: {}, outputs: {} };
  }
}

// The tensor that a sample has for an input, null where it has none that can be shown.
function sampleOf(sample, input) {
  const found = sample?.inputs?.find?.((each) => each.name === input.name);
  if (!Array.isArray(found?.data) || !Array.isArray(found.shape)) return null;
  try {
    return { shape: found.shape, data: fromNested(found.data).data, base64: found.parameters?.content_type === "base64" };
  } catch {
    return null;
  }
}

function firstParameters(form, sample) {
  const step = form.sequence ? { sequence_id: 1, sequence_start: true, sequence_end: true } : {};
  const found = { ...(sample?.parameters ?? step) };
  // A sequence that somebody else has under way must not be ended by one of the same number.
  if (typeof found.sequence_id === "number") found.sequence_id = 1 + Math.floor(Math.random() * (2 ** 31 - 2));
  return writeJson(found);
}

// The server's text about outputs that JSON cannot carry as texts.
const NO_TEXTS = /"content_type": "base64"/;

function Input({ input, form, sample, showSample, content, optional, live, onTensor }) {
  const editors = useMemo(() => editorsFor(input, { batched: form.max_batch_size > 0, decoupled: form.decoupled, content }), [input]);
  const [editor, setEditor] = useState(editors[0]);
  const [given, setGiven] = useState(!optional || sample !== null);
  const Editor = EDITORS[editor];
  const choose = (next) => { onTensor(input.name, new Error("there is nothing yet")); setEditor(next); };
  useEffect(() => { if (!given) onTensor(input.name, null); }, [given]);
  const tell = useCallback((tensor) => onTensor(input.name, tensor), [input.name]);
  return html`<fieldset>
    <legend>${input.name} <span class="muted small">${input.datatype} ${shapeText(input.shape)}</span></legend>
    ${optional && html`<label><input type="checkbox" checked=${given} onChange=${(event) => setGiven(event.target.checked)} /> Send it</label>`}
    ${given && editors.length > 1 && html`<label class="as">as <select value=${editor} aria-label=${`${input.name}: how to give it`} onChange=${(event) => choose(event.target.value)}>${editors.map((each) => html`<option key=${each} value=${each}>${EDITOR_TITLES[each].toLowerCase()}</option>`)}</select></label>`}
    ${given && html`<${Editor} key=${editor} input=${input} form=${form} sample=${sample} showSample=${showSample} content=${content} live=${live} onTensor=${tell} />`}
  </fieldset>`;
}

function parseParameters(text) {
  const value = parseJson(text.trim() || "{}");
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("parameters are a JSON object");
  return value;
}

// How long a request has taken by the browser's own clock, which does not count what this page does meanwhile.
function durationOf(path) {
  const found = performance.getEntriesByType("resource").findLast(({ name }) => name === new URL(path, document.baseURI).href);
  return found?.responseEnd ? found.responseEnd - found.startTime : undefined;
}

// Sends one request after another; of those that come while one is under way, the last.
function useInfer(form, version) {
  const [result, setResult] = useState(null);
  const state = useRef({ running: false, next: null, left: false });
  useEffect(() => () => { state.current.left = true; }, []);
  const send = useCallback(async (request) => {
    const { current } = state;
    current.next = request;
    if (current.running) return;
    current.running = true;
    setResult((last) => ({ ...last, busy: true }));
    while (current.next && !current.left) {
      const sent = current.next;
      current.next = null;
      const path = `ui/${modelPath(form.name, version)}/infer`;
      try {
        const { body, headers } = encode(form, sent);
        performance.clearResourceTimings();
        const began = performance.now();
        const reply = await ask(path, { method: "POST", body, headers });
        const answer = await decode(reply);
        setResult({ answer, total: durationOf(path) ?? performance.now() - began, times: serverTimes(reply.headers.get("server-timing")) });
      } catch (error) {
        setResult({ error: error.message, noTexts: NO_TEXTS.test(error.message) });
      }
    }
    current.running = false;
  }, [form, version]);
  return [result, send];
}

function Raw({ value }) {
  const [open, setOpen] = useState(false);
  // Written only while somebody reads it.
  const text = open ? writeJson(value, 2) : "";
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>Raw answer</summary><pre class="code" tabindex="0" aria-label="Raw answer">${text.length > MAX_RAW ? `${text.slice(0, MAX_RAW)}\n…` : text}</pre></details>`;
}

function Answer({ result, form, contents }) {
  if (!result || (result.busy && !result.answer && !result.error)) return html`<p class="muted">${result ? "Waiting for the answer…" : "Nothing has been sent yet."}</p>`;
  if (result.error) return html`<div class="notice error" role="alert">${result.error}</div>`;
  return html`<${Outputs} answer=${result.answer} form=${form} contents=${contents} />
    <${Timing} total=${result.total} times=${result.times} />
    <${Raw} value=${result.answer} />`;
}

export function Workbench({ form, sample, version, server }) {
  const contents = useMemo(() => contentsOf(form), [form]);
  const [tensors, setTensors] = useState({});
  const [parametersText, setParametersText] = useState(() => firstParameters(form, sample));
  const [round, setRound] = useState({ number: 0, sample });
  const pictures = form.inputs.some((input) => editorsFor(input, { batched: form.max_batch_size > 0, decoupled: form.decoupled, content: contents.inputs[input.name] })[0] === "image");
  const [live, setLive] = useState(pictures && !form.decoupled && !form.sequence);
  const [result, send] = useInfer(form, version);
  const [encodedOutputs, setEncodedOutputs] = useState(() => form.outputs.map(({ name }) => name).filter((name) => contents.outputs[name] === "image"));
  const stream = useStream(form, version);

  const onTensor = useCallback((name, tensor) => setTensors((all) => ({ ...all, [name]: tensor })), []);
  const missing = form.inputs.find(({ name }) => tensors[name] instanceof Error || tensors[name] === undefined);
  const made = useMemo(() => {
    if (missing) return { problem: tensors[missing.name] ? `${missing.name}: ${tensors[missing.name].message}` : "" };
    try {
      const parameters = parseParameters(parametersText);
      const given = Object.fromEntries(Object.entries(tensors).filter(([, tensor]) => tensor));
      return { request: inferRequest(form, given, parameters, encodedOutputs), given, parameters };
    } catch (error) {
      return { problem: `parameters: ${error.message}` };
    }
  }, [tensors, parametersText, missing, encodedOutputs]);
  const { request, problem } = made;

  useEffect(() => {
    if (live && request && !form.decoupled && elements(request) <= LIVE_ELEMENTS) send(request);
  }, [live, request]);

  // The model has answered with bytes: they are asked for as such from now on, here and in the snippets.
  const again = useRef(false);
  useEffect(() => {
    const all = form.outputs.filter(({ datatype }) => datatype === "BYTES").map(({ name }) => name);
    if (result?.noTexts && encodedOutputs.length < all.length) {
      again.current = true;
      setEncodedOutputs(all);
    }
  }, [result]);
  useEffect(() => {
    if (again.current && request) {
      again.current = false;
      send(request);
    }
  }, [encodedOutputs]);

  const submit = (event) => {
    event.preventDefault();
    if (!request) return;
    if (form.decoupled) stream.start(request, made.given, made.parameters);
    else send(request);
  };
  const encoded = useMemo(() => (request && form.inputs.length ? encode(form, request) : null), [request]);
  const code = useMemo(() => {
    if (!request) return null;
    const of = context({ form, request, tensors: made.given, parameters: made.parameters, version, server, place: document.baseURI });
    return { ...of, headLength: encoded?.headers["inference-header-content-length"] };
  }, [request, server]);
  return html`
    ${form.description && html`<p>${form.description}</p>`}
    <div class="columns">
      <form class="card" onSubmit=${submit} aria-label="Request">
        <h2>Request</h2>
        ${form.inputs.map((input) => html`<${Input} key=${`${input.name}/${round.number}`} input=${input} form=${form} sample=${sampleOf(round.sample, input)} showSample=${round.number > 0} content=${contents.inputs[input.name]} optional=${form.optional_inputs.includes(input.name)} live=${live} onTensor=${onTensor} />`)}
        <details open=${form.sequence || parametersText !== "{}"}><summary>Parameters</summary>
          <textarea rows="2" aria-label="Parameters of the request, as a JSON object" spellcheck="false" value=${parametersText} onInput=${(event) => setParametersText(event.target.value)}></textarea></details>
        ${problem && html`<p class="note" role="status">${problem}</p>`}
        <div class="bar">
          <button class="primary" type="submit" disabled=${!request}>Send</button>
          ${form.decoupled && html`<button type="button" disabled=${!stream.running} onClick=${stream.stop}>Stop</button>`}
          ${!form.decoupled && html`<label><input type="checkbox" checked=${live} onChange=${(event) => setLive(event.target.checked)} /> Send as I change it</label>`}
          ${sample && html`<button type="button" onClick=${() => { setParametersText(firstParameters(form, sample)); setRound(({ number }) => ({ number: number + 1, sample })); }}>Sample</button>`}
        </div>
      </form>
      <section class="card" aria-label="Answer" aria-live="polite" aria-busy=${String(Boolean(result?.busy || stream.running))}>
        <h2>Answer</h2>
        ${form.decoupled ? html`<${StreamAnswer} stream=${stream} form=${form} />` : html`<${Answer} result=${result} form=${form} contents=${contents.outputs} />`}
      </section>
    </div>
    ${code && html`<${Code} of=${code} binary=${encoded?.body} />`}`;
}
