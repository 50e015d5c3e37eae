// The names of the models, for those who choose one of them.

import { getJson } from "./api.js";
import { useEffect, useState } from "./dom.js";

// {names, problem}; `names`: [{name, ready}], null before the first answer.
export function useNames(generation) {
  const [found, setFound] = useState({ names: null, problem: "" });
  useEffect(() => {
    let wanted = true;
    getJson("ui/models").then(
      (models) => {
        const ready = new Map();
        for (const { name, state } of models) ready.set(name, ready.get(name) || state === "READY");
        if (wanted) setFound({ names: [...ready].map(([name, isReady]) => ({ name, ready: isReady })), problem: "" });
      },
      (error) => wanted && setFound((last) => ({ ...last, problem: error.message })),
    );
    return () => { wanted = false; };
  }, [generation]);
  return found;
}
