import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import process from 'node:process';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { Credentials } from '../auth/credentials.ts';
import { createCpuShares, createRateLimit } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import type { Config } from '../config/config.ts';
import type { DeliveryStream } from '../delivery/queue/stream.ts';
import type { AttemptFeed } from '../delivery-log/feed.ts';
import { LiveLog } from '../delivery-log/live.ts';
import type { SchemaThread } from '../events/catalogue/schema-thread.ts';
import { createPublishEvent } from '../events/publish.ts';
import { atMost, InFlight } from '../lib/loop.ts';
import { StartError } from '../lib/start-error.ts';
import { VERSION } from '../lib/version.ts';
import type { NatsClient } from '../nats/connection.ts';
import type { Database } from '../postgres/client.ts';
import { ReplayFeed } from '../replays/progress.ts';
import type { SecretBox } from '../subscriptions/secrets.ts';
import { createGraphql, type Graphql } from './graphql.ts';
import { createReadiness, readinessChecks } from './health.ts';
import { createMetricsPage, type MetricsPage } from './metrics.ts';
import { createOperationMetrics } from './plugins/metrics.ts';
import { LiveSockets } from './websockets.ts';

type HttpServerOptions = {
  readonly config: Pick<
    Config,
    'host' | 'port' | 'egress' | 'roles' | 'jwt' | 'api' | 'metricsToken' | 'maxSubscriptionsPerTenant'
  >;
  readonly adminApiKey: string;
  readonly databaseUrl: string;
  readonly database: Database;
  readonly bus: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptFeed;
  readonly schemaThread: SchemaThread;
  readonly secretBox: SecretBox;
  readonly log: Logger;
  readonly metrics: Registry;
  /** For GET /health/ready: what the start of this process still waits for. */
  readonly startProblems: () => readonly string[];
  /** A connection over which nothing can be written or read for this long is cut. */
  readonly unreadMs?: number;
};

const STOP_WITHIN_MS = 10_000;
const UNREAD_MS = 120_000;
/** When a process starts, all clients of live streams may come back at once; Node's 511 makes others wait seconds more. */
const BACKLOG = 4_096;

