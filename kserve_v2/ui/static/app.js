// The frame of the page: navigation, theme, and whether the server is there.

import { html, render, useCallback, useEffect, useErrorBoundary, useRef, useState } from "./dom.js";
import { panels } from "./panels.js";
import { useServer } from "./server.js";

function readRoute() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decoded);
  const panel = panels.find((each) => each.id === parts[0]) ?? panels[0];
  return { panel, parts: parts[0] === panel.id ? parts.slice(1) : [] };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function useRoute() {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const read = () => setRoute(readRoute());
    window.addEventListener("hashchange", read);
    return () => window.removeEventListener("hashchange", read);
  }, []);
  return route;
}

// The component of a panel, once its module is there.
function usePanel(panel) {
  const [loaded, setLoaded] = useState({});
  const found = loaded.id === panel.id ? loaded : {};
  useEffect(() => {
    let wanted = true;
    panel.load().then(
      (module) => wanted && setLoaded({ id: panel.id, Component: module.default }),
      () => wanted && setLoaded({ id: panel.id, failed: true }),
    );
    return () => { wanted = false; };
  }, [panel]);
  return found;
}

const THEMES = { auto: "System colours", light: "Light", dark: "Dark" };

function ThemeButton() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto");
  const next = useCallback(() => {
    const names = Object.keys(THEMES);
    const chosen = names[(names.indexOf(theme) + 1) % names.length];
    setTheme(chosen);
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem("kserve-v2.theme", chosen);
    } catch {
      // It holds until the page is left.
    }
  }, [theme]);
  return html`<button class="quiet" type="button" onClick=${next} title="Change the colours">${THEMES[theme]}</button>`;
}

function ServerState({ state, server }) {
  const texts = { ready: "ready", unready: "not ready", away: "does not answer", unknown: "…" };
  return html`<p class="server-state" role="status">
    <span class=${`dot ${state}`} aria-hidden="true"></span>
    ${server ? `${server.name} ${server.version}` : "server"}: ${texts[state]}
  </p>`;
}

// A defect of a panel is told, and leaves the rest of the page as it is.
function Guarded({ Component, ...props }) {
  const [error, retry] = useErrorBoundary((defect) => console.error(defect));
  if (!error) return html`<${Component} ...${props} />`;
  return html`<div class="notice error" role="alert">This panel has failed: ${String(error.message ?? error)}
    <button type="button" onClick=${retry}>Try again</button></div>`;
}

function App() {
  const { panel, parts } = useRoute();
  const { server, state, generation } = useServer();
  const { Component, failed } = usePanel(panel);
  const heading = useRef(null);
  const shown = useRef(panel.id);
  useEffect(() => {
    document.title = `${panel.title} · kserve-v2`;
    // Who reads with a screen reader is told where the link has led.
    if (shown.current !== panel.id) heading.current?.focus();
    shown.current = panel.id;
  }, [panel]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); heading.current?.focus(); }}>Skip to content</a>
    <header>
      <a class="brand" href="#/"><img src="ui/static/icon.svg" alt="" width="26" height="26" />kserve-v2</a>
      <nav aria-label="Panels"><ul>
        ${panels.map((each) => html`<li key=${each.id}><a href=${`#/${each.id}`} aria-current=${each === panel ? "page" : undefined}>${each.title}</a></li>`)}
        <li><a href="docs">API</a></li>
      </ul></nav>
      <${ServerState} state=${state} server=${server} />
      <${ThemeButton} />
    </header>
    ${state === "away" && html`<div class="notice error banner" role="alert">The server does not answer. This page asks again every second, and goes on when it is back.</div>`}
    <main id="main">
      <h1 ref=${heading} tabindex="-1">${panel.title}</h1>
      ${failed && html`<div class="notice error" role="alert">This part of the page could not be fetched from the server.
        <button type="button" onClick=${() => location.reload()}>Load the page again</button></div>`}
      ${Component ? html`<${Guarded} key=${panel.id} Component=${Component} parts=${parts} server=${server} generation=${generation} />` : !failed && html`<p class="muted">Loading…</p>`}
    </main>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
