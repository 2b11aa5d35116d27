import { createHash, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { ApiKey, ApiKeyScope } from '../generated/prisma/client.ts';
import { atMost } from '../lib/collections.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { InFlight } from '../lib/in-flight.ts';
import { isUuid, uuid7 } from '../lib/uuid7.ts';
import { Batcher } from '../postgres/batcher.ts';
import { type Database, mutateWithPrisma, type Queryable } from '../postgres/client.ts';
import { problemOfTenant, type Viewer } from './viewer.ts';

/** The row, and the key itself, which cannot be read later. */
export type IssuedApiKey = { readonly apiKey: ApiKey; readonly key: string };

type Input = {
  readonly name: string;
  readonly scope: ApiKeyScope;
  readonly tenant?: string | null | undefined;
};

const MAX_NAME_LENGTH = 200;

/** Throws InvalidInputError. */
export async function issueApiKey(database: Database, { name, scope, tenant }: Input): Promise<IssuedApiKey> {
  const problems = problemsOfApiKey({ name, scope, tenant });
  if (problems.length > 0) throw new InvalidInputError(problems);
  const key = generateSecret('whk_');
  const id = uuid7(database.clock.now());
  const apiKey = await mutateWithPrisma(database, (transaction) =>
    transaction.apiKey.create({
      // A copy, because Prisma requires bytes in a buffer of their own.
      data: { id, name, scope, tenant: tenant ?? null, keyHash: new Uint8Array(hashApiKey(key)) },
    }),
  );
  return { apiKey, key };
}

/** Revoking a revoked key changes nothing. Throws NotFoundError. */
export async function revokeApiKey(database: Database, id: string): Promise<ApiKey> {
  if (!isUuid(id)) throw new NotFoundError('API key');
  const where = { id, kind: 'KEY' } as const;
  const revokedAt = new Date(database.clock.now());
  return mutateWithPrisma(database, async (transaction) => {
    await transaction.apiKey.updateMany({ where: { ...where, revokedAt: null }, data: { revokedAt } });
    const apiKey = await transaction.apiKey.findFirst({ where });
    if (apiKey === null) throw new NotFoundError('API key');
    return apiKey;
  });
}

function problemsOfApiKey({ name, scope, tenant }: Input): InputProblem[] {
  const problems: InputProblem[] = [];
  if (name.trim() === '' || name.length > MAX_NAME_LENGTH || /\p{Cc}/u.test(name)) {
    const message = `must be 1 to ${MAX_NAME_LENGTH} characters, none of them a control character`;
    problems.push({ path: 'name', message });
  }
  const problem = problemOfKeyTenant(scope, tenant);
  if (problem !== undefined) problems.push({ path: 'tenant', message: problem });
  return problems;
}

function problemOfKeyTenant(scope: ApiKeyScope, tenant: string | null | undefined): string | undefined {
  if (tenant == null) return scope === 'ADMIN' || scope === 'PUBLISH' ? undefined : `is required with ${scope}`;
  if (scope === 'ADMIN') return 'must be absent with ADMIN, which is for every tenant';
  return problemOfTenant(tenant);
}

/** API keys, tokens of sessions, and one-time codes of sessions. Scanners for leaked secrets recognise the prefixes. */
type Prefix = 'whk_' | 'whs_' | 'whc_';

/** 256 random bits in base64url. */
export function generateSecret(prefix: Prefix): string {
  return prefix + randomBytes(32).toString('base64url');
}

export function isApiKey(text: string): boolean {
  return /^wh[ksc]_[\w-]{43}$/.test(text);
}

/** Only the hash is stored. A fast hash is enough, because keys are random and cannot be guessed. */
export function hashApiKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

const MAX_REMEMBERED = 10_000;
/** Revocations are announced. This bounds how long a key stays valid if an announcement is lost. */
const MAX_AGE_MS = 5_000;
const MAX_READ_PER_STATEMENT = 100;

/**
 * Finds the viewers of API keys and caches them for 5 s, also for unknown keys. Uncached keys are looked up together, one
 * statement at a time, so a flood of invented keys costs no more than one connection.
 */
export class ApiKeyLookup {
  readonly #batcher: Batcher<Buffer, Viewer | undefined>;
  // Promises, so that forgetAll also drops look-ups in progress.
  readonly #cached = new LRUCache<string, Promise<Viewer | undefined>>({ ...atMost(MAX_REMEMBERED), ttl: MAX_AGE_MS });

  /** `adminIssuers`: the ids of the operator's keys, whose sessions are valid. */
  constructor(db: Queryable, adminIssuers: readonly string[]) {
    this.#batcher = new Batcher({
      maxItems: MAX_READ_PER_STATEMENT,
      write: async (hashes) => match(hashes, await findApiKeys(db, { hashes, adminIssuers })),
    });
  }

  find(key: string): Promise<Viewer | undefined> {
    const hash = hashApiKey(key);
    const name = hash.toString('base64');
    const cached = this.#cached.get(name);
    if (cached !== undefined) return cached;
    const found = this.#batcher.add(hash);
    this.#cached.set(name, found);
    found.catch(() => {
      if (this.#cached.peek(name) === found) this.#cached.delete(name);
    });
    return found;
  }

  forgetAll(): void {
    this.#cached.clear();
  }
}

