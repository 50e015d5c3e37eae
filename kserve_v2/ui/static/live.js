// Live: what the server does now, for all models or for one, as long as somebody looks.

import { segment } from "./api.js";
import { html, useState } from "./dom.js";
import { bytes, count, figure, milliseconds } from "./format.js";
import { addBatches, Batches } from "./live/batches.js";
import { Chart } from "./live/chart.js";
import { useEvents } from "./live/events.js";
import { useSheet } from "./live/sheet.js";

// How many of the last moments a histogram of batches is made of.
const TOGETHER = 10;
const STATES = { waiting: "waiting for the server…", live: "live", paused: "paused", away: "the server does not answer; it is asked again" };

const rate = (value) => (value < 10 ? figure(Number(value.toFixed(2))) : count(Math.round(value)));
const share = (value) => `${Math.round(100 * value)} %`;
const orDash = (value, shown) => (value === null || value === undefined ? "–" : shown(value));

const failures = (each) => Object.values(each.failures_per_second).reduce((sum, value) => sum + value, 0);
const failuresText = (each) => Object.entries(each.failures_per_second).map(([reason, value]) => `${reason} ${rate(value)}/s`).join(", ");
const memoryText = (sizes) => Object.entries(sizes).map(([device, size]) => `${bytes(size)}${device === "cpu" ? "" : ` on ${device}`}`).join(", ");

const CHARTS = [
  { title: "Per second", shown: rate, series: [
    { name: "requests", value: (each) => each.total.requests_per_second },
    { name: "inferences", value: (each) => each.total.inferences_per_second },
    { name: "errors", value: (each) => failures(each.total) },
  ] },
  { title: "Latency in ms", shown: milliseconds, series: ["p50", "p95", "p99"].map((name) => ({ name, value: (each) => each.total.latency_ms[name] })) },
  { title: "Requests in the server", shown: figure, series: [
    { name: "waiting", value: (each) => each.total.queue_depth },
    { name: "executions under way", value: (each) => each.total.executing },
  ] },
  { title: "Busy, in %", shown: (value) => `${Math.round(value)} %`, top: 100, series: [
    { name: "instances", value: (each) => (each.total.busy === null ? null : 100 * each.total.busy) },
    { name: "event loop", value: (each) => 100 * each.server.loop_busy },
    { name: "CPUs", value: (each) => (100 * each.server.cpu) / each.server.cpus },
  ] },
];

function Figures({ now }) {
  const { server, total } = now;
  const shown = [
    ["CPU", `${server.cpu.toFixed(2)} of ${count(server.cpus)}`],
    ["Memory of the process", bytes(server.resident_bytes)],
    ["Memory of models", memoryText(total.memory_bytes) || "–"],
    ["Event loop late by", `${orDash(server.loop_lag_ms.mean, milliseconds)}, at most ${orDash(server.loop_lag_ms.max, milliseconds)}`],
    ["Requests in flight hold", `${bytes(server.inflight_bytes)} of ${bytes(server.inflight_limit)}`],
    ["Cache", `${rate(total.cache_hits_per_second)} hits/s, ${rate(total.cache_misses_per_second)} misses/s`],
    ["Errors", failuresText(total) || "none"],
  ];
  return html`<dl class="figures card">${shown.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

const COLUMNS = ["Model", "Requests/s", "Rows/s", "p50", "p95", "p99", "Waiting", "Executing", "Busy", "Rows per batch", "Cache hits/s", "Errors"];

function rowsPerBatch(each) {
  const executions = each.batches.reduce((sum, size) => sum + size.executions, 0);
  return executions ? (each.batches.reduce((sum, size) => sum + size.rows * size.executions, 0) / executions).toFixed(1) : "–";
}

function Row({ each, chosen }) {
  const cells = [
    rate(each.requests_per_second), rate(each.inferences_per_second), ...["p50", "p95", "p99"].map((name) => orDash(each.latency_ms[name], milliseconds)),
    count(each.queue_depth), `${count(each.executing)}${each.places ? ` of ${count(each.places)}` : ""}`, orDash(each.busy, share), rowsPerBatch(each), rate(each.cache_hits_per_second),
  ];
  return html`<tr>
    <th scope="row">${chosen ? each.name : html`<a href=${`#/live/${segment(each.name)}`}>${each.name}</a>`} <span class="muted">${each.version}</span>
      ${each.in_place && html` <span class="tag" title="Quick enough to be executed on the event loop">in place</span>`}
      ${each.down && html`<p class="reason">${each.down}</p>`}</th>
    ${cells.map((text, index) => html`<td key=${index} data-title=${COLUMNS[index + 1]} class="number">${text}</td>`)}
    <td data-title="Errors">${failuresText(each)}</td>
  </tr>`;
}

function ModelTable({ now, chosen }) {
  return html`<table class="models live">
    <caption class="hidden">Models that are loaded, and what they do</caption>
    <thead><tr>${COLUMNS.map((name, index) => html`<th key=${name} scope="col" class=${index && name !== "Errors" ? "number" : ""}>${name}</th>`)}</tr></thead>
    <tbody>${now.models.map((each) => html`<${Row} key=${`${each.name}/${each.version}`} each=${each} chosen=${chosen} />`)}</tbody>
  </table>
  ${now.models_left_out > 0 && html`<p class="muted">These are the busiest. ${count(now.models_left_out)} more are loaded, and counted above.</p>`}`;
}

function Bar({ chosen, state, paused, onPause }) {
  return html`<div class="bar">
    ${chosen ? html`<span>Model <b>${chosen}</b></span> <a href="#/live">all models</a> <a href=${`#/explain/${segment(chosen)}`}>Why is it so?</a>` : html`<span>All models</span>`}
    <button type="button" aria-pressed=${paused ? "true" : "false"} onClick=${onPause}>Pause</button>
    <span class="muted" role="status">${STATES[state]}</span>
  </div>`;
}

export default function Live({ parts, generation }) {
  useSheet("ui/static/vendor/uplot.css", "ui/static/live/live.css");
  const [paused, setPaused] = useState(false);
  const chosen = parts[0] ?? "";
  const path = `ui/live?interval=1${chosen ? `&models=${segment(chosen)}` : ""}`;
  const { documents, state } = useEvents(path, paused, generation);
  const now = documents.at(-1);
  return html`
    <${Bar} chosen=${chosen} state=${state} paused=${paused} onPause=${() => setPaused(!paused)} />
    ${now?.not_loaded && html`<div class="notice warning" role="status">Model '${chosen}' is not loaded.</div>`}
    ${now && html`
      <div class="charts" key=${chosen}>${CHARTS.map((each) => html`<${Chart} key=${each.title} ...${each} documents=${documents} />`)}</div>
      <${Figures} now=${now} />
      <${ModelTable} now=${now} chosen=${chosen} />
      <${Batches} batches=${addBatches(documents.slice(-TOGETHER).map((each) => each.total.batches))} caption=${`In the last ${Math.min(TOGETHER, documents.length)} moments`} />`}`;
}