/**
 * Answers over HTTP and WebSocket: health and metrics for every role, GraphQL for the role `api`. After `stop` it is over: what
 * runs is finished within 10 s, live streams end at once.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #stopping = new AbortController();
  readonly #server: Server;
  readonly #count: ReturnType<typeof createHttpCount>;
  readonly #metricsPage: MetricsPage;
  readonly #frontPage: FrontPage;
  readonly #checkReadiness: ReturnType<typeof createReadiness>;
  readonly #credentials: Credentials | undefined;
  readonly #graphql: Graphql | undefined;
  readonly #sockets: LiveSockets | undefined;
  /** Operations continue when their clients have disconnected, over HTTP and over WebSocket. */
  readonly #operations = new InFlight();
  readonly #feeds: { stop(): Promise<void> }[] = [];
  #started: Promise<string> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    const { config, adminApiKey, database, databaseUrl, bus, deliveries, feed, schemaThread, secretBox, log, metrics } =
      options;
    this.#options = options;
    this.#count = createHttpCount(metrics);
    this.#metricsPage = createMetricsPage({ metrics, keys: [adminApiKey, config.metricsToken].filter(isSet) });
    this.#frontPage = createFrontPage({ isApi: config.roles.has('api'), hasGraphiql: config.api.introspection });
    this.#checkReadiness = createReadiness(config.roles, readinessChecks(options));
    // Each live stream listens to it.
    setMaxListeners(0, this.#stopping.signal);
    if (config.roles.has('api')) {
      const credentials = new Credentials({ adminApiKey, jwt: config.jwt, database, databaseUrl, log });
      const services = {
        ...{
          database,
          secretBox,
          egressPolicy: config.egress,
          bus,
          deliveries,
          schemaThread,
          log,
          apiKeyRevoked: credentials.revoked,
        },
        maxSubscriptionsPerTenant: config.maxSubscriptionsPerTenant,
        liveLog: new LiveLog({ feed, database, log }),
        publishEvent: createPublishEvent({ database, deliveries, schemaThread, log, metrics }),
        replayFeed: new ReplayFeed(database, log),
      };
      this.#credentials = credentials;
      this.#feeds.push(services.liveLog, services.replayFeed);
      const operationMetrics = createOperationMetrics(metrics);
      const shared = {
        credentials: {
          authenticate: operationMetrics.countAuthentications(credentials.authenticate),
          watch: (viewer: Viewer) => credentials.watch(viewer),
        },
        takeOperation: operationMetrics.countOperations(createRateLimit(config.api.rateLimit)),
        cpuShares: createCpuShares(),
        operations: this.#operations,
        log,
      };
      const graphqlOptions = { services, settings: config.api, stopping: this.#stopping.signal, operationMetrics };
      this.#graphql = createGraphql({ ...shared, ...graphqlOptions });
      this.#sockets = new LiveSockets({ ...shared, metrics, graphql: this.#graphql });
    }
    // A request has to be all there within half a minute; answers (live streams) may take for ever.
    const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 30_000, maxHeaderSize: 16_384 };
    this.#server = createServer(limits, (request, response) => {
      void this.#operations.track(this.#answer(request, response));
    });
    this.#server.maxHeadersCount = 100;
    // A client that takes nothing of its answer holds it in memory. Streams over SSE have a ping every 12 s.
    this.#server.timeout = options.unreadMs ?? UNREAD_MS;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgrade(request, { socket, head });
    });
  }

  /** Resolves with the URL it listens on; rejects if it cannot. */
  start(): Promise<string> {
    this.#started ??= this.#listen();
    return this.#started;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #listen(): Promise<string> {
    const { host, port } = this.#options.config;
    await new Promise<void>((resolve, reject) => {
      const onError = (error: Error) => {
        reject(new StartError(`cannot listen on ${host}, port ${port}: ${explainListenError(error)}`));
      };
      this.#server.once('error', onError);
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.off('error', onError);
        resolve();
      });
    });
    this.#credentials?.start();
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the server does not listen on TCP');
    return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    const timer = setTimeout(() => {
      this.#server.closeAllConnections();
    }, STOP_WITHIN_MS);
    const answered = this.#operations.settled();
    await this.#sockets?.stop();
    await closed;
    clearTimeout(timer);
    // Operations in progress use the parts that are closed next.
    await atMost(STOP_WITHIN_MS, Promise.all([answered, ...this.#feeds.map((feed) => feed.stop())]));
    await this.#credentials?.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.once('close', () => {
      // What was kept alive for a next request would hold up the end.
      if (this.#stopping.signal.aborted)
        setImmediate(() => {
          this.#server.closeIdleConnections();
        });
    });
    const path = pathOf(request);
    this.#count(response, path);
    keepTimeout(response, this.#server.timeout);
    try {
      if (!hasValidHost(request)) sendJson(response, 400, { errors: [{ message: 'the Host header is not valid' }] });
      else if (path === '/health/live') sendJson(response, 200, { ok: true, version: VERSION });
      else if (path === '/health/ready' || path === '/health') {
        const { ready, answer } = await this.#checkReadiness();
        sendJson(response, ready ? 200 : 503, answer);
      } else if (path === '/metrics') await this.#metricsPage(request, response);
      else if (path === '/graphql' && this.#graphql !== undefined)
        await this.#graphql(normalize(request, path), response);
      else if (path === '/') this.#frontPage(request, response);
      else sendJson(response, 404, { errors: [{ message: 'there is nothing here' }] });
    } catch (error) {
      this.#options.log.error({ err: error, path }, 'an HTTP request failed');
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { errors: [{ message: 'something went wrong on our side' }] });
    }
  }

  #upgrade(request: IncomingMessage, { socket, head }: { readonly socket: Duplex; readonly head: Buffer }): void {
    socket.on('error', () => socket.destroy());
    if (this.#sockets === undefined || pathOf(request) !== '/graphql' || this.#stopping.signal.aborted) {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    this.#sockets.upgrade(request, socket, head);
  }
}

function explainListenError(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return 'another program uses it; stop that one, or set PORT to another port';
  if (code === 'EACCES') return 'this user may not use that port; set PORT to one above 1023';
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return 'HOST is no address of this machine; 127.0.0.1 is for its own programs alone, 0.0.0.0 for all that reach it';
  }
  return error.message;
}

