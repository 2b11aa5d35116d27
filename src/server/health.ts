import { ROLES, type Role } from '../config/parsers.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import { cachedRead } from '../lib/cached-read.ts';
import { VERSION } from '../lib/version.ts';
import type { NatsClient } from '../nats/connection.ts';
import type { Database } from '../postgres/client.ts';
import type { ServerHealth } from '../schema/server.ts';

/** A dependency of the process. */
export type ReadinessCheck = {
  /** The key of this check in the response. */
  readonly part: string;
  /** The name in messages, such as "<title> does not answer" when `findProblems` fails or takes longer than 2 s. */
  readonly title: string;
  /** A process without any of these roles is ready even if the check fails. */
  readonly neededBy: readonly Role[];
  /**
   * The current problems, one sentence each. The sentences are public, so they name no hosts, users or tenants.
   */
  readonly findProblems: () => readonly string[] | Promise<readonly string[]>;
  /** Problems that do not make the process unready. */
  readonly findWarnings?: () => readonly string[];
};

type Part = {
  readonly ok: boolean;
  readonly message?: string;
  readonly warnings?: readonly string[];
  readonly needed?: false;
};
export type Readiness = {
  readonly ready: boolean;
  readonly body: Readonly<Record<string, Part | string>>;
};

export type HealthServices = {
  readonly database: Pick<Database, 'pool' | 'renewConnections'>;
  readonly nats: Pick<NatsClient, 'problems' | 'warnings'>;
  readonly deliveries: Pick<DeliveryStream, 'warnings'>;
  /** Conditions that the start of this process still requires: a migrated database, a NATS connection, running roles. */
  readonly startProblems: () => readonly string[];
  /** The worker processes, which run the other roles of this process. */
  readonly workers?: Pick<ReadinessCheck, 'findProblems' | 'findWarnings'> | undefined;
};

const TIMEOUT_MS = 2_000;
/** `publishEvent` and every query work without NATS: deliveries wait in Postgres, and live streams read from there. */
export const NEED_NATS: readonly Role[] = ['dispatcher', 'sender'];

/** All readiness checks, in the order of the response. */
export function readinessChecks({
  database,
  nats,
  deliveries,
  startProblems,
  workers,
}: HealthServices): readonly ReadinessCheck[] {
  return [
    { part: 'database', title: 'Postgres', neededBy: ROLES, findProblems: createDatabaseCheck(database) },
    {
      part: 'nats',
      title: 'NATS',
      neededBy: NEED_NATS,
      findProblems: () => nats.problems,
      findWarnings: () => [...nats.warnings, ...deliveries.warnings],
    },
    ...(workers === undefined ? [] : [createWorkerCheck(workers)]),
    { part: 'start', title: 'the start', neededBy: ROLES, findProblems: startProblems },
  ];
}

function createWorkerCheck(workers: NonNullable<HealthServices['workers']>): ReadinessCheck {
  return {
    part: 'workers',
    title: 'a worker process',
    neededBy: ROLES,
    findProblems: () => workers.findProblems(),
    findWarnings: () => workers.findWarnings?.() ?? [],
  };
}

/** Standbys and servers configured read-only answer queries but reject writes. */
const READ_ONLY = `SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS "isReadOnly"`;

/** Error messages of pg can name hosts and users, so the response omits them. */
function createDatabaseCheck({ pool, renewConnections }: HealthServices['database']): () => Promise<readonly string[]> {
  let wasReadOnly = false;
  return async () => {
    const { rows } = await pool.query<{ isReadOnly: boolean }>(READ_ONLY);
    const isReadOnly = rows[0]?.isReadOnly === true;
    // Connections opened while Postgres is read-only may lead to the old primary. Renew them once more after it recovers.
    if (isReadOnly || wasReadOnly) renewConnections();
    wasReadOnly = isReadOnly;
    return isReadOnly ? ['Postgres is read-only: a standby, or an old primary after a failover'] : [];
  };
}

/**
 * Whether a process with these roles can work right now; answers within `waitMs`, after which a check has failed. The
 * endpoint is public, so requests that arrive while a check runs share its result.
 */
export function createReadiness(
  roles: ReadonlySet<Role>,
  checks: readonly ReadinessCheck[],
  waitMs: number = TIMEOUT_MS,
): () => Promise<Readiness> {
  const parts = checks.map(({ part, title, neededBy, findProblems, findWarnings = () => [] }) => ({
    part,
    needed: neededBy.some((role) => roles.has(role)),
    findProblems: cachedRead(async () => findProblems(), { waitMs, freshMs: 0, staleMs: 0 }),
    findWarnings,
    silent: [`${title} does not answer`],
  }));
  return async () => {
    const found = await Promise.all(
      parts.map(async ({ part, needed, findProblems, findWarnings, silent }) => {
        const problems = (await findProblems()) ?? silent;
        return { part, needed, problems, warnings: findWarnings() };
      }),
    );
    return {
      ready: found.every(({ needed, problems }) => !needed || problems.length === 0),
      body: { version: VERSION, ...Object.fromEntries(found.map((one) => [one.part, describe(one)])) },
    };
  };
}

/** The same state as a value of the GraphQL API. */
export function healthOf({ ready, body }: Readiness): ServerHealth {
  const parts = Object.entries(body).flatMap(([name, part]) => (typeof part === 'string' ? [] : [{ name, ...part }]));
  return { isReady: ready, parts };
}

/** The problems of the parts that the process needs. */
export function problemsOf({ body }: Readiness): readonly string[] {
  const parts = Object.values(body).filter((part) => typeof part !== 'string');
  return parts.flatMap(({ needed, message }) => (needed === false || message === undefined ? [] : [message]));
}

type Found = { readonly needed: boolean; readonly problems: readonly string[]; readonly warnings: readonly string[] };

function describe({ needed, problems, warnings }: Found): Part {
  return {
    ok: problems.length === 0,
    ...(problems.length === 0 ? {} : { message: problems.join('; ') }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(needed ? {} : { needed: false as const }),
  };
}
