import { setTimeout as pause } from 'node:timers/promises';
import { SignJWT } from 'jose';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { type Operation, openEvents, openSocket, postOperation, type Stream } from '../support/graphql-client.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

const JWT_SECRET = 'a secret of thirty-two characters';
const QUERY = 'subscription { deliveryLog { eventType } }';

let services: TestServices;
let app: TestApp;
let other: TestApp;
let receiver: Receiver;
let published = 0;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services, { env: { JWT_SECRET } });
  other = await startTestApp(services, { env: { JWT_SECRET, ROLES: 'api' } });
  receiver = await startReceiver();
  await app.subscribe({ url: receiver.url });
});
afterAll(async () => {
  await Promise.all([app.stop(), other.stop()]);
  await receiver.close();
  await services.stop();
});

type Open = (url: string, operation: Operation) => Promise<Stream>;
const TRANSPORTS: [string, Open][] = [
  ['a WebSocket', openSocket],
  ['a stream of Server-Sent Events', openEvents],
];

/** Opens a stream of another process than the one that revokes the credential. */
async function watch(open: Open, credentials: string, url = other.url): Promise<Stream> {
  const stream = await open(url, { credentials, query: QUERY });
  // The server starts to watch the log some time after its answer.
  await waitFor(
    async () => {
      if (stream.isOver()) return true;
      const type = await publish();
      return waitFor(() => stream.text().includes(type), { what: 'the attempt', timeoutMs: 1_000 });
    },
    { what: 'the server to watch' },
  );
  return stream;
}

/** Publishes an event of a new type, and resolves when its attempt is in the log. */
async function publish(): Promise<string> {
  published += 1;
  const type = `number-${published}-`;
  await services.publish(`events.acme.${type}`, '{}');
  const wasAttempted = async () =>
    (await services.query('SELECT FROM attempts WHERE event_type = $1', [type])).length > 0;
  await waitFor(wasAttempted, { what: 'the attempt' });
  return type;
}

/** Expects an attempt, an error that the credential is no longer valid, and then the end of the stream. */
async function expectEnd(stream: Stream, isSocket: boolean): Promise<void> {
  expect(stream.text()).toContain('number-');
  if (isSocket) {
    // The end of the stream may arrive before the close of the socket.
    await waitFor(() => stream.closedWith() !== undefined, { what: 'the close' });
    const reason = 'Forbidden: these credentials have expired or been revoked';
    expect(stream.closedWith()).toEqual({ code: 4403, reason });
  } else {
    const [, last] = stream.text().split('event: next').slice(-2);
    expect(last).toContain('"code":"UNAUTHENTICATED"');
    // `complete` would make the client stop instead of reconnecting.
    expect(stream.text()).not.toContain('event: complete');
  }
}

it('the revocation of an API key is announced to all processes', async () => {
  const { id } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
  const client = new pg.Client({ connectionString: services.databaseUrl });
  await client.connect();
  const announced: (string | undefined)[] = [];
  client.on('notification', ({ payload }) => announced.push(payload));
  await client.query('LISTEN api_key_revoked');
  await revokeApiKey(app, id);
  await waitFor(() => announced.includes(id), { what: 'the announcement' });
  await client.end();
});

describe.each(TRANSPORTS)('%s', (_name, open) => {
  const isSocket = open === openSocket;

  it('ends when any process revokes its API key', async () => {
    const bystander = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const streams = [await watch(open, key), await watch(open, key, app.url)];
    const goesOn = await watch(open, bystander.key);
    await revokeApiKey(app, id);
    await waitFor(() => streams.every((stream) => stream.isOver()), { what: 'the end' });
    const type = await publish();
    await waitFor(() => goesOn.text().includes(type), { what: 'somebody else to get it' });
    for (const stream of streams) await expectEnd(stream, isSocket);
    expect(goesOn.isOver()).toBe(false);
    goesOn.close();
  });

  it('ends by the announcement alone', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const stream = await watch(open, key);
    // The key is valid, so the check for missed announcements does not end its stream.
    await services.query("SELECT pg_notify('api_key_revoked', $1)", [id]);
    await waitFor(() => stream.isOver(), { what: 'the end' });
    await expectEnd(stream, isSocket);
  });

  it('ends if the announcement is missed', async () => {
    const { id, key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const stream = await watch(open, key);
    await services.query('ALTER TABLE api_keys DISABLE TRIGGER api_key_revoked');
    try {
      await services.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [id]);
      await waitFor(() => stream.isOver(), { what: 'the end' });
    } finally {
      await services.query('ALTER TABLE api_keys ENABLE TRIGGER api_key_revoked');
    }
    await expectEnd(stream, isSocket);
  });

  it("never gets another tenant's attempts", async () => {
    const { key } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'umbrella' });
    const stranger = await open(other.url, { credentials: key, query: QUERY });
    const { key: own } = await createApiKey(app, { scope: 'TENANT_READ', tenant: 'acme' });
    const witness = await watch(open, own);
    expect(stranger.text()).not.toContain('number-');
    expect(stranger.isOver()).toBe(false);
    for (const stream of [stranger, witness]) stream.close();
  });

  it('is not opened with a credential that may only publish', async () => {
    const { key } = await createApiKey(app, { scope: 'PUBLISH', tenant: 'acme' });
    const stream = await open(app.url, { credentials: key, query: QUERY });
    await waitFor(() => stream.isOver(), { what: 'the end' });
    expect(stream.text()).toContain('"code":"FORBIDDEN"');
  });
});

