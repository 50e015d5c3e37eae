// Models: what the repository has, in which state, and what may be done with it.

import { getJson, postJson, segment } from "./api.js";
import { html, useCallback, useEffect, useMemo, useState } from "./dom.js";
import { bytes, count, plural } from "./format.js";

const PAGE_ROWS = 50;
const EVERY_MS = 15000;
const WHILE_CHANGING_MS = 1000;
const CHANGING = new Set(["LOADING", "UNLOADING"]);

function useModels(generation) {
  const [models, setModels] = useState(null);
  const [problem, setProblem] = useState("");
  const refresh = useCallback(async () => {
    try {
      setModels(await getJson("ui/models"));
      setProblem("");
    } catch (error) {
      setProblem(error.message);
    }
  }, []);
  useEffect(() => { refresh(); }, [refresh, generation]);
  useEffect(() => {
    const changing = models?.some((model) => CHANGING.has(model.state));
    const timer = setInterval(() => document.hidden || refresh(), changing ? WHILE_CHANGING_MS : EVERY_MS);
    return () => clearInterval(timer);
  }, [refresh, models]);
  return { models, problem, refresh };
}

const stateOf = (model) => model.state ?? "NOT LOADED";

function matches(model, words, state) {
  if (state && stateOf(model) !== state) return false;
  const text = `${model.name} ${model.version ?? ""} ${(model.labels ?? []).join(" ")} ${model.backend ?? ""} ${stateOf(model)} ${model.reason ?? ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function Filter({ models, text, state, onText, onState }) {
  const counts = useMemo(() => {
    const found = new Map();
    for (const model of models) found.set(stateOf(model), (found.get(stateOf(model)) ?? 0) + 1);
    return found;
  }, [models]);
  return html`<div class="bar">
    <label>Filter <input type="search" value=${text} placeholder="name, backend, reason…" onInput=${(event) => onText(event.target.value)} /></label>
    <label>State <select value=${state} onChange=${(event) => onState(event.target.value)}>
      <option value="">all (${count(models.length)})</option>
      ${[...counts].map(([name, number]) => html`<option key=${name} value=${name}>${name.toLowerCase()} (${count(number)})</option>`)}
    </select></label>
  </div>`;
}

function Actions({ model, busy, act }) {
  if (busy) return html`<span class="muted" role="status">${busy}…</span>`;
  const button = (verb, path, doing) => html`<button type="button" aria-label=${`${verb} ${model.name}`} onClick=${() => act(model.name, path, doing)}>${verb}</button>`;
  if (model.state === "READY") return html`${button("Reload", "load", "reloading")} ${button("Unload", "unload", "unloading")}`;
  return CHANGING.has(model.state) ? null : button("Load", "load", "loading");
}

const memoryText = (model) =>
  Object.entries(model.memory ?? {})
    .map(([device, size]) => `${model.memory_estimated ? "about " : ""}${bytes(size)}${device === "cpu" ? "" : ` on ${device}`}`)
    .join(", ");

const instancesText = (model) => (model.instances ?? []).map((each) => `${each.count} × ${each.device}`).join(", ");

function Row({ model, first, allowed, busy, failure, act }) {
  const ready = model.state === "READY";
  return html`<tr>
    <th scope="row">${ready ? html`<a href=${`#/try/${segment(model.name)}`}>${model.name}</a>` : model.name}</th>
    <td data-title="Version">${model.version ?? ""}${(model.labels ?? []).map((label) => html` <span class="tag" key=${label}>${label}</span>`)}</td>
    <td data-title="State"><span class=${`badge ${(model.state ?? "none").toLowerCase()}`}>${stateOf(model).toLowerCase()}</span>
      ${model.reason && html`<p class="reason">${model.reason}</p>`}
      ${failure && html`<div class="notice error" role="alert">${failure}</div>`}</td>
    <td data-title="Backend">${model.backend}</td>
    <td data-title="Instances">${instancesText(model)}</td>
    <td data-title="Memory">${memoryText(model)}</td>
    <td data-title="Requests" class="number">${ready ? count(model.inference_count) : ""}</td>
    ${allowed && html`<td class="actions">${first && html`<${Actions} model=${model} busy=${busy} act=${act} />`}</td>`}
  </tr>`;
}

function Pages({ page, pages, from, to, total, onPage }) {
  return html`<div class="bar pages" role="group" aria-label="Pages">
    <span role="status">${total ? `${count(from)}–${count(to)} of ${plural(total, "row")}` : "Nothing matches."}</span>
    ${pages > 1 && html`
      <button type="button" disabled=${page === 0} onClick=${() => onPage(page - 1)}>Previous</button>
      <button type="button" disabled=${page >= pages - 1} onClick=${() => onPage(page + 1)}>Next</button>`}
  </div>`;
}

export default function Models({ server, generation }) {
  const { models, problem, refresh } = useModels(generation);
  const [text, setText] = useState("");
  const [state, setState] = useState("");
  const [page, setPage] = useState(0);
  const [busy, setBusy] = useState({});
  const [failures, setFailures] = useState({});

  const act = useCallback(async (name, verb, doing) => {
    setBusy((all) => ({ ...all, [name]: doing }));
    setFailures(({ [name]: _, ...others }) => others);
    try {
      await postJson(`v2/repository/models/${segment(name)}/${verb}`, {});
    } catch (error) {
      setFailures((all) => ({ ...all, [name]: error.message }));
    }
    await refresh();
    setBusy(({ [name]: _, ...others }) => others);
  }, [refresh]);

  if (!models) return problem ? html`<div class="notice error" role="alert">${problem}</div>` : html`<p class="muted">Loading…</p>`;
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = models.filter((model) => matches(model, words, state));
  const pages = Math.ceil(found.length / PAGE_ROWS);
  const at = Math.min(page, Math.max(pages - 1, 0));
  const rows = found.slice(at * PAGE_ROWS, (at + 1) * PAGE_ROWS);
  const allowed = server !== null && !server.may_not_load;
  const from = at * PAGE_ROWS + 1;
  const seen = new Set();
  if (!models.length) return html`<p>There are no models in the repository.</p>`;
  return html`
    ${problem && html`<div class="notice error" role="alert">${problem}</div>`}
    <${Filter} models=${models} text=${text} state=${state} onText=${(value) => { setText(value); setPage(0); }} onState=${(value) => { setState(value); setPage(0); }} />
    ${server?.may_not_load && html`<p class="muted">No buttons to load and unload: ${server.may_not_load}.</p>`}
    <table class="models">
      <caption class="hidden">Models of the repository</caption>
      <thead><tr><th scope="col">Model</th><th scope="col">Version</th><th scope="col">State</th><th scope="col">Backend</th><th scope="col">Instances</th><th scope="col">Memory</th><th scope="col">Requests</th>${allowed && html`<th scope="col">Actions</th>`}</tr></thead>
      <tbody>${rows.map((model) => {
        // What is loaded and unloaded is a model with all its versions.
        const first = !seen.has(model.name);
        seen.add(model.name);
        return html`<${Row} key=${`${model.name}/${model.version ?? ""}`} model=${model} first=${first} allowed=${allowed} busy=${first && busy[model.name]} failure=${first && failures[model.name]} act=${act} />`;
      })}</tbody>
    </table>
    <${Pages} page=${at} pages=${pages} from=${from} to=${from + rows.length - 1} total=${found.length} onPage=${setPage} />`;
}
