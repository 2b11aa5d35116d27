import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type {
  DocumentNode,
  ExecutionArgs,
  ExecutionResult,
  FormattedExecutionResult,
  GraphQLError,
  GraphQLSchema,
} from 'graphql';
import type { Context as ConnectionContext, SubscribePayload } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { createGraphQLError } from 'graphql-yoga';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Credentials } from '../auth/credentials.ts';
import {
  type CpuShares,
  createConcurrencyQuota,
  quotaKeyOf,
  rateLimitedError,
  type TakeOperation,
  waitBeforeOperation,
} from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import { type InFlight, whenAborted } from '../lib/loop.ts';
import type { Graphql } from './graphql.ts';
import { boundMessage } from './plugins/answers.ts';
import { tooManyOperations } from './plugins/concurrency.ts';
import { credentialEnded } from './plugins/credentials.ts';
import { createMaskError } from './plugins/mask-error.ts';

type LiveSocketsOptions = {
  readonly graphql: Graphql;
  readonly credentials: Pick<Credentials, 'authenticate' | 'watch'>;
  readonly takeOperation: TakeOperation;
  readonly cpuShares: CpuShares;
  /** An operation continues when its socket has been closed. */
  readonly operations: InFlight;
  readonly log: Logger;
  readonly metrics: Registry;
};

const MAX_OPERATIONS_PER_SOCKET = 50;
/** Only operations and their variables come in; the library's default is 100 MiB. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** Characters of an operation's id; libraries send numbers and UUIDs. */
const MAX_ID_LENGTH = 128;
const LONG_ID = { code: 4400, reason: `the id of an operation may have at most ${MAX_ID_LENGTH} characters` };
const CLOSE_WITHIN_MS = 2_000;
const GOING_AWAY = { code: 1001, reason: 'going away' };
/** The protocol's own: a client may come again, with other credentials. */
const FORBIDDEN = { code: 4403, reason: 'Forbidden: these credentials have expired or been revoked' };
const TRY_AGAIN_LATER = { code: 1013, reason: 'try again later' };

/** `ended` aborts with the credential. */
type Session = { readonly viewer: Viewer; readonly ended: AbortSignal };
type Extra = { session?: Session };
type Connection = ConnectionContext<Record<string, unknown> | undefined, Extra & SocketExtra>;
type SocketExtra = { readonly socket: WebSocket; readonly request: IncomingMessage };

/** What Yoga makes for one operation; it leaves the types of these functions open. */
type Enveloped = {
  readonly schema: GraphQLSchema;
  readonly parse: (query: string) => DocumentNode;
  readonly validate: (schema: GraphQLSchema, document: DocumentNode) => readonly GraphQLError[];
  readonly contextFactory: () => unknown;
  readonly execute: (args: ExecutionArgs) => ExecutionResult | Promise<ExecutionResult>;
  readonly subscribe: (args: ExecutionArgs) => Promise<AsyncGenerator<ExecutionResult> | ExecutionResult>;
};

/** The functions that belong to an operation, in which Yoga's plugins are (masking among them), and its socket. */
type Operation = {
  readonly enveloped: Enveloped;
  readonly ending: AbortController;
  readonly running: RunningOperations;
};

