import { nestingOf } from '../lib/json-scan.ts';

/** The limit of an event's data: 1 MiB. */
export const MAX_DATA_BYTES = 1024 * 1024;
/** Most programs that read JSON do so recursively, and end somewhere beyond this. */
const MAX_NESTING = 1_000;

/** `message` goes on after "the data". */
type DataProblem = { readonly reason: 'TOO_LARGE' | 'INVALID_JSON'; readonly message: string };

/** Why these bytes cannot be an event's data; undefined if they can. Data that can is not parsed again, see `parseData`. */
export function problemOfData(data: Buffer): DataProblem | undefined {
  if (data.length > MAX_DATA_BYTES) return { reason: 'TOO_LARGE', message: tooLarge(data) };
  const message = problemOfJson(data);
  return message === undefined ? undefined : { reason: 'INVALID_JSON', message };
}

export function tooLarge({ length }: Pick<Buffer, 'length'>): string {
  return `has ${length} bytes, at most ${MAX_DATA_BYTES} are accepted`;
}

export const TOO_NESTED = `is nested deeper than ${MAX_NESTING} levels`;

/** Whether a JSON text is nested deeper than an event's data may be, inside so many levels of an envelope. */
export function isTooNested(json: string, envelopeLevels = 0): boolean {
  const max = MAX_NESTING + envelopeLevels;
  return nestingOf(json, max) > max;
}

/** Parsed values by their bytes; each lives as long as the batch of events that is being dispatched. */
const parsed = new WeakMap<Buffer, { readonly value: unknown }>();

/** The value of an event's data, of which `problemOfData` has found that it is JSON. Parsed once for the same bytes. */
export function parseData(data: Buffer): unknown {
  const known = parsed.get(data);
  if (known !== undefined) return known.value;
  const value: unknown = JSON.parse(data.toString());
  rememberData(data, value);
  return value;
}

/** For bytes that were made of this value, or that it was read from: they need not be parsed again. */
export function rememberData(data: Buffer, value: unknown): void {
  parsed.set(data, { value });
}

function problemOfJson(data: Buffer): string | undefined {
  if (parsed.has(data)) return undefined;
  if (data.length === 0) return 'is empty';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    // Before it is parsed: a megabyte of brackets takes 0.1 s to parse.
    if (isTooNested(text)) return TOO_NESTED;
    rememberData(data, JSON.parse(text));
    return undefined;
  } catch (error) {
    // V8 quotes the offending text; the publisher has it, and a log must not.
    return error instanceof SyntaxError ? 'is not JSON' : 'is not UTF-8';
  }
}
