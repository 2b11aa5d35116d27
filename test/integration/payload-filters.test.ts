import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SchemaThread } from '../../src/events/catalogue/schema-thread.ts';
import { SubscriptionIndexes } from '../../src/events/matching/subscription-index.ts';
import { costsByTenant, EventWriter } from '../../src/events/writer.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { createDatabase, type Database } from '../../src/postgres/client.ts';
import type { Receiver } from '../support/receiver.ts';
import { createReceive } from '../support/receivers.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
let app: TestApp;
let database: Database;
const logLines: string[] = [];
const receive = createReceive();

beforeAll(async () => {
  services = await startTestServices();
  const log = pino({ level: 'warn' }, { write: (line: string) => void logLines.push(line) });
  app = await startTestApp(services, { log });
  database = createDatabase({ url: services.databaseUrl, onError: () => undefined });
});

afterAll(async () => {
  await database.close();
  await app.stop();
  await services.stop();
});

afterEach(async () => {
  await services.query('UPDATE webhook_subscriptions SET is_active = false');
});

const URL = 'https://example.com/hook';

type Changed = {
  readonly __typename: string;
  readonly subscription?: { readonly filter: unknown };
  readonly problems?: readonly { readonly path: string }[];
};

async function update(id: string, input: Record<string, unknown>): Promise<Changed> {
  const mutation = `mutation ($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
    updateWebhookSubscription(id: $id, input: $input) {
      __typename
      ... on UpdateWebhookSubscriptionPayload { subscription { filter } }
      ... on InvalidInputError { problems { path message } }
    }
  }`;
  const data = await app.graphql<{ updateWebhookSubscription: Changed }>(mutation, { id, input });
  return data.updateWebhookSubscription;
}

async function filterOf(id: string): Promise<unknown> {
  const query = 'query ($id: ID!) { webhookSubscription(id: $id) { filter } }';
  const data = await app.graphql<{ webhookSubscription: { filter: unknown } }>(query, { id });
  return data.webhookSubscription.filter;
}

/** Publishes the data and then a final event; returns the ids of the events received before the final one. */
async function publishAll(receiver: Receiver, events: Readonly<Record<string, string>>): Promise<string[]> {
  for (const [id, data] of Object.entries(events)) {
    await services.publish('events.acme.order.paid', data, { 'Nats-Msg-Id': id });
  }
  const end = `end-of-${Object.keys(events).join('-')}`;
  await services.publish('events.acme.end', '{}', { 'Nats-Msg-Id': end });
  const idsThatCame = () => receiver.requests.map(({ headers }) => String(headers['webhook-id']));
  await waitFor(() => idsThatCame().includes(end), { what: 'the end' });
  // All earlier events have their deliveries now; they are sent in any order.
  const isOver = async () => (await services.query(`SELECT FROM deliveries WHERE status = 'PENDING'`)).length === 0;
  await waitFor(isOver, { what: 'the deliveries' });
  return idsThatCame()
    .filter((id) => id in events)
    .sort();
}

