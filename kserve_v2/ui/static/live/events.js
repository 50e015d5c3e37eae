// The server's events, while somebody looks: none are asked for while the page is hidden or paused.

import { AWAY_EVENT } from "../api.js";
import { useEffect, useState } from "../dom.js";

const KEPT = 150;
const AGAIN_MS = 1000;

// What has come, the oldest first; after a pause there is a gap. `state`: waiting, live, paused or away.
export function useEvents(path, paused, generation) {
  const [known, setKnown] = useState({ path, documents: [], state: "waiting" });
  const [hidden, setHidden] = useState(document.hidden);
  useEffect(() => {
    const look = () => setHidden(document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  const still = paused || hidden;
  useEffect(() => {
    setKnown((last) => ({ path, documents: last.path === path ? last.documents : [], state: still ? "paused" : "waiting" }));
    if (still) return undefined;
    let source = null;
    let timer = 0;
    function open() {
      source = new EventSource(path);
      source.onmessage = (event) => {
        const document = JSON.parse(event.data);
        setKnown((last) => ({ ...last, documents: [...last.documents.slice(1 - KEPT), document], state: "live" }));
      };
      source.onerror = () => {
        // The browser itself gives up on some errors, and waits ever longer after others.
        source.close();
        setKnown((last) => ({ ...last, state: "away" }));
        window.dispatchEvent(new Event(AWAY_EVENT));
        timer = setTimeout(open, AGAIN_MS);
      };
    }
    open();
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, [path, still, generation]);
  return known.path === path ? known : { path, documents: [], state: "waiting" };
}
