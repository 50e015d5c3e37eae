// Dark or light, before anything is drawn: what was chosen here last, or else what the system says.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("kserve-v2.theme");
  } catch {
    // Storage may be forbidden; then the system decides.
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
