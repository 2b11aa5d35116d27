import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AckPolicy,
  type Consumer,
  type ConsumerConfig,
  connect,
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from 'nats';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StreamReconciler } from '../../src/nats/reconcile.ts';
import { startTestNats, type TestNats } from '../support/nats.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestNats;
let jsm: JetStreamManager;
let jetStream: JetStreamClient;
let connection: NatsConnection;
let clock: number;
let logged: string;

beforeEach(async () => {
  server = await startTestNats();
  await connectToServer();
  clock = 0;
  logged = '';
});

afterEach(async () => {
  await connection.close();
  await server.stop();
});

async function connectToServer(): Promise<void> {
  connection = await connect({ servers: server.url });
  jsm = await connection.jetstreamManager();
  jetStream = connection.jetstream();
}

function createReconciler(): StreamReconciler {
  const log = pino({ level: 'info' }, { write: (line: string) => void (logged += line) });
  return new StreamReconciler({ log, now: () => clock });
}

/** Checks until a consumer is created, and returns the seconds by the reconciler's clock. */
async function secondsUntilCreated(reconciler: StreamReconciler): Promise<number> {
  const begun = clock;
  for (let checks = 0; checks < 20; checks += 1) {
    const { created, nextInMs } = await reconciler.check(jsm);
    if (created) return (clock - begun) / 1_000;
    clock += nextInMs;
  }
  throw new Error('no consumer was created');
}

async function sender(): Promise<Consumer> {
  return jetStream.consumers.get('DELIVERIES', 'sender');
}

it('creates streams and consumers once, and then checks every half minute', async () => {
  const reconciler = createReconciler();
  expect(await reconciler.check(jsm)).toMatchObject({ created: true, warnings: [], nextInMs: 30_000 });
  expect(await reconciler.check(jsm)).toMatchObject({ created: false, warnings: [], nextInMs: 30_000 });
});

it('creates consumers without filters, because a killed nats-server can lose messages of filtered consumers', async () => {
  await createReconciler().check(jsm);
  for (const [stream, consumer] of [
    ['EVENTS', 'dispatcher'],
    ['DELIVERIES', 'sender'],
  ] as const) {
    expect((await jsm.consumers.info(stream, consumer)).config.filter_subject).toBeUndefined();
  }
});

it('a consumer that has skipped messages of its work queue is created again, and they are delivered', async () => {
  const reconciler = createReconciler();
  await reconciler.check(jsm);
  // A crash can leave such a consumer. Here its settings cause the state: it drops a message after one delivery.
  await jsm.consumers.update('DELIVERIES', 'sender', { ack_wait: nanos(500), max_deliver: 1 });
  const consumer = await sender();
  for (const body of ['passed', 'acked']) await jetStream.publish('deliveries.s1', body);
  expect((await consumer.next())?.string()).toBe('passed');
  (await consumer.next())?.ack();
  await waitFor(
    async () => {
      // Its ack floor moves with an ack that follows the dropped message.
      await jetStream.publish('deliveries.s1', 'another');
      (await consumer.next())?.ack();
      return (await consumer.info()).ack_floor.stream_seq >= 2;
    },
    { what: 'the consumer to pass the message' },
  );
  expect((await jsm.streams.info('DELIVERIES')).state.first_seq).toBe(1);
  expect(await secondsUntilCreated(reconciler)).toBe(3);
  expect((await (await sender()).next())?.string()).toBe('passed');
  expect((await reconciler.check(jsm)).created).toBe(false);
});

it('a consumer that does not count a message of its work queue is created again after a minute', async () => {
  const reconciler = createReconciler();
  await reconciler.check(jsm);
  await jsm.consumers.update('DELIVERIES', 'sender', { ack_wait: nanos(500), max_deliver: 1 });
  const consumer = await sender();
  await jetStream.publish('deliveries.s1', 'left out');
  await consumer.next();
  await waitFor(
    async () => {
      // It drops the message at the next pull request.
      await consumer.next({ expires: 1_000 });
      return (await consumer.info()).num_ack_pending === 0;
    },
    { what: 'the consumer to give the message up' },
  );
  expect((await jsm.streams.info('DELIVERIES')).state.messages).toBe(1);
  expect(await secondsUntilCreated(reconciler)).toBe(60);
  expect((await (await sender()).next())?.string()).toBe('left out');
});

