// An input that is a sound: a file or the microphone, as samples of one channel.

import { html, useEffect, useRef, useState } from "../dom.js";
import { count } from "../format.js";
import { NOT_SECURE } from "./camera.js";
import { fitShape } from "./tensors.js";

const USUAL_RATE = 16000;

// The samples of a sound in any format that the browser reads, at a rate, mixed to one channel.
async function samplesOf(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  // Decoding resamples to the context's rate.
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((value, at) => { mixed[at] += value / sound.numberOfChannels; });
  }
  return mixed;
}

// How often the recorder hands over what it has heard.
const PIECE_MS = 200;

const asData = (samples, datatype) =>
  Array.from(samples, (value) => (datatype === "INT16" ? Math.max(-32768, Math.min(32767, Math.round(value * 32768))) : Number(value.toFixed(5))));

export function AudioEditor({ input, sample, onTensor }) {
  const [rate, setRate] = useState(USUAL_RATE);
  const [blob, setBlob] = useState(null);
  const [recorder, setRecorder] = useState(null);
  const [note, setNote] = useState({ text: sample ? "The sample of the model." : "" });
  const [address, setAddress] = useState("");
  const file = useRef(null);

  useEffect(() => { onTensor(sample ?? new Error("choose a sound file, or record one")); }, []);

  useEffect(() => {
    if (!blob) return undefined;
    let wanted = true;
    const url = URL.createObjectURL(blob);
    setAddress(url);
    samplesOf(blob, rate).then(
      (samples) => {
        if (!wanted) return;
        setNote({ text: `${count(samples.length)} samples, ${(samples.length / rate).toFixed(2)} s` });
        onTensor({ shape: fitShape([samples.length], input.shape), data: asData(samples, input.datatype) });
      },
      () => {
        const error = new Error("the browser cannot read this as a sound");
        setNote({ text: error.message, bad: true });
        onTensor(error);
      },
    );
    return () => { wanted = false; URL.revokeObjectURL(url); };
  }, [blob, rate]);

  const record = async () => {
    if (recorder) {
      recorder.stop();
      return;
    }
    if (!navigator.mediaDevices) {
      setNote({ text: NOT_SECURE, bad: true });
      return;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const made = new MediaRecorder(stream);
      const parts = [];
      made.ondataavailable = (event) => {
        if (!event.data.size) return;
        parts.push(event.data);
        if (made.state === "recording") setNote({ text: "Recording: there is sound." });
      };
      made.onstop = () => {
        stream.getTracks().forEach((track) => track.stop());
        setRecorder(null);
        if (parts.length) setBlob(new Blob(parts, { type: made.mimeType }));
        else setNote({ text: "Nothing was recorded: record for a little longer.", bad: true });
      };
      made.start(PIECE_MS);
      setRecorder(made);
      setNote({ text: "Recording: waiting for the microphone." });
    } catch (error) {
      setNote({ text: `The microphone cannot be used: ${error.message}`, bad: true });
    }
  };
  return html`
    <div class="bar tight">
      <input ref=${file} type="file" accept="audio/*,video/*" aria-label=${`${input.name}: sound file`} onChange=${(event) => event.target.files[0] && setBlob(event.target.files[0])} />
      <button type="button" aria-pressed=${String(Boolean(recorder))} onClick=${record}>${recorder ? "Stop recording" : "Record"}</button>
      <label>Samples per second <input type="number" min="8000" max="96000" value=${rate} onChange=${(event) => setRate(Math.max(8000, Math.min(96000, Math.round(Number(event.target.value)) || USUAL_RATE)))} /></label>
    </div>
    ${address && html`<audio controls src=${address}></audio>`}
    <p class=${note.bad ? "note bad" : "note"} role="status">${note.text}</p>`;
}
