// JSON as the server writes it: integers of 64 bits, which JavaScript's numbers cannot hold, and the bare literals NaN
// and Infinity, which JSON does not have.

const LITERALS = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g;
const MARK = "\u0000literal:";

export function parseJson(text) {
  try {
    return JSON.parse(text, revive);
  } catch (error) {
    const replaced = text.replace(LITERALS, (found) => (found[0] === '"' ? found : `"\\u0000literal:${found}"`));
    if (replaced === text) throw error;
    return JSON.parse(replaced, revive);
  }
}

function revive(_key, value, context) {
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    const source = context?.source;
    return source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
  }
  if (typeof value === "string" && value.startsWith(MARK)) return Number(value.slice(MARK.length));
  return value;
}

export function writeJson(value, indent = 0, depth = 0) {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return Number.isFinite(value) ? JSON.stringify(value) : String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const open = indent ? `\n${" ".repeat(indent * (depth + 1))}` : "";
  const close = indent ? `\n${" ".repeat(indent * depth)}` : "";
  const comma = indent ? "," : ", ";
  if (Array.isArray(value)) {
    // Lists of plain values stay on one line.
    const flat = value.every((each) => each === null || typeof each !== "object");
    const items = value.map((each) => writeJson(each, flat ? 0 : indent, depth + 1));
    if (flat) return `[${items.join(", ")}]`;
    return items.length ? `[${open}${items.join(`${comma}${open}`)}${close}]` : "[]";
  }
  const members = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .map(([name, each]) => `${JSON.stringify(name)}: ${writeJson(each, indent, depth + 1)}`);
  return members.length ? `{${open}${members.join(`${comma}${open}`)}${close}}` : "{}";
}
