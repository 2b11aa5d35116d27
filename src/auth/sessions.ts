import type { ApiKey } from '../generated/prisma/client.ts';
import { DomainError, type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid, uuid7 } from '../lib/uuid7.ts';
import { type Database, mutateWithPrisma, type Queryable } from '../postgres/client.ts';
import { generateSecret, hashApiKey } from './api-keys.ts';
import type { TenantOrProblem, Viewer } from './viewer.ts';

// Sessions are rows of api_keys that expire, and that end when the key that created them is revoked. A session has one token
// and a one-time code, which may be part of a link. Exchanging the code creates a new token and invalidates the first token.

/** The row, its token, and its one-time code. Token and code cannot be read later. */
export type IssuedSession = { readonly session: ApiKey; readonly token: string; readonly code: string };

export type PortalSessionInput = {
  readonly scope: ApiKey['scope'];
  readonly ttlSeconds: number;
  readonly subject?: string | null | undefined;
  readonly subscriptionIds?: readonly string[] | null | undefined;
  readonly hidePayloads?: boolean | null | undefined;
  readonly locale?: string | null | undefined;
};

export const MIN_TTL_SECONDS = 60;
export const MAX_TTL_SECONDS = 43_200;
const CODE_TTL_MS = 60_000;
/** Maximum valid sessions of a tenant, or of all operators together. Concurrent creations may exceed it. */
export const MAX_SESSIONS = 1_000;
export const MAX_SUBSCRIPTION_IDS = 250;
const MAX_SUBJECT_LENGTH = 200;
const MAX_LOCALE_LENGTH = 35;

export class TooManySessionsError extends DomainError {
  readonly code = 'TOO_MANY_SESSIONS';

  constructor() {
    super(`there are ${MAX_SESSIONS} valid sessions already; revoke some, or wait until they expire`);
  }
}

/** Creates a session for the front end of a tenant. Throws an InvalidInputError or a TooManySessionsError. */
export async function createPortalSession(
  database: Database,
  viewer: Viewer,
  input: PortalSessionInput & TenantOrProblem,
): Promise<IssuedSession> {
  const { scope, ttlSeconds, subject, locale } = input;
  const problems = [...problemsOfSession(input), ...(await problemsOfSubscriptions(database, input))];
  if (problems.length > 0) throw new InvalidInputError(problems);
  return issue(database, viewer, {
    kind: 'PORTAL',
    scope,
    name: subject ?? '',
    tenant: input.tenant ?? null,
    ttlMs: ttlSeconds * 1_000,
    hidesPayloads: input.hidePayloads ?? false,
    locale: locale ?? null,
    ...(input.subscriptionIds != null && { subscriptionIds: [...new Set(input.subscriptionIds)] }),
  });
}

/** Creates a session with the rights of the viewer's key, for storage in a browser. Throws a TooManySessionsError. */
export function createConsoleSession(database: Database, viewer: Viewer): Promise<IssuedSession> {
  const { scope, subject = '', tenant = null } = viewer;
  const ttlMs = MAX_TTL_SECONDS * 1_000;
  return issue(database, viewer, { kind: 'CONSOLE', scope, name: subject, tenant, ttlMs, hidesPayloads: false });
}

type NewSession = Pick<ApiKey, 'kind' | 'scope' | 'name' | 'tenant' | 'hidesPayloads'> & {
  readonly ttlMs: number;
  readonly locale?: string | null;
  readonly subscriptionIds?: string[];
};

async function issue(
  database: Database,
  { issuer }: Viewer,
  { ttlMs, ...session }: NewSession,
): Promise<IssuedSession> {
  if (issuer === undefined) throw new Error('this credential creates no sessions');
  const nowMs = database.clock.now();
  const isValid = { kind: { not: 'KEY' }, revokedAt: null, expiresAt: { gt: new Date(nowMs) } } as const;
  const count = await database.prisma.apiKey.count({
    where: { tenant: session.tenant, ...isValid },
    take: MAX_SESSIONS,
  });
  if (count >= MAX_SESSIONS) throw new TooManySessionsError();
  const [token, code] = [generateSecret('whs_'), generateSecret('whc_')];
  const data = {
    ...session,
    id: uuid7(nowMs),
    issuer,
    expiresAt: new Date(nowMs + ttlMs),
    // Copies, because Prisma requires bytes in a buffer of their own.
    keyHash: new Uint8Array(hashApiKey(token)),
    codeHash: new Uint8Array(hashApiKey(code)),
    codeExpiresAt: new Date(nowMs + CODE_TTL_MS),
  };
  const row = await mutateWithPrisma(database, (transaction) => transaction.apiKey.create({ data }));
  return { session: row, token, code };
}

