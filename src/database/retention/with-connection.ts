import pg from 'pg';
import type { Queryable } from '../transaction.ts';

const STATEMENT_MS = 60_000;

/**
 * Runs `work` on a connection of its own, whose session (locks, settings) ends with it, and whose statements may take
 * longer than the pool's.
 */
export async function withConnection<T>(url: string, work: (client: Queryable) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 2_000,
    keepAlive: true,
    application_name: 'webhooks-engine',
  });
  // A connection that breaks fails the statement; without a listener it would also end the process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