it('a consumer beyond the end of its stream is created again at once', async () => {
  const reconciler = createReconciler();
  await reconciler.check(jsm);
  for (let index = 0; index < 3; index += 1) await jetStream.publish('deliveries.s1', 'old');
  for (let index = 0; index < 3; index += 1) await (await (await sender()).next())?.ackAck();
  await connection.close();
  // The state after a crash: the stream has lost its last messages, and the consumer still counts them.
  await server.terminate();
  await rm(join(server.folderOf('DELIVERIES'), 'msgs'), { recursive: true });
  await server.start();
  await connectToServer();
  await jetStream.publish('deliveries.s1', 'new');
  const { delivered } = await (await sender()).info();
  expect((await jsm.streams.info('DELIVERIES')).state.last_seq).toBe(1);
  // A newer server detects and corrects it.
  expect((await reconciler.check(jsm)).created).toBe(delivered.stream_seq > 1);
  expect((await (await sender()).next())?.string()).toBe('new');
});

it('in-flight, acked and returned messages are not a symptom', async () => {
  const reconciler = createReconciler();
  await reconciler.check(jsm);
  for (let index = 0; index < 9; index += 1) await jetStream.publish('deliveries.s1', String(index));
  for (let index = 0; index < 6; index += 1) {
    const message = await (await sender()).next();
    if (index < 2) await message?.ackAck();
    else if (index < 4) message?.nak(60_000);
  }
  for (let checks = 0; checks < 5; checks += 1) {
    expect((await reconciler.check(jsm)).created).toBe(false);
    clock += 30_000;
  }
});

it('a consumer with other settings is corrected at the start, and not changed afterwards', async () => {
  await createReconciler().check(jsm);
  const short = { ack_wait: nanos(1_000), max_deliver: 3, max_ack_pending: 7 };
  await jsm.consumers.update('DELIVERIES', 'sender', short);
  const reconciler = createReconciler();
  expect((await reconciler.check(jsm)).created).toBe(false);
  const { config } = await jsm.consumers.info('DELIVERIES', 'sender');
  expect(config).toMatchObject({ ack_wait: nanos(60_000), max_deliver: -1, max_ack_pending: 100_000 });
  expect(logged).toContain('"max_deliver":3');
  await jsm.consumers.update('DELIVERIES', 'sender', short);
  await reconciler.check(jsm);
  expect((await jsm.consumers.info('DELIVERIES', 'sender')).config).toMatchObject(short);
});

it.each<[name: string, Partial<ConsumerConfig>]>([
  ['filter_subject', { filter_subject: 'events.one' }],
  ['headers_only', { headers_only: true }],
  // An old server requires max_deliver with backoff, and then rejects the removal of max_deliver alone.
  ['backoff', { backoff: [nanos(1_000), nanos(3_600_000)], max_deliver: 3 }],
  ['max_batch', { max_batch: 10 }],
  ['max_bytes', { max_bytes: 1_000 }],
  ['max_expires', { max_expires: nanos(1_000) }],
])('a consumer that an operator has given %s is created again without it', async (name, settings) => {
  await createReconciler().check(jsm);
  const { config: wanted } = await jsm.consumers.info('EVENTS', 'dispatcher');
  await jetStream.publish('events.acme.a', '{}');
  const { config } = await jsm.consumers.update('EVENTS', 'dispatcher', settings);
  expect(config).toMatchObject(settings);
  expect((await createReconciler().check(jsm)).created).toBe(true);
  expect(logged).toContain(`consumer has ${name}; re-creating`);
  expect((await jsm.consumers.info('EVENTS', 'dispatcher')).config).toEqual(wanted);
  expect((await createReconciler().check(jsm)).created).toBe(false);
  const message = await (await jetStream.consumers.get('EVENTS', 'dispatcher')).next();
  expect(message?.string()).toBe('{}');
});

