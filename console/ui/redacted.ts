const HIDDEN = '•••';
/** Deeper parts are hidden as a whole: this function and JSON.stringify are recursive. */
const MAX_DEPTH = 100;

/** JSON with the same members, whose values are hidden. */
export function redacted(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return HIDDEN;
  if (Array.isArray(value)) return value.map((element) => redacted(element, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, redacted(member, depth + 1)]));
}
