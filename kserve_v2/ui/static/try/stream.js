// Server-sent events of `generate_stream`, each as it comes.

import { ask } from "../api.js";
import { parseJson } from "../json.js";

export async function* events(path, body, signal) {
  const answer = await ask(path, { method: "POST", body, headers: { "content-type": "application/json" }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      waiting += value;
      const texts = waiting.split("\n\n");
      waiting = texts.pop();
      for (const text of texts) {
        const data = text.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
        if (data) yield parseJson(data);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
