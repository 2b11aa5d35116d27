import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import process from 'node:process';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { Credentials } from '../auth/credentials.ts';
import type { Config } from '../config/config.ts';
import { InFlight } from '../lib/in-flight.ts';
import { StartError } from '../lib/start-error.ts';
import { VERSION } from '../lib/version.ts';
import { waitAtMost } from '../lib/waiting.ts';
import type { SchemaServices } from '../schema/context.ts';
import { type ConsolePages, createConsolePages } from './console.ts';
import type { Readiness } from './health.ts';
import type { HealthFeed } from './health-feed.ts';
import { createMetricsPage, type MetricsPage, type MetricValues } from './metrics.ts';
import { onceOver } from './once-over.ts';
import { answerSink } from './sink.ts';
import type { Transports } from './transports.ts';
import { ONLY_WEBSOCKETS, refuseUpgrade } from './upgrade.ts';

type HttpServerOptions = {
  readonly config: Pick<Config, 'host' | 'port' | 'roles' | 'api' | 'isConsoleEnabled' | 'publicUrl' | 'portalOrigins'>;
  /** Undefined in a process without the role `api`, which answers no GraphQL. */
  readonly api: ApiParts | undefined;
  readonly checkReadiness: () => Promise<Readiness>;
  /** The keys, each of which grants access to GET /metrics. */
  readonly metricsKeys: readonly string[];
  readonly log: Logger;
  readonly metrics: Registry;
  /** Whether the header `traceparent` of requests is used. */
  readonly isTracing: boolean;
  /** Reads the metric values of the worker processes. */
  readonly workerMetrics?: (() => Promise<readonly MetricValues[]>) | undefined;
  /** Idle time after which a connection is closed, in milliseconds. */
  readonly idleTimeoutMs?: number;
};

/**
 * The parts behind GraphQL. The server starts the credentials, and stops these parts after the last operation that uses
 * them.
 */
type ApiParts = {
  readonly credentials: Credentials;
  readonly healthFeed: HealthFeed;
  readonly services: SchemaServices;
};

const STOP_WITHIN_MS = 10_000;
const IDLE_TIMEOUT_MS = 120_000;
/**
 * Maximum pending connections of the listening socket. After a restart all live-stream clients reconnect at once; with
 * Node.js's default of 511 some of them would wait for seconds.
 */
const BACKLOG = 4_096;

