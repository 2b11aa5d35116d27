import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import type { Receiver, Respond } from '../support/receiver.ts';
import { createReceive } from '../support/receivers.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestServices, subscribe, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** A short first wait and a long second one, for all tests, because they share a process until they end it. */
const ENV = { RETRY_SCHEDULE: '8s,2m' };

let services: TestServices;
let engine: EngineProcess;
const receive = createReceive();

beforeAll(async () => {
  services = await startTestServices();
  await start();
});

afterEach(async () => {
  // After a test that failed between the end of a process and the next start.
  if (engine.hasEnded()) await start();
  await engine.graphql('mutation ($id: ID!) { deleteWebhookSubscription(id: $id) { __typename } }', {
    id: subscriptionId,
  });
});

afterAll(async () => {
  await engine.terminate();
  await services.stop();
});

let subscriptionId = '';

async function subscribedReceiver(respond?: Respond, timeoutMs = 5_000): Promise<Receiver> {
  const receiver = await receive(respond);
  subscriptionId = (await subscribe(engine.graphql, { url: receiver.url, timeoutMs })).id;
  return receiver;
}

async function start(): Promise<void> {
  engine = await startEngineProcess(services, ENV);
  // The program sets its own values only when it creates a consumer.
  await services.shortenAckWait('EVENTS', 'dispatcher');
  await services.shortenAckWait('DELIVERIES', 'sender');
}

/** Stops the statement that writes a batch at its insert into deliveries, until the returned function is called. */
function holdBatch(): Promise<() => Promise<void>> {
  return lockTable(services.databaseUrl, { table: 'deliveries', mode: 'SHARE' });
}

async function batchIsHeld(): Promise<void> {
  await waitFor(
    async () =>
      (
        await services.query(
          `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%known.version%'`,
        )
      ).length > 0,
    { what: 'the statement to wait for the lock' },
  );
}

function idsAt(receiver: Receiver): (string | undefined)[] {
  return receiver.requests.map(({ headers }) => headers['webhook-id']?.toString());
}

describe('a kill -9', () => {
  it('while an event and its deliveries are written leaves both or neither, and the webhook is sent once', async () => {
    const receiver = await subscribedReceiver();
    const release = await holdBatch();
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'before-commit' });
    await batchIsHeld();
    await engine.kill9();
    // Postgres may complete the statement of a disconnected client.
    await release();
    expect(
      await services.query(
        `SELECT 1 FROM events e LEFT JOIN deliveries d ON d.event_id = e.id WHERE e.event_id = 'before-commit' AND d.id IS NULL`,
      ),
    ).toEqual([]);
    await start();
    await receiver.waitForRequests(1);
    expect(idsAt(receiver)).toEqual(['before-commit']);
  });

  it('between the insert of deliveries and the publication of their messages loses no message', async () => {
    const receiver = await subscribedReceiver();
    const release = await holdBatch();
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'before-publish' });
    await batchIsHeld();
    // While nats-server is paused, the statement commits, and its messages are not stored.
    await services.nats.pause();
    await release();
    await waitFor(
      async () => (await services.query('SELECT 1 FROM deliveries WHERE status = $1', ['PENDING'])).length === 1,
      {
        what: 'the committed delivery',
      },
    );
    await engine.kill9();
    // The data in the socket of the paused server is lost with it: JetStream never stores the message.
    await services.nats.kill9();
    await services.nats.start();
    await start();
    await receiver.waitForRequests(1);
    expect(idsAt(receiver)).toEqual(['before-publish']);
  });

  it('in the middle of an attempt leads to a new attempt with the same number', async () => {
    const receiver = await subscribedReceiver((_, index) => (index === 0 ? 'hang' : { status: 200 }));
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'in-flight' });
    await receiver.waitForRequests(1);
    await engine.kill9();
    await start();
    await receiver.waitForRequests(2);
    expect(receiver.requests.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '1']);
  });
});

