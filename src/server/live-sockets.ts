import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { DocumentNode, ExecutionArgs, ExecutionResult, GraphQLError, GraphQLSchema } from 'graphql';
import type { Context as ConnectionContext, SubscribePayload } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { createGraphQLError } from 'graphql-yoga';
import type { Logger } from 'pino';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Viewer } from '../schema/viewer.ts';
import type { Authenticate } from './auth.ts';
import type { Graphql } from './graphql.ts';
import { createMaskError } from './mask-error.ts';
import { rateLimitedError, type TakeOperation } from './rate-limit.ts';

export type LiveSocketsOptions = {
  readonly graphql: Graphql;
  readonly authenticate: Authenticate;
  readonly takeOperation: TakeOperation;
  readonly log: Logger;
};

const MAX_SOCKETS = 1_000;
const MAX_OPERATIONS_PER_SOCKET = 50;
/** Only operations and their variables come in; the library's default is 100 MiB. */
const MAX_MESSAGE_BYTES = 64 * 1024;
const CLOSE_WITHIN_MS = 2_000;
const GOING_AWAY = 1001;

type Extra = { viewer?: Viewer };
type Connection = ConnectionContext<Record<string, unknown> | undefined, Extra>;

/** What Yoga makes for one operation; it leaves the types of these functions open. */
type Enveloped = {
  readonly schema: GraphQLSchema;
  readonly parse: (query: string) => DocumentNode;
  readonly validate: (schema: GraphQLSchema, document: DocumentNode) => readonly GraphQLError[];
  readonly contextFactory: () => unknown;
  readonly execute: (args: ExecutionArgs) => ExecutionResult;
  readonly subscribe: (args: ExecutionArgs) => Promise<AsyncGenerator<ExecutionResult> | ExecutionResult>;
};

/** GraphQL over WebSocket (the protocol graphql-transport-ws), through the same pipeline as over HTTP. */
export class LiveSockets {
  readonly #options: LiveSocketsOptions;
  readonly #server = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  readonly #maskError: (error: unknown) => GraphQLError;
  /** The functions that belong to an operation: Yoga's plugins (masking among them) are in them. */
  readonly #enveloped = new WeakMap<object, Enveloped>();

  constructor(options: LiveSocketsOptions) {
    this.#options = options;
    this.#maskError = createMaskError(options.log);
    useServer<Record<string, unknown> | undefined, Extra>(
      {
        // Otherwise a client reads the messages of our faults when it is closed with 4500.
        isProd: true,
        onConnect: (connection) => this.#connect(connection),
        onSubscribe: (connection, _id, payload) => this.#prepare(connection, payload),
        execute: (args) => this.#envelopedOf(args).execute(args),
        subscribe: (args) => this.#envelopedOf(args).subscribe(args),
      },
      this.#server,
    );
    this.#server.on('connection', (socket) => {
      // graphql-ws prints these to the console; ws has closed the socket already.
      socket.removeAllListeners('error');
      socket.on('error', (error) => {
        options.log.debug({ err: error }, 'a WebSocket client broke the protocol');
      });
    });
  }

  /** To be called for each upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#server.clients.size >= MAX_SOCKETS) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      this.#server.emit('connection', webSocket, request);
    });
  }

  /** Closes every socket with 1001, and cuts those that do not answer within 2 s. */
  async stop(): Promise<void> {
    await Promise.all([...this.#server.clients].map(closeSocket));
  }

  async #connect({ connectionParams, extra }: Connection): Promise<boolean> {
    const value = connectionParams?.['authorization'] ?? connectionParams?.['Authorization'];
    const viewer = await this.#options.authenticate(typeof value === 'string' ? value : undefined);
    if (viewer === undefined) return false;
    extra.viewer = viewer;
    return true;
  }

  async #prepare(
    { extra, subscriptions }: Connection & { readonly extra: Extra & { request: IncomingMessage } },
    payload: SubscribePayload,
  ) {
    if (Object.keys(subscriptions).length > MAX_OPERATIONS_PER_SOCKET) {
      const message = `at most ${MAX_OPERATIONS_PER_SOCKET} operations can run over one WebSocket`;
      return [createGraphQLError(message, { extensions: { code: 'TOO_MANY_OPERATIONS' } })];
    }
    const waitMs = extra.viewer === undefined ? 0 : this.#options.takeOperation(extra.viewer);
    if (waitMs > 0) return [rateLimitedError(waitMs)];
    try {
      const { graphql } = this.#options;
      // Mutations are only run for a POST.
      const request = new graphql.fetchAPI.Request('http://localhost/graphql', { method: 'POST' });
      const params = { query: payload.query };
      const viewer = extra.viewer === undefined ? {} : { viewer: extra.viewer };
      const enveloped: Enveloped = graphql.getEnveloped({ request, params, waitUntil: () => undefined, ...viewer });
      const { parse, validate, contextFactory, schema } = enveloped;
      const document = parse(payload.query);
      const errors = validate(schema, document);
      if (errors.length > 0) return errors;
      const args = {
        ...{ schema, document, contextValue: await contextFactory() },
        ...{ operationName: payload.operationName, variableValues: payload.variables },
      };
      this.#enveloped.set(args, enveloped);
      return args;
    } catch (error) {
      return [this.#maskError(error)];
    }
  }

  #envelopedOf(args: object): Enveloped {
    const enveloped = this.#enveloped.get(args);
    if (enveloped === undefined) throw new Error('an operation that was not prepared');
    return enveloped;
  }
}

async function closeSocket(socket: WebSocket): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      socket.terminate();
    }, CLOSE_WITHIN_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close(GOING_AWAY, 'going away');
  });
}
