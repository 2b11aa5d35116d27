import { randomBytes, randomUUID } from 'node:crypto';
import type pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CircuitBreaker } from '../../src/delivery/circuit/breaker.ts';
import { DeliveryStream } from '../../src/delivery/queue/stream.ts';
import { NatsClient } from '../../src/nats/connection.ts';
import type { Database } from '../../src/postgres/client.ts';
import { SubscriptionCache } from '../../src/subscriptions/cache.ts';
import { createSecretBox } from '../../src/subscriptions/secrets.ts';
import { insertAttempts, times } from '../support/attempts.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import type { Receiver } from '../support/receiver.ts';
import { TEST_SEAL } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

const LONG_WAITS = { RETRY_SCHEDULE: '1h,1h,1h' };

type Endpoint = { readonly receiver: Receiver; readonly id: string; recover(): void };

/** Creates an endpoint that fails until `recover` is called, and its subscription. */
async function failingEndpoint(stack: TestStack): Promise<Endpoint> {
  let status = 500;
  const receiver = await stack.receive(() => ({ status }));
  const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['x'] });
  return {
    receiver,
    id,
    recover: () => {
      status = 200;
    },
  };
}

async function isOpen(stack: TestStack, id: string): Promise<boolean> {
  return (await stack.stateOf(id)).isOpen;
}

async function waitUntilOpen(stack: TestStack, id: string): Promise<void> {
  await waitFor(() => isOpen(stack, id), { what: 'the circuit to open' });
}

/** Fails ten attempts, which opens the circuit. The retries of their deliveries are due in an hour. */
async function open(stack: TestStack, { id, receiver }: Endpoint): Promise<void> {
  await stack.publishMany('x', 10);
  await waitUntilOpen(stack, id);
  await stack.waitForDeliveries(10, `attempt_count = 1 AND enqueued_at IS NULL`);
  expect(receiver.requests).toHaveLength(10);
}

/** Makes the next probe due now. */
async function letProbe({ app }: TestStack, id: string): Promise<void> {
  const { probeNow } = await app.graphql<{ probeNow: { __typename: string } }>(
    `mutation { probeNow(id: "${id}") { __typename } }`,
  );
  expect(probeNow.__typename).toBe('ProbeNowPayload');
}

/** Waits until the next sweep of the subscription is at least `leastMs` away. */
async function waitUntilDueIn(stack: TestStack, id: string, leastMs: number): Promise<void> {
  const isSo = async () => ((await stack.stateOf(id)).dueInMs ?? 0) > leastMs;
  await waitFor(isSo, { what: `the sweeper to have nothing to do for ${leastMs} ms` });
}

/** Stops the program, which evaluates all pending attempts first, and returns whether the circuit is open. */
async function isOpenAtLast(stack: TestStack, id: string): Promise<boolean> {
  await stack.app.stop();
  return isOpen(stack, id);
}

