import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { Credentials } from './auth/credentials.ts';
import type { Config } from './config/config.ts';
import { OmittedNotices } from './delivery/circuit/notices.ts';
import { EgressAgents } from './delivery/http/agents.ts';
import { Cancellations } from './delivery/queue/cancel.ts';
import { watchQueues } from './delivery/queue/metrics.ts';
import { DeliveryStream } from './delivery/queue/stream.ts';
import { Sweeper } from './delivery/queue/sweeper.ts';
import { guardRedeliveries } from './delivery/sending/redelivery.ts';
import { Sender } from './delivery/sending/sender.ts';
import { AttemptFeed } from './delivery-log/feed.ts';
import { storedFilterWhere } from './delivery-log/filter.ts';
import { LiveLog } from './delivery-log/live.ts';
import { AttemptCounter } from './delivery-log/stats-counter.ts';
import type { Report } from './embedded/report.ts';
import { SchemaThread } from './events/catalogue/schema-thread.ts';
import { Dispatcher } from './events/dispatcher.ts';
import { createPublishEvent } from './events/publish.ts';
import { type Infrastructure, provisionInfrastructure } from './infrastructure.ts';
import { atMost } from './lib/loop.ts';
import { VERSION } from './lib/version.ts';
import { NatsClient } from './nats/connection.ts';
import { watchNats } from './nats/metrics.ts';
import { createMessageSeal, natsNames } from './nats/names.ts';
import { createDatabase, type Database } from './postgres/client.ts';
import { ClockWatch } from './postgres/clock.ts';
import type { DatabaseUrls } from './postgres/connection.ts';
import { ChangeListener } from './postgres/listener.ts';
import { watchPools } from './postgres/pool.ts';
import { ReplayJob } from './replays/job.ts';
import { ReplayFeed } from './replays/progress.ts';
import { RetentionJob } from './retention/job.ts';
import type { ServerInfo } from './schema/server.ts';
import { createReadiness, NEED_NATS, type Readiness, readinessChecks } from './server/health.ts';
import { HttpServer } from './server/http.ts';
import { startUp, type Worker } from './start-up.ts';
import { SubscriptionCache } from './subscriptions/cache.ts';
import { createSecretBox, type SecretBox } from './subscriptions/secrets.ts';

export type App = {
  /** Where HTTP and WebSocket listen. */
  readonly url: string;
  /** For publishing events. */
  readonly natsServers: readonly string[];
  readonly adminApiKey: string;
  /**
   * Resolves when the database is migrated, every role runs, and NATS is connected if a role needs it. Rejects with a StartError if that
   * cannot be without somebody changing something, and with an abort error if the app is stopped before.
   */
  readonly ready: Promise<void>;
  /** Takes no more work, finishes or hands back what is in flight within 25 s, and stops everything. May be called twice. */
  stop(): Promise<void>;
};

type AppOptions = {
  readonly log: Logger;
  /** Shows a person what takes so long. */
  readonly report: Report;
  /** Aborts when the process is asked to stop: no further step of the start begins, and what it has made is undone. */
  readonly signal?: AbortSignal;
};

const NEVER = new AbortController().signal;

/** The rest of the 25 s is for closing the connections: 1.8 s for NATS, 1.2 s for Postgres. */
const WORK_STOPS_WITHIN_MS = 21_000;

/** A statement of the start that is under way when the app is stopped, such as a migration. */
const START_ENDS_WITHIN_MS = 5_000;

type OnStop = (stop: () => Promise<void>) => void;

/** The composition root: builds every part and passes it to the parts that need it. Resolves when HTTP answers. */
export async function startApp(config: Config, { log, report, signal = NEVER }: AppOptions): Promise<App> {
  const stops: (() => Promise<void>)[] = [];
  const onStop: OnStop = (stop) => stops.push(stop);
  try {
    const infrastructure = await provisionInfrastructure(config, { log, report, signal, onStop });
    signal.throwIfAborted();
    const services = createServices(config, { infrastructure, log, onStop });
    const { url, ready } = await startServers(config, { infrastructure, services, onStop });
    const { natsServers, adminApiKey } = infrastructure;
    let stopped: Promise<void> | undefined;
    return { url, natsServers, adminApiKey, ready, stop: () => (stopped ??= stopAll(stops, log)) };
  } catch (error) {
    await stopAll(stops, log);
    throw error;
  }
}

type ServiceDeps = { readonly infrastructure: Infrastructure; readonly log: Logger; readonly onStop: OnStop };

