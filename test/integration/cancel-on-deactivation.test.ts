import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
});
afterAll(async () => {
  await app.stop();
  await services.stop();
});

// Nothing listens on this port, and nothing is sent.
const subscribe = async () => (await app.subscribe({ url: 'http://127.0.0.1:4/' })).id;

/** Inserts deliveries of three kinds alternately: due behind an open circuit, waiting for a long backoff, and published. */
async function insertBacklog(subscriptionId: string, count: number): Promise<void> {
  await services.query(
    `UPDATE subscription_states SET opened_at = now(), probe_at = now() + interval '1 hour', probe_wait_ms = 30000,
       is_backlogged = true, next_sweep_at = now() + interval '1 hour', failing_since = now() WHERE subscription_id = $1`,
    [subscriptionId],
  );
  await services.query(
    `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, waiting_for, next_attempt_at, enqueued_at)
     SELECT gen_random_uuid(), 'acme', $1::uuid, gen_random_uuid(), 'ticket', 'BACKOFF',
       now() + CASE n % 3 WHEN 1 THEN interval '9 hours' ELSE interval '0' END, CASE n % 3 WHEN 2 THEN now() END
     FROM generate_series(1, $2::integer) AS n`,
    [subscriptionId, count],
  );
}

const countOf = async (subscriptionId: string, status: string) => {
  const sql =
    'SELECT count(*)::integer AS n FROM deliveries WHERE subscription_id = $1 AND status = $2::delivery_status';
  const [row] = await services.query<{ n: number }>(sql, [subscriptionId, status]);
  return row?.n ?? 0;
};

const UPDATE = `mutation ($id: ID!, $isActive: Boolean!) {
  updateWebhookSubscription(id: $id, input: { isActive: $isActive }) { __typename } }`;
const DELETE = 'mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }';

it.each([
  ['deactivating', UPDATE, { isActive: false }],
  ['deleting', DELETE, {}],
])('%s a subscription answers at once, and cancels a long backlog within seconds', async (_what, mutation, input) => {
  const id = await subscribe();
  await insertBacklog(id, 12_000);
  const startedAt = performance.now();
  await app.graphql(mutation, { id, ...input });
  const answeredMs = performance.now() - startedAt;
  await waitFor(async () => (await countOf(id, 'CANCELLED')) === 12_000, { what: 'the backlog' });
  expect(answeredMs).toBeLessThan(20_000);
});

it('a subscription that the engine deactivates has a long backlog cancelled as well', async () => {
  const id = await subscribe();
  await insertBacklog(id, 6_000);
  await services.query(
    `UPDATE subscription_states
     SET failing_since = now() - interval '6 days', notice_count = 4, noticed_at = now() - interval '1 day'
     WHERE subscription_id = $1`,
    [id],
  );
  // Sent through the open circuit, like a probe.
  await services.publish('events.acme.probe', '{}');
  const find = () => services.query<{ id: string }>(`SELECT id FROM deliveries WHERE event_type = 'probe'`);
  const [probe] = await waitFor(async () => ((await find()).length === 1 ? find() : false), { what: 'a delivery' });
  await app.graphql('mutation ($id: ID!) { retryDelivery(id: $id) { __typename } }', { id: probe?.id });
  await waitFor(async () => (await countOf(id, 'CANCELLED')) === 6_001, { what: 'the backlog' });
});

it('without a sweeper, 5,000 deliveries are cancelled at once, and a reactivated subscription keeps the others', async () => {
  await app.stop();
  app = await startTestApp(services, { env: { ROLES: 'api' } });
  const id = await subscribe();
  await insertBacklog(id, 6_000);
  await app.graphql(UPDATE, { id, isActive: false });
  expect(await countOf(id, 'CANCELLED')).toBe(5_000);
  await app.graphql(UPDATE, { id, isActive: true });
  expect(await countOf(id, 'PENDING')).toBe(1_000);
});
