import type { Database } from '../database/client.ts';
import { readEventData, sizesOfEventData } from '../database/event-data.ts';
import { DomainError } from '../domain-error.ts';
import { batched } from './batched.ts';

/** Of what resolvers ask for together: as JSON it takes several times as much memory. */
const MAX_BYTES = 16 * 1024 * 1024;

class TooMuchDataError extends DomainError {
  readonly code = 'LIMIT_EXCEEDED';

  constructor() {
    super(`the data of these events is more than ${MAX_BYTES} bytes in all; ask for fewer at a time`);
  }
}

/** Reads the data of events, by their rows' ids; rejects with LIMIT_EXCEEDED beyond 16 MiB of what is asked for together. */
export type EventData = (eventRowId: string) => Promise<Buffer>;

export function createEventData({ readPool }: Pick<Database, 'readPool'>): EventData {
  const load = batched<null, Buffer | TooMuchDataError>(async (ids) => {
    const sizes = await sizesOfEventData(readPool, ids);
    let left = MAX_BYTES;
    const admitted = ids.filter((id) => (left -= sizes.get(id) ?? 0) >= 0);
    const data = await readEventData(readPool, admitted);
    return new Map(ids.filter((id) => sizes.has(id)).map((id) => [id, data.get(id) ?? new TooMuchDataError()]));
  });
  return async (eventRowId) => {
    const answer = await load(eventRowId, null);
    if (answer instanceof Error) throw answer;
    return answer;
  };
}
