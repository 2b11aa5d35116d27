import type { Database } from '../postgres/client.ts';
import { readEventData, sizesOfEventData } from '../events/stored-event-data.ts';
import { batched } from './batched.ts';
import { type OperationWork, TooManyBytesError } from '../lib/operation-work.ts';

/** A JSON value as its text, which an answer can have as it is. */
export class JsonText {
  readonly text: string;

  /** Throws a SyntaxError for a text that is not JSON: while an answer is being written, it would be too late. */
  constructor(text: string) {
    JSON.parse(text);
    this.text = text;
  }

  /** For JSON.stringify. */
  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/** Reads the data of events, by their rows' ids; rejects with LIMIT_EXCEEDED for what the operation has no room for. */
export type EventData = (eventRowId: string) => Promise<JsonText>;

export function createEventData(
  { readPool }: Pick<Database, 'readPool'>,
  { tryTakeBytes }: Pick<OperationWork, 'tryTakeBytes'>,
): EventData {
  const load = batched<null, string | TooManyBytesError>(async (ids) => {
    const sizes = await sizesOfEventData(readPool, ids);
    const admitted = ids.filter((id) => tryTakeBytes(sizes.get(id) ?? 0));
    const data = await readEventData(readPool, admitted);
    const answerOf = (id: string) => {
      const text = data.get(id)?.toString('utf8');
      return text ?? new TooManyBytesError();
    };
    return new Map(ids.filter((id) => sizes.has(id)).map((id) => [id, answerOf(id)]));
  });
  return async (eventRowId) => {
    const answer = await load(eventRowId, null);
    if (answer instanceof Error) throw answer;
    return new JsonText(answer);
  };
}
