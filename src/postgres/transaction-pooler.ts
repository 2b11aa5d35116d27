import type pg from 'pg';
import { withClient } from './transaction.ts';

/** The form of `query` that we and Prisma's adapter use. */
type Send = (statement: string | pg.QueryConfig, values?: unknown[]) => Promise<pg.QueryResult>;

/**
 * Makes a pool work behind a pooler that gives each transaction another session (PgBouncer's `pool_mode=transaction`):
 * each transaction begins with `settings`, which count for it alone, and a statement on its own is such a transaction.
 * The pool's clients have to pipeline, so that this takes no more round trips.
 */
export function useTransactionsOnly(pool: pg.Pool, settings: string): void {
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
