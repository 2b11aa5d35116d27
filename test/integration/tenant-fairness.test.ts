import { describe, expect, it } from 'vitest';
import { insertSubscriptions, subjectsOf } from '../../bench/many-subscriptions.ts';
import { lockDueQueues } from '../../src/delivery/queue/state.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startOtherLoopReceiver } from '../support/other-loop-receiver.ts';
import { SECRETS_KEY, startTestServices } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

/** The sender has 200 permits in place of 1,000. */
const FEW_PERMITS = { env: { RETRY_SCHEDULE: '1h' }, limits: { maxInFlight: 200 } };
const cleanUps = createCleanUps();

/** Creates subscriptions of the tenant t0 to the same events. */
async function startLoud(
  { databaseUrl }: Pick<TestStack, 'databaseUrl'>,
  url: string,
  fanOut: number,
): Promise<string> {
  const options = { types: 1, fanOut };
  await insertSubscriptions({ databaseUrl, secretsKey: SECRETS_KEY }, { ...options, urls: [url] });
  return subjectsOf(options)[0] ?? '';
}

async function publishTimes(
  { publish }: TestStack,
  { subject, count, data = '{}' }: { readonly subject: string; readonly count: number; readonly data?: string },
): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => publish(subject, data)));
}

function deliveryIds(requests: readonly { readonly headers: Record<string, unknown> }[]): Set<unknown> {
  return new Set(requests.map(({ headers }) => headers['webhook-delivery']));
}

describe('the events of a tenant', () => {
  it('overtake those of another tenant with a large fan-out, in batches of bounded size; all are sent once', async () => {
    const stack = await startTestStack(cleanUps);
    const loud = await startOtherLoopReceiver({});
    cleanUps.push(() => loud.close());
    const quiet = await stack.receive();
    const subject = await startLoud(stack, `http://127.0.0.1:${loud.port}`, 150);
    // On an overloaded machine, attempts would time out and be repeated.
    await stack.query('UPDATE webhook_subscriptions SET timeout_ms = 30000');
    await stack.app.subscribe({ tenant: 'quiet', url: quiet.url });
    await publishTimes(stack, { subject, count: 12 });
    await publishTimes(stack, { subject: 'events.quiet.x', count: 5 });
    await quiet.waitForRequests(5);
    expect(loud.deliveries.length).toBeLessThan(1_400);
    await stack.waitForDeliveries(1_805, `status = 'SUCCESS'`);
    expect([loud.deliveries.length, new Set(loud.deliveries).size, quiet.requests.length]).toEqual([1_800, 1_800, 5]);
    const [largest] = await stack.query<{ count: number }>(
      'SELECT count(*)::integer AS count FROM deliveries GROUP BY created_at ORDER BY 1 DESC LIMIT 1',
    );
    expect(largest?.count).toBeLessThanOrEqual(1_000);
  });

  it('do not wait for large events of another tenant whose endpoints hang', async () => {
    const stack = await startTestStack(cleanUps, FEW_PERMITS);
    const [hanging, quiet] = [await stack.receive(() => 'hang'), await stack.receive()];
    const subject = await startLoud(stack, hanging.url, 20);
    await stack.query('UPDATE webhook_subscriptions SET timeout_ms = 30000');
    await stack.app.subscribe({ tenant: 'quiet', url: quiet.url });
    // Too large for inline data: each delivery takes 16 of the sender's permits.
    await publishTimes(stack, { subject, count: 2, data: JSON.stringify('x'.repeat(300 * 1_024)) });
    await hanging.waitForRequests(8);
    await publishTimes(stack, { subject: 'events.quiet.x', count: 30 });
    await quiet.waitForRequests(30);
    expect(await stack.countDeliveries(`tenant = 't0' AND attempt_count > 0`)).toBe(0);
    expect(hanging.requests.length).toBeLessThanOrEqual(11);
  });

  it('overtake large events of another tenant', async () => {
    const stack = await startTestStack(cleanUps);
    const loud = await startOtherLoopReceiver({});
    cleanUps.push(() => loud.close());
    const quiet = await stack.receive();
    const subject = await startLoud(stack, `http://127.0.0.1:${loud.port}`, 20);
    await stack.query('UPDATE webhook_subscriptions SET timeout_ms = 30000');
    await stack.app.subscribe({ tenant: 'quiet', url: quiet.url });
    await publishTimes(stack, { subject, count: 20, data: JSON.stringify('x'.repeat(500 * 1_024)) });
    await publishTimes(stack, { subject: 'events.quiet.x', count: 5 });
    await quiet.waitForRequests(5);
    expect(loud.deliveries.length).toBeLessThan(300);
    await stack.waitForDeliveries(405, `status = 'SUCCESS'`);
    expect([loud.deliveries.length, new Set(loud.deliveries).size]).toEqual([400, 400]);
  });

  it('do not wait for the hanging endpoints of another tenant', async () => {
    const stack = await startTestStack(cleanUps, FEW_PERMITS);
    const [hanging, quiet] = [await stack.receive(() => 'hang'), await stack.receive()];
    const subject = await startLoud(stack, hanging.url, 200);
    await stack.query('UPDATE webhook_subscriptions SET timeout_ms = 30000');
    await stack.app.subscribe({ tenant: 'quiet', url: quiet.url });
    await publishTimes(stack, { subject, count: 2 });
    await hanging.waitForRequests(160);
    await publishTimes(stack, { subject: 'events.quiet.x', count: 30 });
    await quiet.waitForRequests(30);
    // None of the other tenant's attempts has ended: without limits, they would hold all permits of the sender.
    expect(await stack.countDeliveries(`tenant = 't0' AND attempt_count > 0`)).toBe(0);
    expect(hanging.requests.length).toBeLessThanOrEqual(175);
  });
});