it('a nats-server that has lost its consumer state redelivers everything, and nothing is sent early or twice', async () => {
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const receiver = await subscribedReceiver(async (_, index) => {
    if (index === 1) await answered;
    return { status: index === 0 ? 500 : 200 };
  }, 30_000);
  await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'waits' });
  await waitFor(
    async () => (await services.query(`SELECT 1 FROM deliveries WHERE waiting_for = 'BACKOFF'`)).length === 1,
    { what: 'the delivery to wait' },
  );
  await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'under-way' });
  await receiver.waitForRequests(2);
  await services.nats.kill9();
  // The state after a kill between two system calls in versions without atomic writes: before 2.11.11 and 2.12.1.
  await truncate(join(services.nats.folderOf('DELIVERIES'), 'obs', 'sender', 'o.dat'), 0);
  await services.nats.start();
  await waitFor(async () => (await services.deliveredBy('DELIVERIES', 'sender')) >= 2, {
    what: 'both to be delivered',
  });
  answer();
  await receiver.waitForRequests(3);
  await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'every message to be acked' });
  expect(idsAt(receiver)).toEqual(['waits', 'under-way', 'waits']);
  const [first, , second] = receiver.requests;
  // Minus a fifth of jitter and a second of clock difference.
  expect((second?.receivedAt ?? 0) - (first?.receivedAt ?? 0)).toBeGreaterThan(5_400);
});

describe('a restart during the wait for a retry loses nothing', () => {
  it('when the wait is short and stays in JetStream', async () => {
    const receiver = await subscribedReceiver((_, index) => ({ status: index === 0 ? 500 : 200 }));
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'short-wait' });
    await waitFor(
      async () => (await services.query(`SELECT 1 FROM deliveries WHERE waiting_for = 'BACKOFF'`)).length === 1,
      {
        what: 'the delivery to wait',
      },
    );
    await engine.kill9();
    await start();
    await receiver.waitForRequests(2);
    expect(receiver.requests.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2']);
  });

  it('when the wait is long and stays in Postgres', async () => {
    const receiver = await subscribedReceiver((_, index) => ({ status: index < 2 ? 500 : 200 }));
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'long-wait' });
    const parked =
      'SELECT id FROM deliveries WHERE waiting_for = $1 AND enqueued_at IS NULL AND next_attempt_at > now()';
    await waitFor(async () => (await services.query(parked, ['BACKOFF'])).length === 1, {
      what: 'the delivery to wait for the third attempt',
    });
    await waitFor(async () => (await services.waitingIn('DELIVERIES')) === 0, { what: 'its message to be gone' });
    expect(await engine.terminate()).toBe(0);
    // Simulates that two minutes have passed.
    await services.query(`UPDATE deliveries SET next_attempt_at = now() WHERE status = 'PENDING'`);
    await services.query('UPDATE subscription_states SET next_sweep_at = now() WHERE next_sweep_at IS NOT NULL');
    await start();
    await receiver.waitForRequests(3);
    expect(receiver.requests.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2', '3']);
    await waitFor(
      async () => (await services.query(`SELECT 1 FROM deliveries WHERE status = 'PENDING'`)).length === 0,
      {
        what: 'the success to be recorded',
      },
    );
  });

  it('SIGTERM lets a running attempt complete, and it is not repeated', async () => {
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const receiver = await subscribedReceiver(async () => {
      await answered;
      return { status: 200 };
    });
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'sigterm' });
    await receiver.waitForRequests(1);
    const ended = engine.terminate();
    await waitFor(async () => (await fetch(`${engine.url}/health/live`).catch(() => undefined)) === undefined, {
      what: 'the program to stop listening',
    });
    answer();
    expect(await ended).toBe(0);
    expect(
      await services.query(
        `SELECT status FROM deliveries d JOIN events e ON e.id = d.event_id WHERE e.event_id = 'sigterm'`,
      ),
    ).toEqual([{ status: 'SUCCESS' }]);
    await start();
    await services.publish('events.acme.a', '{}', { 'Nats-Msg-Id': 'after-sigterm' });
    await receiver.waitForRequests(2);
    expect(idsAt(receiver)).toEqual(['sigterm', 'after-sigterm']);
  });
});
