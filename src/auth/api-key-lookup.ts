import { LRUCache } from 'lru-cache';
import { Batcher } from '../postgres/batcher.ts';
import { type FoundApiKey, findApiKeys } from './find-api-keys.ts';
import type { Queryable } from '../postgres/transaction.ts';
import { hashApiKey } from './api-key-secret.ts';
import type { Viewer } from './viewer.ts';

const MAX_REMEMBERED = 10_000;
/** A revocation is announced; this is how long one that got lost on the way could last. */
const MAX_AGE_MS = 5_000;
const MAX_PER_STATEMENT = 100;

/**
 * Whose an API key is, remembered for 5 s, also that it is nobody's. Keys that are not known are looked up together, in
 * one statement at a time: a flood of invented ones costs no more than one connection.
 */
export class ApiKeyLookup {
  readonly #batcher: Batcher<Buffer, Viewer | undefined>;
  // Promises, so that a look-up during which keys are revoked is forgotten together with its result.
  readonly #remembered = new LRUCache<string, Promise<Viewer | undefined>>({ max: MAX_REMEMBERED, ttl: MAX_AGE_MS });

  constructor(db: Queryable) {
    this.#batcher = new Batcher({
      maxItems: MAX_PER_STATEMENT,
      write: async (hashes) => match(hashes, await findApiKeys(db, hashes)),
    });
  }

  find(key: string): Promise<Viewer | undefined> {
    const hash = hashApiKey(key);
    const name = hash.toString('base64');
    const remembered = this.#remembered.get(name);
    if (remembered !== undefined) return remembered;
    const found = this.#batcher.add(hash);
    this.#remembered.set(name, found);
    found.catch(() => {
      if (this.#remembered.peek(name) === found) this.#remembered.delete(name);
    });
    return found;
  }

  forgetAll(): void {
    this.#remembered.clear();
  }
}

function match(hashes: readonly Buffer[], found: readonly FoundApiKey[]): (Viewer | undefined)[] {
  const viewers = new Map(found.map((row) => [row.keyHash.toString('base64'), viewerOf(row)]));
  return hashes.map((hash) => viewers.get(hash.toString('base64')));
}

function viewerOf({ id, scope, tenant }: FoundApiKey): Viewer | undefined {
  switch (scope) {
    case 'ADMIN':
      return { scope, credentialId: id };
    case 'PUBLISH':
      return { scope, tenant: tenant ?? undefined, credentialId: id };
    case 'TENANT_READ':
    case 'TENANT_WRITE':
      return tenant === null ? undefined : { scope, tenant, credentialId: id };
  }
}