function createServices(config: Config, { infrastructure, log, onStop }: ServiceDeps): WorkerServices {
  const { databaseUrls, natsServers, secretsKey } = infrastructure;
  const secretBox = createSecretBox(secretsKey);
  const database = createDatabase({
    url: databaseUrls.url,
    behindPooler: databaseUrls.directUrl !== databaseUrls.url,
    poolSize: config.databasePoolSize,
    onError: (error) => {
      log.error({ err: error }, 'Postgres closed a connection');
    },
  });
  onStop(() => database.close());
  const { prefix, streams, login } = config.nats;
  const bus = new NatsClient({
    servers: natsServers,
    loginFiles: login,
    names: natsNames(prefix),
    streams,
    makesRoom: config.roles.has('dispatcher'),
    seal: createMessageSeal(secretsKey),
    log,
  });
  onStop(() => bus.stop());
  const now = () => database.clock.now();
  const deliveries = new DeliveryStream({ nats: bus, log, now });
  const feed = new AttemptFeed({ nats: bus, log });
  const metrics = createMetrics(database, bus);
  const schemaThread = new SchemaThread({ log, metrics });
  onStop(() => schemaThread.stop());
  return { databaseUrls, database, secretBox, bus, deliveries, feed, schemaThread, log, metrics };
}

/** Registered in every role: these gauges describe shared state, not this process. */
function createMetrics(database: Database, bus: NatsClient): Registry {
  const metrics = new Registry();
  watchPools(metrics, database);
  watchQueues(metrics, database);
  watchNats(metrics, bus);
  return metrics;
}

type StartDeps = {
  readonly infrastructure: Infrastructure;
  readonly services: WorkerServices;
  readonly onStop: OnStop;
};

/** Starts the HTTP server and the workers. They stop together, so that both have the whole time limit. */
async function startServers(
  config: Config,
  { infrastructure, services, onStop }: StartDeps,
): Promise<Pick<App, 'url' | 'ready'>> {
  const stopping = new AbortController();
  let starting: Promise<unknown> = Promise.resolve();
  let startProblems: readonly string[] = [];
  const { adminApiKey } = infrastructure;
  const server = createHttpServer(config, services, { adminApiKey, startProblems: () => startProblems });
  const workers = createWorkers(config, services);
  onStop(async () => {
    stopping.abort();
    // Work that waits longer for a server that hangs is as safe as after a kill: it is redelivered.
    const stops = [atMost(START_ENDS_WITHIN_MS, starting), server.stop(), ...workers.map((worker) => worker.stop())];
    await atMost(WORK_STOPS_WITHIN_MS, Promise.all(stops));
  });
  const url = await server.start();
  const natsReady = NEED_NATS.some((role) => config.roles.has(role)) ? whenReady(services.bus) : undefined;
  services.bus.start();
  const retentionDays = config.retention.days;
  const onWait = (what: string) => {
    startProblems = [`still starting: waiting for ${what}`];
  };
  const startOptions = { workers, retentionDays, natsReady, onWait, signal: stopping.signal };
  const ready = startUp(services, startOptions).then(() => {
    startProblems = [];
  });
  // Avoids an unhandled rejection when no caller awaits `ready`.
  starting = ready.catch(() => undefined);
  return { url, ready };
}

/** Resolves when NATS is connected for the first time. To be called before the start of the client. */
function whenReady(bus: NatsClient): Promise<void> {
  return new Promise((resolve) => {
    bus.listen({ onReady: resolve });
  });
}

type HttpDeps = {
  readonly adminApiKey: string;
  /** For GET /health/ready: the conditions that the start of this process still waits for. */
  readonly startProblems: () => readonly string[];
  /** Idle time after which a connection is closed, in milliseconds. */
  readonly idleTimeoutMs?: number;
};

/** The HTTP server of every role, with GraphQL for the role `api`. */
export function createHttpServer(
  config: HttpConfig,
  services: WorkerServices,
  { adminApiKey, startProblems, idleTimeoutMs }: HttpDeps,
): HttpServer {
  const { databaseUrls, database, secretBox, bus, deliveries, feed, schemaThread, log, metrics } = services;
  const checkReadiness = createReadiness(config.roles, readinessChecks({ database, bus, deliveries, startProblems }));
  const createApi = () => {
    const databaseUrl = databaseUrls.directUrl;
    const credentials = new Credentials({ adminApiKey, jwt: config.jwt, database, databaseUrl, log });
    return {
      credentials,
      services: {
        database,
        secretBox,
        egressPolicy: config.egress,
        bus,
        deliveries,
        schemaThread,
        log,
        apiKeyRevoked: credentials.revoked,
        maxSubscriptionsPerTenant: config.maxSubscriptionsPerTenant,
        liveLog: new LiveLog({ feed, database, log }),
        publishEvent: createPublishEvent({ database, deliveries, schemaThread, log, metrics }),
        replayFeed: new ReplayFeed(database, log),
        server: describeServer(config, checkReadiness),
      },
    };
  };
  return new HttpServer({
    config,
    api: config.roles.has('api') ? createApi() : undefined,
    checkReadiness,
    metricsKeys: [adminApiKey, ...(config.metricsToken === undefined ? [] : [config.metricsToken])],
    log,
    metrics,
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
  });
}

