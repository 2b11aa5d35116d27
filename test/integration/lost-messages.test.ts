import { randomUUID } from 'node:crypto';
import { connect } from 'nats';
import { beforeEach, describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { scrape } from '../support/metrics.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();
let services: TestServices;
let receiver: Receiver;
let subscriptionId: string;

beforeEach(async () => {
  services = await startTestServices();
  cleanUps.push(() => services.stop());
  receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  // Creates streams and consumers as well. The sweeper of the next program searches for lost deliveries when it starts.
  const api = await startTestApp(services, { env: { ROLES: 'api' } });
  subscriptionId = (await api.subscribe({ url: receiver.url })).id;
  await api.stop();
});

async function startApp(): Promise<TestApp> {
  const app = await startTestApp(services);
  cleanUps.push(() => app.stop());
  return app;
}

/** Inserts a delivery with this publication time of its message, in Unix milliseconds. */
async function insertEnqueued(enqueuedAt: number, { isLeased = false } = {}): Promise<string> {
  const id = randomUUID();
  await services.query(
    `WITH event AS (
       INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
       VALUES (gen_random_uuid(), 'acme', $1, 'ticket', now(), '{}') RETURNING id
     )
     INSERT INTO deliveries
       (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at, enqueue_count, leased_until)
     SELECT $1::uuid, 'acme', $2, id, 'ticket', $3, $3, 1, CASE WHEN $4 THEN now() + interval '1 min' END FROM event`,
    [id, subscriptionId, new Date(enqueuedAt), isLeased],
  );
  return id;
}

const enqueueCounts = async () => {
  const sql = 'SELECT id, enqueue_count AS count FROM deliveries';
  const rows = await services.query<{ id: string; count: number }>(sql);
  return Object.fromEntries(rows.map(({ id, count }) => [id, count]));
};

/** Publishes a message to DELIVERIES that is never acknowledged, and returns its time. */
async function holdMessage(): Promise<number> {
  const connection = await connect({ servers: services.nats.url });
  cleanUps.push(() => connection.close());
  const jetStream = connection.jetstream();
  await jetStream.publish('deliveries.somebody-elses', '');
  await (await jetStream.consumers.get('DELIVERIES', 'sender')).next();
  const { state } = await (await connection.jetstreamManager()).streams.info('DELIVERIES');
  expect(state.messages).toBe(1);
  return Date.parse(state.first_ts);
}

describe('a delivery without a message in JetStream', () => {
  it('is published again and attempted once, unless it is being attempted', async () => {
    const lost = await insertEnqueued(Date.now() - 300_000);
    const leased = await insertEnqueued(Date.now() - 300_000, { isLeased: true });
    const app = await startApp();
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers).toMatchObject({ 'webhook-delivery': lost, 'webhook-attempt': '1' });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'the message to be acked' });
    expect(await enqueueCounts()).toEqual({ [lost]: 2, [leased]: 1 });
    expect((await scrape(app)).valueOf('webhooks_sweeper_lost_total')).toBe(1);
    expect(receiver.requests).toHaveLength(1);
  });

  it('was published at least a minute before the oldest message in the stream', async () => {
    const oldestAt = await holdMessage();
    const before = await insertEnqueued(oldestAt - 60_001);
    // Now also published over a minute ago: without the held message, it would count as lost.
    const after = await insertEnqueued(oldestAt - 60_000);
    const app = await startApp();
    await receiver.waitForRequests(1);
    // A search that finds one of them would also find the other.
    expect(await enqueueCounts()).toEqual({ [before]: 2, [after]: 1 });
    expect((await scrape(app)).valueOf('webhooks_sweeper_lost_total')).toBe(1);
  });
});
