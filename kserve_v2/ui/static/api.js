// Requests to the server. Addresses are relative, so that the page also works below a proxy's path.

import { parseJson } from "./json.js";

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// Told when the server does not answer, so that the page need not wait for its next look.
export const AWAY_EVENT = "kserve-v2:away";

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    window.dispatchEvent(new Event(AWAY_EVENT));
    throw new ApiError(0, "The server does not answer.");
  }
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

// The server's own text, which names what is wrong.
export async function errorOf(answer) {
  const text = await answer.text();
  let message = "";
  try {
    message = JSON.parse(text.replace(/^data: /, "")).error;
  } catch {
    // A proxy's page, perhaps.
  }
  return new ApiError(answer.status, typeof message === "string" && message ? message : `${answer.status} ${answer.statusText || "error"}`);
}

export const getJson = async (path, options) => parseJson(await (await ask(path, options)).text());

export const postJson = (path, value, options = {}) => ask(path, { method: "POST", body: JSON.stringify(value), ...options });

export const segment = (name) => encodeURIComponent(name);

export const modelPath = (name, version = "") => `models/${segment(name)}${version ? `/versions/${segment(version)}` : ""}`;
