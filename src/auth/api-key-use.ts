import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { Batcher } from '../postgres/batcher.ts';
import { noteApiKeyUse } from './note-api-key-use.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { InFlight } from '../lib/in-flight.ts';

const MAX_PER_STATEMENT = 1_000;
const ONCE_IN_MS = 60_000;

export type ApiKeyUse = {
  readonly note: (id: string) => void;
  /** Resolves when everything is written. */
  readonly settled: () => Promise<void>;
};

/** Writes when keys were last used: for each at most once a minute, beside the requests, many in one statement. */
export function createApiKeyUse(db: Queryable, log: Logger): ApiKeyUse {
  const noted = new LRUCache<string, true>({ max: 10_000, ttl: ONCE_IN_MS });
  const batcher = new Batcher<string, undefined>({
    maxItems: MAX_PER_STATEMENT,
    write: async (ids) => {
      await noteApiKeyUse(db, ids);
      return ids.map(() => undefined);
    },
  });
  const writing = new InFlight();
  const note = (id: string) => {
    if (noted.has(id)) return;
    noted.set(id, true);
    writing.track(batcher.add(id)).catch((error: unknown) => {
      // Written with the next use.
      noted.delete(id);
      log.warn({ err: error, credentialId: id }, 'when an API key was last used could not be written');
    });
  };
  return { note, settled: () => writing.settled() };
}
