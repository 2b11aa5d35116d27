import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { waitFor } from './wait-for.ts';

type ReceivedRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawBody: Buffer;
  /** Time when the body was complete, in Unix milliseconds. */
  readonly receivedAt: number;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number;
};

/** `hang` never answers; `reset` closes the connection with a TCP RST. */
type ReceiverAnswer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer }
  | 'hang'
  | 'reset';

/** `index` counts the requests from 0. */
export type Respond = (request: ReceivedRequest, index: number) => ReceiverAnswer | Promise<ReceiverAnswer>;

export type Receiver = {
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  /** Resolves with all requests once there are at least `count`. */
  waitForRequests(count: number): Promise<readonly ReceivedRequest[]>;
  /** Number of connections opened since the start. */
  connectionCount(): number;
  /** Closes the server and all connections. A second call does nothing. */
  close(): Promise<void>;
};

/** Starts an HTTP server on a free loopback port, as a customer's endpoint. */
export async function startReceiver(respond: Respond = () => ({ status: 200 })): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    void record(request).then(async (received) => {
      const index = requests.push(received) - 1;
      answer(await respond(received, index), response);
    }, ignoreBroken);
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port ?? 0}`,
    requests,
    waitForRequests: (count) =>
      waitFor(() => requests.length >= count && requests, { what: `${count} requests (${requests.length} so far)` }),
    connectionCount: () => connections,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

async function record(request: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  const body: AsyncIterable<Buffer> = request;
  for await (const chunk of body) {
    chunks.push(chunk);
  }
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    headers: request.headers,
    rawBody: Buffer.concat(chunks),
    receivedAt: Date.now(),
    remoteAddress: request.socket.remoteAddress,
    remotePort: request.socket.remotePort ?? 0,
  };
}

function answer(chosen: ReceiverAnswer, response: ServerResponse): void {
  if (chosen === 'reset') {
    response.socket?.resetAndDestroy();
  } else if (chosen !== 'hang') {
    response.writeHead(chosen.status, chosen.headers).end(chosen.body);
  }
}

/** Ignores a request that the sender aborts before its body is complete; it is not recorded. */
function ignoreBroken(): void {}
