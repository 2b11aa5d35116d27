/**
 * A naive implementation of the definition in docs/payload-filters.md. It has no limits and shares no code with the
 * program. Compares values by their JSON with sorted keys.
 */
export function evaluate(filter: unknown, data: unknown): boolean {
  const c = filter as Json;
  if (c === null || typeof c !== 'object' || Array.isArray(c)) return candidates(data).some((value) => same(value, c));
  const entries = Object.entries(c);
  const asksForFields = entries.some(([name]) => !name.startsWith('$'));
  if (asksForFields && Array.isArray(data)) {
    return data.some(
      (element) => typeof element === 'object' && element !== null && !Array.isArray(element) && evaluate(c, element),
    );
  }
  return entries.every(([name, operand]) =>
    name.startsWith('$') ? operator(name, operand, data) : evaluate(operand, member(data, name)),
  );
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const candidates = (value: unknown): unknown[] => [value, ...(Array.isArray(value) ? (value as unknown[]) : [])];

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value)).get(name)
    : undefined;

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_name, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort())
      : part,
  );

const same = (a: unknown, b: unknown): boolean => a !== undefined && canonical(a) === canonical(b);

function operator(name: string, operand: Json, data: unknown): boolean {
  const some = (test: (value: unknown) => boolean) => candidates(data).some(test);
  const ordered = (test: (sign: number) => boolean) =>
    some(
      (value) =>
        typeof value === typeof operand &&
        test([value, operand].sort(byValue)[0] === value ? (same(value, operand) ? 0 : -1) : 1),
    );
  const list = Array.isArray(operand) ? operand : [];
  if (name === '$eq') return some((value) => same(value, operand));
  if (name === '$ne') return !some((value) => same(value, operand));
  if (name === '$in') return list.some((entry) => some((value) => same(value, entry)));
  if (name === '$nin') return !list.some((entry) => some((value) => same(value, entry)));
  if (name === '$gt') return ordered((sign) => sign > 0);
  if (name === '$gte') return ordered((sign) => sign >= 0);
  if (name === '$lt') return ordered((sign) => sign < 0);
  if (name === '$lte') return ordered((sign) => sign <= 0);
  if (name === '$startsWith')
    return some(
      (value) => typeof value === 'string' && typeof operand === 'string' && value.slice(0, operand.length) === operand,
    );
  if (name === '$exists') return (data !== undefined) === operand;
  if (name === '$not') return !evaluate(operand, data);
  if (name === '$and') return list.filter((part) => !evaluate(part, data)).length === 0;
  if (name === '$or') return list.filter((part) => evaluate(part, data)).length > 0;
  throw new Error(`no operator ${name}`);
}

const byValue = (a: unknown, b: unknown): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1;

/** A random valid filter and random data, made of few names and values so that they match often. */
export function randomCase(seed: number): { readonly filter: unknown; readonly data: unknown } {
  const random = generator(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const scalar = () => pick<Json>([0, 1, 2, -1, 'a', 'ab', 'b', '', true, false, null]);
  const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);
  const name = () => pick(['a', 'b', 'c']);
  const value = (depth: number): Json => {
    const kind = random();
    if (depth === 0 || kind < 0.35) return scalar();
    if (kind < 0.6) return times(Math.floor(random() * 4), () => value(depth - 1));
    return Object.fromEntries(times(Math.floor(random() * 4), () => [name(), value(depth - 1)]));
  };
  const comparison = (): [string, Json] => {
    const operator = pick(['$eq', '$ne', '$gt', '$gte', '$lt', '$lte', '$in', '$nin', '$exists', '$startsWith']);
    if (operator === '$eq' || operator === '$ne') return [operator, value(2)];
    if (operator === '$in' || operator === '$nin') return [operator, times(1 + Math.floor(random() * 3), scalar)];
    if (operator === '$exists') return [operator, random() < 0.5];
    return [operator, operator === '$startsWith' || random() < 0.5 ? pick(['', 'a', 'ab', 'b']) : pick([0, 1, 2])];
  };
  const combination = (depth: number): [string, Json] => {
    const operator = pick(['$and', '$or', '$not']);
    const part = () => condition(depth - 1, true);
    return [operator, operator === '$not' ? part() : times(1 + Math.floor(random() * 2), part)];
  };
  const condition = (depth: number, mustBeObject = false): Json => {
    const kind = random();
    const count = 1 + Math.floor(random() * 2);
    if (!mustBeObject && kind < 0.2) return random() < 0.7 ? scalar() : times(2, scalar);
    if (depth === 0 || kind < 0.5) return Object.fromEntries(times(count, comparison));
    if (kind < 0.85) {
      const fields = times(count, (): [string, Json] => [name(), condition(depth - 1)]);
      return Object.fromEntries(random() < 0.2 ? [...fields, combination(depth)] : fields);
    }
    return Object.fromEntries([combination(depth)]);
  };
  return { filter: condition(3, true), data: value(4) };
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
