// The panels of the page, in the order of its navigation. A panel is a module whose default export is a component; it is
// fetched when it is first looked at. Its props:
//   parts       what stands behind the panel's name in the address: of `#/try/digits` it is ["digits"]
//   server      what `GET /ui/server` says: name, version, ports, `may_not_load`; null before the first answer
//   generation  another number when the server has come back, so that everything is asked anew
export const panels = [
  { id: "models", title: "Models", load: () => import("./models.js") },
  { id: "try", title: "Try it", load: () => import("./try.js") },
  { id: "live", title: "Live", load: () => import("./live.js") },
  { id: "explain", title: "Explain", load: () => import("./explain.js") },
];
