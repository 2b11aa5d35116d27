import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import process from 'node:process';
import { clockMs } from './clock.ts';

/** A receiver's messages: first its URLs in the order of its arguments, then counts and arrivals of requests. */
export type ReceiverMessage =
  | { readonly urls: readonly string[] }
  | { readonly accepted: number }
  | { readonly webhookId: string; readonly arrivedAt: number };

/** An endpoint's response to GET. */
export type ReceiverCounts = {
  /** Requests with other methods than GET. */
  readonly requests: number;
  /** Connections that carried such requests. */
  readonly connections: number;
};

const REPORT_MS = 50;
let accepted = 0;
let reported = 0;

type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** The response of each kind of endpoint to a request that it has read. */
const KINDS: Readonly<Record<string, () => Respond>> = {
  /** Answers after 0 to 5 ms and reports the arrival. */
  healthy: () => (request, response) => {
    const webhookId = String(request.headers['webhook-id']);
    const arrivedAt = clockMs();
    setTimeout(() => response.end('ok'), Math.random() * 5);
    process.send?.({ webhookId, arrivedAt } satisfies ReceiverMessage);
  },
  /** Answers immediately. The total of all such endpoints is reported every REPORT_MS. */
  accepting: () => (_, response) => {
    accepted += 1;
    response.end('ok');
  },
  hanging: () => () => undefined,
  failing: () => (_, response) => response.writeHead(500).end('it failed'),
};

/** Starts one endpoint on an origin of its own, as different customers have: connections are pooled by origin. */
async function listen(kind: string): Promise<string> {
  const respond = KINDS[kind]?.();
  if (respond === undefined) throw new Error(`there is no receiver ${kind}`);
  const counts = { requests: 0, connections: 0 };
  const seen = new WeakSet<Socket>();
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      response.end(JSON.stringify(counts satisfies ReceiverCounts));
      return;
    }
    counts.requests += 1;
    if (!seen.has(request.socket)) counts.connections += 1;
    seen.add(request.socket);
    request.on('end', () => {
      respond(request, response);
    });
    request.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the receiver does not listen on TCP');
  return `http://127.0.0.1:${address.port}/webhooks`;
}

process.on('disconnect', () => process.exit(0));
const urls = await Promise.all(process.argv.slice(2).map(listen));
process.send?.({ urls } satisfies ReceiverMessage);
setInterval(() => {
  if (accepted === reported) return;
  reported = accepted;
  process.send?.({ accepted } satisfies ReceiverMessage);
}, REPORT_MS);
