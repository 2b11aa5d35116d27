import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ExecutionArgs, ExecutionResult, FormattedExecutionResult, GraphQLError } from 'graphql';
import { type Context as ConnectionContext, handleProtocols, makeServer, type SubscribePayload } from 'graphql-ws';
import { createGraphQLError } from 'graphql-yoga';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Credentials } from '../auth/credentials.ts';
import { type CpuShares, type TakeOperation, waitBeforeOperation } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import type { InFlight } from '../lib/in-flight.ts';
import { whenAborted } from '../lib/waiting.ts';
import type { Enveloped, Graphql } from './graphql.ts';
import { tooManyOperations } from './plugins/concurrency.ts';
import { credentialEnded } from './plugins/credentials.ts';
import { createMaskError } from './plugins/mask-error.ts';
import { rateLimitedError } from './plugins/rate-limit.ts';
import { boundErrors, type ResponseLimits } from './plugins/response-limits.ts';
import { createSocketLimits, MAX_SOCKETS, type RunningOperations } from './socket-limits.ts';
import { serveSocket } from './socket-messages.ts';
import { refuseUpgrade } from './upgrade.ts';

type LiveSocketsOptions = {
  readonly graphql: Graphql;
  readonly credentials: Pick<Credentials, 'authenticate' | 'watch'>;
  readonly takeOperation: TakeOperation;
  readonly cpuShares: CpuShares;
  readonly responseLimits: Pick<ResponseLimits, 'boundMessage'>;
  /** Operations in flight; they continue when their socket is closed. */
  readonly operations: InFlight;
  readonly log: Logger;
  readonly metrics: Registry;
};

const MAX_OPERATIONS_PER_SOCKET = 50;
/** Maximum size of a client's message, which holds one operation and its variables. The library's default is 100 MiB. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** Maximum characters of an operation's id; libraries send numbers and UUIDs. */
const MAX_ID_LENGTH = 128;
const LONG_ID = { code: 4400, reason: `the id of an operation may have at most ${MAX_ID_LENGTH} characters` };
const CLOSE_WITHIN_MS = 2_000;
const GOING_AWAY = { code: 1001, reason: 'going away' };
/** A close code of the protocol: the client may reconnect with other credentials. */
const FORBIDDEN = { code: 4403, reason: 'Forbidden: these credentials have expired or been revoked' };
const TRY_AGAIN_LATER = { code: 1013, reason: 'try again later' };

/** `ended` aborts with the credential. */
type Session = { readonly viewer: Viewer; readonly ended: AbortSignal };
type Extra = { readonly socket: WebSocket; session?: Session };
type Connection = ConnectionContext<Record<string, unknown> | undefined, Extra>;

/** An operation of a socket: its functions, wrapped by Yoga's plugins, and the operations that run over the socket. */
type Operation = {
  readonly enveloped: Enveloped;
  readonly ending: AbortController;
  readonly running: RunningOperations;
};

// Not a literal argument: @types/ws lacks closeTimeout, which ws reads.
const SERVER_OPTIONS = {
  noServer: true,
  maxPayload: MAX_MESSAGE_BYTES,
  closeTimeout: CLOSE_WITHIN_MS,
  handleProtocols,
};

/** GraphQL over WebSocket (the protocol graphql-transport-ws), through the same pipeline as over HTTP. */
export class LiveSockets {
  readonly #options: LiveSocketsOptions;
  readonly #server = new WebSocketServer(SERVER_OPTIONS);
  readonly #limits = createSocketLimits();
  readonly #maskError: (error: unknown) => GraphQLError;
  readonly #operations = new WeakMap<object, Operation>();

