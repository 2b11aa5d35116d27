import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Credentials } from './auth/credentials.ts';
import type { Config } from './config/config.ts';
import type { EgressPolicy } from './delivery/http/egress-policy.ts';
import { ChangeFeeds } from './delivery-log/changes/change-feeds.ts';
import { FairReads } from './delivery-log/fair-reads.ts';
import { LiveLog } from './delivery-log/live-log.ts';
import type { Report } from './embedded/report.ts';
import { createPublishEvents } from './events/publish.ts';
import { type Infrastructure, provisionInfrastructure } from './infrastructure.ts';
import { createJobs, type JobLimits } from './jobs.ts';
import { VERSION } from './lib/version.ts';
import { waitAtMost } from './lib/waiting.ts';
import { REPORT_MS, RollCall } from './nats/roll-call.ts';
import { ReplayFeed } from './replays/progress.ts';
import type { ServerInfo } from './schema/server.ts';
import {
  createReadiness,
  healthOf,
  NEED_NATS,
  problemsOf,
  type ReadinessCheck,
  readinessChecks,
} from './server/health.ts';
import { HealthFeed } from './server/health-feed.ts';
import { HttpServer } from './server/http.ts';
import { findProcesses, type ProcessReport, parseReport, reportProcess } from './server/processes.ts';
import { createServices, type OnStop, type Services, type Stop } from './services.ts';
import { type Job, StartUp } from './start-up.ts';
import { type RunningTracing, startTracing } from './tracing/start.ts';
import { divideWork } from './workers/divide-work.ts';
import { WorkerPool } from './workers/pool.ts';

export type App = {
  /** The URL on which HTTP and WebSocket listen. */
  readonly url: string;
  /** The URLs of NATS, to which publishers connect. */
  readonly natsServers: readonly string[];
  readonly adminApiKey: string;
  /**
   * Resolves when the database is migrated, all roles run, and NATS is connected if a role needs it. Rejects with a
   * StartError if a change by the operator is needed first, and with an abort error if the app is stopped before.
   */
  readonly ready: Promise<void>;
  /**
   * Accepts no new work, finishes the work in flight or returns it to its queue, and stops all parts, within 25 s. May be
   * called twice.
   */
  stop(): Promise<void>;
};

type AppOptions = {
  readonly log: Logger;
  /** Called with the name of a slow step of the start. */
  readonly report: Report;
  /** Aborts when the process must stop: the start then begins no further step, and stops the parts that it has started. */
  readonly signal?: AbortSignal;
  /** Called with complete log lines of the worker processes. */
  readonly writeLog?: (lines: string) => void;
  readonly limits?: JobLimits;
};

const NEVER = new AbortController().signal;
const ignore = () => undefined;

/** Maximum duration of a stop, in milliseconds. */
const STOPS_WITHIN_MS = 25_000;
/**
 * Maximum duration of the stop of jobs and HTTP, in milliseconds. The rest is for closing the connections: 1.8 s for NATS,
 * 1.2 s for Postgres; and for the last spans, which get what is left.
 */
const WORK_STOPS_WITHIN_MS = 21_500;

/** The composition root: builds all parts and passes them to the parts that need them. Resolves when HTTP listens. */
export async function startApp(
  config: Config,
  { log, report, signal = NEVER, writeLog = ignore, limits }: AppOptions,
): Promise<App> {
  const stops: Stop[] = [];
  const onStop: OnStop = (stop) => stops.push(stop);
  try {
    const tracing = await startTracing(config.tracing, log);
    if (tracing !== undefined) onStop((leftMs) => tracing.stop(leftMs));
    const infrastructure = await provisionInfrastructure(config, { log, report, signal, onStop });
    signal.throwIfAborted();
    const services = createServices(divideWork(config).main, { infrastructure, log, onStop, isWorker: false, tracing });
    const { url, ready } = await startServers(config, { infrastructure, services, onStop, writeLog, limits });
    const { natsServers, adminApiKeys } = infrastructure;
    const [adminApiKey] = adminApiKeys;
    let stopped: Promise<void> | undefined;
    return { url, natsServers, adminApiKey, ready, stop: () => (stopped ??= stopAll(stops, log)) };
  } catch (error) {
    await stopAll(stops, log);
    throw error;
  }
}

