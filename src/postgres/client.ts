import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { type Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { waitAtMost } from '../lib/waiting.ts';
import { Clock } from './clock.ts';
import {
  connectionConfig,
  DEFAULT_POOL_SIZE,
  PAGE_PLANS,
  PREPARED_PLANS,
  type SessionLimits,
  type SessionSettings,
  schemaOf,
  sessionSql,
} from './connection.ts';
import { isConnectionLost } from './errors.ts';
import { substituteNewValues } from './new-values.ts';
import { PoolGroup, type PoolOptions } from './pool.ts';

/**
 * One Postgres with two pools. `readPool`, which Prisma also uses, serves GraphQL and metrics. `pool` serves the delivery of
 * events, jobs and short writes of mutations, which thus never wait for the slow statements of `readPool`.
 */
export type Database = {
  readonly pool: pg.Pool;
  /** The pool that Prisma uses. */
  readonly readPool: pg.Pool;
  readonly prisma: PrismaClient;
  /** Postgres's time. */
  readonly clock: Clock;
  /** Set only for a mutation: records the changes of its transactions. */
  readonly recorder?: MutationRecorder | undefined;
  /**
   * Closes the connections that are open now, those in use when they are released. For callers that find that the
   * connections lead to the wrong server.
   */
  renewConnections(): void;
  close(): Promise<void>;
};

type DatabaseOptions = {
  readonly url: string;
  readonly onError: (error: Error) => void;
  /** Whether the URL may lead to a pooler that gives each transaction another session. */
  readonly behindPooler?: boolean;
  /** Maximum connections of both pools together, at least 2. */
  readonly poolSize?: number;
  /** Time limit of a statement of `pool`, in milliseconds. */
  readonly statementMs?: number;
  /** Time limit of an idle transaction of `pool`, in milliseconds. */
  readonly idleInTransactionMs?: number;
};

const CLOSE_MS = 1_200;

/**
 * Limits of the sessions of `pool`. A statement that runs for 10 s is stuck; when it fails, its caller retries. A
 * transaction that is idle for 5 s belongs to a stalled process: Postgres rolls it back, because other processes wait for
 * its locks, and because delivery/queue/state.ts relies on the end of every transaction. 5 s is well below the limit of the
 * statements that wait for those locks.
 */
const LIMITS: SessionLimits = { statementMs: 10_000, idleInTransactionMs: 5_000 };
/** Limits of the sessions of `readPool`: statements of GraphQL may take longer. */
const READ_LIMITS: SessionLimits = { ...LIMITS, statementMs: 30_000 };

/** Opens no connection. Queries open connections when they need them, and fail while Postgres is unavailable. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, poolSize = DEFAULT_POOL_SIZE } = options;
  const { statementMs = LIMITS.statementMs, idleInTransactionMs = LIMITS.idleInTransactionMs } = options;
  const pools = new PoolGroup();
  const size = { limits: { statementMs, idleInTransactionMs }, max: Math.ceil(poolSize / 2) };
  const pool = createPool(pools, options, { ...size, prepares: true, settings: PREPARED_PLANS });
  const readPool = createPool(pools, options, {
    limits: READ_LIMITS,
    max: Math.floor(poolSize / 2),
    settings: PAGE_PLANS,
  });
  const adapter = substituteNewValues(new PrismaPg(readPool, { schema: schemaOf(url) }));
  // Prisma's minimal errors omit the arguments, which contain customers' data.
  const prisma = new PrismaClient({ adapter, errorFormat: 'minimal' });
  return {
    pool,
    readPool,
    prisma,
    clock: new Clock(),
    renewConnections: () => {
      pools.renewConnections();
    },
    // Without this limit, closing a connection to a stalled Postgres would not return.
    close: () => waitAtMost(CLOSE_MS, Promise.all([prisma.$disconnect().then(() => readPool.end()), pool.end()])),
  };
}

type Use = {
  readonly limits: SessionLimits;
  readonly max: number;
  readonly settings: SessionSettings;
  /** Whether connections prepare their statements. */
  readonly prepares?: boolean;
};

function createPool(
  pools: PoolGroup,
  { url, onError, behindPooler = false }: DatabaseOptions,
  { limits, max, settings, prepares = false }: Use,
): pg.Pool {
  const config: PoolOptions = { ...connectionConfig(url, limits), max };
  const session = { ...limits, settings };
  const pool = pools.create(
    behindPooler
      ? { ...config, pipeline: true }
      : {
          ...config,
          prepares,
          // oxlint-disable-next-line typescript/no-misused-promises -- pg-pool awaits it; its types do not say so
          onConnect: (client) => client.query(sessionSql(url, session)),
        },
  );
  if (behindPooler) useTransactionsOnly(pool, sessionSql(url, session, 'transaction'));
  // Without a listener, an error of an idle connection (such as a Postgres restart) would crash the process.
  pool.on('error', (error) => {
    if (!pool.ending) onError(error);
  });
  return pool;
}

