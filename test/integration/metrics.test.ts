import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { countPending } from '../../src/delivery/queue/metrics.ts';
import { createDatabase, transaction } from '../../src/postgres/client.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { createSocketClient, openEvents, postOperation } from '../support/graphql-client.ts';
import { type Metrics, scrape } from '../support/metrics.ts';
import { startTestPostgres } from '../support/postgres.ts';
import type { Receiver } from '../support/receiver.ts';
import { startTestApp, startTestServices } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

const METRICS_TOKEN = 'a metrics token of more than thirty-two characters';

async function statusOf(url: string, key?: string): Promise<number> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(url, { headers });
  await response.text();
  return response.status;
}

const sumOf = ({ samples }: Metrics, name: string, having: Readonly<Record<string, string>> = {}): number =>
  samples
    .filter((one) => one.name === name && Object.entries(having).every(([label, value]) => one.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0);

const success = { status: 'SUCCESS', failure_reason: 'none', code: '2xx' };
const failure = (reason: string, code: string) => ({ status: 'FAILURE', failure_reason: reason, code });

type Target = Pick<Receiver, 'url'> & { readonly maxInFlight?: number };

/** Creates a subscription to events of one type, with a receiver of constant behaviour. */
async function subscribe(stack: TestStack, type: string, { url, maxInFlight = 10 }: Target): Promise<string> {
  return (await stack.app.subscribe({ url, eventTypes: [type], maxInFlight, timeoutMs: 30_000 })).id;
}

describe('/metrics', () => {
  const cleanUpsAtLast = createCleanUps(afterAll);
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startTestStack(cleanUpsAtLast);
  });

  it('requires its token, which permits nothing else, or the admin key, with any roles', async () => {
    const sender = await startTestApp(stack, { env: { METRICS_TOKEN, ROLES: 'sender' } });
    cleanUps.push(() => sender.stop());
    const page = `${sender.url}/metrics`;
    expect(await statusOf(page)).toBe(401);
    expect(await statusOf(page, `${METRICS_TOKEN}x`)).toBe(401);
    expect(await statusOf(page, '')).toBe(401);
    expect(await statusOf(page, METRICS_TOKEN)).toBe(200);
    expect(await statusOf(page, sender.adminApiKey)).toBe(200);
    const other = await startTestApp(stack, { env: { METRICS_TOKEN, ROLES: 'api' } });
    cleanUps.push(() => other.stop());
    expect(await statusOf(`${other.url}/graphql?query={__typename}`, METRICS_TOKEN)).toBe(401);
    expect(await statusOf(`${other.url}/graphql?query={__typename}`, other.adminApiKey)).toBe(200);
  });

  it('requires the admin key if there is no token', async () => {
    expect(await statusOf(`${stack.app.url}/metrics`, 'undefined')).toBe(401);
    expect(await statusOf(`${stack.app.url}/metrics`, stack.app.adminApiKey)).toBe(200);
  });

  /** The rows of the documented metrics: name, type, labels and meaning. */
  function documented(): { name: string; type: string; labels: string[]; help: string }[] {
    const page = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
    return page
      .split('\n')
      .filter((line) => line.startsWith('| `webhooks_'))
      .map((line) => {
        const [name = '', type = '', labels = '', help = ''] = line.slice(2).split(' | ');
        const namesIn = (text: string) => [...text.matchAll(/`(\w+)`/g)].map(([, one = '']) => one);
        return { name: namesIn(name)[0] ?? '', type, labels: namesIn(labels).sort(), help };
      });
  }

  it('has exactly the metrics of docs/metrics.md, with type, labels and meaning', async () => {
    // The statements for this page are counted on the next one.
    await scrape(stack.app);
    const { families, samples } = await waitFor(
      async () => {
        const metrics = await scrape(stack.app);
        return sumOf(metrics, 'webhooks_http_requests_total') > 0 && metrics;
      },
      { what: 'a request that is counted' },
    );
    const ours = families
      .filter(({ name }) => name.startsWith('webhooks_'))
      .map((family) => {
        const own = samples.filter(({ name }) => name.replace(/_(?:bucket|sum|count)$/, '') === family.name);
        const labels = new Set(own.flatMap(({ labels }) => Object.keys(labels)));
        labels.delete('le');
        return { ...family, labels: [...labels].sort() };
      });
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect(documented().sort(byName)).toEqual(ours.sort(byName));
  });
});

