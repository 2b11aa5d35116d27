import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { type Prisma, PrismaClient } from '../generated/prisma/client.ts';
import { atMost } from '../lib/loop.ts';
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
import { substituteNewValues } from './new-values.ts';
import { PoolGroup, type PoolOptions } from './pool.ts';

/**
 * One Postgres, reached two ways: Prisma, and `readPool` beside it, for what GraphQL reads and writes; `pool` for what
 * delivers, which must not wait for that.
 */
export type Database = {
  readonly pool: pg.Pool;
  /** Prisma's connections. */
  readonly readPool: pg.Pool;
  readonly prisma: PrismaClient;
  /** Postgres's time. */
  readonly clock: Clock;
  /** Only in the database of a mutation: records what its transactions change. */
  readonly recorder?: ChangeRecorder | undefined;
  /** Closes the connections that are open now, those in use when they are released: they lead to the wrong server. */
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
  /** Limit of a statement of `pool`, in milliseconds. */
  readonly statementMs?: number;
};

const CLOSE_MS = 1_200;

// A statement that takes longer than this is stuck; failing lets its caller try again. And what a process that stands
// still holds open is undone: others wait for its locks, and delivery/queue/state.ts relies on an end of every transaction. Well
// before the statements that wait for them run into their own limit.
const LIMITS: SessionLimits = { statementMs: 10_000, idleInTransactionMs: 5_000 };
/** Connections of their own: what people ask over GraphQL may take longer. */
const READ_LIMITS: SessionLimits = { ...LIMITS, statementMs: 30_000 };

/** Opens no connection yet: each query does, and fails while Postgres is unavailable. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, poolSize = DEFAULT_POOL_SIZE, statementMs = LIMITS.statementMs } = options;
  const pools = new PoolGroup();
  const size = { limits: { ...LIMITS, statementMs }, max: Math.ceil(poolSize / 2) };
  const pool = createPool(pools, options, { ...size, prepares: true, settings: PREPARED_PLANS });
  const readPool = createPool(pools, options, {
    limits: READ_LIMITS,
    max: Math.floor(poolSize / 2),
    settings: PAGE_PLANS,
  });
  const adapter = substituteNewValues(new PrismaPg(readPool, { schema: schemaOf(url) }));
  // The minimal errors leave out the arguments, which hold customers' data.
  const prisma = new PrismaClient({ adapter, errorFormat: 'minimal' });
  return {
    pool,
    readPool,
    prisma,
    clock: new Clock(),
    renewConnections: () => {
      pools.renewConnections();
    },
    // A Postgres that hangs would have us wait for its goodbye.
    close: () => atMost(CLOSE_MS, Promise.all([prisma.$disconnect().then(() => readPool.end()), pool.end()])),
  };
}

type Use = {
  readonly limits: SessionLimits;
  readonly max: number;
  readonly settings: SessionSettings;
  /** Whether each connection prepares its statements, which find their rows by an index. */
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
          // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the pool waits for it, which its types do not say
          onConnect: (client) => client.query(sessionSql(url, session)),
        },
  );
  if (behindPooler) useTransactionsOnly(pool, sessionSql(url, session, 'transaction'));
  // Without a listener an idle connection that breaks (a Postgres restart) would end the process.
  pool.on('error', (error) => {
    if (!pool.ending) onError(error);
  });
  return pool;
}

/** Runs one SQL statement: the pool, or a transaction. */
export type Queryable = {
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- who selects knows what comes
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<{ readonly rows: Row[] }>;
};

/** Runs `work` in one transaction, rolled back if it throws. */
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
      // Without an answer of Postgres, the statement may still be running.
      if (!(error instanceof pg.DatabaseError)) throw error;
      await client.query('ROLLBACK');
    },
  );
}

/** Takes part in each transaction that changes something for a mutation: at its start, and before its commit. */
export type ChangeRecorder = {
  readonly begin: (db: Queryable) => Promise<void>;
  readonly end: (db: Queryable, result: unknown) => Promise<void>;
  /** Nothing is recorded: the mutation changes nothing. */
  readonly omit: () => void;
};

/** Runs a change that a mutation makes, in one transaction that the mutation's recorder takes part in. */
export function change<T>(
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

/** Milliseconds to wait for a connection, and for the transaction: the same as the pool's limit on a statement. */
const CHANGE_LIMITS = { maxWait: 5_000, timeout: READ_LIMITS.statementMs };

/** The same with Prisma. */
export function changeWithPrisma<T>(
  { prisma, recorder }: Pick<Database, 'prisma' | 'recorder'>,
  work: (client: Prisma.TransactionClient) => Promise<T>,
): Promise<T> {
  return prisma.$transaction(async (client) => {
    await recorder?.begin(inPrismaTransaction(client));
    const result = await work(client);
    await recorder?.end(inPrismaTransaction(client), result);
    return result;
  }, CHANGE_LIMITS);
}

type Recover = (client: pg.PoolClient, error: unknown) => Promise<void>;

/**
 * Runs `work` with a connection of the pool. After an error of `work` the connection is closed, unless `recover` resolves.
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
  // The pool listens to idle clients only; a connection that breaks in use fails our statements, and without a listener
  // it would also end the process.
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

/** Runs statements of ours in a transaction of Prisma's, which cannot read columns of type void. */
export function inPrismaTransaction(client: Prisma.TransactionClient): Queryable {
  return { query: async (text, values = []) => ({ rows: await client.$queryRawUnsafe(text, ...values) }) };
}

/** The form of `query` that we and Prisma's adapter use. */
type Send = (statement: string | pg.QueryConfig, values?: unknown[]) => Promise<pg.QueryResult>;

/**
 * Makes a pool work behind a pooler that gives each transaction another session (PgBouncer's `pool_mode=transaction`):
 * each transaction begins with `settings`, which count for it alone, and a statement on its own is such a transaction.
 * The pool's clients have to pipeline, so that this takes no more round trips.
 */
function useTransactionsOnly(pool: pg.Pool, settings: string): void {
  const begin = `BEGIN ISOLATION LEVEL READ COMMITTED; ${settings}`;
  pool.on('connect', (client) => {
    const send: Send = client.query.bind(client);
    // Prisma begins its transactions itself, on a client of the pool.
    const sendWithSettings: Send = (statement, values) =>
      textOf(statement) === 'BEGIN' ? send(begin) : send(statement, values);
    client.query = sendWithSettings as typeof client.query;
  });
  const query: Send = (statement, values) => withClient(pool, (client) => inTransaction(client, statement, values));
  pool.query = query as typeof pool.query;
}

/** Sends all three at once. What went wrong first is the reason for the rest. */
async function inTransaction(client: pg.PoolClient, ...[statement, values]: Parameters<Send>): Promise<pg.QueryResult> {
  const send: Send = client.query.bind(client);
  const steps = [send('BEGIN'), send(statement, values), send('COMMIT')] as const;
  const [begun, answered, committed] = await Promise.allSettled(steps);
  for (const step of [begun, answered, committed]) if (step.status === 'rejected') throw step.reason;
  return steps[1];
}

function textOf(statement: string | pg.QueryConfig): string {
  return typeof statement === 'string' ? statement : statement.text;
}
