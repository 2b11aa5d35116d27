import { afterAll, beforeAll, expect, test } from 'vitest';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let receiver: Receiver;
let subscriptionId: string;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
  receiver = await startReceiver();
  ({ id: subscriptionId } = await app.subscribe({ url: receiver.url, maxInFlight: 100 }));
});
afterAll(async () => {
  await app.stop();
  await receiver.close();
  await services.stop();
});

type Seed = { readonly status: 'FAILURE' | 'PENDING' | 'SUCCESS'; readonly count?: number; readonly type: string };

/** Inserts deliveries of the past. If they are pending, their next attempt is far in the future. */
async function seed({ status, count = 1, type }: Seed): Promise<string[]> {
  const nowMs = Date.now() - 60_000;
  const ids = Array.from({ length: count }, (_, index) => uuid7(nowMs + index));
  await services.query(
    `WITH event AS (
       INSERT INTO events (id, tenant, event_id, type, occurred_at, data)
       SELECT id, 'acme', id::text, $3, now(), '{}' FROM unnest($1::uuid[]) AS input (id)
     )
     INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, attempt_count, next_attempt_at, completed_at)
     SELECT id, 'acme', $2, id, $3, $4::delivery_status, 1,
       CASE WHEN $4 = 'PENDING' THEN now() + interval '1 day' END, CASE WHEN $4 <> 'PENDING' THEN now() END
     FROM unnest($1::uuid[]) AS input (id)`,
    [ids, subscriptionId, type, status],
  );
  return ids;
}

type Job = Readonly<
  Record<'id' | 'kind' | 'status', string> & Record<'deliveryCount' | 'changedCount' | 'skippedCount', number>
>;

const FIELDS = 'id kind status deliveryCount changedCount skippedCount';

