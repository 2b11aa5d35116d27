import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { seededChance } from '../support/seeded-chance.ts';
import { waitFor } from '../support/wait-for.ts';

/** A request as its receiver saw it; times in milliseconds since 1970. */
export type SeenRequest = {
  readonly endpoint: number;
  readonly eventId: string;
  readonly deliveryId: string;
  readonly attemptNumber: number;
  readonly at: number;
  /** Set once the operating system has the whole answer. */
  answer?: { readonly status: number; readonly at: number };
  readonly connection: {
    endedAt?: number;
    /** The receiver closed the connection, even with a request in flight. */
    isCutByReceiver: boolean;
  };
};

export type EndpointMode = 'answer' | 'fail' | 'hang' | 'refuse';

export type EndpointOptions = {
  readonly index: number;
  readonly seed: number;
  readonly onSeen: (request: SeenRequest) => void;
  /** Called after a 2xx was sent. */
  readonly onSuccess: (request: SeenRequest) => void;
};

/** Fraction of answers that are a 500. Too small to open a circuit by itself. */
const SHARE_OF_500 = 0.02;
/** Fraction of answers that are slow. */
const SHARE_OF_SLOW = 0.02;
const MAX_SLOW_MS = 400;
const MAX_QUICK_MS = 20;

/** A receiver that records every request, and can fail, hang, refuse connections, and recover. */
export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #server: Server;
  readonly #connections = new Map<Socket, SeenRequest['connection']>();
  #mode: EndpointMode = 'answer';
  #port = 0;
  #open = 0;

  constructor(options: EndpointOptions) {
    this.#options = options;
    // Without limits: Node would answer 408 on the connection of a sender that is paused for a minute before its request.
    const limits = { headersTimeout: 0, requestTimeout: 0 };
    this.#server = createServer(limits, (request, response) => void this.#receive(request, response));
    this.#server.on('connection', (socket: Socket) => {
      this.#watch(socket);
    });
  }

  /** Returns the URL of the endpoint. */
  async start(): Promise<string> {
    await this.#listen();
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return `http://127.0.0.1:${this.#port}/webhooks`;
  }

  /** Number of open requests without an answer. */
  get open(): number {
    return this.#open;
  }

  async become(mode: EndpointMode): Promise<void> {
    const before = this.#mode;
    this.#mode = mode;
    if (mode === 'refuse') await this.stop();
    // Another process can take the free port meanwhile; retry until that process releases it.
    else if (before === 'refuse') await waitFor(() => this.#listen(), { what: 'the endpoint to listen again' });
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.isCutByReceiver = true;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #listen(): Promise<true> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    return true;
  }

  #watch(socket: Socket): void {
    const connection: SeenRequest['connection'] = { isCutByReceiver: false };
    this.#connections.set(socket, connection);
    socket.on('close', () => {
      connection.endedAt = Date.now();
      this.#connections.delete(socket);
    });
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = this.#record(request);
    this.#open += 1;
    response.once('close', () => {
      this.#open -= 1;
    });
    response.once('finish', () => {
      seen.answer = { status: response.statusCode, at: Date.now() };
      if (response.statusCode === 200) this.#options.onSuccess(seen);
    });
    request.resume();
    // A kill of the sender can end the request early; the answer is then lost.
    await Promise.race([once(request, 'end'), once(response, 'close')]).catch(() => undefined);
    const key = `${seen.eventId} ${seen.endpoint} ${seen.attemptNumber}`;
    if (this.#mode === 'answer') await this.#delayAnswer(key);
    if (this.#mode === 'hang') return;
    const fails = this.#mode === 'fail' || seededChance(this.#options.seed, `status ${key}`) < SHARE_OF_500;
    response.writeHead(fails ? 500 : 200).end();
  }

  async #delayAnswer(key: string): Promise<void> {
    const { seed } = this.#options;
    const isSlow = seededChance(seed, `slow ${key}`) < SHARE_OF_SLOW;
    await delay(seededChance(seed, `time ${key}`) * (isSlow ? MAX_SLOW_MS : MAX_QUICK_MS));
  }

  #record({ headers, socket }: IncomingMessage): SeenRequest {
    const seen: SeenRequest = {
      endpoint: this.#options.index,
      eventId: String(headers['webhook-id']),
      deliveryId: String(headers['webhook-delivery']),
      attemptNumber: Number(headers['webhook-attempt']),
      at: Date.now(),
      connection: this.#connections.get(socket) ?? { isCutByReceiver: false },
    };
    this.#options.onSeen(seen);
    return seen;
  }
}
