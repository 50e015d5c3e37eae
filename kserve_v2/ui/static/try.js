// Try it: a request to a model, made by hand, and what comes of it.

import { getJson, modelPath, segment } from "./api.js";
import { html, useEffect, useMemo, useState } from "./dom.js";
import { useNames } from "./names.js";
import { Workbench } from "./try/workbench.js";

// What the form is made from, and the sample request that lies beside the model.
function useForm(name, version, generation) {
  const [found, setFound] = useState({});
  useEffect(() => {
    if (!name) return undefined;
    let wanted = true;
    setFound((last) => (last.key === `${name}/${version}` ? last : {}));
    const form = getJson(`ui/${modelPath(name, version)}`);
    // Most models have none, which is no error.
    const sample = form.then((known) => (known.has_sample ? getJson(`ui/${modelPath(name)}/sample`).catch((error) => ({ problem: error.message })) : null));
    Promise.all([form, sample]).then(
      ([made, request]) => wanted && setFound({ key: `${name}/${version}`, form: made, sample: request?.problem ? null : request, problem: request?.problem ?? "" }),
      (error) => wanted && setFound((last) => ({ ...last, problem: error.message })),
    );
    return () => { wanted = false; };
  }, [name, version, generation]);
  return found;
}

export default function TryIt({ parts, server, generation }) {
  const { names, problem: namesProblem } = useNames(generation);
  const first = useMemo(() => names?.find(({ ready }) => ready)?.name, [names]);
  const [name = first, version = ""] = parts;
  const { form, sample, key, problem } = useForm(name, version, generation);
  const go = (newName, newVersion = "") => { location.hash = `#/try/${segment(newName)}${newVersion ? `/${segment(newVersion)}` : ""}`; };
  if (!names && !name) return namesProblem ? html`<div class="notice error" role="alert">${namesProblem}</div>` : html`<p class="muted">Loading…</p>`;
  if (!name) return html`<p>No model is ready. <a href="#/models">See why</a>.</p>`;
  const listed = names ?? [];
  const all = listed.some((each) => each.name === name) ? listed : [{ name, ready: true }, ...listed];
  const versions = form ? [...form.versions, ...Object.keys(form.labels ?? {})] : [];
  const shown = form && key === `${name}/${version}`;
  // Another form is filled in anew, also of the same model.
  const formKey = shown && JSON.stringify([key, form.inputs, form.outputs, form.max_batch_size]);
  return html`
    <div class="bar">
      <label>Model <select value=${name} onChange=${(event) => go(event.target.value)}>${all.map((each) => html`<option key=${each.name} value=${each.name}>${each.name}${each.ready ? "" : " (not loaded)"}</option>`)}</select></label>
      ${shown && (versions.length > 1 || version) && html`<label>Version <select value=${version} onChange=${(event) => go(name, event.target.value)}><option value="">the one that answers</option>${versions.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>`}
    </div>
    ${problem && html`<div class="notice error" role="alert">${problem}</div>`}
    ${problem && !form && html`<p>Its state is among the <a href="#/models">models</a>.</p>`}
    ${shown && html`<${Workbench} key=${formKey} form=${form} sample=${sample} version=${version} server=${server} />`}
    ${!shown && !problem && html`<p class="muted">Loading…</p>`}`;
}
