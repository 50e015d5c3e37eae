// A style sheet that only some panels need, fetched when one of them is looked at.

export function useSheet(...paths) {
  for (const path of paths) {
    if (document.head.querySelector(`link[href="${path}"]`)) continue;
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = path;
    document.head.append(link);
  }
}
