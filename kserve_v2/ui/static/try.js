import { html } from "./dom.js";

export default function TryIt() {
  return html`<p class="muted">…</p>`;
}
