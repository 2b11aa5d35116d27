import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, DiscardPolicy, ErrorCode, Events, type NatsConnection } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { JetStreamPublisher, NoAnswerError } from '../../src/nats/publisher.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startNatsServer } from '../support/nats.ts';
import { stall } from '../support/other-loop-receiver.ts';
import { findOwnPort } from '../support/own-port.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { createTempFolder } from '../support/temp-folder.ts';

const INBOX_PREFIX = '_INBOX_test';
const BODY = Buffer.from('body');
/** Maximum number of messages in the stream. */
const ROOM = 400;

let server: ServerProcess;
let connection: NatsConnection;
let publisher: JetStreamPublisher;
const cleanUps = createCleanUps(afterAll);

/** Starts a publisher like NatsClient. */
function startPublisher(on: NatsConnection, timeoutMs: number): JetStreamPublisher {
  const started = new JetStreamPublisher(on, INBOX_PREFIX, timeoutMs);
  const watch = async () => {
    for await (const { type, permissionContext } of on.status()) {
      if (type === Events.Error && permissionContext !== undefined) started.refuse(permissionContext);
    }
  };
  void watch();
  return started;
}

beforeAll(async () => {
  const folder = await createTempFolder();
  cleanUps.push(() => folder.remove());
  const port = await findOwnPort();
  const file = join(folder.path, 'nats.conf');
  const permissions = `publish: { deny: "kept.denied" }, subscribe: { allow: "${INBOX_PREFIX}.>" }`;
  await writeFile(
    file,
    `listen: "127.0.0.1:${port}"
     jetstream { store_dir: "${folder.path}" }
     authorization { users: [{ user: engine, password: test, permissions: { ${permissions} } }] }`,
  );
  server = await startNatsServer(port, ['-c', file]);
  cleanUps.push(() => server.stop());
  const open = async () => {
    const opened = await connect({ port, user: 'engine', pass: 'test', inboxPrefix: INBOX_PREFIX });
    cleanUps.push(() => opened.close());
    return opened;
  };
  connection = await open();
  publisher = startPublisher(connection, 5_000);
  const jsm = await connection.jetstreamManager({ checkAPI: false });
  await jsm.streams.add({ name: 'KEPT', subjects: ['kept.*'] });
  const full = { max_msgs_per_subject: ROOM, discard_new_per_subject: true, discard: DiscardPolicy.New };
  await jsm.streams.add({ name: 'FULL', subjects: ['full.*'], ...full });
});

async function storedIn(stream: string): Promise<number> {
  const jsm = await connection.jetstreamManager({ checkAPI: false });
  return (await jsm.streams.info(stream)).state.messages;
}

it('each publication gets its own answer, and a message id is stored once', async () => {
  const ids = Array.from({ length: 300 }, (_, index) => `id ${index}`);
  await Promise.all([...ids, ...ids].map((id) => publisher.publish('kept.a', BODY, id)));
  expect(await storedIn('KEPT')).toBe(300);
});

it('a full stream rejects only the messages for which it has no space', async () => {
  const ids = Array.from({ length: ROOM + 5 }, (_, index) => `full ${index}`);
  const answers = await Promise.allSettled(ids.map((id) => publisher.publish('full.a', BODY, id)));
  const refusals = answers.filter(({ status }) => status === 'rejected');
  const error = { description: 'maximum messages per subject exceeded' };
  expect(refusals).toMatchObject(Array.from({ length: 5 }, () => ({ reason: { api_error: error } })));
});

it('a subject without a stream is rejected', async () => {
  await expect(publisher.publish('elsewhere', BODY, 'a')).rejects.toMatchObject({ code: ErrorCode.NoResponders });
});

it('a subject without permission is rejected at once, and no other subject with it', async () => {
  const denied = { code: ErrorCode.PermissionsViolation, permissionContext: { subject: 'kept.denied' } };
  const [allowed, ...refused] = await Promise.allSettled([
    publisher.publish('kept.b', BODY, 'allowed'),
    publisher.publish('kept.denied', BODY, 'denied 1'),
    publisher.publish('kept.denied', BODY, 'denied 2'),
  ]);
  expect(allowed.status).toBe('fulfilled');
  expect(refused).toMatchObject([{ reason: denied }, { reason: denied }]);
});

it('an answer received while the process was stalled counts', async () => {
  const hasty = startPublisher(connection, 200);
  const published = hasty.publish('kept.c', BODY, 'stalled');
  await connection.flush();
  const late = hasty.publish('kept.c', BODY, 'stalled too');
  setImmediate(() => {
    stall(500);
  });
  await expect(Promise.all([published, late])).resolves.toHaveLength(2);
});

it('without an answer a publication rejects on time, and at once when the connection is closed', async () => {
  const hasty = startPublisher(connection, 100);
  await server.pause();
  try {
    const began = performance.now();
    await expect(hasty.publish('kept.d', BODY, 'a')).rejects.toThrow('no answer within 100 ms');
    expect(performance.now() - began).toBeGreaterThanOrEqual(99);
    const open = publisher.publish('kept.d', BODY, 'b');
    publisher.close();
    await expect(open).rejects.toThrow(NoAnswerError);
  } finally {
    await server.resume();
  }
});
