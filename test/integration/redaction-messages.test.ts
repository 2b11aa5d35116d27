import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type DeliveryMessage, messageId } from '../../src/delivery/queue/message.ts';
import { ErasureJob } from '../../src/erasure/job.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Api, post, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
let job: ErasureJob;
beforeAll(async () => {
  api = await startApi();
  const { databaseUrl, database, natsClient, log } = api;
  // Each step compares one portion of messages.
  job = new ErasureJob({ database, databaseUrl, nats: natsClient, log, stepMs: 0 });
});
afterAll(async () => {
  await job.stop();
  await api.stop();
});

const TENANT = 'acme';
const NOW = Date.now();
const [FIRST, SECOND] = [uuid7(NOW, 'first'), uuid7(NOW, 'second')].toSorted();

/** Inserts an event three days old, so that all messages are newer, and its deliveries to both subscriptions. */
async function record(eventId: string): Promise<DeliveryMessage[]> {
  const eventRowId = uuid7(NOW - 3 * 86_400_000);
  const { pool } = api.database;
  await pool.query(
    `INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1, $2, $3, 'a', now(), '{}')`,
    [eventRowId, TENANT, eventId],
  );
  await pool.query('INSERT INTO event_ids VALUES ($1, $2, $3)', [TENANT, eventId, eventRowId]);
  return Promise.all(
    [FIRST, SECOND].map(async (subscriptionId = '') => {
      const deliveryId = uuid7(NOW);
      await pool.query(
        `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at)
         VALUES ($1, $2, $3, $4, 'a', now(), now())`,
        [deliveryId, TENANT, subscriptionId, eventRowId],
      );
      return {
        ...{ deliveryId, tenant: TENANT, subscriptionId, subscriptionVersion: 1, eventId, eventType: 'a' },
        ...{ occurredAt: new Date(NOW).toISOString(), enqueueCount: 1, mayBeDuplicate: false },
        ...{ isProbe: false, isTest: false, sendAt: undefined, data: Buffer.from(`{"of":"${eventId}"}`) },
      };
    }),
  );
}

async function isOnDisk(text: string): Promise<boolean> {
  const folder = join(api.nats.folderOf('DELIVERIES'), 'msgs');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.blk'));
  const contents = await Promise.all(files.map((name) => readFile(join(folder, name)).catch(() => Buffer.alloc(0))));
  return contents.some((content) => content.includes(text));
}

test('a redacted event is overwritten in DELIVERIES as well, among many other messages, which are kept', async () => {
  const [redacted, kept] = [await record('secret-order'), await record('kept-order')];
  const [keptFirst] = kept;
  if (keptFirst === undefined) throw new Error('there is no delivery');
  // More messages than one step compares, before and after the messages of the event.
  const others = Array.from({ length: 1_200 }, (_, index) => ({ ...keptFirst, enqueueCount: index + 2 }));
  await Promise.all(kept.map((message) => api.deliveries.publish(message)));
  await Promise.all(others.slice(0, 600).map((message) => api.deliveries.publish(message)));
  await Promise.all(redacted.map((message) => api.deliveries.publish(message)));
  await Promise.all(others.slice(600).map((message) => api.deliveries.publish(message)));
  // This installation cannot read either of them, and both are kept.
  const { stream } = api.natsClient.names.deliveries;
  await api.natsClient.publish(api.natsClient.names.deliverySubject(FIRST ?? ''), Buffer.from('unreadable'), {
    msgID: messageId(keptFirst),
  });
  const messages = () =>
    api.natsClient.withJetStreamManager(async (jsm) => (await jsm.streams.info(stream)).state.messages);
  const before = await messages();
  await waitFor(() => isOnDisk('"of":"secret-order"'), { what: 'the messages on disk' });

  const { data } = await post<{ redactEvent: { __typename: string } }>(
    api.graphql,
    JSON.stringify({ query: `mutation { redactEvent(tenant: "${TENANT}", id: "secret-order") { __typename } }` }),
  );
  expect(data?.redactEvent.__typename).toBe('RedactEventPayload');
  job.start();
  type Row = { readonly rounds: number; readonly deleted: number };
  const erasure = async () =>
    (
      await api.database.pool.query<Row>(
        'SELECT round_count AS rounds, deleted_message_count::integer AS deleted FROM erasures',
      )
    ).rows[0];
  await waitFor(async () => (await erasure())?.rounds === 1, { what: 'the first round' });
  expect(await erasure()).toEqual({ rounds: 1, deleted: 2 });
  expect(await messages()).toBe(before - 2);
  expect(await isOnDisk('"of":"secret-order"')).toBe(false);
  expect(await isOnDisk('"of":"kept-order"')).toBe(true);

  // The second round deletes messages that a process publishes late.
  const [late] = redacted;
  if (late === undefined) throw new Error('there is no delivery');
  await api.deliveries.publish({ ...late, enqueueCount: 2 });
  await api.database.pool.query('UPDATE erasures SET next_step_at = now()');
  await waitFor(async () => (await erasure())?.rounds === 2, { what: 'the second round' });
  expect(await erasure()).toEqual({ rounds: 2, deleted: 3 });
  expect(await messages()).toBe(before - 2);
});
