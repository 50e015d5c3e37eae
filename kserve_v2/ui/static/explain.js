// Explain: where the time of requests to a model goes, and why its batches are as they are, with what to change.

import { getJson, modelPath, segment } from "./api.js";
import { CopyButton } from "./copy.js";
import { html, useCallback, useEffect, useMemo, useRef, useState } from "./dom.js";
import { count, figure, milliseconds, plural } from "./format.js";
import { Batches } from "./live/batches.js";
import { useSheet } from "./live/sheet.js";
import { useNames } from "./names.js";

const SECONDS = [2, 5, 10, 30];
const STAGES = {
  queue: "waiting in the queue",
  compute_input: "putting requests together",
  compute_infer: "executing the model",
  compute_output: "checking outputs, and cutting them up",
  event_loop_cpu: "reading requests and writing answers",
};
const ABOUT = { latency: "Latency", batch: "Batches", errors: "Errors" };

function Snippet({ text, name }) {
  return html`<pre tabindex="0" role="region" aria-label=${`To paste: ${name}`}>${text}</pre><${CopyButton} text=${text} />`;
}

function Finding({ finding }) {
  const flag = finding.field.startsWith("--");
  return html`<article class=${`card finding ${finding.about}`} aria-labelledby=${`finding-${finding.name}`}>
    <h3 id=${`finding-${finding.name}`}><span class="tag">${ABOUT[finding.about]}</span> ${finding.title}</h3>
    <dl>
      <dt>Seen</dt><dd>${finding.evidence}</dd>
      <dt>What to do</dt><dd>${finding.change}</dd>
      ${finding.field && html`<dt>${flag ? "Flag of the server" : "In config.pbtxt"}</dt><dd><code>${finding.field}</code></dd>`}
      ${finding.snippet && html`<dt>To paste</dt><dd><${Snippet} text=${finding.snippet} name=${finding.field} /></dd>`}
    </dl>
  </article>`;
}

function Stages({ found }) {
  const most = Math.max(...found.stages.map((each) => each.mean_ms), 1e-9);
  return html`<div class="card">
    <h2>Where the time goes</h2>
    <p>${plural(found.requests, "request")} in ${found.seconds.toFixed(1)} s, ${figure(found.in_flight)} at a time. One took ${found.mean_ms.request === null ? "–" : milliseconds(found.mean_ms.request)} on average.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Stages of a request"><table class="stages">
      <caption class="hidden">Stages of a request, and how long it was in each on average</caption>
      <thead><tr><th scope="col">Stage</th><th scope="col" class="number">Time</th><th scope="col" class="number">Share</th><th scope="col"><span class="hidden">Bar</span></th></tr></thead>
      <tbody>${found.stages.map((each) => html`<tr key=${each.stage}>
        <th scope="row">${STAGES[each.stage]}</th><td class="number">${milliseconds(each.mean_ms)}</td><td class="number">${each.share === null ? "" : `${Math.round(100 * each.share)} %`}</td>
        <td class="wide"><span class="stack" aria-hidden="true"><span class=${`part ${each.share === null ? "not_batchable" : ""}`} style=${{ width: `${(100 * each.mean_ms) / most}%` }}></span></span></td></tr>`)}</tbody>
    </table></div>
    <p class="muted">The last of these is CPU time of the event loop, for each request to any model. It comes on top of the others, but for models that are executed there.</p>
  </div>`;
}

function Result({ found }) {
  const { server } = found;
  return html`
    <h2>${found.name} ${found.version}: ${found.findings.length ? plural(found.findings.length, "finding") : "nothing stands out"}</h2>
    ${found.findings.map((each) => html`<${Finding} key=${each.name} finding=${each} />`)}
    <${Stages} found=${found} />
    <${Batches} batches=${found.batches} caption=${`In ${found.seconds.toFixed(1)} s`} />
    <p class="muted">Instances: ${found.places ? `${count(found.places)}, busy for ${Math.round(100 * found.busy)} % of the time` : "none of its own"}.
      Server: ${server.cpu.toFixed(2)} of ${count(server.cpus)} CPUs, event loop busy for ${Math.round(100 * server.loop_busy)} % of the time.</p>`;
}

// Looks at a model once; asking again, or leaving, ends what is under way.
function useExplanation() {
  const [known, setKnown] = useState({});
  const looking = useRef(null);
  const look = useCallback(async (name, seconds) => {
    looking.current?.abort();
    const abort = new AbortController();
    looking.current = abort;
    setKnown({ looking: seconds });
    try {
      const found = await getJson(`ui/${modelPath(name)}/explain?seconds=${seconds}`, { signal: abort.signal });
      setKnown({ found });
    } catch (error) {
      if (error.name !== "AbortError") setKnown({ problem: error.message });
    }
  }, []);
  useEffect(() => () => looking.current?.abort(), []);
  return { ...known, look };
}

export default function Explain({ parts, generation }) {
  useSheet("ui/static/live/live.css");
  const { names: listed, problem: unlisted } = useNames(generation);
  const names = useMemo(() => listed?.filter(({ ready }) => ready).map(({ name }) => name), [listed]);
  const { found, problem, looking, look } = useExplanation();
  const [seconds, setSeconds] = useState(5);
  if (!names) return unlisted ? html`<div class="notice error" role="alert">${unlisted}</div>` : html`<p class="muted">Loading…</p>`;
  if (!names.length) return html`<p>No model is loaded.</p>`;
  const chosen = parts[0] ?? names[0];
  const start = (event) => {
    event.preventDefault();
    look(chosen, seconds);
  };
  return html`
    <p>Why are batches small, or answers late? The server looks at its own counters for some seconds, and says what it has found, with the field to change. Send requests meanwhile.</p>
    <form class="bar" onSubmit=${start}>
      <label>Model <select value=${chosen} onChange=${(event) => { location.hash = `#/explain/${segment(event.target.value)}`; }}>
        ${[...new Set([...names, chosen])].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
      <label>Look for <select value=${String(seconds)} onChange=${(event) => setSeconds(Number(event.target.value))}>
        ${SECONDS.map((each) => html`<option key=${each} value=${String(each)}>${each} s</option>`)}</select></label>
      <button class="primary" type="submit" disabled=${looking !== undefined}>Explain</button>
      <span class="muted" role="status">${looking !== undefined ? `Looking for ${looking} s…` : found ? `${plural(found.findings.length, "finding")}.` : ""}</span>
    </form>
    ${problem && html`<div class="notice error" role="alert">${problem}</div>`}
    ${found && html`<${Result} found=${found} />`}`;
}