function problemsOfSession({
  tenantProblem,
  scope,
  ttlSeconds,
  subject,
  locale,
}: PortalSessionInput & TenantOrProblem): InputProblem[] {
  const problem = (path: string, message: string | undefined) => (message === undefined ? [] : [{ path, message }]);
  const isReading = scope === 'TENANT_READ' || scope === 'TENANT_WRITE';
  const hasTtl = ttlSeconds >= MIN_TTL_SECONDS && ttlSeconds <= MAX_TTL_SECONDS;
  const hasSubject = subject == null || (subject.length <= MAX_SUBJECT_LENGTH && !/\p{Cc}/u.test(subject));
  return [
    ...problem('tenant', tenantProblem),
    ...problem('scope', isReading ? undefined : 'must be TENANT_READ or TENANT_WRITE'),
    ...problem('ttlSeconds', hasTtl ? undefined : `must be from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS}`),
    ...problem(
      'subject',
      hasSubject ? undefined : `must be at most ${MAX_SUBJECT_LENGTH} characters, none of them a control character`,
    ),
    ...problem(
      'locale',
      locale == null || isLocale(locale) ? undefined : 'must be a BCP 47 language tag such as de-AT',
    ),
  ];
}

function isLocale(text: string): boolean {
  try {
    return text.length <= MAX_LOCALE_LENGTH && Intl.getCanonicalLocales(text).length === 1;
  } catch {
    return false;
  }
}

/** The problem is the same for an id of another tenant and for an id that does not exist. */
async function problemsOfSubscriptions(
  { prisma }: Database,
  { tenant, subscriptionIds }: PortalSessionInput & TenantOrProblem,
): Promise<InputProblem[]> {
  if (subscriptionIds == null || tenant === undefined) return [];
  if (subscriptionIds.length === 0 || subscriptionIds.length > MAX_SUBSCRIPTION_IDS) {
    return [{ path: 'subscriptionIds', message: `must have 1 to ${MAX_SUBSCRIPTION_IDS} ids; absent means all` }];
  }
  const rows = await prisma.webhookSubscription.findMany({
    where: { tenant, deletedAt: null, id: { in: subscriptionIds.filter(isUuid) } },
    select: { id: true },
  });
  const known = new Set(rows.map(({ id }) => id));
  return subscriptionIds.flatMap((id, index) =>
    known.has(id) ? [] : [{ path: `subscriptionIds.${index}`, message: 'is no webhook subscription of the tenant' }],
  );
}

/** Exchanges a one-time code for a new token. Throws a NotFoundError if the code is unknown, used or older than 60 s. */
export async function exchangeCode(
  { prisma, clock }: Database,
  code: string,
): Promise<Pick<IssuedSession, 'session' | 'token'>> {
  const token = generateSecret('whs_');
  const now = new Date(clock.now());
  // A single statement, so that of two concurrent exchanges the second waits for the row lock and then finds no code.
  const [session] = await prisma.apiKey.updateManyAndReturn({
    where: {
      codeHash: new Uint8Array(hashApiKey(code)),
      codeExpiresAt: { gt: now },
      expiresAt: { gt: now },
      revokedAt: null,
    },
    data: { keyHash: new Uint8Array(hashApiKey(token)), codeHash: null, codeExpiresAt: null },
  });
  if (session === undefined)
    throw new NotFoundError('code', 'it is unknown, was used, or is older than 60 s; request a new one');
  return { session, token };
}

type SessionKey = {
  readonly id: string;
  /** The required kind. Default: any. */
  readonly kind?: 'PORTAL';
  /** The tenant that the session must belong to; undefined: any. */
  readonly tenant: string | undefined;
};

/** Revoking a revoked session changes nothing. Throws a NotFoundError. */
export async function revokeSession(database: Database, key: SessionKey): Promise<ApiKey> {
  const { id, kind, tenant } = key;
  if (!isUuid(id)) throw sessionNotFound();
  const where = { id, kind: kind ?? { not: 'KEY' as const }, ...(tenant !== undefined && { tenant }) } as const;
  const revokedAt = new Date(database.clock.now());
  return mutateWithPrisma(database, async (transaction) => {
    await transaction.apiKey.updateMany({ where: { ...where, revokedAt: null }, data: { revokedAt } });
    const session = await transaction.apiKey.findFirst({ where });
    if (session === null) throw sessionNotFound();
    return session;
  });
}

function sessionNotFound(): NotFoundError {
  return new NotFoundError('session', 'check its id; a session that has ended is deleted and needs no revocation');
}

/** Deletes up to `limit` sessions that have expired or were revoked, and returns their number. */
export async function deleteEndedSessions(db: Queryable, { limit }: { readonly limit: number }): Promise<number> {
  const { rows } = await db.query(
    `DELETE FROM api_keys WHERE id IN (
       SELECT id FROM api_keys WHERE expires_at IS NOT NULL AND (expires_at < now() OR revoked_at IS NOT NULL) LIMIT $1
     ) RETURNING id`,
    [limit],
  );
  return rows.length;
}
