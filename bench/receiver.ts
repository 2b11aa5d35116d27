import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import process from 'node:process';
import { clockMs } from './clock.ts';

/** What a receiver says: first where it listens, in the order of its arguments, then each arrival. */
export type ReceiverMessage =
  | { readonly urls: readonly string[] }
  | { readonly received: number }
  | { readonly webhookId: string; readonly arrivedAt: number };

const REPORT_MS = 50;
let received = 0;
let reported = 0;

type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** How each kind of endpoint answers a request it has read. */
const KINDS: Readonly<Record<string, () => Respond>> = {
  /** Answers after 0 to 5 ms and reports the arrival. */
  healthy: () => (request, response) => {
    const webhookId = String(request.headers['webhook-id']);
    const arrivedAt = clockMs();
    setTimeout(() => response.end('ok'), Math.random() * 5);
    process.send?.({ webhookId, arrivedAt } satisfies ReceiverMessage);
  },
  accepting: () => (_, response) => response.end('ok'),
  /** Accepts, and reports how many requests all of its kind have had. */
  counting: () => (_, response) => {
    received += 1;
    response.end('ok');
  },
  hanging: () => () => undefined,
  failing: () => (_, response) => response.writeHead(500).end('it failed'),
};

/** One endpoint, on an origin of its own as different customers have: connections are pooled by origin. */
async function listen(kind: string): Promise<string> {
  const respond = KINDS[kind]?.();
  if (respond === undefined) throw new Error(`there is no receiver ${kind}`);
  const server = createServer((request, response) => {
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
  if (received === reported) return;
  reported = received;
  process.send?.({ received } satisfies ReceiverMessage);
}, REPORT_MS);
