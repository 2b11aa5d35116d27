import { readEventData, readEventDataSizes } from '../events/store.ts';
import { batched } from '../lib/batched.ts';
import { type OperationWork, TooManyBytesError } from '../lib/operation-work.ts';
import type { Database } from '../postgres/client.ts';

/** A JSON value as text, which is written into an answer unchanged. */
export class JsonText {
  readonly text: string;

  /** Throws a SyntaxError for invalid JSON, because an error during the writing of the answer could not be reported. */
  constructor(text: string) {
    JSON.parse(text);
    this.text = text;
  }

  /** Called by JSON.stringify. */
  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/** Reads the data of an event by row id. Rejects with a TooManyBytesError if it exceeds the operation's budget of bytes. */
export type EventData = {
  readonly text: (eventRowId: string) => Promise<string>;
  readonly json: (eventRowId: string) => Promise<JsonText>;
  /** The size of the text in bytes. Does not count against the budget. */
  readonly sizeBytes: (eventRowId: string) => Promise<number>;
  /** Stores the data of an event that this operation has just written, so that it need not be read. */
  readonly remember: (eventRowId: string, data: Buffer) => void;
  /** Forgets everything, for the next value of a live stream. */
  readonly renew: () => void;
};

export function createEventData(
  { readPool }: Pick<Database, 'readPool'>,
  { tryTakeBytes, compute }: Pick<OperationWork, 'tryTakeBytes' | 'compute'>,
): EventData {
  const load = batched<null, string | TooManyBytesError>(async (ids) => {
    const sizes = await readEventDataSizes(readPool, ids);
    const admitted = ids.filter((id) => tryTakeBytes(sizes.get(id) ?? 0));
    const data = await readEventData(readPool, admitted);
    const answerOf = (id: string) => {
      const text = data.get(id)?.toString('utf8');
      return text ?? new TooManyBytesError();
    };
    return new Map(ids.filter((id) => sizes.has(id)).map((id) => [id, answerOf(id)]));
  });
  const written = new Map<string, Buffer>();
  const text = async (eventRowId: string) => {
    const data = written.get(eventRowId);
    if (data !== undefined && tryTakeBytes(data.length)) return data.toString('utf8');
    const answer = await load(eventRowId, null);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  // Once for each event, because an operation can request the same data under many aliases.
  const jsons = new Map<string, Promise<JsonText>>();
  const parse = async (eventRowId: string) => {
    const data = await text(eventRowId);
    return compute(() => new JsonText(data));
  };
  const loadSize = batched((ids) => readEventDataSizes(readPool, ids));
  return {
    text,
    json: (eventRowId) => {
      const json = jsons.get(eventRowId) ?? parse(eventRowId);
      jsons.set(eventRowId, json);
      return json;
    },
    sizeBytes: async (eventRowId) => written.get(eventRowId)?.length ?? loadSize(eventRowId, null),
    remember: (eventRowId, data) => {
      written.set(eventRowId, data);
    },
    renew: () => {
      written.clear();
      jsons.clear();
    },
  };
}
