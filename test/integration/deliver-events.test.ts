import { afterAll, beforeAll, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { transaction } from '../../src/postgres/client.ts';
import { deliverEvents } from '../../src/replays/deliver-events.ts';
import { type Api, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api.stop();
});

const TENANT = 'acme';

async function createSubscription(): Promise<string> {
  const data = { id: uuid7(Date.now()), tenant: TENANT, url: 'https://example.com/', eventTypes: ['*'] };
  return (await api.database.prisma.webhookSubscription.create({ data })).id;
}

async function createEvent(): Promise<string> {
  const { pool } = api.database;
  const id = uuid7(Date.now());
  await pool.query(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1::uuid, $2, $1::uuid::text, 'a', now(), '{}')`,
    [id, TENANT],
  );
  await pool.query('INSERT INTO event_ids VALUES ($1, $2::uuid::text, $2::uuid)', [TENANT, id]);
  return id;
}

test('two concurrent calls deliver an event to a subscription once', async () => {
  const { database } = api;
  const [subscriptionId, eventId] = [await createSubscription(), await createEvent()];
  const deliver = () => deliverEvents(database, { tenant: TENANT, subscriptionId, eventIds: [eventId] });
  // While the event is locked, neither call creates a delivery.
  const { calls } = await transaction(database.readPool, async (db) => {
    await db.query('SELECT FROM events WHERE id = $1 FOR UPDATE', [eventId]);
    const begun = Promise.all([deliver(), deliver()]);
    await waitFor(async () => (await waitingSessions()) === 2, { what: 'both calls to wait' });
    return { calls: begun };
  });
  const created = (await calls).flat();
  expect(created).toHaveLength(1);
  const deliveries = await database.prisma.delivery.findMany({ where: { subscriptionId } });
  expect(deliveries.map(({ id }) => id)).toEqual(created);
});

/** The number of sessions of this database that wait for a lock. */
async function waitingSessions(): Promise<number> {
  const { rows } = await api.database.pool.query(
    `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
  );
  return rows.length;
}