function match(hashes: readonly Buffer[], found: readonly FoundApiKey[]): (Viewer | undefined)[] {
  const viewers = new Map<string, Viewer | undefined>();
  for (const row of found) {
    viewers.set(row.keyHash.toString('base64'), viewerOf(row));
    if (row.codeHash !== null) viewers.set(row.codeHash.toString('base64'), viewerOfCode(row));
  }
  return hashes.map((hash) => viewers.get(hash.toString('base64')));
}

function viewerOf(row: FoundApiKey): Viewer | undefined {
  const { id, kind, scope, tenant, name } = row;
  const credential =
    kind === 'KEY'
      ? { credentialId: id, subject: name, issuer: id }
      : {
          credentialId: id,
          session: kind,
          subject: name === '' ? undefined : name,
          // Sessions that a console session creates end with the key, not with the console session.
          issuer: kind === 'CONSOLE' ? (row.issuer ?? undefined) : undefined,
          expiresAt: row.expiresAt ?? new Date(0),
          hidesPayloads: row.hidesPayloads,
          subscriptionIds: row.subscriptionIds ?? undefined,
          locale: row.locale ?? undefined,
        };
  switch (scope) {
    case 'ADMIN':
      return { scope, ...credential };
    case 'PUBLISH':
      return { scope, tenant: tenant ?? undefined, ...credential };
    case 'TENANT_READ':
    case 'TENANT_WRITE':
      return tenant === null ? undefined : { scope, tenant, ...credential };
  }
}

/** A one-time code permits only its exchange for a session. */
function viewerOfCode(row: FoundApiKey): Viewer | undefined {
  const viewer = viewerOf(row);
  return viewer && { ...viewer, session: 'CODE', issuer: undefined, expiresAt: row.codeExpiresAt ?? new Date(0) };
}

const MAX_NOTED_PER_STATEMENT = 1_000;
const MIN_INTERVAL_MS = 60_000;

export type ApiKeyUse = {
  readonly note: (id: string) => void;
  /** Resolves when all writes have ended. */
  readonly settled: () => Promise<void>;
};

/** Records the last use of keys: at most once a minute for each, in the background, many in one statement. */
export function createApiKeyUse(db: Queryable, log: Logger): ApiKeyUse {
  const noted = new LRUCache<string, true>({ ...atMost(10_000), ttl: MIN_INTERVAL_MS });
  const batcher = new Batcher<string, undefined>({
    maxItems: MAX_NOTED_PER_STATEMENT,
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
      // The next use of the key records it.
      noted.delete(id);
      log.warn({ err: error, credentialId: id }, 'last use of an API key not recorded');
    });
  };
  return { note, settled: () => writing.settled() };
}

type FoundApiKey = Pick<
  ApiKey,
  'id' | 'kind' | 'scope' | 'tenant' | 'name' | 'expiresAt' | 'issuer' | 'hidesPayloads'
> &
  Pick<ApiKey, 'locale' | 'codeExpiresAt'> & {
    readonly keyHash: Buffer;
    readonly codeHash: Buffer | null;
    readonly subscriptionIds: string[] | null;
  };

/** The key is not revoked. A session also has not expired, and its creating key is valid. `$2`: the operator's keys. */
const IS_VALID = `k.revoked_at IS NULL AND (k.kind = 'KEY' OR k.expires_at > now() AND (
  k.issuer = ANY($2::uuid[]) OR EXISTS (SELECT FROM api_keys i WHERE i.id = k.issuer AND i.revoked_at IS NULL)
))`;

type Hashes = { readonly hashes: readonly Buffer[]; readonly adminIssuers: readonly string[] };

/** Returns the valid keys and sessions with these hashes, or with codes that have these hashes. */
async function findApiKeys(db: Queryable, { hashes, adminIssuers }: Hashes): Promise<FoundApiKey[]> {
  const { rows } = await db.query<FoundApiKey>(
    `SELECT id, kind, key_hash AS "keyHash", scope, tenant, name, expires_at AS "expiresAt", issuer, locale,
       code_hash AS "codeHash", code_expires_at AS "codeExpiresAt", subscription_ids AS "subscriptionIds",
       hides_payloads AS "hidesPayloads"
     FROM api_keys k WHERE (key_hash = ANY($1::bytea[]) OR code_hash = ANY($1::bytea[]) AND code_expires_at > now())
       AND ${IS_VALID}`,
    [hashes, adminIssuers],
  );
  return rows;
}

/** Returns the ids of keys and sessions that are valid. */
export async function liveApiKeys(
  db: Queryable,
  { ids, adminIssuers }: { readonly ids: readonly string[]; readonly adminIssuers: readonly string[] },
): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM api_keys k WHERE id = ANY($1::uuid[]) AND ${IS_VALID}`,
    [ids, adminIssuers],
  );
  return new Set(rows.map(({ id }) => id));
}

/**
 * Sets the last use of these keys, unless it was set within the last minute. Skips rows that another process has locked,
 * because two processes that wait for each other would deadlock.
 */
async function noteApiKeyUse(db: Queryable, ids: readonly string[]): Promise<void> {
  await db.query(
    `UPDATE api_keys SET last_used_at = now() FROM (
       SELECT id FROM api_keys
       WHERE id = ANY($1::uuid[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
       FOR NO KEY UPDATE SKIP LOCKED
     ) AS used WHERE api_keys.id = used.id`,
    [ids],
  );
}
