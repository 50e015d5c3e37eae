// Snippets in tabs, each with a button that copies it.

import { CopyButton } from "../copy.js";
import { html, useEffect, useRef, useState } from "../dom.js";
import { SNIPPETS } from "./snippets.js";

function SaveLink({ file }) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const url = URL.createObjectURL(file.blob ?? new Blob([file.text]));
    setAddress(url);
    return () => URL.revokeObjectURL(url);
  }, [file.blob, file.text]);
  return html`<a class="button" href=${address} download=${file.name}>Save ${file.name}</a>`;
}

// `of`: what `context` of snippets.js has made. `binary`: the request's bytes, where it has some.
export function Code({ of, binary }) {
  const [chosen, setChosen] = useState("curl");
  const tabs = useRef(null);
  const snippet = SNIPPETS.find(({ id }) => id === chosen);
  const { text, file, none } = snippet.make(of);
  const key = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (SNIPPETS.indexOf(snippet) + step + SNIPPETS.length) % SNIPPETS.length;
    setChosen(SNIPPETS[next].id);
    tabs.current.children[next].focus();
  };
  return html`<section class="card" aria-label="The request as code">
    <h2>The same request from elsewhere</h2>
    <div class="bar tight" role="tablist" aria-label="Language" ref=${tabs} onKeyDown=${key}>
      ${SNIPPETS.map(({ id, title }) => html`<button type="button" role="tab" key=${id} id=${`tab-${id}`} aria-selected=${String(id === chosen)} aria-controls="snippet" tabindex=${id === chosen ? 0 : -1} onClick=${() => setChosen(id)}>${title}</button>`)}
    </div>
    <div id="snippet" role="tabpanel" aria-labelledby=${`tab-${chosen}`}>
      ${none
        ? html`<p class="muted">${none}</p>`
        : html`<pre class="code" tabindex="0" aria-label=${snippet.title}><code>${text}</code></pre>
          <div class="bar tight"><${CopyButton} key=${chosen} text=${text} />
          ${file && html`<${SaveLink} file=${file.blob ? { name: file.name, blob: binary } : file} /> <span class="note">The request is in this file; run the command where it is.</span>`}</div>`}
    </div>
  </section>`;
}
