import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.ts';
import { atMost } from '../lib/pause.ts';
import { Clock } from './clock.ts';
import { PoolGroup, type PoolOptions } from './pool.ts';
import { connectionConfig, DEFAULT_POOL_SIZE, type SessionLimits, schemaOf, sessionSql } from './session.ts';
import { useTransactionsOnly } from './transaction-pooler.ts';

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
  /** Closes the connections that are open now, those in use when they are released: they lead to the wrong server. */
  renewConnections(): void;
  close(): Promise<void>;
};

export type DatabaseOptions = {
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
// still holds open is undone: others wait for its locks, and save-queues.ts relies on an end of every transaction. Well
// before the statements that wait for them run into their own limit.
const LIMITS: SessionLimits = { statementMs: 10_000, idleInTransactionMs: 5_000 };
/** Connections of their own: what people ask over GraphQL may take longer. */
const READ_LIMITS: SessionLimits = { ...LIMITS, statementMs: 30_000 };

/** Opens no connection yet: each query does, and fails while Postgres is away. */
export function createDatabase(options: DatabaseOptions): Database {
  const { url, poolSize = DEFAULT_POOL_SIZE, statementMs = LIMITS.statementMs } = options;
  const pools = new PoolGroup();
  const pool = createPool(pools, options, { limits: { ...LIMITS, statementMs }, max: Math.ceil(poolSize / 2) });
  const readPool = createPool(pools, options, { limits: READ_LIMITS, max: Math.floor(poolSize / 2) });
  const adapter = new PrismaPg(readPool, { schema: schemaOf(url) });
  // The minimal errors leave out the arguments, which hold customers' data.
  const prisma = new PrismaClient({ adapter, errorFormat: 'minimal' });
  return {
    ...{ pool, readPool, prisma, clock: new Clock() },
    renewConnections: () => {
      pools.renewConnections();
    },
    // A Postgres that hangs would have us wait for its goodbye.
    close: () => atMost(CLOSE_MS, Promise.all([prisma.$disconnect().then(() => readPool.end()), pool.end()])),
  };
}

type Size = { readonly limits: SessionLimits; readonly max: number };

function createPool(
  pools: PoolGroup,
  { url, onError, behindPooler = false }: DatabaseOptions,
  { limits, max }: Size,
): pg.Pool {
  const config: PoolOptions = { ...connectionConfig(url, limits), max };
  const pool = pools.create(
    behindPooler
      ? { ...config, pipeline: true }
      : {
          ...config,
          // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the pool waits for it, which its types do not say
          onConnect: (client) => client.query(sessionSql(url, limits)),
        },
  );
  if (behindPooler) useTransactionsOnly(pool, sessionSql(url, limits, 'transaction'));
  // Without a listener an idle connection that breaks (a Postgres restart) would end the process.
  pool.on('error', (error) => {
    if (!pool.ending) onError(error);
  });
  return pool;
}
