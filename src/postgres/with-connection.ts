import { openSession } from './session.ts';
import type { Queryable } from './transaction.ts';

const STATEMENT_MS = 60_000;

/**
 * Runs `work` on a connection of its own, whose session (locks, settings) ends with it, and whose statements may take
 * longer than the pool's.
 */
export async function withConnection<T>(url: string, work: (client: Queryable) => Promise<T>): Promise<T> {
  const { client, close } = await openSession(url, { statementMs: STATEMENT_MS, idleInTransactionMs: STATEMENT_MS });
  try {
    return await work(client);
  } finally {
    await close();
  }
}