/** GraphQL over WebSocket (the protocol graphql-transport-ws), through the same pipeline as over HTTP. */
export class LiveSockets {
  readonly #options: LiveSocketsOptions;
  readonly #server = new WebSocketServer({
    ...{ noServer: true, maxPayload: MAX_MESSAGE_BYTES, closeTimeout: CLOSE_WITHIN_MS },
  });
  readonly #limits = createSocketLimits();
  readonly #maskError: (error: unknown) => GraphQLError;
  readonly #operations = new WeakMap<object, Operation>();

  constructor(options: LiveSocketsOptions) {
    this.#options = options;
    this.#maskError = createMaskError(options.log);
    const { operations } = options;
    watchSockets(options.metrics, this.#server);
    useServer<Record<string, unknown> | undefined, Extra>(
      {
        // Otherwise a client reads the messages of our faults when it is closed with 4500.
        isProd: true,
        onConnect: (connection) => operations.track(this.#connect(connection)),
        onSubscribe: (connection, id, payload) => operations.track(this.#admit(connection, id, payload)),
        execute: (args) => operations.track(this.#execute(args)),
        // Yoga answers some operations at once, without a promise.
        subscribe: (args) => operations.track(Promise.resolve(this.#operationOf(args).enveloped.subscribe(args))),
        onNext: (...[{ extra }, , , , result]) => {
          this.#limits.boundUnread(extra.socket);
          return bounded(result);
        },
        onError: (...[, , , errors]) => bounded({ errors }).errors,
      },
      this.#server,
    );
    this.#server.on('connection', (socket) => {
      this.#limits.watch(socket);
      // graphql-ws prints these to the console; ws has closed the socket already.
      socket.removeAllListeners('error');
      socket.on('error', (error) => {
        options.log.debug({ err: error }, 'a WebSocket client broke the protocol');
      });
    });
  }

  /** To be called for each upgrade request. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#server.clients.size >= MAX_SOCKETS || this.#limits.isCrowded()) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      this.#server.emit('connection', webSocket, request);
    });
  }

  /** Closes every socket with 1001, and cuts those that do not answer within 2 s. */
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
      // Thrown on, it would be a reason for clients never to come again.
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
    // It may have gone while its credentials were looked up.
    if (socket.readyState === socket.CLOSED) end();
    else socket.once('close', end);
    return signal;
  }

  async #admit(connection: Connection, id: string, payload: SubscribePayload) {
    const { session, socket } = connection.extra;
    if (id.length > MAX_ID_LENGTH) {
      // Every answer would repeat it.
      void closeSocket(socket, LONG_ID);
      return [createGraphQLError(LONG_ID.reason)];
    }
    // A socket that is being closed still receives what its client sends.
    if (session === undefined || session.ended.aborted) return [credentialEnded()];
    if (socket.readyState !== socket.OPEN) return [createGraphQLError(GOING_AWAY.reason)];
    const running = this.#limits.runningOver(socket);
    // What a client completes early is forgotten by the library, but goes on running.
    if (Math.max(Object.keys(connection.subscriptions).length, running.size + 1) > MAX_OPERATIONS_PER_SOCKET) {
      const message = `at most ${MAX_OPERATIONS_PER_SOCKET} operations can run over one WebSocket`;
      return [tooManyOperations(message)];
    }
    const ending = new AbortController();
    // Until it is executed, and is here once more: many may come at once.
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
    // Mutations are only run for a POST.
    const request = new graphql.fetchAPI.Request('http://localhost/graphql', {
      ...{ method: 'POST', signal: operation.ending.signal },
    });
    const params = { query: payload.query };
    const over = { viewer, isOverSocket: true } as const;
    const enveloped: Enveloped = graphql.getEnveloped({ request, params, waitUntil: () => undefined, ...over });
    const { parse, validate, contextFactory, schema } = enveloped;
    const document = parse(payload.query);
    const errors = validate(schema, document);
    if (errors.length > 0) return errors.map(withoutHttp);
    const args = {
      ...{ schema, document, contextValue: await contextFactory() },
      ...{ operationName: payload.operationName, variableValues: payload.variables },
    };
    this.#operations.set(args, { enveloped, ...operation });
    return args;
  }

  /** What is thrown would close the socket, and all that runs over it. */
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
    if (operation === undefined) throw new Error('an operation that was not prepared');
    return operation;
  }
}

/** Yoga notes the HTTP status in the errors of validation, which it keeps for the next time. */
function withoutHttp({ message, extensions, nodes = [] }: GraphQLError): GraphQLError {
  return createGraphQLError(message, { extensions: { ...extensions, http: undefined }, nodes });
}

function watchSockets(metrics: Registry, { clients }: WebSocketServer): void {
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_websockets_open' },
    help: 'WebSockets that are open, those whose credentials are not known yet among them',
    collect() {
      this.set(clients.size);
    },
  });
}

/** As it is written: errors become JSON by themselves. */
function bounded<Result extends Parameters<typeof boundMessage>[0]>(result: Result) {
  // `as`: the library's type has optional members that may not be undefined, as those of a GraphQLError may.
  return boundMessage(result) as Result & FormattedExecutionResult;
}

type Goodbye = { readonly code: number; readonly reason: string };

