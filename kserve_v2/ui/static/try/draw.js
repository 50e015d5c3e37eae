// A sheet to draw on, with a mouse, a finger or a pen; or, without any, with the arrow keys while Space is held.

import { html, useCallback, useEffect, useRef } from "../dom.js";

const SIDE = 280;
const PEN = 24;
const KEY_STEP = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function DrawSource({ name, onPicture, onClear }) {
  const canvas = useRef(null);
  const pen = useRef(null);
  // The lines that were drawn, each a list of points.
  const strokes = useRef([]);
  // Of the keyboard: where it is, and whether it is down.
  const keys = useRef({ x: SIDE / 2, y: 20, down: false, drawing: false });

  const clear = useCallback(() => {
    const context = canvas.current.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, SIDE, SIDE);
    context.strokeStyle = "black";
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    strokes.current = [];
    onClear();
  }, [onClear]);
  useEffect(clear, []);

  const context = () => canvas.current.getContext("2d");
  const tell = () => onPicture(context().getImageData(0, 0, SIDE, SIDE), "draw", [...strokes.current]);
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };
  const line = (from, to, begins) => {
    if (begins) strokes.current.push([from]);
    strokes.current.at(-1).push(to);
    const drawing = context();
    drawing.beginPath();
    drawing.moveTo(...from);
    drawing.lineTo(...to);
    drawing.stroke();
    tell();
  };
  const down = (event) => {
    if (event.button !== 0) return;
    canvas.current.setPointerCapture(event.pointerId);
    pen.current = place(event);
    line(pen.current, pen.current, true);
  };
  const move = (event) => {
    if (!pen.current) return;
    const to = place(event);
    line(pen.current, to, false);
    pen.current = to;
  };
  const up = () => { pen.current = null; };
  const key = (event) => {
    const step = ARROWS[event.key];
    const state = keys.current;
    if (event.key === " ") {
      event.preventDefault();
      state.down = event.type === "keydown";
      state.drawing &&= state.down;
    } else if (step && event.type === "keydown") {
      event.preventDefault();
      const from = [state.x, state.y];
      state.x = Math.max(PEN / 2, Math.min(SIDE - PEN / 2, state.x + step[0] * KEY_STEP));
      state.y = Math.max(PEN / 2, Math.min(SIDE - PEN / 2, state.y + step[1] * KEY_STEP));
      if (state.down) {
        line(from, [state.x, state.y], !state.drawing);
        state.drawing = true;
      }
    }
  };
  return html`<div>
    <canvas class="sheet" ref=${canvas} width=${SIDE} height=${SIDE} tabindex="0" role="application" aria-label=${`${name}: drawing. Arrow keys move the pen; it draws while Space is held.`}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onKeyDown=${key} onKeyUp=${key}></canvas>
    <div class="bar tight"><button type="button" onClick=${clear}>Clear</button></div>
  </div>`;
}
