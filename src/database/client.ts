import { PrismaPg } from '@prisma/adapter-pg';
import type pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.ts';
import { atMost } from '../pause.ts';
import { KEEP_ALIVE_MS } from './connection.ts';
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
  /** Closes the connections that are open now, those in use when they are released: they lead to the wrong server. */
  renewConnections(): void;
  close(): Promise<void>;
};

export type DatabaseOptions = { readonly url: string; readonly onError: (error: Error) => void };

const CLOSE_MS = 1_200;

/** Opens no connection yet: each query does, and fails while Postgres is away. */
export function createDatabase({ url, onError }: DatabaseOptions): Database {
  const options: PoolOptions = {
    connectionString: url,
    max: 10,
    connectionTimeoutMillis: 5_000,
    // A statement that takes longer than this is stuck; failing lets its caller try again.
    statement_timeout: 10_000,
    // And what a process that stands still holds open is undone: others wait for its locks, and save-queues.ts relies on
    // an end of every transaction. Well before the statements that wait for them run into their own limit.
    idle_in_transaction_session_timeout: 5_000,
    // The same for a server that does not even answer.
    query_timeout: 12_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: 'webhooks-engine',
  };
  // Connections of its own: what people ask over GraphQL may take longer.
  const patient = { ...options, statement_timeout: 30_000, query_timeout: 32_000 };
  const pools = new PoolGroup();
  const [pool, readPool] = [pools.create(options), pools.create(patient)];
  for (const each of [pool, readPool]) {
    // Without a listener an idle connection that breaks (a Postgres restart) would end the process.
    each.on('error', (error) => {
      if (!each.ending) onError(error);
    });
  }
  // The minimal errors leave out the arguments, which hold customers' data.
  const prisma = new PrismaClient({ adapter: new PrismaPg(readPool), errorFormat: 'minimal' });
  return {
    ...{ pool, readPool, prisma },
    renewConnections: () => {
      pools.renewConnections();
    },
    // A Postgres that hangs would have us wait for its goodbye.
    close: () => atMost(CLOSE_MS, Promise.all([prisma.$disconnect().then(() => readPool.end()), pool.end()])),
  };
}