/** Cuts a socket that does not answer within 2 s. */
async function closeSocket(socket: WebSocket, { code, reason }: Goodbye): Promise<void> {
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

const MAX_SOCKETS = 4_000;
/** One tenant's pages must not keep the others' out. */
const MAX_SOCKETS_PER_HOLDER = MAX_SOCKETS / 4;
/** They have 3 s to say whose they are. */
const MAX_SOCKETS_WITHOUT_VIEWER = MAX_SOCKETS / 4;
/** Limits of the bytes that were sent and that clients have not read. */
type UnreadLimits = {
  /** Of one socket, of all sockets of a tenant, and of all sockets: a socket that exceeds one of the first two is closed. */
  readonly perSocket: number;
  readonly perHolder: number;
  /** Beyond it, the socket with the most unread bytes is closed. */
  readonly total: number;
};
const MEBIBYTE = 1024 * 1024;
const UNREAD: UnreadLimits = { perSocket: 16 * MEBIBYTE, perHolder: 64 * MEBIBYTE, total: 256 * MEBIBYTE };
/** Close codes of our own; clients may come again. */
const SLOW_READER = 4900;
const TOO_MANY_SOCKETS = 4901;

/** What runs over one socket: queries and mutations, also those whose client does not want to know any more. */
type RunningOperations = Set<AbortController>;

/** Counts sockets, and what they do. */
type SocketLimits = {
  /** Whether one more would be too many, as long as nobody knows whose it is. */
  isCrowded(): boolean;
  /** For each new socket. */
  watch(socket: WebSocket): void;
  /** After each message in either direction: closes a socket whose client does not read. */
  boundUnread(socket: WebSocket): void;
  /** Whether the viewer may have this socket as well; otherwise it is being closed. */
  admit(socket: WebSocket, viewer: Viewer): boolean;
  /** Are aborted when it is closed. */
  runningOver(socket: WebSocket): RunningOperations;
};

export function createSocketLimits(unread: UnreadLimits = UNREAD): SocketLimits {
  const running = new WeakMap<WebSocket, RunningOperations>();
  const all = new Set<WebSocket>();
  const withoutViewer = new Set<WebSocket>();
  const holders = new WeakMap<WebSocket, Set<WebSocket>>();
  const ofHolder = new Map<string, Set<WebSocket>>();
  /** With less, all sockets together are within half of the limit, and need not be counted for each message. */
  const negligible = unread.total / 2 / MAX_SOCKETS;
  const boundUnread = (socket: WebSocket) => {
    const own = socket.bufferedAmount;
    if (own <= negligible) return;
    if (own > unread.perSocket || sumOfUnread(holders.get(socket) ?? []) > unread.perHolder) cutReader(socket);
    if (sumOfUnread(all) > unread.total)
      cutReader([...all].reduce((most, one) => (unreadOf(one) > unreadOf(most) ? one : most)));
  };
  const hold = (socket: WebSocket, holder: string) => {
    const sockets = ofHolder.get(holder) ?? new Set();
    ofHolder.set(holder, sockets.add(socket));
    holders.set(socket, sockets);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) ofHolder.delete(holder);
    });
  };
  const admitted = createConcurrencyQuota({ max: MAX_SOCKETS, maxPerTenant: MAX_SOCKETS_PER_HOLDER });
  return {
    isCrowded: () => withoutViewer.size >= MAX_SOCKETS_WITHOUT_VIEWER,
    watch: (socket) => {
      const operations: RunningOperations = new Set();
      running.set(socket, operations);
      all.add(socket);
      withoutViewer.add(socket);
      socket.once('close', () => {
        all.delete(socket);
        withoutViewer.delete(socket);
        for (const operation of operations) operation.abort();
      });
      socket.on('message', () => {
        boundUnread(socket);
      });
    },
    boundUnread,
    admit: (socket, viewer) => {
      // It may have gone while its credentials were looked at.
      if (!withoutViewer.delete(socket)) return false;
      const release = admitted.take(viewer);
      if (release === undefined) {
        socket.close(TOO_MANY_SOCKETS, 'TOO_MANY_SOCKETS');
        return false;
      }
      socket.once('close', release);
      const holder = quotaKeyOf(viewer);
      if (holder !== undefined) hold(socket, holder);
      return true;
    },
    runningOver: (socket) => {
      const operations = running.get(socket);
      if (operations === undefined) throw new Error('a socket that nobody watches');
      return operations;
    },
  };
}

/** Of an open socket: the bytes of one that is being closed are freed within seconds. */
function unreadOf(socket: WebSocket): number {
  return socket.readyState === socket.OPEN ? socket.bufferedAmount : 0;
}

function sumOfUnread(sockets: Iterable<WebSocket>): number {
  let sum = 0;
  for (const socket of sockets) sum += unreadOf(socket);
  return sum;
}

function cutReader(socket: WebSocket): void {
  socket.close(SLOW_READER, 'SLOW_READER');
}
