import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { explainedSubscriptions, explainMatch } from '../../src/events/matching/explain.ts';
import { compileFilter } from '../../src/events/matching/filter.ts';
import { EventWriter } from '../../src/events/writer.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createDatabase, type Database } from '../../src/postgres/client.ts';
import { seededChance } from '../support/seeded-chance.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let database: Database;
const log = pino({ level: 'silent' });
const schemaThread = new SchemaThread({ log, metrics: new Registry() });

beforeAll(async () => {
  services = await startTestServices();
  // Without a sender, no attempt is made and no circuit opens.
  app = await startTestApp(services, { env: { ROLES: 'api,dispatcher' } });
  database = createDatabase({ url: services.databaseUrl, onError: () => undefined });
});

afterAll(async () => {
  await schemaThread.stop();
  await database.close();
  await app.stop();
  await services.stop();
});

const SUBSCRIPTIONS = 8;
/** Concurrent writers of settings, and the number of changes of each. */
const CHANGERS = 4;
const CHANGES = 12;
/** Concurrent writers of events that share their indexes; the dispatcher writes events from NATS at the same time. */
const WRITERS = 6;

const url = 'http://127.0.0.1:4';
const TYPES = ['a', 'b'];
const seed = Date.now();
const choose = <T>(values: readonly T[], key: string): T | undefined =>
  values[Math.floor(seededChance(seed, key) * values.length)];
const dataOf = (key: string) => JSON.stringify({ n: choose([1, 2, 3], `data ${key}`) });

/** Random values of the settings that decide whether a subscription gets an event. */
function settings(key: string): Record<string, unknown> {
  return {
    eventTypes: choose([['a'], ['b'], ['*']], `types ${key}`),
    isActive: seededChance(seed, `active ${key}`) < 0.7,
    filter: choose([null, { n: 1 }, { n: { $gt: 1 } }, { n: { $in: [1, 3] } }], `filter ${key}`),
  };
}

async function change(ids: string[], key: string): Promise<void> {
  const index = Math.floor(seededChance(seed, `which ${key}`) * ids.length);
  const id = ids[index] ?? '';
  if (seededChance(seed, `delete ${key}`) < 0.15) {
    await app.graphql('mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }', { id });
    ids[index] = (await app.subscribe({ url, ...settings(key) })).id;
    return;
  }
  const mutation = `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
    updateWebhookSubscription(id: $id, input: $input) { __typename } }`;
  await app.graphql(mutation, { id, input: settings(key) });
}

/** Writes events like the dispatcher, and like a program with several such transactions in progress. */
async function write(writer: EventWriter, key: string): Promise<number> {
  const events = TYPES.map((type) => {
    const id = uuid7(Date.now());
    const data = Buffer.from(dataOf(`${key} ${type}`));
    return { id, tenant: 'acme', eventId: id, type, occurredAt: new Date(), data };
  });
  const { knownIds } = await writer.write(database.pool, events);
  return events.length - knownIds.length;
}

type EventRow = {
  id: string;
  tenant: string;
  type: string;
  data: Buffer;
  matchedVersion: string;
  deliveredTo: string[];
};

/** The subscriptions that match an event according to the settings of its time. */
async function wanting({ id, tenant, type, data, matchedVersion }: Omit<EventRow, 'deliveredTo'>): Promise<string[]> {
  const event = { id, tenant, matchedVersion: BigInt(matchedVersion) };
  const rows = await explainedSubscriptions(database.pool, { event, order: 'asc', limit: 250 });
  const fulfils = (filter: unknown) => Promise.resolve(compileFilter(filter)(JSON.parse(data.toString())));
  const ids: string[] = [];
  for (const { subscriptionId, settings: then } of rows) {
    if (then !== null && (await explainMatch(then, { type, fulfils })) === 'DELIVERED_TO') ids.push(subscriptionId);
  }
  return ids;
}

it('the stored settings of its time explain the deliveries of every event, during constant changes', async () => {
  const ids: string[] = [];
  for (let index = 0; index < SUBSCRIPTIONS; index += 1) {
    ids.push((await app.subscribe({ url, ...settings(`first ${index}`) })).id);
  }
  const deliveries = { maxInlineDataBytes: 1_000, maxFanOutBytes: 100_000, isCrowded: () => false };
  const writer = new EventWriter({ deliveries, schemaThread, log });
  const changing = async (name: number) => {
    for (let index = 0; index < CHANGES; index += 1) await change(ids, `change ${name} ${index}`);
  };
  const over = new AbortController();
  let written = 0;
  const until = async (work: (key: string) => Promise<number>) => {
    for (let index = 0; !over.signal.aborted; index += 1) {
      const count = await work(`${index}`);
      written += count;
    }
  };
  const writing = Array.from({ length: WRITERS }, (_, name) => until((key) => write(writer, `${name} ${key}`)));
  const publishing = until(async (key) => {
    await services.publish(`events.acme.${choose(TYPES, `type ${key}`)}`, dataOf(`published ${key}`));
    return 1;
  });
  await Promise.all(Array.from({ length: CHANGERS }, (_, name) => changing(name)));
  over.abort();
  await Promise.all([...writing, publishing]);
  const events = await waitFor(
    async () => {
      const rows = await services.query<EventRow>(
        `SELECT id, tenant, type, data, matched_version AS "matchedVersion",
           ARRAY(SELECT subscription_id::text FROM deliveries WHERE event_id = e.id ORDER BY 1) AS "deliveredTo"
         FROM events e WHERE type IN ('a', 'b') ORDER BY id`,
      );
      return rows.length === written && rows;
    },
    { what: 'the events' },
  );
  let delivered = 0;
  for (const { deliveredTo, ...event } of events) {
    const label = `with seed ${seed}: ${JSON.stringify({ ...event, data: String(event.data) })}`;
    expect(await wanting(event), label).toEqual(deliveredTo);
    delivered += deliveredTo.length;
  }
  // Deliveries and non-deliveries are both frequent, and the settings changed during the test.
  expect(delivered).toBeGreaterThan(events.length / 2);
  expect(delivered).toBeLessThan(events.length * (SUBSCRIPTIONS - 1));
  expect(new Set(events.map(({ matchedVersion }) => matchedVersion)).size).toBeGreaterThan(8);
});
