import { nestingOf } from './json-nesting.ts';

/** The limit of an event's data: 1 MiB. */
export const MAX_DATA_BYTES = 1024 * 1024;
/** Most who read JSON do so recursively, and end somewhere beyond this. */
const MAX_NESTING = 1_000;

/** `message` goes on after "the data". */
type DataProblem = { readonly reason: 'TOO_LARGE' | 'INVALID_JSON'; readonly message: string };

/** Why these bytes cannot be an event's data; undefined if they can. */
export function problemOfData(data: Buffer): DataProblem | undefined {
  if (data.length > MAX_DATA_BYTES) return { reason: 'TOO_LARGE', message: tooLarge(data) };
  const message = problemOfJson(data);
  return message === undefined ? undefined : { reason: 'INVALID_JSON', message };
}

export function tooLarge({ length }: Buffer): string {
  return `has ${length} bytes, at most ${MAX_DATA_BYTES} are accepted`;
}

export const TOO_NESTED = `is nested deeper than ${MAX_NESTING} levels`;

function problemOfJson(data: Buffer): string | undefined {
  if (data.length === 0) return 'is empty';
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    JSON.parse(text);
    return nestingOf(text) > MAX_NESTING ? TOO_NESTED : undefined;
  } catch (error) {
    // V8 quotes the offending text; the publisher has it, and a log must not.
    return error instanceof SyntaxError ? 'is not JSON' : 'is not UTF-8';
  }
}
