import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import type { Receiver, Respond } from '../support/receiver.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** Answers each request after 50 to 200 ms once `expected` requests have arrived. Counts concurrent requests. */
function slowAnswers(expected: number): { readonly respond: Respond; readonly most: () => number } {
  let [current, most] = [0, 0];
  return {
    respond: async () => {
      current += 1;
      most = Math.max(most, current);
      await waitFor(() => most >= expected, { what: `${expected} requests at a time` });
      await delay(50 + Math.random() * 150);
      current -= 1;
      return { status: 200 };
    },
    most: () => most,
  };
}

function deliveriesOf({ requests }: Receiver): Set<unknown> {
  return new Set(requests.map(({ headers }) => headers['webhook-delivery']));
}

async function waitUntilTidy(stack: TestStack, id: string): Promise<void> {
  const isTidy = async () => {
    const { isBacklogged, dueInMs } = await stack.stateOf(id);
    return !isBacklogged && (dueInMs === null || dueInMs > 1_000);
  };
  await waitFor(isTidy, { what: 'an empty queue' });
}

describe('attempts in flight', () => {
  it('are ten at most by default; waiting deliveries are not lost or sent twice', async () => {
    const stack = await startTestStack(cleanUps);
    const { respond, most } = slowAnswers(10);
    const receiver = await stack.receive(respond);
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['x'], timeoutMs: 30_000 });
    await stack.publishMany('x', 200);
    await stack.waitForDeliveries(200, `status = 'SUCCESS' AND attempt_count = 1`);
    expect(most()).toBe(10);
    expect(receiver.requests).toHaveLength(200);
    expect(deliveriesOf(receiver).size).toBe(200);
    await waitUntilTidy(stack, id);
  });

  it.each([1, 30])('are limited by the subscription: %i', async (maxInFlight) => {
    const stack = await startTestStack(cleanUps);
    const { respond, most } = slowAnswers(maxInFlight);
    const receiver = await stack.receive(respond);
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['x'], timeoutMs: 30_000 });
    await stack.query('UPDATE webhook_subscriptions SET max_in_flight = $2 WHERE id = $1', [id, maxInFlight]);
    await stack.publishMany('x', 8 * maxInFlight);
    await stack.waitForDeliveries(8 * maxInFlight, `status = 'SUCCESS'`);
    expect(most()).toBe(maxInFlight);
    expect(receiver.requests).toHaveLength(8 * maxInFlight);
  });
});

/** Subscribes the receiver, with a timeout that no attempt reaches during a test. */
async function subscribe(stack: TestStack, { url }: Receiver, settings: Record<string, unknown>): Promise<void> {
  const { id } = await stack.app.subscribe({ url, ...settings });
  await stack.query('UPDATE webhook_subscriptions SET timeout_ms = 3600000 WHERE id = $1', [id]);
}

describe('an endpoint that hangs', () => {
  it('has its deliveries wait in Postgres without using an attempt, and delays no other endpoint', async () => {
    const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '1h' } });
    const hanging = await stack.receive(() => 'hang');
    const healthy = await stack.receive();
    await subscribe(stack, hanging, { eventTypes: ['hang'] });
    await subscribe(stack, healthy, { eventTypes: ['ok'] });
    await stack.publishMany('hang', 2_000);
    await stack.publishMany('ok', 200);
    await healthy.waitForRequests(200);
    const waiting = `event_type = 'hang' AND status = 'PENDING' AND attempt_count = 0`;
    expect(await stack.countDeliveries(waiting)).toBeGreaterThan(1_900);
    // All deliveries except those that were just released to check for free permits.
    const isParked = async () =>
      (await stack.countDeliveries(`${waiting} AND enqueued_at IS NULL AND waiting_for = 'IN_FLIGHT_LIMIT'`)) > 1_800;
    await waitFor(isParked, { what: 'most of them to wait in Postgres' });
    expect(deliveriesOf(healthy).size).toBe(200);
    expect(await hanging.waitForRequests(10)).toHaveLength(10);
  });

  it('has fewer attempts in flight with larger data', async () => {
    const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '1h' } });
    const hanging = await stack.receive(() => 'hang');
    await subscribe(stack, hanging, { eventTypes: ['hang'], maxInFlight: 100 });
    // Too large for a message, so each delivery takes 16 of the sender's 1,000 permits.
    const data = JSON.stringify({ filling: 'x'.repeat(300 * 1024) });
    await Promise.all(Array.from({ length: 100 }, () => stack.publish('events.acme.hang', data)));
    await waitFor(async () => (await stack.countDeliveries(`waiting_for = 'IN_FLIGHT_LIMIT'`)) >= 90, {
      what: 'all others to wait in Postgres',
    });
    expect(hanging.requests.length).toBeGreaterThan(4);
    expect(hanging.requests.length).toBeLessThan(10);
  });

  it('delays no other endpoint, even together with a failing and a rate-limited endpoint, each with a backlog', async () => {
    const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '1h' } });
    const [hanging, failing, limited, healthy] = await Promise.all([
      stack.receive(() => 'hang'),
      stack.receive(() => ({ status: 500 })),
      stack.receive(),
      stack.receive(),
    ]);
    await subscribe(stack, hanging, { eventTypes: ['hang'] });
    await subscribe(stack, failing, { eventTypes: ['fail'] });
    await subscribe(stack, limited, { eventTypes: ['limit'], rateLimitPerSecond: 1 });
    await subscribe(stack, healthy, { eventTypes: ['ok'] });
    // More than the sender's 1,000 permits.
    for (const type of ['hang', 'fail', 'limit']) await stack.publishMany(type, 1_500);
    await stack.publishMany('ok', 200);
    await healthy.waitForRequests(200);
    for (const type of ['hang', 'fail', 'limit']) {
      expect(await stack.countDeliveries(`status = 'PENDING' AND event_type = $1`, [type])).toBeGreaterThan(1_000);
    }
    expect(deliveriesOf(healthy).size).toBe(200);
    // The first attempts at the endpoint that hangs have not ended.
    expect(await hanging.waitForRequests(10)).toHaveLength(10);
  });
});