function signJwt(exp: number): Promise<string> {
  return new SignJWT({ tenant: 'acme', scope: 'TENANT_READ', exp })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(JWT_SECRET));
}

it.each(TRANSPORTS)('%s ends when its JWT expires', async (_name, open) => {
  // The server adds 5 s for clock differences. A machine that takes longer to open the stream gets more time.
  for (let lifeS = 0, isDone = false; !isDone; lifeS += 10) {
    const exp = Math.floor(Date.now() / 1_000) + lifeS;
    const stream = await watch(open, await signJwt(exp));
    isDone = stream.text().includes('number-');
    await waitFor(() => stream.isOver(), { what: 'the end' });
    // The time for clock differences has passed as well.
    expect(Date.now()).toBeGreaterThanOrEqual((exp + 5) * 1_000);
    if (isDone) await expectEnd(stream, open === openSocket);
  }
});

it('a WebSocket is closed when its JWT expires, without earlier messages about its streams', async () => {
  const exp = Math.floor(Date.now() / 1_000);
  const token = await signJwt(exp);
  const sockets = await Promise.all(
    Array.from({ length: 25 }, async (_, index) => {
      // Start the streams and the socket at different times.
      await pause(index * 40);
      const socket = new WebSocket(`${other.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
      const types: unknown[] = [];
      const closed = new Promise<number>((resolve) => {
        socket.once('close', resolve);
      });
      socket.on('message', (data: Buffer) => {
        const { type } = JSON.parse(data.toString()) as { readonly type: unknown };
        types.push(type);
        if (type !== 'connection_ack') return;
        for (const id of ['1', '2']) socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query: QUERY } }));
      });
      socket.once('open', () => {
        socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: token } }));
      });
      return { types, code: await closed };
    }),
  );
  expect(sockets.map(({ code }) => code)).toEqual(sockets.map(() => 4403));
  // A slow machine opens some of them too late.
  const opened = sockets.flatMap(({ types }) => (types.length > 0 ? [types] : []));
  expect(opened).toEqual(opened.map(() => ['connection_ack']));
  expect(opened.length).toBeGreaterThan(0);
});

it('a socket that ignores its close runs no more operations, and is cut', async () => {
  const { id, key } = await createApiKey(app, { scope: 'TENANT_WRITE', tenant: 'acme' });
  const subscription = await app.subscribe({ url: receiver.url });
  const socket = new WebSocket(`${other.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  let messages = 0;
  socket.on('message', () => {
    messages += 1;
  });
  socket.on('error', () => undefined);
  await waitFor(() => socket.readyState === WebSocket.OPEN, { what: 'the socket' });
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: key } }));
  await waitFor(() => messages === 1, { what: 'the acknowledgement' });
  socket.pause();
  const since = Date.now();
  await revokeApiKey(app, id);
  const ping = { credentials: key, query: '{ __typename }' };
  await waitFor(async () => (await postOperation(other.url, ping)).status === 401, {
    what: 'the process to hear of it',
  });
  const query = `mutation { deleteWebhookSubscription(id: "${subscription.id}") { __typename } }`;
  // Until it is cut.
  const sent = await new Promise<number>((resolve) => {
    let count = 0;
    const timer = setInterval(() => {
      count += 1;
      socket.send(JSON.stringify({ id: String(count), type: 'subscribe', payload: { query } }), (error) => {
        if (error == null && Date.now() < since + 20_000) return;
        clearInterval(timer);
        resolve(count);
      });
    }, 100);
  });
  expect(sent).toBeGreaterThan(1);
  expect(Date.now() - since).toBeLessThan(20_000);
  const isKept = 'SELECT FROM webhook_subscriptions WHERE id = $1 AND deleted_at IS NULL';
  expect(await services.query(isKept, [subscription.id])).toHaveLength(1);
  socket.terminate();
});