/**
 * Answers over HTTP and WebSocket: health and metrics for every role, GraphQL for the role `api`. `stop` ends live
 * streams at once and gives running operations 10 s; a stopped server cannot be started again.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #stopping = new AbortController();
  readonly #server: Server;
  readonly #count: ReturnType<typeof createHttpCount>;
  readonly #metricsPage: MetricsPage;
  readonly #frontPage: FrontPage;
  readonly #consolePages: ConsolePages | undefined;
  /** Undefined in a process without the role `api`. */
  #transports: Transports | undefined;
  /** Operations continue when their clients have disconnected, over HTTP and over WebSocket. */
  readonly #operations = new InFlight();
  #started: Promise<string> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: HttpServerOptions) {
    const { config, api, metrics } = options;
    this.#options = options;
    this.#count = createHttpCount(metrics);
    this.#metricsPage = createMetricsPage({ metrics, keys: options.metricsKeys, workerMetrics: options.workerMetrics });
    if (api !== undefined && config.isConsoleEnabled) {
      this.#consolePages = createConsolePages(config);
      if (this.#consolePages === undefined) options.log.warn('the console is not built: run "npm run build"');
    }
    this.#frontPage = createFrontPage({
      isApi: api !== undefined,
      hasConsole: this.#consolePages !== undefined,
      hasGraphiql: config.api.introspection,
    });
    // Each live stream adds a listener.
    setMaxListeners(0, this.#stopping.signal);
    // A request must arrive completely within 30 s; responses (live streams) have no time limit.
    const timeouts = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 30_000 };
    // By default Node.js looks for requests that are too slow every 30 s.
    const limits = { ...timeouts, connectionsCheckingInterval: 1_000, maxHeaderSize: 16_384 };
    this.#server = createServer({ ...limits, ...ONLY_WEBSOCKETS }, (request, response) => {
      void this.#operations.track(this.#answer(request, response));
    });
    this.#server.maxHeadersCount = 100;
    // Closes the connections of clients that do not read, whose responses occupy memory. Streams over SSE are not
    // affected: they send a ping every 12 s.
    this.#server.timeout = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgrade(request, { socket, head });
    });
  }

  /** Resolves with the URL; rejects with a StartError if the server cannot listen. */
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
    this.#transports = await this.#createTransports();
    this.#stopping.signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onError = (error: Error) => {
        reject(new StartError(`cannot listen on ${host}, port ${port}: ${explainListenError(error)}`));
      };
      this.#server.once('error', onError);
      // Without a host, Node.js listens on `::`, or on `0.0.0.0` if the kernel has no IPv6.
      this.#server.listen({ host: host === '::' ? undefined : host, port, backlog: BACKLOG }, () => {
        this.#server.off('error', onError);
        resolve();
      });
    });
    this.#options.api?.credentials.start();
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the server does not listen on TCP');
    return `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
  }

  /** Loads GraphQL only here: processes without the role `api` need some 30 MiB less. */
  async #createTransports(): Promise<Transports | undefined> {
    const { api, config, log, metrics, isTracing } = this.#options;
    if (api === undefined) return undefined;
    const { createTransports } = await import('./transports.ts');
    const lifetime = { operations: this.#operations, stopping: this.#stopping.signal };
    return createTransports({ ...api, ...lifetime, settings: config.api, log, metrics, isTracing });
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
    await this.#transports?.sockets.stop();
    await closed;
    clearTimeout(timer);
    // Running operations use the parts that are stopped next.
    const { api } = this.#options;
    const { liveLog, changes, replayFeed } = api?.services ?? {};
    const feeds = [liveLog, changes, replayFeed, api?.healthFeed];
    await waitAtMost(STOP_WITHIN_MS, Promise.all([answered, ...feeds.map((feed) => feed?.stop())]));
    await api?.credentials.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    onceOver(response, () => {
      // Yoga's adapter waits for this event, which a closed connection does not emit.
      response.emit('drain');
      // Idle keep-alive connections would delay the stop.
      if (this.#stopping.signal.aborted)
        setImmediate(() => {
          this.#server.closeIdleConnections();
        });
    });
    const path = pathOf(request);
    this.#count(response, path);
    keepTimeout(response, this.#server.timeout);
    try {
      await this.#route(request, response, path);
    } catch (error) {
      this.#options.log.error({ err: error, path }, 'HTTP request failed');
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { errors: [{ message: 'internal error' }] });
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    if (!hasValidHost(request)) sendJson(response, 400, { errors: [{ message: 'the Host header is not valid' }] });
    else if (path === '/health/live') sendJson(response, 200, { ok: true, version: VERSION });
    else if (path === '/health/ready' || path === '/health') {
      const { ready, body } = await this.#options.checkReadiness();
      sendJson(response, ready ? 200 : 503, body);
    } else if (path === '/metrics') await this.#metricsPage(request, response);
    else if (path === '/graphql' && this.#transports !== undefined)
      await this.#transports.graphql(normalize(request, path), response);
    else if (path === '/sink' && this.#transports !== undefined) answerSink(request, response);
    else if (path === '/') this.#frontPage(request, response);
    else if (isConsolePath(path) && this.#consolePages !== undefined) this.#consolePages(request, response, path);
    else sendJson(response, 404, { errors: [{ message: 'not found' }] });
  }

  #upgrade(request: IncomingMessage, { socket, head }: { readonly socket: Duplex; readonly head: Buffer }): void {
    socket.on('error', () => socket.destroy());
    // An earlier response that the client does not read would keep the connection open forever.
    if (socket.writableLength > 0) {
      socket.destroy();
      return;
    }
    if (this.#transports === undefined || pathOf(request) !== '/graphql' || this.#stopping.signal.aborted) {
      refuseUpgrade(socket, '404 Not Found');
      return;
    }
    this.#transports.sockets.upgrade(request, socket, head);
  }
}

function explainListenError(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') return 'another program uses this port; stop that program, or set PORT to another port';
  if (code === 'EACCES') return 'this user may not use this port; set PORT to one above 1023';
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return 'HOST is not an address of this machine; 127.0.0.1 accepts connections from this machine only, :: from all networks';
  }
  return error.message;
}

/** The path without the query and without a trailing slash. */
function pathOf(request: IncomingMessage): string {
  const [path = ''] = originForm(request).split('?', 1);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Servers must also accept the absolute form (RFC 9112, 3.2.2), which proxies send. */
function originForm({ url = '' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?]*/i, '');
}

/**
 * HTTP/1.0 needs no Host, and 1.1 allows an empty one (RFC 9112, 3.2). Yoga builds a URL from it and would throw
 * uncaught.
 */
function hasValidHost({ headers: { host = '' } }: IncomingMessage): boolean {
  return host === '' || URL.canParse(`http://${host}`);
}

