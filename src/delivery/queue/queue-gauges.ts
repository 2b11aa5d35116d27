import { Gauge, type Registry } from 'prom-client';
import type { Database } from '../../postgres/client.ts';
import { countPending, LANES } from './count-pending.ts';
import { readQueueFacts } from './queue-facts.ts';
import { transaction } from '../../postgres/transaction.ts';
import { createSnapshot } from '../../lib/cached-read.ts';

/** Counting costs something, so it is done so rarely; it tells how old it is at most. */
const FRESH_MS = 15_000;
const STALE_MS = 60_000;
const WAIT_MS = 2_000;

/**
 * Shows what waits for its attempt, for all processes together; what Postgres does not say in time is left out. Read with
 * the connections of GraphQL: delivering does not wait for it.
 */
export function watchQueues(metrics: Registry, { readPool }: Pick<Database, 'readPool'>): void {
  const options = { freshMs: FRESH_MS, staleMs: STALE_MS, waitMs: WAIT_MS };
  const lanes = createSnapshot(() => transaction(readPool, countPending), options);
  const facts = createSnapshot(() => readQueueFacts(readPool), options);
  const registers = [metrics];
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_pending', labelNames: ['lane'] },
    help: 'Pending deliveries by lane, counted to 100,000',
    async collect() {
      this.reset();
      const counts = await lanes();
      for (const lane of counts === undefined ? [] : LANES) {
        this.set({ lane }, counts?.find((one) => one.lane === lane)?.count ?? 0);
      }
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_overdue_seconds', labelNames: ['lane'] },
    help: 'For how many seconds the oldest delivery of the lane, of those that are counted, has been due and, if it is runnable, published; 0 if none is due',
    async collect() {
      this.reset();
      const counts = await lanes();
      // What waits is not due.
      for (const lane of counts === undefined ? [] : (['runnable', 'parked'] as const)) {
        this.set({ lane }, counts?.find((one) => one.lane === lane)?.overdueSeconds ?? 0);
      }
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_deliveries_pending_estimate' },
    help: 'Pending deliveries of all lanes as Postgres estimates them, without a limit; minutes old',
    async collect() {
      setOrRemove(this, (await facts())?.pendingEstimate);
    },
  });
  new Gauge({
    ...{ registers, name: 'webhooks_circuits_open' },
    help: 'Webhook subscriptions whose circuit is open',
    async collect() {
      setOrRemove(this, (await facts())?.openCircuits);
    },
  });
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}