/** The answer to the query `server`. */
function describeServer(
  { retention, retryScheduleMs, api }: Pick<Config, 'retention' | 'retryScheduleMs' | 'api'>,
  checkReadiness: () => Promise<Readiness>,
): ServerInfo {
  return {
    version: VERSION,
    retentionDays: retention.days,
    retryScheduleMs,
    operationsPerSecond: api.rateLimit,
    checkHealth: async () => {
      const { ready, answer } = await checkReadiness();
      const parts = Object.entries(answer).flatMap(([name, part]) =>
        typeof part === 'string' ? [] : [{ name, ...part }],
      );
      return { isReady: ready, parts };
    },
  };
}

type HttpConfig = Pick<
  Config,
  | 'host'
  | 'port'
  | 'isConsoleEnabled'
  | 'publicUrl'
  | 'egress'
  | 'roles'
  | 'jwt'
  | 'api'
  | 'metricsToken'
  | 'maxSubscriptionsPerTenant'
  | 'retention'
  | 'retryScheduleMs'
>;

/** Stops in reverse order; a step that fails does not keep the others from running. */
async function stopAll(stops: (() => Promise<void>)[], log: Logger): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    await stop().catch((error: unknown) => {
      log.error({ err: error }, 'a part did not stop cleanly');
    });
  }
}

type WorkerServices = {
  readonly databaseUrls: DatabaseUrls;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly bus: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptFeed;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  /** The program's own: each part registers what it counts. */
  readonly metrics: Registry;
};

/** The background workers of this process's roles. */
function createWorkers(config: Config, services: WorkerServices): Worker[] {
  const { database, bus, deliveries, schemaThread, log, metrics } = services;
  return [
    new ClockWatch({ database, log, metrics }),
    ...(config.roles.has('dispatcher')
      ? [new Dispatcher({ database, bus, deliveries, schemaThread, log, metrics })]
      : []),
    ...(config.roles.has('sender') ? createSenderWorkers(config, services) : []),
  ];
}

function createSenderWorkers(
  { egress, retryScheduleMs, retention, logAttempts }: Config,
  services: WorkerServices,
): Worker[] {
  const { databaseUrls, database, secretBox, bus, deliveries, feed, log, metrics } = services;
  const databaseUrl = databaseUrls.directUrl;
  const subscriptions = new SubscriptionCache(database, secretBox);
  const cancellations = new Cancellations();
  const agents = new EgressAgents(egress);
  const userAgent = `webhooks-engine/${VERSION}`;
  const sender = new Sender({
    database,
    bus,
    deliveries,
    feed,
    redeliveryGuard: guardRedeliveries(bus, () => database.clock.now()),
    log,
    metrics,
    agents,
    subscriptions,
    cancellations,
    retryScheduleMs,
    userAgent,
    logAttempts,
  });
  const changes = new ChangeListener({
    url: databaseUrl,
    log,
    onNotice: {
      webhook_subscription_changed: (id) => {
        subscriptions.forget(id);
      },
      delivery_cancelled: (id) => {
        cancellations.add(id);
      },
    },
    onGap: () => {
      subscriptions.forgetAll();
    },
  });
  const senderWithAgents: Worker = {
    start: () => {
      sender.start();
    },
    stop: async () => {
      await sender.stop();
      agents.close();
    },
  };
  const { days: retentionDays, maxPerSubscription } = retention;
  const retentionJob = new RetentionJob({ databaseUrl, log, retentionDays, maxPerSubscription });
  const replayJob = new ReplayJob({ database, log, whereOf: storedFilterWhere });
  const counter = new AttemptCounter({ database, log });
  return [
    changes,
    replayJob,
    new OmittedNotices({ database, deliveries, log }),
    new Sweeper({ database, deliveries, log, metrics, waitingToBegin: () => sender.waiting }),
    senderWithAgents,
    retentionJob,
    counter,
  ];
}
