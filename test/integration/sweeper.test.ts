import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

/** Inserts due deliveries that are queued in Postgres, of a subscription without a scheduled sweep. */
async function insertWaiting({ query }: TestStack, subscriptionId: string, count: number): Promise<void> {
  await query(
    `WITH event AS (
       INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
       SELECT gen_random_uuid(), 'acme', n, 'waiting', now(), '{}' FROM generate_series(1, $2) AS n
       RETURNING id
     )
     INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at)
     SELECT gen_random_uuid(), 'acme', $1, id, 'waiting', now() - interval '1 s' FROM event`,
    [subscriptionId, count],
  );
}

function wake({ query }: TestStack, subscriptionId: string): Promise<unknown> {
  return query('UPDATE subscription_states SET next_sweep_at = now() WHERE subscription_id = $1', [subscriptionId]);
}

it('remaining deliveries of a deactivated subscription are cancelled without delaying others, and no sweep follows', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const off = await stack.app.subscribe({ url: receiver.url });
  const on = await stack.app.subscribe({ url: receiver.url });
  await insertWaiting(stack, off.id, 2_500);
  await insertWaiting(stack, on.id, 1);
  // Its circuit is also open.
  await stack.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now(), probe_wait_ms = 30000
     WHERE subscription_id = $1`,
    [off.id],
  );
  await stack.query('UPDATE webhook_subscriptions SET is_active = false WHERE id = $1', [off.id]);
  await wake(stack, off.id);
  await stack.waitForDeliveries(2_500, `status = 'CANCELLED'`);
  await wake(stack, on.id);
  await receiver.waitForRequests(1);
  const isLeftAlone = async () => {
    const { isBacklogged, isOpen, dueInMs } = await stack.stateOf(off.id);
    return !isBacklogged && !isOpen && (dueInMs ?? Number.POSITIVE_INFINITY) > 1_000;
  };
  await waitFor(isLeftAlone, { what: 'an empty queue' });
  expect(receiver.requests).toHaveLength(1);
});

it('a transaction cancels at most 1,000 deliveries of all inactive subscriptions together', async () => {
  const stack = await startTestStack(cleanUps);
  for (const count of [1_100, 1_300]) {
    const { id } = await stack.app.subscribe({ url: 'http://127.0.0.1:4/' });
    await insertWaiting(stack, id, count);
  }
  await stack.query('UPDATE webhook_subscriptions SET is_active = false');
  await stack.query('UPDATE subscription_states SET next_sweep_at = now()');
  const byTransaction = () =>
    stack.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM deliveries WHERE status = 'CANCELLED' GROUP BY xmin::text`,
    );
  const counts = await waitFor(
    async () => {
      const found = (await byTransaction()).map(({ count }) => count);
      return found.reduce((sum, count) => sum + count, 0) === 2_400 ? found : false;
    },
    { what: 'the cancellations' },
  );
  expect(Math.max(...counts)).toBeLessThanOrEqual(1_000);
});