type StartDeps = {
  readonly infrastructure: Infrastructure;
  readonly services: Services;
  readonly onStop: OnStop;
  readonly writeLog: (lines: string) => void;
  readonly limits: JobLimits | undefined;
};

/**
 * Starts the HTTP server and the jobs, or the worker processes that run them. They stop at the same time, so that each has
 * the whole time limit.
 */
async function startServers(
  config: Config,
  { infrastructure, services, onStop, writeLog, limits }: StartDeps,
): Promise<Pick<App, 'url' | 'ready'>> {
  const { log } = services;
  const { adminApiKeys } = infrastructure;
  const { main, workers } = divideWork(config);
  const pool = workers && new WorkerPool({ ...workers, infrastructure, log, writeLines: writeLog });
  const jobs = [...createJobs(main, services, limits), ...(pool === undefined ? [] : [pool])];
  const startUp = createStartUp(config, services, jobs);
  const checks = readinessChecks({ ...services, startProblems: () => startUp.problems, workers: pool });
  const rollCall = createRollCall(config, services, { checks, shownRoles: main.roles });
  onStop(() => rollCall.stop());
  const server = createHttpServer(config, services, { adminApiKeys, checks, rollCall, pool });
  onStop(async () => {
    // Work that a stalled server delays beyond the limit is redelivered, as after a kill.
    await waitAtMost(WORK_STOPS_WITHIN_MS, Promise.all([startUp.stop(), server.stop()]));
  });
  const url = await server.start();
  const ready = startUp.begin();
  return { url, ready };
}

function createStartUp({ roles, retention }: Config, services: Services, jobs: readonly Job[]): StartUp {
  const needsNats = NEED_NATS.some((role) => roles.has(role));
  return new StartUp(services, { jobs, retentionDays: retention.days, needsNats });
}

type RollCallDeps = {
  readonly checks: readonly ReadinessCheck[];
  /** Number of the worker process. */
  readonly worker?: number;
  /** The roles that the process runs itself, without those of its workers. */
  readonly shownRoles: Config['roles'];
};

/** Every process needs one: it answers the requests of other processes. Call this before the NATS client is started. */
export function createRollCall(
  { roles }: Pick<Config, 'roles'>,
  { nats, log, metrics }: Pick<Services, 'nats' | 'log' | 'metrics'>,
  { checks, worker, shownRoles }: RollCallDeps,
): RollCall<ProcessReport> {
  const checkReadiness = createReadiness(roles, checks, REPORT_MS);
  const report = () => reportProcess({ roles: shownRoles, worker, metrics, checkReadiness });
  return new RollCall({ nats, log, report, parse: parseReport });
}

/** A worker process: the jobs of its roles, without HTTP. */
export type WorkerApp = Pick<App, 'ready' | 'stop'> & {
  readonly metrics: Registry;
  /** Current problems, one sentence each. */
  readonly findProblems: () => Promise<readonly string[]>;
};

type WorkerAppOptions = {
  /** Number of the worker process. */
  readonly number: number;
  readonly infrastructure: Infrastructure;
  readonly log: Logger;
  readonly tracing: RunningTracing | undefined;
};

/** Starts the jobs of a worker process, which uses the same servers as the main process. */
export function startWorkerApp(config: Config, { number, infrastructure, log, tracing }: WorkerAppOptions): WorkerApp {
  const stops: Stop[] = [];
  const onStop: OnStop = (stop) => stops.push(stop);
  if (tracing !== undefined) onStop((leftMs) => tracing.stop(leftMs));
  const services = createServices(config, { infrastructure, log, onStop, isWorker: true, tracing });
  const startUp = createStartUp(config, services, createJobs(config, services));
  const checks = readinessChecks({ ...services, startProblems: () => startUp.problems });
  const checkReadiness = createReadiness(config.roles, checks);
  const rollCall = createRollCall(config, services, { checks, worker: number, shownRoles: config.roles });
  onStop(() => rollCall.stop());
  onStop(() => waitAtMost(WORK_STOPS_WITHIN_MS, startUp.stop()));
  let stopped: Promise<void> | undefined;
  return {
    ready: startUp.begin(),
    metrics: services.metrics,
    findProblems: async () => problemsOf(await checkReadiness()),
    stop: () => (stopped ??= stopAll(stops, log)),
  };
}