describe('a stream that an operator has configured', () => {
  const says = () => logged.match(/"problems":.*(?=,"msg")/g);
  const create = async (name: 'EVENTS' | 'DELIVERIES', settings: Partial<StreamConfig>) => {
    await createReconciler().check(jsm);
    const { config } = await jsm.streams.info(name);
    await jsm.streams.delete(name);
    await jsm.streams.add({ ...config, ...settings });
    logged = '';
  };

  it.each<['EVENTS' | 'DELIVERIES', Partial<StreamConfig>, string]>([
    ['DELIVERIES', { discard: DiscardPolicy.Old }, 'discard is \\"old\\", not \\"new\\"'],
    ['EVENTS', { duplicate_window: nanos(120_000) }, 'duplicate_window is 120000000000, not 100000000'],
  ])('%s with %j is reported and not changed', async (name, settings, problem) => {
    await create(name, settings);
    const reconciler = createReconciler();
    await reconciler.check(jsm);
    await reconciler.check(jsm);
    // Logged once, not at every check.
    expect(says()).toEqual([`"problems":"${problem}"`]);
    expect((await jsm.streams.info(name)).config).toMatchObject(settings);
  });

  it.each<['EVENTS' | 'DELIVERIES', Partial<StreamConfig>, string]>([
    ['DELIVERIES', { retention: RetentionPolicy.Limits }, 'its retention is "limits", not "workqueue"'],
    ['DELIVERIES', { storage: StorageType.Memory }, 'its storage is "memory", not "file"'],
    ['EVENTS', { retention: RetentionPolicy.Interest }, 'its retention is "interest", not "limits"'],
    ['EVENTS', { subjects: ['events.acme.>'] }, 'its subjects is ["events.acme.>"], not ["events.>"]'],
  ])('%s with %j is foreign: neither streams nor consumers are created', async (name, settings, difference) => {
    await jsm.streams.add({ name, subjects: name === 'EVENTS' ? ['events.>'] : ['deliveries.*'], ...settings });
    const refused = await createReconciler()
      .check(jsm)
      .catch((error: unknown) => String(error));
    expect(refused).toContain(`the stream ${name} was not created by webhooks-engine: its `);
    expect(refused).toContain(difference);
    expect((await jsm.streams.list().next()).map(({ config }) => config.name)).toEqual([name]);
    expect(await jsm.consumers.list(name).next()).toEqual([]);
  });

  it('is reported when it changes while the program runs, and again at the next change', async () => {
    const reconciler = createReconciler();
    await reconciler.check(jsm);
    const discard = async (policy: DiscardPolicy) => {
      await jsm.streams.update('EVENTS', { discard: policy });
      await reconciler.check(jsm);
    };
    await discard(DiscardPolicy.Old);
    await discard(DiscardPolicy.New);
    expect(says()).toHaveLength(1);
    await discard(DiscardPolicy.Old);
    expect(says()).toHaveLength(2);
  });

  it('to keep messages for longer, or fewer messages, is not reported', async () => {
    await create('EVENTS', { max_age: nanos(7 * 86_400_000), max_bytes: 1_000_000 });
    await createReconciler().check(jsm);
    expect(says()).toBeNull();
  });
});

it('a consumer with settings that cannot be changed is created again', async () => {
  await createReconciler().check(jsm);
  const { config } = await jsm.consumers.info('EVENTS', 'dispatcher');
  await jsm.consumers.delete('EVENTS', 'dispatcher');
  await jsm.consumers.add('EVENTS', { ...config, ack_policy: AckPolicy.All });
  expect((await createReconciler().check(jsm)).created).toBe(true);
  expect((await jsm.consumers.info('EVENTS', 'dispatcher')).config.ack_policy).toBe(AckPolicy.Explicit);
});