/** Runs single SQL statements; implemented by pools, clients and transactions. */
export type Queryable = {
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows the columns
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<{ readonly rows: Row[] }>;
};

/** Runs `work` in one transaction, which is rolled back if `work` throws. */
export function transaction<T>(pool: pg.Pool, work: (client: Queryable) => Promise<T>): Promise<T> {
  return withClient(
    pool,
    async (client) => {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    },
    async (client, error) => {
      // Without an answer from Postgres the statement may still be running: the connection is closed in place of a ROLLBACK.
      if (isConnectionLost(error)) throw error;
      await client.query('ROLLBACK');
    },
  );
}

/** Called in each transaction of a mutation, at its start and before its commit. */
export type MutationRecorder = {
  readonly begin: (db: Queryable) => Promise<void>;
  readonly end: (db: Queryable, result: unknown) => Promise<void>;
  /** Called if the mutation changes nothing: then nothing is recorded. */
  readonly omit: () => void;
};

/** Runs `work`, a change of a mutation, in one transaction together with the mutation's recorder. */
export function mutate<T>(
  { pool, recorder }: Pick<Database, 'pool' | 'recorder'>,
  work: (client: Queryable) => Promise<T>,
): Promise<T> {
  return transaction(pool, async (client) => {
    await recorder?.begin(client);
    const result = await work(client);
    await recorder?.end(client, result);
    return result;
  });
}

/**
 * Prisma's time limits in milliseconds. `maxWait`: to get a connection; `timeout`: of the transaction, the same as
 * readPool's limit of a statement.
 */
const MUTATION_LIMITS = { maxWait: 5_000, timeout: READ_LIMITS.statementMs };

/** Runs `work` like mutate(), in a transaction of Prisma. */
export function mutateWithPrisma<T>(
  { prisma, recorder }: Pick<Database, 'prisma' | 'recorder'>,
  work: (client: Prisma.TransactionClient) => Promise<T>,
): Promise<T> {
  return prisma.$transaction(async (client) => {
    await recorder?.begin(queryableOf(client));
    const result = await work(client);
    await recorder?.end(queryableOf(client), result);
    return result;
  }, MUTATION_LIMITS);
}

type Recover = (client: pg.PoolClient, error: unknown) => Promise<void>;

/**
 * Runs `work` with a connection of the pool. If `work` rejects, the connection is closed unless `recover` resolves.
 */
async function withClient<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  recover: Recover = (_client, error) => Promise.reject(toError(error)),
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: unknown) => {
    broken ??= toError(error);
  };
  // The pool listens to idle clients only.
  client.on('error', onError);
  try {
    return await work(client);
  } catch (error) {
    await recover(client, error).catch(onError);
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** Runs SQL statements with Prisma's client or in its transaction. Prisma cannot read columns of type void. */
export function queryableOf(client: Prisma.TransactionClient): Queryable {
  return { query: async (text, values = []) => ({ rows: await client.$queryRawUnsafe(text, ...values) }) };
}

/** The signature of `query` that the engine and Prisma's adapter use. */
type Send = (statement: string | pg.QueryConfig, values?: unknown[]) => Promise<pg.QueryResult>;

/**
 * Makes a pool work behind a pooler that gives each transaction another session (PgBouncer's `pool_mode=transaction`):
 * each transaction begins with `settings`, which apply to it alone, and a single statement runs in a transaction too. The
 * pool's clients must pipeline, so that this takes no additional round trips.
 */
function useTransactionsOnly(pool: pg.Pool, settings: string): void {
  const begin = `BEGIN ISOLATION LEVEL READ COMMITTED; ${settings}`;
  pool.on('connect', (client) => {
    const send: Send = client.query.bind(client);
    // Prisma sends BEGIN itself, on a client of the pool.
    const sendWithSettings: Send = (statement, values) =>
      textOf(statement) === 'BEGIN' ? send(begin) : send(statement, values);
    client.query = sendWithSettings as typeof client.query;
  });
  const query: Send = (statement, values) =>
    withClient(pool, (client) => queryInTransaction(client, statement, values));
  pool.query = query as typeof pool.query;
}

/** Sends the three statements without waiting for answers. Throws the first error: it caused the later ones. */
async function queryInTransaction(
  client: pg.PoolClient,
  ...[statement, values]: Parameters<Send>
): Promise<pg.QueryResult> {
  const send: Send = client.query.bind(client);
  const steps = [send('BEGIN'), send(statement, values), send('COMMIT')] as const;
  const [begun, answered, committed] = await Promise.allSettled(steps);
  for (const step of [begun, answered, committed]) if (step.status === 'rejected') throw step.reason;
  return steps[1];
}

function textOf(statement: string | pg.QueryConfig): string {
  return typeof statement === 'string' ? statement : statement.text;
}
