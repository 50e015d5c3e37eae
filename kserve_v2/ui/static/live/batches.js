// Executed batches by their size, and why they ran when they did: a table whose bars only repeat its numbers.

import { html } from "../dom.js";
import { count, plural } from "../format.js";

export const REASONS = {
  full: "full: nothing more fits",
  preferred: "a preferred size",
  delay_expired: "the delay was over",
  no_delay: "an instance was free, and there is no delay",
  shape_mismatch: "the next request does not fit to it",
  not_batchable: "requests are not merged",
};

// Of several moments together.
export function addBatches(lists) {
  const sizes = new Map();
  for (const list of lists) {
    for (const { rows, executions, reasons } of list) {
      const size = sizes.get(rows) ?? { rows, executions: 0, reasons: {} };
      size.executions += executions;
      for (const [reason, number] of Object.entries(reasons)) size.reasons[reason] = (size.reasons[reason] ?? 0) + number;
      sizes.set(rows, size);
    }
  }
  return [...sizes.values()].sort((one, other) => one.rows - other.rows);
}

function Bar({ size, most }) {
  return html`<span class="stack" aria-hidden="true">${Object.keys(REASONS)
    .filter((reason) => size.reasons[reason])
    .map((reason) => html`<span key=${reason} class=${`part ${reason}`} style=${{ width: `${(100 * size.reasons[reason]) / most}%` }}></span>`)}</span>`;
}

export function Batches({ batches, caption }) {
  const most = Math.max(1, ...batches.map((each) => each.executions));
  const total = batches.reduce((sum, each) => sum + each.executions, 0);
  const rows = batches.reduce((sum, each) => sum + each.executions * each.rows, 0);
  const seen = Object.keys(REASONS).filter((reason) => batches.some((each) => each.reasons[reason]));
  if (!total) return html`<div class="card"><h2>Batches</h2><p class="muted">Nothing was executed.</p></div>`;
  return html`<div class="card">
    <h2>Batches</h2>
    <p>${caption}: ${plural(total, "execution")} of ${(rows / total).toFixed(1)} rows on average.</p>
    <ul class="legend">${seen.map((reason) => html`<li key=${reason}><span class=${`swatch ${reason}`} aria-hidden="true"></span>${REASONS[reason]}</li>`)}</ul>
    <div class="scroll" tabindex="0" role="region" aria-label="Batches by size"><table class="batches">
      <caption class="hidden">Executed batches by their number of rows, and why they ran when they did</caption>
      <thead><tr><th scope="col" class="number">Rows</th><th scope="col" class="number">Executions</th><th scope="col">Reasons</th><th scope="col"><span class="hidden">Bar</span></th></tr></thead>
      <tbody>${batches.map((size) => html`<tr key=${size.rows}>
        <th scope="row" class="number">${count(size.rows)}</th><td class="number">${count(size.executions)}</td>
        <td>${Object.keys(REASONS).filter((reason) => size.reasons[reason]).map((reason) => `${reason} ${count(size.reasons[reason])}`).join(", ")}</td>
        <td class="wide"><${Bar} size=${size} most=${most} /></td></tr>`)}</tbody>
    </table></div>
  </div>`;
}
