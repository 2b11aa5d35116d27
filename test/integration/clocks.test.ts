import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { createSocketClient } from '../support/graphql-client.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestServices, subscribe, type TestServices, testEnv } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const HOUR_MS = 3_600_000;
const EVENTS = 20;
const SLOW_MS = 12_000;

/** The option of Node for a program whose wall clock is shifted by `ms`; its monotonic clock is right. */
function clockShiftedBy(ms: number): string {
  const code = `const Right = Date; globalThis.Date = class extends Right {
    constructor(...args) { super(...(args.length === 0 ? [Right.now() + ${ms}] : args)); }
    static now() { return Right.now() + ${ms}; } };`;
  return `--import=data:text/javascript,${encodeURIComponent(code)}`;
}

const cleanUps = createCleanUps(afterAll);
let services: TestServices;
let receiver: Receiver;
/** One process whose clock is an hour ahead, and one whose clock is an hour behind. */
let engines: readonly [EngineProcess, EngineProcess];

beforeAll(async () => {
  services = await startTestServices();
  cleanUps.push(() => services.stop());
  const env = { RETRY_SCHEDULE: '3s,3s' };
  engines = [
    await startEngineProcess(services, { ...env, NODE_OPTIONS: clockShiftedBy(HOUR_MS) }),
    await startEngineProcess(services, { ...env, NODE_OPTIONS: clockShiftedBy(-HOUR_MS) }),
  ];
  cleanUps.push(() => Promise.all(engines.map((engine) => engine.kill9())));
  const seen = new Set<unknown>();
  receiver = await startReceiver(async ({ headers }) => {
    const id = headers['webhook-id'];
    // Longer than the interval of the search for lost deliveries.
    if (id === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    const isFirst = !seen.has(id);
    seen.add(id);
    return { status: isFirst && id !== 'slow' ? 500 : 200 };
  });
  cleanUps.push(() => receiver.close());
});

type Page = { deliveryLog: { edges: { node: { startedAt: string; number: number } }[] } };

it('processes whose clocks are hours apart deliver and retry at the right time, and agree on the log', async () => {
  const [ahead, behind] = engines;
  const { id } = await subscribe(ahead.graphql, { url: receiver.url, timeoutMs: 30_000, maxInFlight: 100 });
  await behind.graphql(
    `mutation ($id: ID!) { rotateWebhookSecret(id: $id, overlapSeconds: 600) { ... on Error { message } } }`,
    { id },
  );
  const client = createSocketClient(behind.url, testEnv(services)['ADMIN_API_KEY'] ?? '');
  cleanUps.push(() => client.dispose());
  const live: string[] = [];
  void (async () => {
    const query = 'subscription { deliveryLog { number delivery { event { id } } } }';
    for await (const { data } of client.iterate({ query })) live.push(JSON.stringify(data));
  })().catch(() => undefined);
  const begun = Date.now();
  await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'slow' });
  for (let index = 0; index < EVENTS; index += 1) {
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': `event-${index}` });
  }
  const count = 2 * EVENTS + 1;
  await receiver.waitForRequests(count);
  await waitFor(async () => (await services.query('SELECT FROM attempts')).length === count, { what: 'the log' });
  await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
  const tookMs = Date.now() - begun;
  expect(receiver.requests).toHaveLength(count);
  for (const { headers } of receiver.requests) {
    const sentAt = Number(headers['webhook-timestamp']) * 1_000;
    expect(Math.abs(sentAt - begun)).toBeLessThan(tookMs + 5_000);
    // The old secret still signs, because its overlap has not ended.
    expect(String(headers['webhook-signature']).split(' ')).toHaveLength(2);
  }
  const [times] = await services.query<{ least: number; most: number }>(`
    SELECT min(wait)::float8 AS least, max(wait)::float8 AS most FROM (
      SELECT extract(epoch FROM max(started_at) - min(started_at)) AS wait FROM attempts
      GROUP BY delivery_id HAVING count(*) = 2) AS waits`);
  expect(times?.least).toBeGreaterThan(2);
  expect(times?.most).toBeLessThan(2 + tookMs / 1_000);
  const filter = { from: new Date(begun - 5_000).toISOString(), to: new Date(begun + tookMs + 5_000).toISOString() };
  for (const { graphql } of engines) {
    const query =
      'query ($filter: DeliveryFilter) { deliveryLog(filter: $filter, first: 100) { edges { node { number startedAt } } } }';
    const { deliveryLog } = await graphql<Page>(query, { filter });
    expect(deliveryLog.edges).toHaveLength(count);
  }
  await waitFor(() => live.length >= count, { what: 'the live log' });
  expect(new Set(live).size).toBe(count);
  expect(live).toHaveLength(count);
});

it('a clock that differs is logged as a warning and shown in the metrics', async () => {
  for (const [index, engine] of engines.entries()) {
    expect(engine.output()).toContain('the clock of this machine differs');
    const response = await fetch(`${engine.url}/metrics`, {
      headers: { authorization: `Bearer ${testEnv(services)['ADMIN_API_KEY'] ?? ''}` },
    });
    const [, seconds] = /^webhooks_clock_offset_seconds (.+)$/m.exec(await response.text()) ?? [];
    expect(Math.abs(Number(seconds) - (index === 0 ? 3_600 : -3_600))).toBeLessThan(5);
  }
});