type HttpDeps = {
  readonly adminApiKeys: readonly string[];
  /** The worker processes, whose metrics this process includes in its own. */
  readonly pool?: WorkerPool | undefined;
  /** For GET /health/ready. */
  readonly checks: readonly ReadinessCheck[];
  readonly rollCall: RollCall<ProcessReport>;
  /** Idle time after which a connection is closed, in milliseconds. */
  readonly idleTimeoutMs?: number;
  /** Maximum attempts that the server buffers for each reader of the live log. */
  readonly maxBuffered?: number | undefined;
};

/** The HTTP server of every role, with GraphQL for the role `api`. */
export function createHttpServer(
  config: HttpConfig,
  services: Services,
  { adminApiKeys, checks, rollCall, pool, idleTimeoutMs, maxBuffered }: HttpDeps,
): HttpServer {
  const { database, notifications, secretBox, nats, deliveries, feed, schemaThread, log, metrics, tracing } = services;
  const checkReadiness = createReadiness(config.roles, checks);
  const createApi = () => {
    const reads = new FairReads();
    const credentials = new Credentials({ adminApiKeys, jwt: config.jwt, database, notifications, log });
    const checkHealth = async () => healthOf(await checkReadiness());
    const healthFeed = new HealthFeed(checkHealth);
    return {
      credentials,
      healthFeed,
      services: {
        database,
        secretBox,
        egressPolicy: config.egress,
        nats,
        deliveries,
        schemaThread,
        log,
        apiKeyRevoked: credentials.revoked,
        maxSubscriptionsPerTenant: config.maxSubscriptionsPerTenant,
        liveLog: new LiveLog({ feed, database, reads, log, maxBuffered }),
        changes: new ChangeFeeds({ database, reads, log }),
        publishEvents: createPublishEvents({ database, deliveries, schemaThread, log, metrics, tracing }),
        replayFeed: new ReplayFeed(database, log),
        server: {
          ...describeServer(config),
          checkHealth,
          watchHealth: (stopping: AbortSignal) => healthFeed.watch(stopping),
          findProcesses: () => findProcesses({ rollCall, now: () => database.clock.now() }),
        },
      },
    };
  };
  return new HttpServer({
    config,
    api: config.roles.has('api') ? createApi() : undefined,
    checkReadiness,
    metricsKeys: [...adminApiKeys, ...(config.metricsToken === undefined ? [] : [config.metricsToken])],
    log,
    metrics,
    isTracing: tracing !== undefined,
    ...(pool !== undefined && { workerMetrics: () => pool.metrics() }),
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
  });
}

/** Facts for the GraphQL query `server`. */
function describeServer({
  retention,
  retryScheduleMs,
  api,
  publicUrl,
}: HttpConfig): Omit<ServerInfo, 'checkHealth' | 'watchHealth' | 'findProcesses'> {
  return {
    version: VERSION,
    retentionDays: retention.days,
    retryScheduleMs,
    operationsPerSecond: api.rateLimit,
    publicUrl,
  };
}

type HttpConfig = Pick<
  Config,
  | 'host'
  | 'port'
  | 'isConsoleEnabled'
  | 'publicUrl'
  | 'portalOrigins'
  | 'roles'
  | 'jwt'
  | 'api'
  | 'metricsToken'
  | 'maxSubscriptionsPerTenant'
  | 'retention'
  | 'retryScheduleMs'
> & { readonly egress: EgressPolicy };

/** Stops the parts in reverse order of their start. If one fails, the others are stopped nevertheless. */
async function stopAll(stops: Stop[], log: Logger): Promise<void> {
  const until = performance.now() + STOPS_WITHIN_MS;
  for (const stop of stops.splice(0).reverse()) {
    await stop(Math.max(0, until - performance.now())).catch((error: unknown) => {
      log.error({ err: error }, 'stopping a part of the process failed');
    });
  }
}