describe('a subscription with a filter', () => {
  it('gets only the events whose data matches the filter', async () => {
    const receiver = await receive();
    await app.subscribe({ url: receiver.url, eventTypes: ['end'] });
    const filter = { status: 'paid', total: { $gte: 100 } };
    const { id } = await app.subscribe({ url: receiver.url, eventTypes: ['order.*'], filter });
    const events = {
      enough: '{"status":"paid","total":100}',
      little: '{"status":"paid","total":99.99}',
      open: '{"status":"open","total":500}',
      text: '"paid"',
      nothing: 'null',
      list: '[{"status":"paid","total":200}]',
      deep: `${'['.repeat(999)}${']'.repeat(999)}`,
    };
    expect(await publishAll(receiver, events)).toEqual(['enough', 'list']);
    const rows = await services.query('SELECT FROM deliveries WHERE subscription_id = $1', [id]);
    expect(rows).toHaveLength(2);
  });

  it('uses a changed filter from the next event', async () => {
    const receiver = await receive();
    await app.subscribe({ url: receiver.url, eventTypes: ['end'] });
    const { id } = await app.subscribe({ url: receiver.url, eventTypes: ['order.paid'], filter: { plan: 'gold' } });
    expect(await publishAll(receiver, { a1: '{"plan":"gold"}', a2: '{"plan":"free"}' })).toEqual(['a1']);
    await update(id, { filter: { plan: 'free' } });
    expect(await publishAll(receiver, { b1: '{"plan":"gold"}', b2: '{"plan":"free"}' })).toEqual(['b2']);
    await update(id, { filter: null });
    expect(await publishAll(receiver, { c1: '{"plan":"gold"}', c2: '{"plan":"free"}' })).toEqual(['c1', 'c2']);
  });

  it('gets test events with any data', async () => {
    const receiver = await receive();
    const { id } = await app.subscribe({ url: receiver.url, filter: { never: { $exists: true } } });
    await app.graphql('mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { __typename } }', { id });
    await receiver.waitForRequests(1);
  });

  it('gets events about other subscriptions if they match the filter', async () => {
    const gone = await receive(() => ({ status: 410 }));
    const [told, untold] = [await receive(), await receive()];
    const tenant = 'told';
    const eventTypes = ['webhook_subscription.*'];
    await app.subscribe({ tenant, eventTypes, url: untold.url, filter: { reason: 'FAILING' } });
    await app.subscribe({ tenant, eventTypes, url: told.url, filter: { reason: 'GONE' } });
    const { id } = await app.subscribe({ tenant, eventTypes: ['order.paid'], url: gone.url });
    await services.publish('events.told.order.paid', '{}');
    await told.waitForRequests(1);
    expect(JSON.parse(String(told.requests[0]?.rawBody))).toMatchObject({
      data: { subscriptionId: id, reason: 'GONE' },
    });
    // Their deliveries are created in one transaction.
    const made = `SELECT FROM deliveries WHERE tenant = 'told' AND event_type LIKE 'webhook\\_%'`;
    expect(await services.query(made)).toHaveLength(1);
  });
});

/** Matches items without an `x`, after 488 steps for each item. */
const dearFilter = (index: number) => ({
  $not: { items: { x: { $or: Array.from({ length: 97 }, (_, i) => ({ a: { b: { c: { d: index + i } } } })) } } },
});
const itemsOf = (length: number) => JSON.stringify({ items: Array.from({ length }, () => ({})) });

