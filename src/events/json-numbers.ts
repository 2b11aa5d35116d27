/**
 * Whether every number in a value survives being written as JSON. `1e400` is valid JSON and valid GraphQL, is read as
 * Infinity, and would be written as null. Not recursive: a request can nest values deeper than the stack.
 */
export function hasOnlyFiniteNumbers(value: unknown): boolean {
  const left: unknown[] = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next === 'number' && !Number.isFinite(next)) return false;
    if (typeof next === 'object' && next !== null) for (const member of Object.values(next)) left.push(member);
  }
  return true;
}

/** Goes on after the name of the value. */
export const NUMBER_TOO_LARGE = 'must not have numbers beyond those of a double';
