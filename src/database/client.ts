import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from '../generated/prisma/client.ts';

/** One Postgres, reached two ways over one pool: Prisma for what GraphQL reads and writes, SQL for the hot path. */
export type Database = { readonly pool: pg.Pool; readonly prisma: PrismaClient; close(): Promise<void> };

export type DatabaseOptions = { readonly url: string; readonly onError: (error: Error) => void };

/** Opens no connection yet: each query does, and fails while Postgres is away. */
export function createDatabase({ url, onError }: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: 20,
    connectionTimeoutMillis: 5_000,
    // A statement that takes longer than this is stuck; failing lets its caller try again.
    statement_timeout: 30_000,
    application_name: 'webhooks-engine',
  });
  // Without a listener an idle connection that breaks (a Postgres restart) would end the process.
  pool.on('error', (error) => {
    if (!pool.ending) onError(error);
  });
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
  return {
    pool,
    prisma,
    close: async () => {
      await prisma.$disconnect();
      await pool.end();
    },
  };
}