async function start(mutation: 'retryDeliveries' | 'cancelDeliveries', input: string): Promise<Job> {
  const type = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}Payload`;
  const answer = await app.graphql<Record<string, { job: Job }>>(
    `mutation { ${mutation}(input: { ${input} }) { ... on ${type} { job { ${FIELDS} } } ... on Error { message } } }`,
  );
  const job = answer[mutation]?.job;
  if (job === undefined) throw new Error(JSON.stringify(answer));
  return job;
}

function ended(id: string): Promise<Job> {
  return waitFor(
    async () => {
      const { deliveryJob } = await app.graphql<{ deliveryJob: Job }>(`{ deliveryJob(id: "${id}") { ${FIELDS} } }`);
      return deliveryJob.status !== 'RUNNING' && deliveryJob;
    },
    { what: 'the end of the job' },
  );
}

const statusesOf = async (type: string) => {
  const rows = await services.query<{ status: string; count: number }>(
    'SELECT status, count(*)::integer AS count FROM deliveries WHERE event_type = $1 GROUP BY 1',
    [type],
  );
  return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
};

test('failed deliveries are retried in batches; those that cannot be sent are skipped', async () => {
  await seed({ status: 'FAILURE', count: 250, type: 'retry.many' });
  await seed({ status: 'SUCCESS', count: 3, type: 'retry.many' });
  const [redacted] = await seed({ status: 'FAILURE', type: 'retry.many' });
  await services.query('UPDATE events SET redacted_at = now() WHERE id = $1', [redacted]);
  const filter = 'filter: { tenant: "acme", eventTypes: ["retry.many"] }';
  expect(await start('retryDeliveries', `${filter}, dryRun: true`)).toMatchObject({
    status: 'DRY_RUN',
    deliveryCount: 251,
    skippedCount: 1,
  });
  expect(receiver.requests).toHaveLength(0);
  const { id } = await start('retryDeliveries', `${filter}, ratePerSecond: 1000`);
  expect(await ended(id)).toMatchObject({
    kind: 'RETRY',
    status: 'COMPLETED',
    deliveryCount: 251,
    changedCount: 250,
    skippedCount: 1,
  });
  await waitFor(async () => (await statusesOf('retry.many'))['SUCCESS'] === 253, { what: 'the retries' });
  expect(await statusesOf('retry.many')).toEqual({ SUCCESS: 253, FAILURE: 1 });
  expect(receiver.requests).toHaveLength(250);
});

test('waiting deliveries become due at once', async () => {
  await seed({ status: 'PENDING', count: 5, type: 'retry.waiting' });
  const { id } = await start(
    'retryDeliveries',
    'filter: { tenant: "acme", eventTypes: ["retry.waiting"], statuses: [PENDING] }',
  );
  expect(await ended(id)).toMatchObject({ changedCount: 5 });
  await waitFor(async () => (await statusesOf('retry.waiting'))['SUCCESS'] === 5, { what: 'the retries' });
});

test('a delivery whose retry waits in JetStream becomes due at once, and one that is on its way to a sender does not', async () => {
  await seed({ status: 'PENDING', count: 2, type: 'retry.published' });
  // None of them has a message, as if a sender that was killed had it.
  await services.query(
    `UPDATE deliveries SET enqueued_at = now(), enqueue_count = 1 WHERE event_type = 'retry.published'`,
  );
  await services.query(
    `UPDATE deliveries SET next_attempt_at = now() WHERE id = (SELECT min(id::text)::uuid FROM deliveries WHERE event_type = 'retry.published')`,
  );
  const { id } = await start(
    'retryDeliveries',
    'filter: { tenant: "acme", eventTypes: ["retry.published"], statuses: [PENDING] }',
  );
  expect(await ended(id)).toMatchObject({ changedCount: 1, skippedCount: 1 });
  await waitFor(async () => (await statusesOf('retry.published'))['SUCCESS'] === 1, { what: 'the retry' });
});

test('only pending deliveries are cancelled, at most at the given rate', async () => {
  await seed({ status: 'PENDING', count: 250, type: 'cancel.many' });
  await seed({ status: 'FAILURE', count: 2, type: 'cancel.many' });
  await seed({ status: 'PENDING', type: 'cancel.other' });
  const filter = 'filter: { tenant: "acme", eventTypes: ["cancel.many"] }';
  expect(await start('cancelDeliveries', `${filter}, dryRun: true`)).toMatchObject({
    deliveryCount: 250,
    skippedCount: 0,
  });
  const { id } = await start('cancelDeliveries', `${filter}, ratePerSecond: 500`);
  expect(await ended(id)).toMatchObject({ kind: 'CANCEL', changedCount: 250, skippedCount: 0 });
  expect(await statusesOf('cancel.many')).toEqual({ CANCELLED: 250, FAILURE: 2 });
  expect(await statusesOf('cancel.other')).toEqual({ PENDING: 1 });
});

test('jobs change the deliveries of given events, or with a given wait reason', async () => {
  const [backsOff = '', named = '', other = ''] = await seed({ status: 'PENDING', count: 3, type: 'cancel.some' });
  await services.query(`UPDATE deliveries SET waiting_for = 'RETRY_AFTER' WHERE id = ANY ($1)`, [[named, other]]);
  await services.query(`UPDATE deliveries SET waiting_for = 'BACKOFF' WHERE id = $1`, [backsOff]);
  const cancelled = async () =>
    (
      await services.query<{ id: string }>(
        `SELECT id FROM deliveries WHERE event_type = 'cancel.some' AND status = 'CANCELLED' ORDER BY id`,
      )
    ).map(({ id }) => id);
  const ofType = 'tenant: "acme", eventTypes: ["cancel.some"]';
  const waiting = await start('cancelDeliveries', `filter: { ${ofType}, waitingFor: [BACKOFF, PAUSED] }`);
  expect(waiting).toMatchObject({ deliveryCount: 1 });
  expect(await ended(waiting.id)).toMatchObject({ changedCount: 1, skippedCount: 0 });
  expect(await cancelled()).toEqual([backsOff]);
  const ofEvents = await start('cancelDeliveries', `filter: { tenant: "acme", eventIds: ["${named}", "unknown"] }`);
  expect(await ended(ofEvents.id)).toMatchObject({ deliveryCount: 1, changedCount: 1, skippedCount: 0 });
  expect(await cancelled()).toEqual([backsOff, named].toSorted());
  const { deliveryJob } = await app.graphql(`{ deliveryJob(id: "${ofEvents.id}") { filter } }`);
  const found = await app.graphql(`{ search(text: "${ofEvents.id}") { deliveryJob { id } replay { id } } }`);
  expect(found).toEqual({ search: { deliveryJob: { id: ofEvents.id }, replay: null } });
  expect(deliveryJob).toMatchObject({ filter: { tenant: 'acme', eventIds: [named, 'unknown'] } });
});

test('a running job gets another rate, which is recorded, and an ended one does not', async () => {
  await seed({ status: 'PENDING', count: 60, type: 'cancel.faster' });
  const { id } = await start(
    'cancelDeliveries',
    'filter: { tenant: "acme", eventTypes: ["cancel.faster"] }, ratePerSecond: 1',
  );
  const changeRate = async (rate: number) => {
    const fields = `__typename ... on ChangeDeliveryJobRatePayload { job { ratePerSecond } } ... on InputError { problems { path } }`;
    const query = `mutation { changeDeliveryJobRate(id: "${id}", ratePerSecond: ${rate}) { ${fields} } }`;
    return (await app.graphql(query))['changeDeliveryJobRate'];
  };
  const ofReplay = `mutation { changeReplayRate(id: "${id}", ratePerSecond: 500) { __typename } }`;
  expect(await app.graphql(ofReplay)).toEqual({ changeReplayRate: { __typename: 'NotFoundError' } });
  for (const rate of [0, 1_001]) {
    const refused = { __typename: 'InvalidInputError', problems: [{ path: 'ratePerSecond' }] };
    expect(await changeRate(rate)).toEqual(refused);
  }
  const changed = { __typename: 'ChangeDeliveryJobRatePayload', job: { ratePerSecond: 500 } };
  expect(await changeRate(500)).toEqual(changed);
  // The old rate would take a minute.
  expect(await ended(id)).toMatchObject({ status: 'COMPLETED', changedCount: 60 });
  expect(await changeRate(5)).toEqual({ __typename: 'ReplayNotRunningError' });
  const { auditLog } = await app.graphql(
    `{ auditLog(filter: { mutations: ["changeDeliveryJobRate"], objectIds: ["${id}"] }) { nodes { before after } } }`,
  );
  expect(auditLog).toEqual({ nodes: [{ before: { ratePerSecond: 1 }, after: { ratePerSecond: 500 } }] });
});

test('a cancelled job changes nothing more, and is not a replay', async () => {
  await seed({ status: 'PENDING', count: 50, type: 'cancel.slow' });
  const { id } = await start(
    'cancelDeliveries',
    'filter: { tenant: "acme", eventTypes: ["cancel.slow"] }, ratePerSecond: 1',
  );
  const query = `mutation { cancelReplay(id: "${id}") { __typename } cancelDeliveryJob(id: "${id}") { __typename } }`;
  expect(await app.graphql(query)).toEqual({
    cancelReplay: { __typename: 'NotFoundError' },
    cancelDeliveryJob: { __typename: 'CancelDeliveryJobPayload' },
  });
  expect(await ended(id)).toMatchObject({ status: 'CANCELLED' });
  expect((await statusesOf('cancel.slow'))['PENDING']).toBeGreaterThan(40);
  const { replays } = await app.graphql<{ replays: { nodes: unknown[] } }>('{ replays { nodes { id } } }');
  expect(replays.nodes).toEqual([]);
});