describe('a circuit opens', () => {
  let opened: OpenTestDatabase;
  let database: Database;

  beforeAll(async () => {
    opened = await openTestDatabase();
    ({ database } = opened);
  });
  afterAll(async () => {
    await opened.close();
  });

  type Attempts = { readonly agoMs: number; readonly statuses: readonly string[] };

  /** Whether the circuit of a new subscription opens after these attempts. */
  async function opensAfter(...past: readonly Attempts[]): Promise<boolean> {
    const query = async <T extends pg.QueryResultRow>(sql: string, values?: unknown[]) =>
      (await database.pool.query<T>(sql, values)).rows;
    const subscriptionId = randomUUID();
    await query(
      `INSERT INTO webhook_subscriptions (id, tenant, url, event_types) VALUES ($1, 'acme', 'https://example.com', '{x}')`,
      [subscriptionId],
    );
    for (const attempts of past) await insertAttempts({ query }, { subscriptionId, ...attempts });
    const log = pino({ level: 'silent' });
    const nats = new NatsClient({ servers: [], seal: TEST_SEAL, log });
    const deliveries = new DeliveryStream({ nats, log, now: Date.now });
    const subscriptions = new SubscriptionCache(database, createSecretBox(randomBytes(32).toString('base64')));
    const circuits = new CircuitBreaker({ database, deliveries, log, subscriptions });
    circuits.observe([{ subscriptionId, status: 'FAILURE' }], []);
    await circuits.stop();
    const state = 'SELECT FROM subscription_states WHERE subscription_id = $1 AND opened_at IS NOT NULL';
    return (await query(state, [subscriptionId])).length === 1;
  }

  it.each([
    { failures: 19, opens: true },
    { failures: 18, opens: false },
  ])('with the 20th failure in a row, after any time ($failures before)', async ({ failures, opens }) => {
    const statuses = ['SUCCESS', ...times(failures, 'FAILURE')];
    expect(await opensAfter({ agoMs: 3_600_000, statuses }, { agoMs: 0, statuses: ['FAILURE'] })).toBe(opens);
  });

  it.each([
    { successes: 3, failures: 6, opens: true },
    { successes: 4, failures: 5, opens: false },
    { successes: 2, failures: 6, opens: false },
  ])(
    'when 70 % of at least ten recent attempts failed ($successes successes and $failures failures before one more)',
    async ({ successes, failures, opens }) => {
      // With these older attempts, the failure rate would be below the limit.
      const older = { agoMs: 400_000, statuses: times(30, 'SUCCESS') };
      const statuses = [...times(failures, 'FAILURE'), ...times(successes, 'SUCCESS')];
      expect(await opensAfter(older, { agoMs: 60_000, statuses }, { agoMs: 0, statuses: ['FAILURE'] })).toBe(opens);
    },
  );

  it('even if successes keep occurring among the failures', async () => {
    const statuses = [...times(8, 'FAILURE'), ...times(2, 'SUCCESS')];
    expect(await opensAfter({ agoMs: 1_000, statuses })).toBe(true);
  });
});

describe('while a circuit is open', () => {
  it('nothing is sent, new deliveries wait without a message, and no attempt is used up', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2, env: LONG_WAITS });
    const endpoint = await failingEndpoint(stack);
    await open(stack, endpoint);
    const stored = await stack.storedIn('DELIVERIES');
    await stack.publishMany('x', 50);
    await stack.waitForDeliveries(50, `status = 'PENDING' AND attempt_count = 0 AND waiting_for = 'CIRCUIT_OPEN'`);
    // The ten failed deliveries become due as well, and a sweep runs.
    await stack.query(`UPDATE deliveries SET next_attempt_at = now() WHERE attempt_count = 1`);
    await stack.query('UPDATE subscription_states SET next_sweep_at = now()');
    await waitUntilDueIn(stack, endpoint.id, 1_000);
    expect(await stack.storedIn('DELIVERIES')).toBe(stored);
    await stack.waitForDeliveries(0, 'enqueued_at IS NOT NULL');
    expect(endpoint.receiver.requests).toHaveLength(10);
  });

  it('published and retrying deliveries are parked when their messages arrive', async () => {
    const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '5s,5s,5s' } });
    const endpoint = await failingEndpoint(stack);
    await stack.publishMany('x', 10);
    await waitUntilOpen(stack, endpoint.id);
    await stack.waitForDeliveries(10, `status = 'PENDING' AND attempt_count = 1 AND waiting_for = 'CIRCUIT_OPEN'`);
    expect(endpoint.receiver.requests).toHaveLength(10);
  });

  it('one probe is sent at a time, and the wait doubles after each failed probe, to an hour at most', async () => {
    // The retry delays are short: a probe must not use them.
    const stack = await startTestStack(cleanUps, {
      apps: 2,
      env: { RETRY_SCHEDULE: '1h,100ms,100ms,100ms,100ms,100ms' },
    });
    const endpoint = await failingEndpoint(stack);
    await open(stack, endpoint);
    expect((await stack.stateOf(endpoint.id)).probeWaitMs).toBe(30_000);
    await stack.query(`UPDATE deliveries SET next_attempt_at = now()`);
    for (const [index, probeWaitMs] of [60_000, 120_000, 240_000].entries()) {
      await letProbe(stack, endpoint.id);
      await endpoint.receiver.waitForRequests(11 + index);
      await stack.waitForDeliveries(0, 'enqueued_at IS NOT NULL');
      expect(await stack.stateOf(endpoint.id)).toMatchObject({ isOpen: true, probeWaitMs });
      await waitUntilDueIn(stack, endpoint.id, 0.8 * probeWaitMs - 10_000);
    }
    await stack.query('UPDATE subscription_states SET probe_wait_ms = 3000000');
    await letProbe(stack, endpoint.id);
    await endpoint.receiver.waitForRequests(14);
    await stack.waitForDeliveries(0, 'enqueued_at IS NOT NULL');
    expect((await stack.stateOf(endpoint.id)).probeWaitMs).toBe(3_600_000);
    // A retry without delay would have arrived by now.
    expect(endpoint.receiver.requests).toHaveLength(14);
  });

  it('a success of an attempt that started earlier does not close it', async () => {
    const stack = await startTestStack(cleanUps, { env: LONG_WAITS });
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const receiver = await stack.receive(async (_, index) => {
      if (index > 0) return { status: 500 };
      await answered;
      return { status: 200 };
    });
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['x'], timeoutMs: 30_000 });
    await stack.publishMany('x', 11);
    await waitUntilOpen(stack, id);
    answer();
    await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(await isOpenAtLast(stack, id)).toBe(true);
  });
});

