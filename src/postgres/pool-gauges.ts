import type pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { createSnapshot } from '../lib/cached-read.ts';
import type { Database } from './client.ts';

const UP_WAIT_MS = 1_000;

/** Shows whether Postgres answers, and how its connections are used. */
export function watchPools(metrics: Registry, { pool, readPool }: Pick<Database, 'pool' | 'readPool'>): void {
  const registers = [metrics];
  const pools: readonly (readonly [string, pg.Pool])[] = [
    ['deliver', pool],
    ['graphql', readPool],
  ];
  const answers = createSnapshot(() => pool.query('SELECT'), { waitMs: UP_WAIT_MS, freshMs: 0, staleMs: 0 });
  new Gauge({
    ...{ registers, name: 'webhooks_postgres_up' },
    help: 'Whether Postgres answered within a second, 0 or 1',
    async collect() {
      this.set((await answers()) === undefined ? 0 : 1);
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_postgres_connections', labelNames: ['pool', 'state'] },
    help: 'Connections to Postgres that are used or idle, of those that deliver and those that answer GraphQL, 10 each at most',
    collect() {
      for (const [name, each] of pools) {
        this.set({ pool: name, state: 'used' }, each.totalCount - each.idleCount);
        this.set({ pool: name, state: 'idle' }, each.idleCount);
      }
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_postgres_waiting', labelNames: ['pool'] },
    help: 'What waits in this process for a connection to Postgres',
    collect() {
      for (const [name, each] of pools) this.set({ pool: name }, each.waitingCount);
    },
  });
}