  constructor(options: LiveSocketsOptions) {
    this.#options = options;
    this.#maskError = createMaskError(options.log);
    const { operations } = options;
    watchSockets(options.metrics, this.#server);
    const server = makeServer<Record<string, unknown> | undefined, Extra>({
      onConnect: (connection) => operations.track(this.#connect(connection)),
      onSubscribe: (connection, id, payload) => operations.track(this.#admit(connection, id, payload)),
      execute: (args) => operations.track(this.#execute(args)),
      // Yoga may answer synchronously.
      subscribe: (args) => operations.track(Promise.resolve(this.#operationOf(args).enveloped.subscribe(args))),
      onNext: (...[{ extra }, , , , result]) => {
        this.#limits.boundUnread(extra.socket);
        // `as`: the library's type has optional members that may not be undefined, as those of a GraphQLError may.
        return options.responseLimits.boundMessage(result, extra.session?.viewer) as FormattedExecutionResult;
      },
      // `as`: as above.
      onError: (...[, , , errors]) => (boundErrors({ errors }) as FormattedExecutionResult).errors,
    });
    this.#server.on('connection', (socket) => {
      this.#limits.watch(socket);
      const extra: Extra = { socket };
      const account = () => extra.session && options.cpuShares(extra.session.viewer);
      serveSocket(server, extra, { account, log: options.log });
    });
  }

  /** Call for each upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#server.clients.size >= MAX_SOCKETS || this.#limits.isCrowded()) {
      refuseUpgrade(socket, '503 Service Unavailable');
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      this.#server.emit('connection', webSocket, request);
    });
  }

  /** Closes every socket with 1001, and terminates those that do not answer within 2 s. */
  async stop(): Promise<void> {
    await Promise.all([...this.#server.clients].map((socket) => closeSocket(socket, GOING_AWAY)));
  }

  async #connect({ connectionParams, extra }: Connection): Promise<boolean> {
    const value = connectionParams?.['authorization'] ?? connectionParams?.['Authorization'];
    const viewer = await this.#authenticate(extra.socket, typeof value === 'string' ? value : undefined);
    if (viewer === undefined || !this.#limits.admit(extra.socket, viewer)) return false;
    extra.session = { viewer, ended: this.#endWithCredential(extra.socket, viewer) };
    return true;
  }

  async #authenticate(socket: WebSocket, authorization: string | undefined): Promise<Viewer | undefined> {
    try {
      return await this.#options.credentials.authenticate(authorization);
    } catch (error) {
      // A thrown error closes the socket with a code after which clients do not reconnect.
      this.#maskError(error);
      void closeSocket(socket, TRY_AGAIN_LATER);
      return undefined;
    }
  }

  #endWithCredential(socket: WebSocket, viewer: Viewer): AbortSignal {
    const { signal, release } = this.#options.credentials.watch(viewer);
    const forget = whenAborted(signal, () => void closeSocket(socket, FORBIDDEN));
    const end = () => {
      forget();
      release();
    };
    // The client may have disconnected during authentication.
    if (socket.readyState === socket.CLOSED) end();
    else socket.once('close', end);
    return signal;
  }

  async #admit(connection: Connection, id: string, payload: SubscribePayload) {
    const { session, socket } = connection.extra;
    if (id.length > MAX_ID_LENGTH) {
      // Every message about the operation would repeat the id.
      void closeSocket(socket, LONG_ID);
      return [createGraphQLError(LONG_ID.reason)];
    }
    if (session === undefined || session.ended.aborted) return [credentialEnded()];
    const running = this.#limits.runningOver(socket);
    // The library forgets operations that the client completes early, but they continue to run.
    if (Math.max(Object.keys(connection.subscriptions).length, running.size + 1) > MAX_OPERATIONS_PER_SOCKET) {
      const message = `at most ${MAX_OPERATIONS_PER_SOCKET} operations can run over one WebSocket`;
      return [tooManyOperations(message)];
    }
    const ending = new AbortController();
    // Count the operation while it is prepared, as many may arrive at once; `#execute` counts it again.
    running.add(ending);
    try {
      return await this.#prepare(session.viewer, payload, { ending, running });
    } catch (error) {
      return [this.#maskError(error)];
    } finally {
      running.delete(ending);
    }
  }

  async #prepare(viewer: Viewer, payload: SubscribePayload, operation: Omit<Operation, 'enveloped'>) {
    const waitMs = waitBeforeOperation(viewer, this.#options);
    if (waitMs > 0) return [rateLimitedError(waitMs)];
    const { graphql } = this.#options;
    // Yoga runs mutations only for POST.
    const request = new graphql.fetchAPI.Request('http://localhost/graphql', {
      method: 'POST',
      signal: operation.ending.signal,
    });
    const params = { query: payload.query };
    const over = { viewer, isOverSocket: true } as const;
    const enveloped: Enveloped = graphql.getEnveloped({ request, params, waitUntil: () => undefined, ...over });
    const { parse, validate, contextFactory, schema } = enveloped;
    const document = parse(payload.query);
    const errors = validate(schema, document);
    if (errors.length > 0) return errors.map(withoutHttp);
    const args = {
      schema,
      document,
      contextValue: await contextFactory(),
      operationName: payload.operationName,
      variableValues: payload.variables,
    };
    this.#operations.set(args, { enveloped, ...operation });
    return args;
  }

  /** Never rejects: a rejection would close the socket and with it all other operations. */
  async #execute(args: ExecutionArgs): Promise<ExecutionResult> {
    const { enveloped, ending, running } = this.#operationOf(args);
    running.add(ending);
    try {
      return await enveloped.execute(args);
    } catch (error) {
      return ending.signal.aborted ? {} : { errors: [this.#maskError(error)] };
    } finally {
      running.delete(ending);
    }
  }

  #operationOf(args: object): Operation {
    const operation = this.#operations.get(args);
    if (operation === undefined) throw new Error('operation was not prepared');
    return operation;
  }
}

/** Yoga adds the HTTP status to validation errors, which it caches; so the errors are copied. */
function withoutHttp({ message, extensions, nodes = [] }: GraphQLError): GraphQLError {
  return createGraphQLError(message, { extensions: { ...extensions, http: undefined }, nodes });
}

function watchSockets(metrics: Registry, { clients }: WebSocketServer): void {
  new Gauge({
    registers: [metrics],
    name: 'webhooks_websockets_open',
    help: 'Open WebSockets, including those that are not authenticated yet',
    collect() {
      this.set(clients.size);
    },
  });
}

type CloseReason = { readonly code: number; readonly reason: string };

/** Terminates the socket if it does not answer within 2 s. */
async function closeSocket(socket: WebSocket, { code, reason }: CloseReason): Promise<void> {
  if (socket.readyState === socket.CLOSED) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      socket.terminate();
    }, CLOSE_WITHIN_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close(code, reason);
  });
}