function isSet(key: string | undefined): key is string {
  return key !== undefined;
}

/** Without the query, and without a slash at its end. */
function pathOf(request: IncomingMessage): string {
  const [path = ''] = originForm(request).split('?', 1);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** A server has to understand the absolute form as well (RFC 9112, 3.2.2); proxies send it. */
function originForm({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?]*/i, '');
}

/** HTTP/1.0 needs no Host, and 1.1 may leave it empty (RFC 9112, 3.2). Yoga makes a URL of it, before anything can be caught. */
function hasValidHost({ headers: { host = '' } }: IncomingMessage): boolean {
  return host === '' || URL.canParse(`http://${host}`);
}

/** As Yoga reads it: it compares the path exactly, and needs a host. */
function normalize(request: IncomingMessage, path: string): IncomingMessage {
  const target = originForm(request);
  const query = target.indexOf('?');
  request.url = query === -1 ? path : `${path}${target.slice(query)}`;
  request.headers.host ||= 'localhost';
  return request;
}

/** Yoga's adapter removes the timeout of a connection right after it has written the head of a stream. */
function keepTimeout(response: ServerResponse, ms: number): void {
  const writeHead = response.writeHead.bind(response);
  const writeTimedHead: typeof writeHead = (...head: unknown[]) => {
    process.nextTick(() => response.req.socket.setTimeout(ms));
    // `as`: the parameters of one of its signatures.
    return writeHead(...(head as Parameters<typeof writeHead>));
  };
  response.writeHead = writeTimedHead;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}

const PATHS: ReadonlySet<string> = new Set(['/graphql', '/metrics', '/health', '/health/live', '/health/ready']);

/** To be called with each response and the path that was asked for; counts it when it has ended. */
function createHttpCount(metrics: Registry): (response: ServerResponse, path: string) => void {
  const requests = new Counter({
    ...{ registers: [metrics], name: 'webhooks_http_requests_total', labelNames: ['path', 'code'] },
    help: 'HTTP requests, by the class of the status code; none: the client was gone before it was answered',
  });
  return (response, path) => {
    response.once('close', () => {
      const code = response.headersSent ? `${Math.floor(response.statusCode / 100)}xx` : 'none';
      requests.inc({ path: PATHS.has(path) ? path : 'other', code });
    });
  };
}

type FrontPage = (request: IncomingMessage, response: ServerResponse) => void;

const GRAPHQL_LINES = [
  'POST /graphql      GraphQL, with the header "Authorization: Bearer <API key>"; live over WebSocket and SSE',
];
const OTHER_LINES = [
  'GET /health/live   whether the process runs',
  'GET /health/ready  whether it can do its work',
  'GET /metrics       Prometheus metrics, with the admin key or METRICS_TOKEN',
];
const DOCS = 'README.md and the folder docs of the source';

/** `GET /`: browsers are redirected to GraphiQL where there is one; otherwise a text says what this process answers. */
function createFrontPage({ isApi, hasGraphiql }: { isApi: boolean; hasGraphiql: boolean }): FrontPage {
  const title = `webhooks-engine ${VERSION}${isApi ? '' : ' (this process has no role api, so there is no /graphql)'}`;
  const lines = [title, '', ...(isApi ? GRAPHQL_LINES : []), ...OTHER_LINES, '', `Documentation: ${DOCS}`];
  const text = `${lines.join('\n')}\n`;
  return ({ method = '', headers }, response) => {
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (isApi && hasGraphiql && headers.accept?.includes('text/html') === true) {
      // Relative: a proxy may have put a path in front.
      response.writeHead(302, { location: 'graphql', 'cache-control': 'no-store' }).end();
    } else {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }).end(text);
    }
  };
}
