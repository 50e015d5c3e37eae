// Models that answer any number of times: each response as it comes, until the last one or the person stops it.

import { modelPath } from "../api.js";
import { html, useCallback, useEffect, useRef, useState } from "../dom.js";
import { figure, milliseconds, plural } from "../format.js";
import { writeJson } from "../json.js";
import { Bytes } from "./outputs.js";
import { generateRequest } from "./request.js";
import { events } from "./stream.js";

const MAX_RESPONSES = 2000;
const MAX_PICTURES = 8;

export function useStream(form, version) {
  const [state, setState] = useState({ responses: [], running: false });
  const control = useRef(null);
  useEffect(() => () => control.current?.abort(), []);
  const start = useCallback(async (_request, tensors, parameters) => {
    control.current?.abort();
    const mine = new AbortController();
    control.current = mine;
    const responses = [];
    const began = performance.now();
    const tell = (some) => control.current === mine && setState((last) => ({ ...last, ...some }));
    setState({ responses, running: true });
    try {
      const path = `v2/${modelPath(form.name, version)}/generate_stream`;
      for await (const response of events(path, writeJson(generateRequest(form, tensors, parameters)), mine.signal)) {
        responses.push({ response, at: performance.now() - began });
        tell({ responses: [...responses] });
      }
      tell({ running: false, ended: performance.now() - began });
    } catch (error) {
      tell({ running: false, ...(error.name === "AbortError" ? { stopped: true } : { error: error.message }) });
    }
  }, [form, version]);
  const stop = useCallback(() => control.current?.abort(), []);
  return { ...state, start, stop };
}

function valueText(value) {
  if (!Array.isArray(value)) return typeof value === "string" ? value : figure(value);
  const flat = value.flat(Infinity);
  return `${flat.slice(0, 16).map(figure).join(", ")}${flat.length > 16 ? ", …" : ""}`;
}

// Texts as one; what is no text, {b64}, by itself.
function Pieces({ name, pieces }) {
  const texts = pieces.filter((piece) => typeof piece === "string");
  const others = pieces.filter((piece) => typeof piece?.b64 === "string").map(({ b64 }) => b64);
  return html`${texts.length > 0 && html`<pre class="text">${texts.join("")}</pre>`}${others.length > 0 && html`<${Bytes} data=${others.slice(-MAX_PICTURES)} name=${name} />`}`;
}

export function StreamAnswer({ stream, form }) {
  const { responses, running, stopped, error, ended } = stream;
  const good = responses.filter(({ response }) => response.error === undefined);
  const failed = responses.find(({ response }) => response.error !== undefined);
  const state = running ? "under way" : stopped ? "stopped" : ended !== undefined ? `complete after ${milliseconds(ended)}` : "";
  if (!responses.length && !error) return html`<p class="muted">${running ? "Waiting for the first response…" : stopped ? "Stopped." : ended === undefined ? "Nothing has been sent yet." : "The model has answered with no response."}</p>`;
  return html`
    ${(error || failed) && html`<div class="notice error" role="alert">${error ?? failed.response.error}</div>`}
    ${responses.length > 0 && html`<p role="status">${plural(responses.length, "response")}, ${state}; the first after ${milliseconds(responses[0].at)}</p>`}
    ${form.outputs.map(({ name, datatype }) => html`<section class="output" key=${name}><h3>${name} <span class="muted small">${datatype}</span></h3>
      ${datatype === "BYTES"
        ? html`<${Pieces} name=${name} pieces=${good.flatMap(({ response }) => [response[name] ?? ""].flat(Infinity))} />`
        : html`<ol class="responses">${good.slice(-MAX_RESPONSES).map(({ response, at }, index) => html`<li key=${index}>${valueText(response[name] ?? "")} <span class="muted small">${milliseconds(at)}</span></li>`)}</ol>`}</section>`)}
    <details><summary>Raw responses</summary><pre class="code" tabindex="0" aria-label="Raw responses">${responses.slice(-200).map(({ response }) => writeJson(response)).join("\n")}</pre></details>`;
}
