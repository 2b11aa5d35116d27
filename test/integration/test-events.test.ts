import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { createApiKey } from '../support/api-keys.ts';
import { type Receiver, type Respond, startReceiver } from '../support/receiver.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

let services: TestServices;
/** The process that serves GraphQL and has no sender. */
let api: TestApp;
let worker: TestApp;
let receivers: Receiver[] = [];
let tenant: string;
let tenants = 0;

beforeAll(async () => {
  services = await startTestServices();
  api = await startTestApp(services, { env: { ROLES: 'api' } });
  worker = await startTestApp(services, { env: { ROLES: 'dispatcher,sender', RETRY_SCHEDULE: '1h' } });
});
afterAll(async () => {
  await Promise.all(receivers.map((receiver) => receiver.close()));
  await Promise.all([api.stop(), worker.stop()]);
  await services.stop();
});
beforeEach(() => {
  tenants += 1;
  tenant = `tenant-${tenants}`;
});

async function receive(respond?: Respond): Promise<Receiver> {
  const receiver = await startReceiver(respond);
  receivers = [...receivers, receiver];
  return receiver;
}

async function subscribe(url: string, input: Record<string, unknown> = {}): Promise<string> {
  return (await api.subscribe({ tenant, url, eventTypes: ['order.paid'], ...input })).id;
}

type Sent = {
  readonly delivery?: { readonly id: string; readonly status: string; readonly attemptCount: number };
  readonly attempt?: Readonly<Record<string, unknown>> | null;
  readonly notice?: string | null;
  readonly code?: string;
  readonly problems?: readonly { readonly path: string }[];
};

const SEND = `mutation ($id: ID!, $waitMs: Int) { sendTestEvent(subscriptionId: $id, waitMs: $waitMs) {
  ... on SendTestEventPayload {
    delivery { id status attemptCount isTest nextAttemptAt }
    attempt { number status statusCode responseBody errorMessage failureReason isTest }
    notice
  }
  ... on Error { code }
  ... on InvalidInputError { problems { path } }
} }`;

async function send(id: string, waitMs?: number): Promise<Sent> {
  return (await api.graphql<{ sendTestEvent: Sent }>(SEND, { id, waitMs })).sendTestEvent;
}

type Shown = { readonly isActive: boolean; readonly failingSince: string | null; readonly circuit: { state: string } };

async function show(id: string): Promise<Shown> {
  const query = 'query ($id: ID!) { webhookSubscription(id: $id) { isActive failingSince circuit { state } } }';
  return (await api.graphql<{ webhookSubscription: Shown }>(query, { id })).webhookSubscription;
}

const WELL = { isActive: true, failingSince: null, circuit: { state: 'CLOSED' } };

/** Fails a real delivery and waits for failingSince: circuits are evaluated after attempts that count. */
async function failForReal(id: string, receiver: Receiver): Promise<Shown> {
  const before = receiver.requests.length;
  await services.publish(`events.${tenant}.order.paid`, '{}');
  await receiver.waitForRequests(before + 1);
  return waitFor(async () => ((await show(id)).failingSince === null ? false : show(id)), { what: 'a real failure' });
}

it('the mutation returns the response of the endpoint, even if another process sends', async () => {
  const receiver = await receive(() => ({ status: 418, body: 'a teapot' }));
  const sent = await send(await subscribe(receiver.url), 20_000);
  expect(sent).toMatchObject({
    delivery: { status: 'FAILURE', attemptCount: 1, isTest: true, nextAttemptAt: null },
    attempt: { number: 1, status: 'FAILURE', statusCode: 418, responseBody: 'a teapot', isTest: true },
    notice: null,
  });
  const unreachable = await send(await subscribe('http://127.0.0.1:4/'), 20_000);
  expect(unreachable.attempt).toMatchObject({ statusCode: null, failureReason: 'CONNECTION_REFUSED' });
  expect(receiver.requests).toHaveLength(1);
});

it('failed tests are not retried, open no circuit and set no failingSince, and a 410 deactivates nothing', async () => {
  let status = 500;
  const receiver = await receive(() => ({ status }));
  const id = await subscribe(receiver.url);
  for (let count = 0; count < 24; count += 1) expect((await send(id, 20_000)).delivery?.status).toBe('FAILURE');
  status = 410;
  expect((await send(id, 20_000)).attempt).toMatchObject({ statusCode: 410 });
  expect(await show(id)).toEqual(WELL);
  status = 500;
  // If tests counted, the 25 tests before it would open the circuit.
  expect(await failForReal(id, receiver)).toMatchObject({ isActive: true, circuit: { state: 'CLOSED' } });
  expect((await send(id, 20_000)).delivery?.status).toBe('FAILURE');
  expect(receiver.requests).toHaveLength(27);
  // A successful test does not reset failingSince either.
  status = 200;
  expect((await send(id, 20_000)).delivery?.status).toBe('SUCCESS');
  expect((await show(id)).failingSince).not.toBeNull();
});

