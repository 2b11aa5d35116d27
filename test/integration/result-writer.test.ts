import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { leaseDeliveries } from '../../src/delivery/queue/store.ts';
import type { NewAttempt } from '../../src/delivery/sending/attempt.ts';
import { ResultWriter, type ResultWriterOptions } from '../../src/delivery/sending/result-writer.ts';
import type { Attempt } from '../../src/generated/prisma/client.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { PoolGroup } from '../../src/postgres/pool.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { openTestDatabase } from '../support/database.ts';
import { attemptOf, seedDelivery } from '../support/graphql-api.ts';
import { lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

type Announced = { readonly isLate: boolean };

/** Starts a writer whose statements time out after 300 ms and are retried for a second. */
async function startWriter() {
  const { database, url, close } = await openTestDatabase();
  cleanUps.push(close);
  const pool = new PoolGroup().create({ connectionString: url, statement_timeout: 300 });
  // end() resolves before the connections have closed; dropping the database then ends them with an error.
  pool.on('error', () => undefined);
  cleanUps.push(() => pool.end());
  const { id: subscriptionId } = await database.prisma.webhookSubscription.create({
    data: { id: uuid7(Date.now()), tenant: 'acme', url: 'https://example.com/', eventTypes: ['*'] },
  });
  const deliveries = await Promise.all(
    Array.from({ length: 5 }, () => seedDelivery(database, { subscriptionId, tenant: 'acme' })),
  );
  const lines: string[] = [];
  const announced: Announced[] = [];
  const stopping = new AbortController();
  const writer = new ResultWriter({
    database: { ...database, pool },
    metrics: new Registry(),
    signal: stopping.signal,
    isUrgent: () => false,
    log: pino({ level: 'error' }, { write: (line: string) => void lines.push(line) }),
    limits: { retryMs: 50, writeRetryForMs: 1_000, extendLeasesMs: 200 },
    // `as`: the parts that a writer uses.
    ...({
      feed: { announce: (attempt: Announced) => announced.push(attempt) },
      circuits: { observe: () => undefined },
    } as unknown as Pick<ResultWriterOptions, 'feed' | 'circuits'>),
  });
  const write = () =>
    Promise.all(
      deliveries.map(async (delivery) => {
        // The writer assigns its own id.
        const attempt: Partial<Attempt> & NewAttempt = attemptOf(delivery);
        delete attempt.id;
        await writer.write({ attempt, status: 'SUCCESS', dueAt: null, waitingFor: null, staysEnqueued: false });
      }),
    );
  return { url, database, deliveries, write, lines, announced };
}

it('announces attempts as late after the clock was set back', async () => {
  const { database, deliveries, write, announced } = await startWriter();
  const setClock = (ms: number) =>
    // `as`: the result of the only statement.
    database.clock.measure({
      query: () => Promise.resolve({ rows: [{ now: ms }] }),
    } as unknown as typeof database.pool);
  await setClock(Date.now());
  await write();
  expect(announced.map(({ isLate }) => isLate)).toEqual(deliveries.map(() => false));
  await setClock(Date.now() - 600_000);
  await write();
  expect(announced.slice(deliveries.length).map(({ isLate }) => isLate)).toEqual(deliveries.map(() => true));
});

it.each(['attempts', 'deliveries'])(
  'results are kept while %s is locked, even longer than the retries last',
  async (table) => {
    const { url, database, write, lines } = await startWriter();
    const unlock = await lockTable(url, { table });
    let isOver = false;
    const written = write().finally(() => {
      isOver = true;
    });
    const begun = performance.now();
    await waitFor(() => performance.now() - begun > 4_000 || isOver, { what: 'the time in which it insists' });
    expect(isOver).toBe(false);
    expect(lines.filter((line) => line.includes('a lock in Postgres blocks'))).toHaveLength(1);
    await unlock();
    await written;
    const { rows } = await database.pool.query(`SELECT DISTINCT status, attempt_count, leased_until FROM deliveries`);
    expect(rows).toEqual([{ status: 'SUCCESS', attempt_count: 1, leased_until: null }]);
  },
);

it('a delivery whose result cannot be written yet is not attempted again', async () => {
  const { url, database, deliveries, write } = await startWriter();
  await database.pool.query('UPDATE deliveries SET enqueue_count = 1');
  const unlock = await lockTable(url, { table: 'attempts' });
  const written = write();
  const count = async () =>
    (await database.pool.query('SELECT FROM deliveries WHERE leased_until > now()')).rowCount ?? 0;
  await waitFor(async () => (await count()) === deliveries.length, { what: 'the leases' });
  const requests = deliveries.map(({ id }) => ({ deliveryId: id, enqueueCount: 1, leaseMs: 1_000 }));
  const leases = await leaseDeliveries(database.pool, requests);
  expect(new Set([...leases.values()].map(({ kind }) => kind))).toEqual(new Set(['not yet']));
  await unlock();
  await written;
  expect(await count()).toBe(0);
});