describe('filters beyond the step limit', () => {
  const considered = async (tenant: string) => {
    const { events } = await app.graphql<{
      events: { nodes: { considered: { nodes: { result: string; subscription: { id: string } }[] } }[] };
    }>(
      `query ($tenant: String) { events(filter: { tenant: $tenant }) { nodes {
         considered(first: 50) { nodes { result subscription { id } } } } } }`,
      { tenant },
    );
    const nodes = events.nodes[0]?.considered.nodes ?? [];
    return new Map(nodes.map(({ result, subscription }) => [subscription.id, result]));
  };

  it('delay neither other tenants nor other events of their tenant', async () => {
    const receiver = await receive();
    const items = { x: { $or: Array.from({ length: 98 }, (_, i) => ({ a: { b: { c: { d: i } } } })) } };
    for (let index = 0; index < 30; index += 1) {
      await app.subscribe({ tenant: 'greedy', url: receiver.url, filter: { items } });
    }
    await app.subscribe({ url: receiver.url });
    await services.publish('events.greedy.order', itemsOf(262_000), { 'Nats-Msg-Id': 'large' });
    await services.publish('events.acme.order', '{}', { 'Nats-Msg-Id': 'small' });
    await receiver.waitForRequests(1);
    // Without the limit, its filters take minutes.
    await waitFor(async () => (await considered('greedy')).size === 30, {
      what: 'the large one to be dispatched',
      timeoutMs: 30_000,
    });
    expect(new Set((await considered('greedy')).values())).toEqual(new Set(['FILTER_FALSE']));
  });

  it('delay other events for a few of theirs: the rest of their batch is deferred, unmatched', async () => {
    const filter = { $or: Array.from({ length: 90 }, (_, index) => ({ a: { $gt: 1_000 + index } })) };
    for (let index = 0; index < 12; index += 1) await app.subscribe({ tenant: 'filtering', url: URL, filter });
    const log = pino({ level: 'silent' });
    const schemaThread = new SchemaThread({ log, metrics: new Registry() });
    const deliveries = { maxInlineDataBytes: 1_000, maxFanOutBytes: 100_000, isCrowded: () => false };
    const writer = new EventWriter({ deliveries, schemaThread, log });
    const data = Buffer.from(JSON.stringify({ a: Array.from({ length: 500 }, () => 1) }));
    const events = Array.from({ length: 30 }, () => {
      const id = uuid7(Date.now());
      return { id, tenant: 'filtering', eventId: id, type: 'order', occurredAt: new Date(), data };
    });
    const { written, deferred } = await writer.write(database.pool, events);
    // Each takes half a million steps, as many as 216 deliveries.
    expect(written).toHaveLength(4);
    expect(costsByTenant(written)).toEqual(new Map([['filtering', expect.closeTo(216, -1)]]));
    expect([...written.map(({ event }) => event), ...deferred]).toEqual(events);
    await schemaThread.stop();
  });

  it('do not match after earlier ones have used the steps of an event, and `considered` shows it', async () => {
    const receiver = await receive();
    const ids: string[] = [];
    // 88,000 steps each: the twelfth exceeds a million.
    for (let index = 0; index < 15; index += 1) {
      ids.push((await app.subscribe({ tenant: 'dear', url: receiver.url, filter: dearFilter(index) })).id);
    }
    const { id: free } = await app.subscribe({ tenant: 'dear', url: receiver.url });
    await services.publish('events.dear.order', itemsOf(180), { 'Nats-Msg-Id': 'once' });
    const delivered = await waitFor(
      async () => {
        const rows = await services.query<{ id: string }>(
          `SELECT subscription_id AS id FROM deliveries WHERE tenant = 'dear'`,
        );
        return rows.length > 0 && rows.map(({ id }) => id);
      },
      { what: 'the deliveries' },
    );
    expect(delivered.sort()).toEqual([...ids.slice(0, 12), free].sort());
    // Simulates expired deliveries: the results now come from the stored settings of that time.
    await services.query(`DELETE FROM deliveries WHERE tenant = 'dear' AND status <> 'PENDING'`);
    const results = await considered('dear');
    expect(ids.map((id) => results.get(id))).toEqual([
      ...Array.from({ length: 12 }, () => 'DELIVERED_TO'),
      ...Array.from({ length: 3 }, () => 'FILTER_FALSE'),
    ]);
    expect(results.get(free)).toBe('DELIVERED_TO');
    const warnings = logLines.filter((line) => line.includes('filter budget exhausted'));
    expect(warnings.filter((line) => line.includes('"tenant":"dear"'))).toHaveLength(1);
    expect(warnings.join()).toContain('"eventId":"once"');
  });
});

it('the weight of cached indexes grows with their subscriptions', async () => {
  const indexes = new SubscriptionIndexes(1_000);
  const tenants = new Set(['heavy', 'light']);
  for (let count = 1; count <= 5; count += 1) {
    await app.subscribe({ tenant: 'heavy', url: URL });
    await indexes.update(database.pool, tenants);
    expect(indexes.weight).toBe(tenants.size + count);
  }
  await app.subscribe({ tenant: 'heavy', url: URL, filter: { a: 'x'.repeat(3_977) } });
  await indexes.update(database.pool, tenants);
  // The other one remains.
  expect(indexes.weight).toBe(1);
});

