import { connect } from 'nats';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { ErasureJob } from '../../src/erasure/job.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Api, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let job: ErasureJob;
beforeAll(async () => {
  api = await startApi();
  // Records the position after each step.
  await api.database.pool.query(`
    CREATE TABLE steps (number serial, tenant text, position uuid);
    CREATE FUNCTION log_step() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO steps (tenant, position) VALUES (NEW.tenant, NEW.subscription_id); RETURN NULL; END $$;
    CREATE TRIGGER log_step AFTER UPDATE OF round_count ON erasures FOR EACH ROW EXECUTE FUNCTION log_step();
  `);
  const { databaseUrl, database, natsClient, log } = api;
  // The time of each step is used up at its start.
  job = new ErasureJob({ database, databaseUrl, nats: natsClient, log, stepMs: 0 });
  job.start();
});
afterAll(async () => {
  await job.stop();
  await api.stop();
});

async function createSubscriptions(tenant: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => uuid7(Date.now())).toSorted();
  const data = ids.map((id) => ({ id, tenant, url: 'https://example.com/', eventTypes: ['*'] }));
  await api.database.prisma.webhookSubscription.createMany({ data });
  return ids;
}

async function insertEvents(tenant: string, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => uuid7(Date.now()));
  await api.database.pool.query(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
     SELECT id, $1, id::text, 'a', now(), '{}' FROM unnest($2::uuid[]) AS input (id)`,
    [tenant, ids],
  );
  return ids;
}

/** Waits for both rounds of the tenant's erasure, and starts the second one now instead of five minutes later. */
async function complete(tenant: string): Promise<void> {
  const { prisma } = api.database;
  for (const roundCount of [1, 2]) {
    await waitFor(() => prisma.erasure.findFirst({ where: { tenant, roundCount } }), { what: `round ${roundCount}` });
    await prisma.erasure.updateMany({ where: { tenant }, data: { nextStepAt: new Date() } });
  }
}

/** The positions after the steps, without repetitions. */
async function positionsOf(tenant: string): Promise<(string | null)[]> {
  const { rows } = await api.database.pool.query<{ position: string | null }>(
    'SELECT position FROM steps WHERE tenant = $1 ORDER BY number',
    [tenant],
  );
  return rows
    .map(({ position }) => position)
    .filter((position, index, all) => index === 0 || position !== all[index - 1]);
}

/** Returns a function that returns the subjects of DELIVERIES searched since then. */
async function watchSearches(): Promise<() => Promise<readonly string[]>> {
  const connection = await connect({ servers: api.nats.url });
  onTestFinished(() => connection.close());
  const subjects: string[] = [];
  connection.subscribe(`$JS.API.STREAM.MSG.GET.${api.natsClient.names.deliveries.stream}`, {
    callback: (_error, message) => {
      subjects.push(message.json<{ next_by_subj: string }>().next_by_subj);
    },
  });
  await connection.flush();
  return async () => {
    await connection.flush();
    return subjects;
  };
}

test('a round of an erasure searches the messages of each subscription once, one step after the other', async () => {
  const tenant = 'wide';
  const [first = '', second = '', third = ''] = await createSubscriptions(tenant, 3);
  // Several batches of rows, each deleted by a step of its own.
  await insertEvents(tenant, 1_700);
  const { deliverySubject } = api.natsClient.names;
  await api.natsClient.publish(deliverySubject(second), Buffer.from('unreadable'), { msgID: second });
  const readSearches = await watchSearches();
  // An earlier process has stopped after the first subscription.
  await api.database.prisma.erasure.create({ data: { id: uuid7(Date.now()), tenant, subscriptionId: first } });
  await complete(tenant);

  const [firstRound, secondRound] = [
    [second, second, third],
    [first, second, third],
  ];
  expect(await readSearches()).toEqual([...firstRound, ...secondRound].map((id) => deliverySubject(id)));
  expect(await positionsOf(tenant)).toEqual([first, second, third, null, first, second, third, null]);
  const { pool, prisma } = api.database;
  expect((await pool.query('SELECT FROM events WHERE tenant = $1', [tenant])).rows).toEqual([]);
  expect(await prisma.erasure.findFirst({ where: { tenant } })).toMatchObject({
    status: 'COMPLETED',
    deletedMessageCount: 1n,
  });
});

test('a redaction searches the messages of each subscription once in a round, one step after the other', async () => {
  const tenant = 'redacting';
  const ids = await createSubscriptions(tenant, 3);
  const [eventId = ''] = await insertEvents(tenant, 1);
  const deliveries = ids.map((subscriptionId) => ({ id: uuid7(Date.now()), tenant, subscriptionId, eventId }));
  await api.database.prisma.delivery.createMany({
    data: deliveries.map((delivery) => ({ ...delivery, eventType: 'a', status: 'SUCCESS' as const })),
  });
  await api.database.prisma.erasure.create({ data: { id: uuid7(Date.now()), tenant, eventRowId: eventId } });
  await complete(tenant);
  expect(await positionsOf(tenant)).toEqual([...ids, null, ...ids, null]);
});
