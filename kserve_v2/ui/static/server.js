// Whether the server is there, asked every few seconds while the page is looked at.

import { AWAY_EVENT, getJson } from "./api.js";
import { useEffect, useState } from "./dom.js";

const EVERY_MS = 5000;
const WHEN_AWAY_MS = 1000;

// {server, state, generation}; `state`: unknown, ready, unready or away.
export function useServer() {
  const [known, setKnown] = useState({ server: null, state: "unknown", generation: 0 });
  useEffect(() => {
    let timer = 0;
    let asking = false;
    let ended = false;
    async function look() {
      clearTimeout(timer);
      if (asking || ended) return;
      asking = true;
      let away = false;
      try {
        const server = await getJson("ui/server");
        setKnown((last) => ({
          server,
          state: server.ready ? "ready" : "unready",
          generation: last.generation + (last.state === "away" ? 1 : 0),
        }));
      } catch {
        away = true;
        setKnown((last) => ({ ...last, state: "away" }));
      }
      asking = false;
      if (!ended && !document.hidden) timer = setTimeout(look, away ? WHEN_AWAY_MS : EVERY_MS);
    }
    const seen = () => !document.hidden && look();
    document.addEventListener("visibilitychange", seen);
    window.addEventListener(AWAY_EVENT, look);
    look();
    return () => {
      ended = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      window.removeEventListener(AWAY_EVENT, look);
    };
  }, []);
  return known;
}