describe('the filter of a subscription', () => {
  it('has the value that was set; absent keeps it, null removes it', async () => {
    const filter = { plan: { $in: ['gold', null, 1.5, true] }, $or: [{ a: [] }, { a: { $eq: {} } }] };
    const { id } = await app.subscribe({ url: URL, filter });
    expect(await filterOf(id)).toEqual(filter);
    expect((await update(id, { timeoutMs: 2_000 })).subscription).toEqual({ filter });
    expect((await update(id, { filter: { a: 1 } })).subscription).toEqual({ filter: { a: 1 } });
    expect((await update(id, { filter: null })).subscription).toEqual({ filter: null });
    expect(await filterOf(id)).toBeNull();
    const { id: other } = await app.subscribe({ url: URL, filter: null });
    expect(await filterOf(other)).toBeNull();
  });

  it.each([
    // Names with a special meaning in Prisma or JavaScript.
    [
      {
        toJSON: 1,
        constructor: { $exists: true },
        hasOwnProperty: 1,
        a: { $eq: { toJSON: {}, type: 'Raw', value: 5 } },
      },
    ],
    [{ set: 1, equals: { path: ['a'] }, '': { $ne: '2026-01-01T00:00:00.000Z' } }],
  ])('%j is stored unchanged', async (filter) => {
    const { id } = await app.subscribe({ url: URL, filter });
    expect(await filterOf(id)).toEqual(filter);
    await update(id, { filter: { other: 1 } });
    await update(id, { filter });
    expect(await filterOf(id)).toEqual(filter);
  });

  it('may be a GraphQL literal if it has no operators', async () => {
    const mutation = `mutation { createWebhookSubscription(input: {
      tenant: "acme", url: "${URL}", eventTypes: ["*"], filter: { user: { plan: "gold", seats: [1, 2.5, null] } }
    }) { ... on CreateWebhookSubscriptionPayload { subscription { filter } } } }`;
    const { createWebhookSubscription } = await app.graphql(mutation);
    const filter = { user: { plan: 'gold', seats: [1, 2.5, null] } };
    expect(createWebhookSubscription).toEqual({ subscription: { filter } });
  });

  it('is rejected with all its problems, together with those of other settings', async () => {
    const { id } = await app.subscribe({ url: URL, filter: { a: 1 } });
    const bad = { user: { age: { $gt: true }, name: { $like: 'x' } } };
    const { problems } = await update(id, { filter: bad, timeoutMs: 1 });
    const paths = ['filter.user.age.$gt', 'filter.user.name.$like', 'timeoutMs'];
    expect(problems?.map(({ path }) => path)).toEqual(paths);
    expect(await filterOf(id)).toEqual({ a: 1 });
    await expect(app.subscribe({ url: URL, filter: bad })).rejects.toThrow('filter.user.age.$gt');
    for (const filter of [5, 'text', [], {}, { a: 'NUL \0' }, { a: '\ud800' }]) {
      expect(await update(id, { filter })).toMatchObject({ __typename: 'InvalidInputError' });
    }
  });
});

describe('testFilter', () => {
  const QUERY = `query ($filter: JSON!, $data: JSON!) { testFilter(filter: $filter, data: $data) { matches failedPaths } }`;

  it('returns whether the data matches the filter, and the failed conditions', async () => {
    const filter = { user: { age: { $gt: 18 }, plan: 'gold' } };
    const run = (data: unknown) => app.graphql(QUERY, { filter, data });
    expect(await run({ user: { age: 19, plan: 'gold' } })).toEqual({ testFilter: { matches: true, failedPaths: [] } });
    expect(await run({ user: { age: 18, plan: 'gold' } })).toEqual({
      testFilter: { matches: false, failedPaths: ['filter.user.age.$gt'] },
    });
  });

  it('has a high cost, so an operation can contain it only a few times', async () => {
    const often = (count: number) =>
      app.graphql(
        `query ($filter: JSON!, $data: JSON!) {
          ${Array.from({ length: count }, (_, n) => `t${n}: testFilter(filter: $filter, data: $data) { matches }`).join(' ')} }`,
        { filter: { a: 1 }, data: { a: 1 } },
      );
    expect(Object.keys(await often(19))).toHaveLength(19);
    await expect(often(21)).rejects.toThrow('LIMIT_EXCEEDED');
  });

  it('rejects data that no event can have, together with problems of the filter', async () => {
    const run = (data: unknown) => app.graphql(QUERY, { filter: { a: { $foo: 1 } }, data });
    await expect(run('x'.repeat(1_048_575))).rejects.toThrow(/\$foo is not an operator.*data has 1048577 bytes/);
    const deep = JSON.parse(`${'['.repeat(1_001)}${']'.repeat(1_001)}`) as unknown;
    await expect(run(deep)).rejects.toThrow(/data is nested deeper than 1000 levels/);
  });

  it('rejects an invalid filter', async () => {
    const answer = app.graphql(QUERY, { filter: { user: { $foo: 1 } }, data: {} });
    await expect(answer).rejects.toThrow(/filter\.user\.\$foo is not an operator.*INVALID_INPUT/);
  });
});
