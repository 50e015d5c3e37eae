// Pictures of the camera: one when asked for, or again and again.

import { html, useCallback, useEffect, useRef, useState } from "../dom.js";

const EVERY_MS = 250;

// Browsers hand out cameras and microphones only where nobody on the way can listen.
export const NOT_SECURE = "Browsers allow this only over HTTPS, or from the same machine as http://localhost.";

export function CameraSource({ name, live, onPicture }) {
  const video = useRef(null);
  const [problem, setProblem] = useState("");
  const [ready, setReady] = useState(false);

  useEffect(() => {
    if (!navigator.mediaDevices) {
      setProblem(NOT_SECURE);
      return undefined;
    }
    let stream = null;
    let left = false;
    const stop = () => stream?.getTracks().forEach((track) => track.stop());
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then(
      (found) => {
        stream = found;
        if (left) stop();
        else video.current.srcObject = found;
      },
      (error) => setProblem(`The camera cannot be used: ${error.message}`),
    );
    return () => { left = true; stop(); };
  }, []);

  const take = useCallback(() => {
    const { videoWidth: width, videoHeight: height } = video.current;
    if (!width) return;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    context.drawImage(video.current, 0, 0);
    onPicture(context.getImageData(0, 0, width, height), "camera");
  }, [onPicture]);

  useEffect(() => {
    if (!live || !ready) return undefined;
    const timer = setInterval(take, EVERY_MS);
    return () => clearInterval(timer);
  }, [live, ready, take]);

  if (problem) return html`<p class="note bad" role="alert">${problem}</p>`;
  return html`<div>
    <video class="sheet" ref=${video} autoplay muted playsinline aria-label=${`${name}: what the camera sees`} onLoadedData=${() => setReady(true)}></video>
    <div class="bar tight"><button type="button" disabled=${!ready} onClick=${take}>Take a picture</button></div>
  </div>`;
}
