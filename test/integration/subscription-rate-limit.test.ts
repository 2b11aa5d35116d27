import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { expect, it } from 'vitest';
import { reserveSendTimes } from '../../src/delivery/queue/send-times.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createTestDatabase } from '../support/database.ts';
import type { Receiver } from '../support/receiver.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

async function limitedSubscription(stack: TestStack, receiver: Receiver, perSecond: number): Promise<string> {
  const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['x'] });
  await stack.query('UPDATE webhook_subscriptions SET rate_limit_per_second = $2 WHERE id = $1', [id, perSecond]);
  return id;
}

/** Maximum number of requests in any second. */
function mostInASecond({ requests }: Receiver): number {
  const times = requests.map(({ receivedAt }) => receivedAt).toSorted((a, b) => a - b);
  return Math.max(...times.map((start) => times.filter((time) => time >= start && time < start + 1_000).length));
}

/**
 * Measures the maximum seconds for a request to Postgres and one to nats-server, until the returned function is called.
 * A delivery can be sent this much later than its send time, together with later deliveries.
 */
function watchLag({ query, storedIn }: TestStack): () => Promise<number> {
  const over = new AbortController();
  let longestMs = 0;
  const watching = (async () => {
    while (!over.signal.aborted) {
      const began = performance.now();
      await query('SELECT 1');
      await storedIn('DELIVERIES');
      longestMs = Math.max(longestMs, performance.now() - began);
      await delay(20);
    }
  })();
  // Avoids an unhandled rejection if the test fails before it calls the function.
  watching.catch(() => undefined);
  return async () => {
    over.abort();
    await watching;
    return longestMs / 1_000;
  };
}

/** Twenty, and some for the time in transit on a busy machine. Two programs with a limit each would send forty. */
const MOST_IN_A_SECOND = 30;

function lengthMs({ requests }: Receiver): number {
  const times = requests.map(({ receivedAt }) => receivedAt);
  return Math.max(...times) - Math.min(...times);
}

it.each([1, 2])('a burst is spread over time by all programs together (programs: %i)', async (apps) => {
  const stack = await startTestStack(cleanUps, { apps });
  const receiver = await stack.receive();
  const id = await limitedSubscription(stack, receiver, 20);
  const lagSeconds = watchLag(stack);
  await stack.publishMany('x', 100);
  await waitFor(async () => (await stack.countDeliveries(`waiting_for = 'RATE_LIMITED'`)) > 0, {
    what: 'a parked one',
  });
  await stack.waitForDeliveries(100, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(receiver.requests).toHaveLength(100);
  expect(mostInASecond(receiver)).toBeLessThanOrEqual(MOST_IN_A_SECOND + 20 * (await lagSeconds()));
  expect(lengthMs(receiver)).toBeGreaterThan(4_500);
  await waitFor(async () => !(await stack.stateOf(id)).isBacklogged, { what: 'the backlog to be gone' });
});

it('each send time is reserved once, even by many concurrent requests', async () => {
  const database = await createTestDatabase();
  cleanUps.push(() => database.drop());
  const pool = new pg.Pool({ connectionString: database.url, max: 10 });
  pool.on('error', () => undefined);
  const id = randomUUID();
  await pool.query(
    `INSERT INTO webhook_subscriptions (id, tenant, url, event_types, rate_limit_per_second)
     VALUES ($1, 'acme', 'https://example.com', '{x}', 50)`,
    [id],
  );
  // All connections are open, so that the requests are concurrent from the first one on.
  await Promise.all(Array.from({ length: 10 }, () => pool.query('SELECT 1')));
  const startedAt = Date.now();
  const asking = Array.from({ length: 30 }, async () => {
    const times = await reserveSendTimes(pool, { requests: [{ subscriptionId: id, count: 5 }], horizonMs: 1_000 });
    return times.get(id)?.count ?? 0;
  });
  const given = (await Promise.all(asking)).reduce((sum, count) => sum + count, 0);
  await pool.end();
  // The send times of the next second, and of the time that the requests took.
  expect(given).toBeGreaterThanOrEqual(50);
  expect(given).toBeLessThanOrEqual(51 + ((Date.now() - startedAt) / 1_000) * 50);
});

it('retries count like other attempts', async () => {
  const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '300ms,300ms' } });
  const seen = new Set<unknown>();
  const receiver = await stack.receive(({ headers }) => {
    const isNew = !seen.has(headers['webhook-id']);
    seen.add(headers['webhook-id']);
    return { status: isNew ? 500 : 200 };
  });
  const id = await limitedSubscription(stack, receiver, 20);
  // Earlier failures do not count: the circuit stays closed.
  await stack.query(`UPDATE subscription_states SET closed_at = now() + interval '1 h' WHERE subscription_id = $1`, [
    id,
  ]);
  const lagSeconds = watchLag(stack);
  await stack.publishMany('x', 40);
  await stack.waitForDeliveries(40, `status = 'SUCCESS' AND attempt_count = 2`);
  expect(receiver.requests).toHaveLength(80);
  expect(mostInASecond(receiver)).toBeLessThanOrEqual(MOST_IN_A_SECOND + 20 * (await lagSeconds()));
});

it('a single event does not wait', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  await limitedSubscription(stack, receiver, 1);
  await stack.publishMany('x', 1);
  await receiver.waitForRequests(1);
  await stack.waitForDeliveries(1, `status = 'SUCCESS' AND enqueue_count = 1`);
});
