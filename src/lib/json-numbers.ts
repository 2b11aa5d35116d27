/**
 * Whether every number in a value survives being written as JSON. `1e400` is valid JSON and valid GraphQL, is read as
 * Infinity, and would be written as null. Not recursive: a request can nest values deeper than the stack.
 */
export function hasOnlyFiniteNumbers(value: unknown): boolean {
  const left: unknown[] = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next === 'number' && !Number.isFinite(next)) return false;
    if (typeof next !== 'object' || next === null) continue;
    if (Array.isArray(next)) for (const element of next) left.push(element);
    // Half as long as Object.values, which takes 80 ms for 90,000 names. `as`: members of an object may be anything.
    else for (const name in next) left.push((next as Readonly<Record<string, unknown>>)[name]);
  }
  return true;
}

/** Goes on after the name of the value. */
export const NUMBER_TOO_LARGE = 'must not have numbers beyond those of a double';
