import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { InFlight } from '../../src/lib/in-flight.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { ADMIN_KEY, type Api, startApi } from '../support/graphql-api.ts';
import { waitFor } from '../support/wait-for.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api.stop();
});

type Client = {
  readonly socket: Socket;
  /** Everything that the client has read. */
  readonly text: () => string;
  readonly send: (lines: string) => void;
};

/** A client that keeps its side of the connection open when the server ends the other. */
function connectTo({ url }: ApiServer): Client {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.on('error', () => undefined);
  const send = (lines: string) => void socket.write(lines.replaceAll('\n', '\r\n'));
  return { socket, text: () => text, send };
}

const WEBSOCKET = 'Host: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n';

async function stopsWithOpenClient(server: ApiServer): Promise<void> {
  let hasStopped = false;
  void server.stop().then(() => {
    hasStopped = true;
  });
  await waitFor(() => hasStopped, { what: 'the stop of the server', timeoutMs: 60_000 });
}

test('the server closes the connection of a refused upgrade, although its client does not', async () => {
  const server = await startApiServer(api);
  const { socket, text, send } = connectTo(server);
  send(`GET /other HTTP/1.1\n${WEBSOCKET}\n`);
  await waitFor(() => socket.readableEnded, { what: 'the end of the answer' });
  expect(text()).toMatch(/^HTTP\/1\.1 404 /);
  send('x');
  await stopsWithOpenClient(server);
});

test.each(['/other', '/graphql'])(
  'a refused upgrade also ends the connection of a client that has not read an earlier answer: %s',
  async (path) => {
    const server = await startApiServer(api, { introspection: true });
    const { socket, send } = connectTo(server);
    // GraphiQL has 9 MB, more than the buffers of the operating system.
    send('GET /graphql HTTP/1.1\nHost: a\nAccept: text/html\n\n');
    await once(socket, 'data');
    socket.pause();
    send(`GET ${path} HTTP/1.1\n${WEBSOCKET}\n`);
    await stopsWithOpenClient(server);
  },
);

test('the offer of another protocol is ignored: the request is answered, and its connection stays usable', async () => {
  const server = await startApiServer(api);
  onTestFinished(() => server.stop());
  const { text, send } = connectTo(server);
  const receive = async (answer: RegExp) => {
    await waitFor(() => answer.test(text()), { what: `the answer ${answer.source}` });
  };
  const offer =
    'Host: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\n';
  send(`GET /health/live HTTP/1.1\n${offer}\n`);
  await receive(/^HTTP\/1\.1 200 [^]*"ok":true/);
  const body = JSON.stringify({ query: '{ __typename }' });
  const headers = `Authorization: Bearer ${ADMIN_KEY}\nContent-Type: application/json\nContent-Length: ${body.length}\n`;
  send(`POST /graphql HTTP/1.1\n${offer}${headers}\n${body}`);
  await receive(/HTTP\/1\.1 200 [^]*"__typename":"Query"/);
  const handshake = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: graphql-transport-ws\n';
  send(`GET /graphql HTTP/1.1\n${WEBSOCKET}${handshake}\n`);
  await receive(/HTTP\/1\.1 101 /);
});

test('an operation ends when its client disconnects before it has read the answer', async () => {
  const server = await startApiServer(api, { introspection: true });
  onTestFinished(() => server.stop());
  const track = vi.spyOn(InFlight.prototype, 'track');
  onTestFinished(() => {
    track.mockRestore();
  });
  const { socket, send } = connectTo(server);
  send('GET /graphql HTTP/1.1\nHost: a\nAccept: text/html\n\n');
  await once(socket, 'data');
  socket.destroy();
  let hasEnded = false;
  void Promise.allSettled(track.mock.results.map(({ value }) => value as Promise<unknown>)).then(() => {
    hasEnded = true;
  });
  await waitFor(() => hasEnded, { what: 'the end of the operation', timeoutMs: 60_000 });
});