it('a queue of a tenant is swept before the fiftieth queue of another tenant that has been due for longer', async () => {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  const insert = (tenant: string, count: number, dueMs: number) =>
    services
      .query(
        `WITH s AS (
         INSERT INTO webhook_subscriptions (id, tenant, url, event_types)
         SELECT gen_random_uuid(), $1, 'https://example.com', '{a}' FROM generate_series(1, $2::integer) RETURNING id
       ) SELECT FROM s`,
        [tenant, count],
      )
      .then(() =>
        services.query(
          `UPDATE subscription_states SET next_sweep_at = now() - $2 * interval '1 ms'
         WHERE subscription_id IN (SELECT id FROM webhook_subscriptions WHERE tenant = $1)`,
          [tenant, dueMs],
        ),
      );
  await insert('loud', 300, 60_000);
  await insert('other', 2, 5_000);
  await insert('quiet', 1, 10);
  const rows = await lockDueQueues(
    { query: async (text, values) => ({ rows: await services.query(text, values) }) },
    50,
  );
  const counts = (tenant: string) => rows.filter((row) => row.tenant === tenant).length;
  expect([counts('loud'), counts('other'), counts('quiet')]).toEqual([47, 2, 1]);
});

it('the deliveries of one event beyond a hundred are queued in Postgres, and their first attempts need no lease', async () => {
  const stack = await startTestStack(cleanUps);
  const loud = await stack.receive();
  const subject = await startLoud(stack, loud.url, 130);
  await stack.query(`CREATE TABLE leases (id uuid)`);
  await stack.query(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO leases VALUES (NEW.id); RETURN NEW; END $$`);
  await stack.query(`CREATE TRIGGER note BEFORE UPDATE ON deliveries FOR EACH ROW
    WHEN (NEW.leased_until IS NOT NULL) EXECUTE FUNCTION note()`);
  await stack.query(`CREATE TABLE queued (id uuid)`);
  await stack.query(`CREATE FUNCTION note_queued() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO queued VALUES (NEW.id); RETURN NEW; END $$`);
  await stack.query(`CREATE TRIGGER note_queued BEFORE INSERT ON deliveries FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL) EXECUTE FUNCTION note_queued()`);
  await publishTimes(stack, { subject, count: 1 });
  await stack.waitForDeliveries(130, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(deliveryIds(loud.requests).size).toBe(130);
  expect(loud.requests).toHaveLength(130);
  expect(await stack.query('SELECT FROM queued')).toHaveLength(30);
  expect(await stack.query('SELECT FROM leases')).toEqual([]);
  const isTidy = async () => (await stack.query('SELECT FROM subscription_states WHERE is_backlogged')).length === 0;
  await waitFor(isTidy, { what: 'no backlog to be left' });
});
