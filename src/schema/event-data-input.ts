import { problemOfData, TOO_NESTED } from '../events/event-data.ts';

/** What somebody gave as an event's data, as the bytes to record, or why it cannot be recorded (see problemOfData). */
export function encodeEventData(
  given: unknown,
): { readonly data: Buffer; readonly problem?: never } | { readonly data?: never; readonly problem: string } {
  const data = encode(given);
  if (data === undefined) return { problem: TOO_NESTED };
  const problem = problemOfData(data);
  return problem === undefined ? { data } : { problem: problem.message };
}

/** Undefined if the data is nested so deep that V8 gives up writing it. */
function encode(data: unknown): Buffer | undefined {
  try {
    return Buffer.from(JSON.stringify(data));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
