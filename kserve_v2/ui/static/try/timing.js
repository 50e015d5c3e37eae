// Where the time of a request has gone, as the server and the browser have measured it.

import { html } from "../dom.js";
import { milliseconds } from "../format.js";

// The parts of a request's time in milliseconds. `total`: from the call to the whole answer, by the browser.
export function parts(total, times) {
  const compute = (times.input ?? 0) + (times.compute ?? 0) + (times.output ?? 0);
  const server = times.server ?? 0;
  return [
    { name: "network and browser", ms: Math.max(0, total - server), series: 4 },
    { name: "server", ms: Math.max(0, server - (times.queue ?? 0) - compute), series: 3 },
    { name: "queue", ms: times.queue ?? 0, series: 2 },
    { name: "compute", ms: compute, series: 1 },
  ];
}

export function Timing({ total, times }) {
  const found = parts(total, times);
  return html`<figure class="timing">
    <figcaption>${milliseconds(total)} in all</figcaption>
    <div class="stack" aria-hidden="true">${found.map(({ name, ms, series }) => html`<span key=${name} class=${`series-${series}`} style=${{ width: `${total > 0 ? (ms / total) * 100 : 0}%` }}></span>`)}</div>
    <ul class="legend">${found.map(({ name, ms, series }) => html`<li key=${name}><span class=${`key series-${series}`} aria-hidden="true"></span>${name} ${milliseconds(ms)}</li>`)}</ul>
  </figure>`;
}
