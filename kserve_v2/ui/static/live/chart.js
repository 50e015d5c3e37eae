// A chart of the last minutes, with its numbers in words: those who do not see it miss nothing.

import { html, useEffect, useRef } from "../dom.js";
import uPlot from "../vendor/uplot.js";

const HEIGHT = 150;
const COLOURS = ["--series-1", "--series-2", "--series-3", "--series-4"];

// Looked up with each drawing, so that a change of colours is seen.
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const timeOfDay = (seconds) => new Date(1000 * seconds).toLocaleTimeString([], { hour12: false });

function make(element, series, top) {
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  return new uPlot({
    width: element.clientWidth || 400,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(top, high * 1.05)] } },
    axes: [{ ...axis, space: 90, size: 32, values: (_, times) => times.map(timeOfDay) }, { ...axis, size: 58 }],
    series: [{}, ...series.map((_, index) => ({ stroke: colour(COLOURS[index]), width: 2, dash: index ? [8, 2 + 3 * index] : [], points: { show: false } }))],
  }, [[], ...series.map(() => [])], element);
}

const last = (values) => values.findLast((value) => value !== null && value !== undefined);

function summary(title, series, points, shown) {
  const parts = series.map(({ name, value }) => {
    const values = points.map(value).filter((each) => each !== null && each !== undefined);
    if (!values.length) return `${name}: nothing`;
    return `${name}: now ${shown(values.at(-1))}, from ${shown(Math.min(...values))} to ${shown(Math.max(...values))}`;
  });
  return `${title}. ${parts.join("; ")}.`;
}

// `series`: [{name, value(document)}]; `shown` makes a text of a number; `top`: what the axis shows at least.
export function Chart({ title, series, documents, shown, top = 1 }) {
  const place = useRef(null);
  const chart = useRef(null);
  useEffect(() => {
    const made = make(place.current, series, top);
    chart.current = made;
    const watcher = new ResizeObserver(([entry]) => made.setSize({ width: Math.max(120, entry.contentRect.width), height: HEIGHT }));
    watcher.observe(place.current);
    return () => {
      watcher.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    const times = documents.map((each) => each.time);
    chart.current?.setData([times, ...series.map(({ value }) => documents.map((each) => value(each) ?? null))]);
  }, [documents]);
  return html`<figure class="card chart">
    <figcaption><h2>${title}</h2>
      <ul class="legend">${series.map(({ name, value }, index) => {
        const now = last(documents.map(value));
        return html`<li key=${name}><span class=${`line line-${index + 1}`} aria-hidden="true"></span>${name} <b>${now === undefined ? "–" : shown(now)}</b></li>`;
      })}</ul>
    </figcaption>
    <div ref=${place} role="img" aria-label=${summary(title, series, documents, shown)}></div>
  </figure>`;
}