/** Yoga compares the path exactly and requires a host. */
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
    // `as`: the parameters of one of the signatures of writeHead.
    return writeHead(...(head as Parameters<typeof writeHead>));
  };
  response.writeHead = writeTimedHead;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}

const PATHS: ReadonlySet<string> = new Set([
  ...['/graphql', '/metrics', '/sink'],
  ...['/health', '/health/live', '/health/ready'],
]);

function isConsolePath(path: string): boolean {
  return /^\/(?:console|portal)(?:\/|$)/.test(path);
}

/** Call with each response and its path; counts the response when it is closed. */
function createHttpCount(metrics: Registry): (response: ServerResponse, path: string) => void {
  const requests = new Counter({
    registers: [metrics],
    name: 'webhooks_http_requests_total',
    labelNames: ['path', 'code'],
    help: 'HTTP requests by class of status code; none: the client disconnected before the answer',
  });
  return (response, path) => {
    onceOver(response, () => {
      const code = response.headersSent ? `${Math.floor(response.statusCode / 100)}xx` : 'none';
      requests.inc({ path: PATHS.has(path) ? path : isConsolePath(path) ? '/console' : 'other', code });
    });
  };
}

type FrontPage = (request: IncomingMessage, response: ServerResponse) => void;

const GRAPHQL_LINES = [
  'POST /graphql      GraphQL, with the header "Authorization: Bearer <API key>"; live over WebSocket and SSE',
];
const CONSOLE_LINE = 'GET /console/      the console, for a browser';
const OTHER_LINES = [
  'GET /health/live   whether the process runs',
  'GET /health/ready  whether the process can do its work',
  'GET /metrics       Prometheus metrics, with the admin key or METRICS_TOKEN',
];
const DOCS = 'README.md and the folder docs of the source';

type FrontPageOptions = { readonly isApi: boolean; readonly hasConsole: boolean; readonly hasGraphiql: boolean };

/**
 * `GET /`: browsers are redirected to the console, or else to GraphiQL; without both, a text lists the paths of this
 * process.
 */
function createFrontPage({ isApi, hasConsole, hasGraphiql }: FrontPageOptions): FrontPage {
  const title = `webhooks-engine ${VERSION}${isApi ? '' : ' (this process has no role api, so there is no /graphql)'}`;
  const own = [...(hasConsole ? [CONSOLE_LINE] : []), ...(isApi ? GRAPHQL_LINES : [])];
  // Relative, because a proxy may add a path prefix.
  const location = hasConsole ? 'console/' : isApi && hasGraphiql ? 'graphql' : undefined;
  const lines = [title, '', ...own, ...OTHER_LINES, '', `Documentation: ${DOCS}`];
  const text = `${lines.join('\n')}\n`;
  return ({ method = '', headers }, response) => {
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
    } else if (location !== undefined && headers.accept?.includes('text/html') === true) {
      response.writeHead(302, { location, 'cache-control': 'no-store' }).end();
    } else {
      response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }).end(text);
    }
  };
}