describe('a circuit closes', () => {
  it('with a successful probe; the waiting deliveries are then sent at a growing rate, each once', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2, env: LONG_WAITS });
    const endpoint = await failingEndpoint(stack);
    await open(stack, endpoint);
    await stack.publishMany('x', 100);
    await stack.waitForDeliveries(100, `waiting_for = 'CIRCUIT_OPEN' AND attempt_count = 0`);
    endpoint.recover();
    await letProbe(stack, endpoint.id);
    await stack.waitForDeliveries(100, `status = 'SUCCESS' AND attempt_count = 1 AND waiting_for IS NULL`);
    const requests = endpoint.receiver.requests.slice(10);
    expect(new Set(requests.map(({ headers }) => headers['webhook-delivery'])).size).toBe(100);
    expect(requests).toHaveLength(100);
    expect(await isOpen(stack, endpoint.id)).toBe(false);
    // The probe, then two, four and eight requests, each group 0.1 s after the one before.
    const at = (index: number) => requests[index]?.receivedAt ?? 0;
    expect(at(8) - at(1)).toBeGreaterThan(150);
    await waitFor(async () => !(await stack.stateOf(endpoint.id)).isBacklogged, { what: 'the backlog to be gone' });
    expect(await stack.stateOf(endpoint.id)).toMatchObject({ publishWindow: null, probeWaitMs: null });
    // The sweeper re-checks for deliveries inserted at the end of the backlog, at growing intervals.
    await waitUntilDueIn(stack, endpoint.id, 1_000);
  });

  it('with a retry by a user, which is still sent at once; a test event does not close it', async () => {
    const stack = await startTestStack(cleanUps, { env: LONG_WAITS });
    const endpoint = await failingEndpoint(stack);
    await open(stack, endpoint);
    const send = () =>
      stack.app.graphql('mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { __typename } }', {
        id: endpoint.id,
      });
    await send();
    await stack.waitForDeliveries(11, 'attempt_count = 1');
    endpoint.recover();
    await send();
    await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
    expect(await isOpen(stack, endpoint.id)).toBe(true);
    const [waiting] = await stack.query<{ id: string }>(`SELECT id FROM deliveries WHERE status = 'PENDING' LIMIT 1`);
    await stack.app.graphql('mutation ($id: ID!) { retryDelivery(id: $id) { __typename } }', { id: waiting?.id });
    await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
    await waitFor(async () => !(await isOpen(stack, endpoint.id)), { what: 'the circuit to close' });
    expect(endpoint.receiver.requests).toHaveLength(13);
  });
});
