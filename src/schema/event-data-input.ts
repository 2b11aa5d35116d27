import { isTooNested, MAX_DATA_BYTES, rememberData, TOO_NESTED, tooLarge } from '../events/event-data.ts';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE } from '../lib/json-numbers.ts';
import type { OperationWork } from '../lib/operation-work.ts';

type EncodedData =
  | { readonly data: Buffer; readonly problem?: never }
  | { readonly data?: never; readonly problem: string };

/** By the value: an operation can name one variable in many of its fields. */
const encoded = new WeakMap<object, Promise<EncodedData>>();

type Compute = OperationWork['compute'];

/** A value of GraphQL as the bytes of an event's data, or why it cannot be one. It is neither written nor checked twice. */
export async function encodeEventData(compute: Compute, given: unknown): Promise<EncodedData> {
  if (typeof given !== 'object' || given === null) return encode(compute, given);
  const known = encoded.get(given);
  if (known !== undefined) return known;
  const result = encode(compute, given);
  encoded.set(given, result);
  return result;
}

/** In two pieces: each can take 50 ms. */
async function encode(compute: Compute, given: unknown): Promise<EncodedData> {
  if (!(await compute(() => hasOnlyFiniteNumbers(given)))) return { problem: NUMBER_TOO_LARGE };
  return compute(() => write(given));
}

function write(given: unknown): EncodedData {
  const json = stringify(given);
  if (json === undefined || isTooNested(json)) return { problem: TOO_NESTED };
  const length = Buffer.byteLength(json);
  if (length > MAX_DATA_BYTES) return { problem: tooLarge({ length }) };
  const data = Buffer.from(json);
  rememberData(data, given);
  return { data };
}

/** Undefined if the value is nested so deep that V8 cannot write it. */
function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