it('a sweep that fails although Postgres is available is logged, and repeated', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id } = await stack.app.subscribe({ url: receiver.url });
  await insertWaiting(stack, id, 1);
  await stack.query(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'a deadlock' USING ERRCODE = '40P01'; END $$`);
  await stack.query('CREATE TRIGGER fail BEFORE UPDATE OF enqueued_at ON deliveries EXECUTE FUNCTION fail()');
  await wake(stack, id);
  await waitFor(() => stack.logLines.some((line) => line.includes('sweep failed')), { what: 'the log line' });
  expect(stack.logLines.find((line) => line.includes('sweep failed'))).toContain('40P01');
  await stack.query('DROP TRIGGER fail ON deliveries');
  await receiver.waitForRequests(1);
});

it('a subscription with a single delivery is served before the end of a backlog of thousands', async () => {
  const stack = await startTestStack(cleanUps);
  const busy = await stack.receive();
  const quiet = await stack.receive();
  const { id: busyId } = await stack.app.subscribe({ url: busy.url });
  const { id: quietId } = await stack.app.subscribe({ url: quiet.url });
  await insertWaiting(stack, busyId, 3_000);
  await wake(stack, busyId);
  await busy.waitForRequests(1);
  await insertWaiting(stack, quietId, 1);
  await wake(stack, quietId);
  await quiet.waitForRequests(1);
  expect(busy.requests.length).toBeLessThan(1_500);
});

it('several sweepers together publish each delivery once at a time', async () => {
  const stack = await startTestStack(cleanUps, { apps: 3 });
  const receiver = await stack.receive();
  for (let index = 0; index < 4; index += 1) {
    const { id } = await stack.app.subscribe({ url: receiver.url });
    await insertWaiting(stack, id, 150);
  }
  await stack.query('UPDATE subscription_states SET next_sweep_at = now()');
  await stack.waitForDeliveries(600, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-delivery'])).size).toBe(600);
  expect(receiver.requests).toHaveLength(600);
  const [row] = await stack.query<{ sum: number }>('SELECT sum(enqueue_count)::integer AS sum FROM deliveries');
  expect(await stack.storedIn('DELIVERIES')).toBe(row?.sum);
});

it('deliveries leased by a killed sender do not block the backlog of their subscription', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id } = await stack.app.subscribe({ url: receiver.url });
  await insertWaiting(stack, id, 29);
  // No sender attempts these deliveries until their ack wait has passed.
  await stack.query(
    `UPDATE deliveries
     SET next_attempt_at = now() - interval '21 s', enqueued_at = now() - interval '20 s', enqueue_count = 1
     WHERE id IN (SELECT id FROM deliveries LIMIT 9)`,
  );
  await stack.query('UPDATE subscription_states SET is_backlogged = true, publish_window = 5');
  await wake(stack, id);
  await receiver.waitForRequests(20);
  const pending = () => stack.query(`SELECT FROM deliveries WHERE status = 'PENDING'`);
  await waitFor(async () => (await pending()).length === 9, { what: 'the twenty results' });
});

it('a delivery queued behind a backlog that has just drained is found soon, after a minute at the latest', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id } = await stack.app.subscribe({ url: receiver.url });
  const noBacklog = async () => !(await stack.stateOf(id)).isBacklogged;
  // A dispatcher has read the flag of a backlog, and queues a delivery after the backlog has drained.
  await stack.query('UPDATE subscription_states SET is_backlogged = true, next_sweep_at = now()');
  await waitFor(noBacklog, { what: 'the backlog to be gone' });
  await insertWaiting(stack, id, 1);
  await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
  // Another dispatcher commits late. The sweeper checks at growing intervals and still finds its delivery.
  const { dueInMs } = await stack.stateOf(id);
  expect(dueInMs).not.toBeNull();
  await insertWaiting(stack, id, 1);
  await stack.query('UPDATE subscription_states SET late_insert_check_until = now(), next_sweep_at = now()');
  await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
  await waitFor(async () => (await stack.stateOf(id)).dueInMs === null, { what: 'the last look' });
});

describe('an open circuit whose probe is due', () => {
  const open = async (stack: TestStack, subscriptionId: string) => {
    await stack.query(
      `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now(), probe_wait_ms = 30000,
         next_sweep_at = now() WHERE subscription_id = $1`,
      [subscriptionId],
    );
    const isSwept = async () => ((await stack.stateOf(subscriptionId)).dueInMs ?? 0) > 0;
    await waitFor(isSwept, { what: 'a sweep' });
  };

  it('sends the next event at once', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    const { id } = await stack.app.subscribe({ url: receiver.url });
    await open(stack, id);
    await stack.query(`UPDATE subscription_states SET next_sweep_at = now() + interval '1 hour'`);
    await stack.publish('events.acme.a', '{}');
    await receiver.waitForRequests(1);
  });

  it('waits until a delivery is due, or until a pause ends', async () => {
    const stack = await startTestStack(cleanUps);
    const { id } = await stack.app.subscribe({ url: 'http://127.0.0.1:4' });
    await insertWaiting(stack, id, 1);
    await stack.query(`UPDATE deliveries SET next_attempt_at = now() + interval '20 s'`);
    await open(stack, id);
    const { dueInMs } = await stack.stateOf(id);
    expect(dueInMs).toBeLessThanOrEqual(20_000);
    await stack.query(`UPDATE subscription_states SET paused_until = now() + interval '1 hour'`);
    await open(stack, id);
    expect((await stack.stateOf(id)).dueInMs).toBeGreaterThan(3_000_000);
    await stack.publish('events.acme.a', '{}');
    await stack.waitForDeliveries(2, `status = 'PENDING'`);
    expect((await stack.stateOf(id)).dueInMs).toBeGreaterThan(3_000_000);
  });
});