it('a test does not wait for maxInFlight, rateLimitPerSecond or other deliveries', async () => {
  const receiver = await receive(({ headers }) =>
    headers['webhook-event'] === 'webhook.test' ? { status: 200 } : 'hang',
  );
  const id = await subscribe(receiver.url, { maxInFlight: 1, rateLimitPerSecond: 1, timeoutMs: 30_000 });
  await Promise.all(Array.from({ length: 30 }, () => services.publish(`events.${tenant}.order.paid`, '{}')));
  const isBacklogged = async () =>
    (await services.query('SELECT FROM subscription_states WHERE subscription_id = $1 AND is_backlogged', [id]))
      .length === 1;
  await waitFor(isBacklogged, { what: 'a backlog' });
  const begun = performance.now();
  expect((await send(id, 20_000)).delivery?.status).toBe('SUCCESS');
  // The others occupy their permits for 30 s.
  expect(performance.now() - begun).toBeLessThan(25_000);
});

it('a test without a response in time returns its state, an eleventh pending test is rejected, and none delays queries', async () => {
  const receiver = await receive(() => 'hang');
  const id = await subscribe(receiver.url, { timeoutMs: 30_000 });
  const { key } = await createApiKey(api, { scope: 'TENANT_WRITE', tenant });
  const ask = async (query: string, variables: Record<string, unknown> = {}) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
    const body = JSON.stringify({ query, variables });
    const response = await fetch(`${api.url}/graphql`, { method: 'POST', headers, body });
    return (await response.json()) as { readonly data: { readonly sendTestEvent: Sent } };
  };
  let haveEnded = false;
  const waiting = Promise.all(Array.from({ length: 9 }, () => ask(SEND, { id, waitMs: 35_000 }))).finally(() => {
    haveEnded = true;
  });
  await receiver.waitForRequests(9);
  // More than five operations of the tenant are in progress.
  expect(await ask('{ __typename }')).toEqual({ data: { __typename: 'Query' } });
  const tenth = (await ask(SEND, { id, waitMs: 50 })).data.sendTestEvent;
  expect(tenth).toMatchObject({ delivery: { status: 'PENDING' }, attempt: null });
  expect(tenth.notice).toContain('the endpoint has not answered yet');
  expect((await ask(SEND, { id })).data.sendTestEvent).toEqual({ code: 'TOO_MANY_TESTS' });
  expect(haveEnded).toBe(false);
  await receiver.close();
  for (const { data } of await waiting) {
    expect(data.sendTestEvent.attempt).toMatchObject({ failureReason: 'CONNECTION_RESET' });
  }
  expect((await send(id, 20_000)).attempt).toMatchObject({ failureReason: 'CONNECTION_REFUSED' });
});

it('of concurrent tests, only ten can be pending', async () => {
  const receiver = await receive(() => 'hang');
  const id = await subscribe(receiver.url, { timeoutMs: 30_000 });
  for (let count = 0; count < 9; count += 1) expect(await send(id)).toMatchObject({ delivery: { status: 'PENDING' } });
  // Tests can be counted, but not inserted.
  const unlock = await lockTable(services.databaseUrl, { table: 'deliveries', mode: 'SHARE' });
  const sent = Promise.all([send(id), send(id)]);
  // Postgres shows the beginning of a statement: that of INSERT_BATCH, or the lock.
  const isWaiting = async () =>
    (
      await services.query(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
         AND (query LIKE '%WITH settings AS%' OR query LIKE '%pg_advisory_xact_lock%')`,
      )
    ).length >= 2;
  await waitFor(isWaiting, { what: 'both transactions' });
  await unlock();
  expect((await sent).map(({ code }) => code ?? 'sent').sort()).toEqual(['TOO_MANY_TESTS', 'sent']);
});

it('a failed test can be retried by a user, one attempt each time, and remains a test', async () => {
  const receiver = await receive(() => ({ status: 500 }));
  const id = await subscribe(receiver.url);
  const deliveryId = (await send(id, 20_000)).delivery?.id;
  const retry = `mutation ($id: ID!) { retryDelivery(id: $id) { __typename } }`;
  expect(await api.graphql(retry, { id: deliveryId })).toEqual({
    retryDelivery: { __typename: 'RetryDeliveryPayload' },
  });
  const query = `query ($id: ID!) { delivery(id: $id) { status attempts { nodes { number isTest } } } }`;
  const isOver = async () => {
    const { delivery } = await api.graphql<{ delivery: { status: string; attempts: { nodes: unknown[] } } }>(query, {
      id: deliveryId,
    });
    // Status and attempts are read by two statements, and the attempt may be recorded between them.
    return delivery.status === 'FAILURE' && delivery.attempts.nodes.length === 2 && delivery;
  };
  expect(await waitFor(isOver, { what: 'the second attempt' })).toEqual({
    status: 'FAILURE',
    attempts: { nodes: [2, 1].map((number) => ({ number, isTest: true })) },
  });
  expect(await show(id)).toEqual(WELL);
});

it('a replay skips tests', async () => {
  const receiver = await receive(() => ({ status: 500 }));
  await send(await subscribe(receiver.url), 20_000);
  const { startReplay } = await api.graphql<{ startReplay: unknown }>(
    `mutation ($tenant: String!) { startReplay(input: { filter: { tenant: $tenant }, dryRun: true }) {
      ... on StartReplayPayload { replay { deliveryCount } } } }`,
    { tenant },
  );
  expect(startReplay).toEqual({ replay: { deliveryCount: 0 } });
});

it('waitMs is limited', async () => {
  const id = await subscribe('http://127.0.0.1:4/');
  for (const waitMs of [-1, 35_001]) {
    expect(await send(id, waitMs)).toMatchObject({ code: 'INVALID_INPUT', problems: [{ path: 'waitMs' }] });
  }
});
