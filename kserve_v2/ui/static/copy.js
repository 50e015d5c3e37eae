// A button that copies a text.

import { html, useEffect, useState } from "./dom.js";

async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Without HTTPS there is only the old way.
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("the browser does not allow it");
}

export function CopyButton({ text }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), 2000);
    return () => clearTimeout(timer);
  }, [said]);
  return html`<button type="button" onClick=${() => copy(text).then(() => setSaid("Copied"), () => setSaid("Not copied: select it instead"))}>${said || "Copy"}</button>
    <span class="hidden" role="status">${said}</span>`;
}