describe('the metrics', () => {
  it('agree with the requests at the receivers and the rows in Postgres', async () => {
    const stack = await startTestStack(cleanUps);
    const [ok, missing, flaky, moved, resets] = await Promise.all([
      stack.receive(),
      stack.receive(() => ({ status: 404 })),
      stack.receive((_, index) => ({ status: index % 2 === 0 ? 503 : 204 })),
      stack.receive(() => ({ status: 301, headers: { location: 'http://127.0.0.1:1/' } })),
      stack.receive(() => 'reset'),
    ]);
    const receivers = { ok, missing, flaky, moved, resets };
    // More than the number of deliveries: a delivery that waits a second for the limit would be queued and published again.
    const maxInFlight = 100;
    for (const [type, { url }] of Object.entries(receivers)) await subscribe(stack, type, { url, maxInFlight });
    const published = { ok: 40, missing: 2, flaky: 1, moved: 2, resets: 2 };
    for (const [type, count] of Object.entries(published)) await stack.publishMany(type, count);
    // Not Nats-Msg-Id: within 100 ms, JetStream would drop the second message.
    const twice = { 'ce-specversion': '1.0', 'ce-id': 'twice', 'ce-source': 'test', 'ce-type': 'nobody' };
    for (let time = 0; time < 2; time += 1) await stack.publish('events.acme.nobody', '{}', twice);
    await stack.publish('events.acme.ok', 'no JSON');
    await stack.app.graphql(`mutation {
      publishEvent(input: { tenant: "acme", type: "ok", data: {} }) { __typename }
    }`);
    await stack.waitForDeliveries(48, `status <> 'PENDING'`);
    await waitFor(async () => (await stack.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
    await waitFor(async () => (await stack.deliveredBy('EVENTS', 'dispatcher')) === 50, { what: 'every event' });
    await waitFor(async () => (await stack.unackedBy('EVENTS', 'dispatcher')) === 0, { what: 'their acks' });

    const metrics = await scrape(stack.app);
    const rows = await stack.query<{ status: string; failure_reason: string; code: string; count: number }>(
      `SELECT status, coalesce(failure_reason::text, 'none') AS failure_reason,
         coalesce(status_code / 100 || 'xx', 'none') AS code, count(*)::integer AS count
       FROM attempts GROUP BY 1, 2, 3`,
    );
    const counted = metrics.samples.filter(({ name, value }) => name === 'webhooks_attempts_total' && value > 0);
    expect(counted.map(({ labels, value }) => ({ ...labels, count: value }))).toEqual(
      expect.arrayContaining(rows.map((row) => ({ ...row }))),
    );
    expect(counted).toHaveLength(rows.length);
    const deliveries = await stack.query<{ id: string }>('SELECT id FROM deliveries');
    const ids = new Set<unknown>(deliveries.map(({ id }) => id));
    // Other programs on the machine may still send to this port, which their receiver had before.
    const received = (by: Receiver) => by.requests.filter(({ headers }) => ids.has(headers['webhook-delivery'])).length;
    const requests = Object.values(receivers).reduce((sum, receiver) => sum + received(receiver), 0);
    expect(sumOf(metrics, 'webhooks_attempts_total')).toBe(requests);
    expect(metrics.valueOf('webhooks_attempts_total', success)).toBe(received(ok) + received(flaky) - 1);
    expect(metrics.valueOf('webhooks_attempts_total', failure('HTTP_STATUS', '4xx'))).toBe(received(missing));
    expect(metrics.valueOf('webhooks_attempts_total', failure('HTTP_STATUS', '5xx'))).toBe(1);
    expect(metrics.valueOf('webhooks_attempts_total', failure('REDIRECT', '3xx'))).toBe(received(moved));
    expect(metrics.valueOf('webhooks_attempts_total', failure('CONNECTION_RESET', 'none'))).toBe(received(resets));

    const successes = await stack.countDeliveries(`status = 'SUCCESS'`);
    expect(sumOf(metrics, 'webhooks_delivery_latency_seconds_count')).toBe(successes);
    expect(metrics.valueOf('webhooks_delivery_latency_seconds_count', { attempt: 'later' })).toBe(1);
    // The retry of the flaky receiver's delivery waited at least 160 ms.
    expect(metrics.valueOf('webhooks_delivery_latency_seconds_sum', { attempt: 'later' })).toBeGreaterThan(0.15);
    expect(metrics.valueOf('webhooks_deliveries_failed_total')).toBe(await stack.countDeliveries(`status = 'FAILURE'`));
    expect(sumOf(metrics, 'webhooks_attempt_duration_seconds_count')).toBe(requests);
    expect(metrics.valueOf('webhooks_log_write_attempts_sum')).toBe(requests);
    expect(metrics.valueOf('webhooks_log_write_attempts_count')).toBe(
      metrics.valueOf('webhooks_log_write_duration_seconds_count'),
    );
    expect(metrics.valueOf('webhooks_log_write_failures_total')).toBe(0);

    expect(metrics.valueOf('webhooks_events_total', { via: 'nats', result: 'new' })).toBe(48);
    expect(metrics.valueOf('webhooks_events_total', { via: 'nats', result: 'known' })).toBe(1);
    expect(metrics.valueOf('webhooks_events_total', { via: 'graphql', result: 'new' })).toBe(1);
    expect(metrics.valueOf('webhooks_events_rejected_total', { reason: 'INVALID_JSON' })).toBe(1);
    expect(sumOf(metrics, 'webhooks_events_rejected_total')).toBe(1);
    expect(stack.logLines.filter((line) => line.includes('"event rejected"'))).toHaveLength(1);
    expect(sumOf(metrics, 'webhooks_event_deliveries_total')).toBe(await stack.countDeliveries('true'));
    expect(metrics.valueOf('webhooks_dispatch_events_sum')).toBe(50);
    expect(metrics.valueOf('webhooks_messages_received_total', { consumer: 'dispatcher' })).toBe(50);
    expect(metrics.valueOf('webhooks_messages_redelivered_total', { consumer: 'dispatcher' })).toBe(0);
    // One message for each first attempt and one redelivery for each retry, because the waits are short.
    expect(metrics.valueOf('webhooks_messages_received_total', { consumer: 'sender' })).toBe(requests);
    expect(metrics.valueOf('webhooks_messages_redelivered_total', { consumer: 'sender' })).toBe(requests - 48);

    expect(metrics.valueOf('webhooks_stream_messages', { stream: 'EVENTS' })).toBe(50);
    expect(metrics.valueOf('webhooks_stream_messages', { stream: 'DELIVERIES' })).toBe(0);
    expect(metrics.valueOf('webhooks_consumer_pending', { consumer: 'dispatcher' })).toBe(0);
    expect(metrics.valueOf('webhooks_attempts_in_flight')).toBe(0);
    expect(metrics.valueOf('webhooks_sender_capacity_used')).toBe(0);
  });

  it('count only this program, not another one in the same process', async () => {
    const stack = await startTestStack(cleanUps);
    const receiver = await stack.receive();
    await subscribe(stack, 'x', receiver);
    await stack.publishMany('x', 3);
    await stack.waitForDeliveries(3, `status = 'SUCCESS'`);
    const other = await startTestApp(stack, { env: { ROLES: 'sender' } });
    cleanUps.push(() => other.stop());
    await waitFor(async () => sumOf(await scrape(stack.app), 'webhooks_attempts_total') === 3, {
      what: 'its attempts',
    });
    expect(sumOf(await scrape(other), 'webhooks_attempts_total')).toBe(0);
  });

  it('of GraphQL count operations by type and outcome over any transport, including rejected ones', async () => {
    const stack = await startTestStack(cleanUps, { env: { API_RATE_LIMIT: '1' } });
    const { app } = stack;
    const post = (query: string, credentials = app.adminApiKey) => postOperation(app.url, { credentials, query });
    const data = await app.graphql<{ createApiKey: { key: string } }>(`mutation {
      createApiKey(input: { tenant: "acme", name: "k", scope: TENANT_READ }) { ... on CreateApiKeyPayload { key } }
    }`);
    await post('query A { webhookSubscriptions { edges { node { id } } } }');
    await post('query B { __typename }');
    await post('{ nothing }');
    await post('{');
    // An operation beyond a limit, and one that only administrators may run.
    await post(`{ events(first: 250) { edges { node { deliveries(first: 250) { edges { node { id } } } } } } }`);
    const { key } = data.createApiKey;
    await post('{ apiKeys { edges { node { id } } } }', key);
    await post('{ __typename }', key);
    expect((await post('{ __typename }', key)).status).toBe(429);
    await post('{ __typename }', 'nobody');
    const client = createSocketClient(app.url, app.adminApiKey, { lazy: false });
    await client.iterate({ query: '{ __typename }' }).next();
    const query = 'subscription { deliveryLog { number } }';
    const stream = await openEvents(app.url, { credentials: app.adminApiKey, query });
    const metrics = await waitFor(
      async () => {
        const now = await scrape(app);
        return now.valueOf('webhooks_graphql_subscriptions') === 1 && now;
      },
      { what: 'the stream' },
    );
    const operations = (type: string, outcome: string) =>
      metrics.valueOf('webhooks_graphql_operations_total', { type, outcome });
    expect(operations('mutation', 'ok')).toBe(1);
    expect(operations('query', 'ok')).toBe(4);
    expect(metrics.valueOf('webhooks_websockets_open')).toBe(1);
    await client.dispose();
    expect(operations('query', 'refused')).toBe(2);
    expect(operations('subscription', 'ok')).toBe(1);
    expect(operations('query', 'failed')).toBe(0);
    const refusals = (reason: string) => metrics.valueOf('webhooks_graphql_refusals_total', { reason });
    expect([refusals('document'), refusals('rate'), refusals('credentials')]).toEqual([2, 1, 1]);
    expect(metrics.valueOf('webhooks_http_requests_total', { path: '/graphql', code: '4xx' })).toBeGreaterThan(1);
    stream.close();
    await waitFor(async () => (await scrape(app)).valueOf('webhooks_graphql_subscriptions') === 0, {
      what: 'the end of the stream',
    });
  });
});

it('labels are bounded: more tenants, subscriptions, types, paths and codes add no time series', async () => {
  const stack = await startTestStack(cleanUps);
  const { app } = stack;
  let status = 200;
  const receiver = await stack.receive(() => ({ status }));
  const one = async (index: number) => {
    const [tenant, type] = [`tenant-${index}`, `type-${index}.made`];
    await app.subscribe({ tenant, url: `${receiver.url}/path-${index}`, eventTypes: [type] });
    await stack.publish(`events.${tenant}.${type}`, '{}');
    await app.graphql(`query Name${index} { webhookSubscriptions { edges { node { id } } } }`);
    await fetch(`${app.url}/path-${index}`);
  };
  const seriesOf = async () =>
    new Set((await scrape(app)).samples.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`));
  await one(0);
  status = 500;
  await one(1);
  await waitFor(async () => (await stack.query('SELECT FROM attempts')).length >= 2, { what: 'attempts' });
  // A request answered while the page is rendered is counted on the next page.
  await scrape(app);
  const before = await seriesOf();
  for (let index = 2; index < 30; index += 1) {
    status = [200 + index, 400 + index, 500 + index][index % 3] ?? 0;
    await one(index);
  }
  await waitFor(async () => (await stack.query('SELECT FROM attempts')).length >= 30, { what: 'attempts' });
  const after = await seriesOf();
  const ofNode = (series: string) => series.startsWith('nodejs_');
  expect([...after].filter((series) => !before.has(series) && !ofNode(series))).toEqual([]);
  expect([...after].filter((series) => /tenant-|made|path-|Name|127\.0/.test(series))).toEqual([]);
  expect([...after].filter((series) => !ofNode(series)).length).toBeLessThan(260);
});

describe('lanes', () => {
  type Waiting = {
    readonly deliveries: { readonly edges: { readonly node: { readonly waitingFor: string | null } }[] };
  };
  const LANE_OF: Readonly<Record<string, string>> = {
    BACKOFF: 'waiting',
    RETRY_AFTER: 'waiting',
    PAUSED: 'parked',
    CIRCUIT_OPEN: 'parked',
    RATE_LIMITED: 'parked',
    IN_FLIGHT_LIMIT: 'parked',
  };

  /** Counts deliveries by lane, from the wait reasons in GraphQL. */
  async function lanesByGraphql({ app }: TestStack): Promise<Record<string, number>> {
    const { deliveries } = await app.graphql<Waiting>(
      '{ deliveries(first: 250, filter: { statuses: [PENDING] }) { edges { node { waitingFor } } } }',
    );
    const lanes: Record<string, number> = { runnable: 0, waiting: 0, parked: 0 };
    for (const { node } of deliveries.edges) {
      const lane = LANE_OF[node.waitingFor ?? ''] ?? 'runnable';
      lanes[lane] = (lanes[lane] ?? 0) + 1;
    }
    return lanes;
  }

  it('are the wait reasons of deliveries: a rate limit, a circuit, maxInFlight, a retry, or the queue', async () => {
    const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '1h' } });
    const [ok, failing, broken, hanging] = await Promise.all([
      stack.receive(),
      stack.receive(() => ({ status: 404 })),
      stack.receive(() => ({ status: 500 })),
      stack.receive(() => 'hang'),
    ]);
    const slow = await subscribe(stack, 'slow', ok);
    await subscribe(stack, 'retried', failing);
    const brokenId = await subscribe(stack, 'broken', broken);
    await subscribe(stack, 'hanging', { url: hanging.url, maxInFlight: 3 });
    await stack.query('UPDATE webhook_subscriptions SET rate_limit_per_second = 1 WHERE id = $1', [slow]);
    await stack.publishMany('broken', 12);
    await waitFor(async () => (await stack.stateOf(brokenId)).isOpen, { what: 'the circuit to open' });
    await stack.publishMany('broken', 5);
    await stack.publishMany('retried', 4);
    await stack.publishMany('hanging', 3);
    await stack.publishMany('slow', 60);
    await stack.waitForDeliveries(84, 'true');
    await stack.waitForDeliveries(16, `status = 'PENDING' AND next_attempt_at > now()`);

    const database = createDatabase({ url: stack.databaseUrl, onError: () => undefined });
    cleanUps.push(() => database.close());
    const counted = async () => {
      const lanes = await transaction(database.pool, countPending);
      return Object.fromEntries(lanes.map(({ lane, count }) => [lane, count]));
    };
    // Deliveries change constantly, so both are read until their results are from the same time.
    const lanes = await waitFor(
      async () => {
        const [byGraphql, byCount] = await Promise.all([lanesByGraphql(stack), counted()]);
        expect(byCount).toEqual(byGraphql);
        return (byCount['parked'] ?? 0) > 40 && byCount;
      },
      { what: 'the lanes' },
    );
    expect(lanes['waiting']).toBe(16);
    expect(lanes['runnable']).toBeGreaterThanOrEqual(3);

    const metrics = await scrape(stack.app);
    const pending = (lane: string) => metrics.valueOf('webhooks_deliveries_pending', { lane }) ?? Number.NaN;
    const overdue = (lane: string) => metrics.valueOf('webhooks_deliveries_overdue_seconds', { lane });
    expect(pending('waiting')).toBe(16);
    expect(pending('parked')).toBeGreaterThan(30);
    expect(pending('runnable')).toBeGreaterThanOrEqual(3);
    expect(overdue('parked')).toBeGreaterThan(0);
    expect(overdue('runnable')).toBeGreaterThan(0);
    expect(overdue('waiting')).toBeUndefined();
    expect(metrics.valueOf('webhooks_circuits_open')).toBe(1);
    expect(metrics.valueOf('webhooks_attempts_in_flight')).toBeGreaterThanOrEqual(3);
    // The sweeper publishes one delivery a second from the queue behind the rate limit.
    const published = async () => (await scrape(stack.app)).valueOf('webhooks_sweeper_published_total') ?? 0;
    await waitFor(async () => (await published()) > 0, { what: 'the sweeper' });
  });

  it('have the age of the oldest delivery: for published ones, since their publication', async () => {
    const stack = await startTestStack(cleanUps, { env: { ROLES: 'api' } });
    const id = await subscribe(stack, 'x', { url: 'http://127.0.0.1:5999' });
    const insert = (enqueuedAgo: string | null, dueAgo: string) =>
      stack.query(
        `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at)
         VALUES (gen_random_uuid(), 'acme', $1, gen_random_uuid(), 'x', now() - $2::interval, now() - $3::interval)`,
        [id, dueAgo, enqueuedAgo],
      );
    await insert('100 s', '7200 s');
    await insert('7200 s', '50 s');
    await insert('7200 s', '-50 s');
    await insert(null, '7000 s');
    await stack.query('UPDATE subscription_states SET is_backlogged = true, next_sweep_at = now()');
    const metrics = await scrape(stack.app);
    const pending = (lane: string) => metrics.valueOf('webhooks_deliveries_pending', { lane });
    expect([pending('runnable'), pending('waiting'), pending('parked')]).toEqual([2, 1, 1]);
    const overdue = (lane: string) =>
      Math.floor((metrics.valueOf('webhooks_deliveries_overdue_seconds', { lane }) ?? 0) / 100);
    expect([overdue('runnable'), overdue('parked')]).toEqual([1, 70]);
    // Without a backlog, the next sweep publishes it.
    await stack.query('UPDATE subscription_states SET is_backlogged = false');
    const other = await startTestApp(stack, { env: { ROLES: 'api' } });
    cleanUps.push(() => other.stop());
    const again = await scrape(other);
    expect(again.valueOf('webhooks_deliveries_pending', { lane: 'runnable' })).toBe(3);
    expect(again.valueOf('webhooks_deliveries_pending', { lane: 'parked' })).toBe(0);
  });
});

describe('while a server is paused', () => {
  it('Postgres: /metrics answers, reports it, and omits unknown values', async () => {
    const postgres = await startTestPostgres(inject('postgresCluster'));
    cleanUps.push(() => postgres.stop());
    const services = await startTestServices();
    cleanUps.push(() => services.stop());
    const app = await startTestApp({ databaseUrl: postgres.url, nats: services.nats });
    cleanUps.push(() => app.stop());
    expect((await scrape(app)).valueOf('webhooks_postgres_up')).toBe(1);
    const fresh = await startTestApp({ databaseUrl: postgres.url, nats: services.nats });
    cleanUps.push(() => fresh.stop());
    await postgres.pause();
    cleanUps.push(() => postgres.resume());
    for (let round = 0; round < 3; round += 1) {
      const metrics = await scrape(fresh);
      expect(metrics.valueOf('webhooks_postgres_up')).toBe(0);
      expect(metrics.valueOf('webhooks_deliveries_pending', { lane: 'runnable' })).toBeUndefined();
      expect(metrics.valueOf('webhooks_circuits_open')).toBeUndefined();
      expect(metrics.valueOf('webhooks_nats_up')).toBe(1);
      expect(metrics.valueOf('webhooks_consumer_pending', { consumer: 'sender' })).toBe(0);
      expect(sumOf(metrics, 'webhooks_attempts_total')).toBe(0);
    }
    await postgres.resume();
    await waitFor(async () => (await scrape(fresh)).valueOf('webhooks_postgres_up') === 1, { what: 'Postgres' });
  });

  it('NATS: /metrics answers, reports it, and omits unknown values', async () => {
    const stack = await startTestStack(cleanUps);
    await stack.nats.pause();
    cleanUps.push(() => stack.nats.resume());
    for (let round = 0; round < 3; round += 1) {
      const metrics = await scrape(stack.app);
      expect(metrics.valueOf('webhooks_nats_up')).toBe(0);
      expect(metrics.valueOf('webhooks_consumer_pending', { consumer: 'sender' })).toBeUndefined();
      expect(metrics.valueOf('webhooks_postgres_up')).toBe(1);
      expect(metrics.valueOf('webhooks_deliveries_pending', { lane: 'runnable' })).toBe(0);
    }
    await stack.nats.resume();
    await waitFor(async () => (await scrape(stack.app)).valueOf('webhooks_nats_up') === 1, {
      what: 'NATS',
    });
  });
});
