import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { Config } from './config/config.ts';
import { createDatabase, type Database } from './postgres/client.ts';
import { watchPools } from './postgres/pool-gauges.ts';
import { watchQueues } from './delivery/queue/queue-gauges.ts';
import { createSecretBox } from './subscriptions/secret-box.ts';
import type { Report } from './embedded/report.ts';
import { EventBus } from './nats/event-bus.ts';
import { createMessageSeal } from './nats/message-seal.ts';
import { watchNats } from './nats/nats-gauges.ts';
import { natsNames } from './nats/nats-names.ts';
import { SchemaThread } from './events/catalogue/schema-thread.ts';
import { atMost } from './lib/pause.ts';
import { NEED_NATS } from './server/health.ts';
import { HttpServer } from './server/http-server.ts';
import { startUp } from './start-up.ts';
import { prepareSurroundings, type Surroundings } from './infrastructure.ts';
import { createWorkers, type WorkerServices } from './workers.ts';

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

export type AppOptions = {
  readonly log: Logger;
  /** Shows a person what takes so long. */
  readonly report: Report;
  /** Aborts when the process is asked to stop: no further step of the start begins, and what it has made is undone. */
  readonly signal?: AbortSignal;
};

const NEVER = new AbortController().signal;

/** What is left of the 25 s is for closing the connections: 1.8 s for NATS, 1.2 s for Postgres. */
const WORK_STOPS_WITHIN_MS = 21_000;

/** A statement of the start that is under way when the app is stopped, such as a migration. */
const START_ENDS_WITHIN_MS = 5_000;

type OnStop = (stop: () => Promise<void>) => void;

/** The composition root: everything is made here and handed to what needs it. Resolves when HTTP answers. */
export async function startApp(config: Config, { log, report, signal = NEVER }: AppOptions): Promise<App> {
  const stops: (() => Promise<void>)[] = [];
  const onStop: OnStop = (stop) => stops.push(stop);
  try {
    const surroundings = await prepareSurroundings(config, { log, report, signal, onStop });
    signal.throwIfAborted();
    const services = createServices(config, { surroundings, log, onStop });
    const { url, ready } = await startParts(config, { surroundings, services, onStop });
    const { natsServers, adminApiKey } = surroundings;
    let stopped: Promise<void> | undefined;
    return { url, natsServers, adminApiKey, ready, stop: () => (stopped ??= stopAll(stops, log)) };
  } catch (error) {
    await stopAll(stops, log);
    throw error;
  }
}

type Ingredients = { readonly surroundings: Surroundings; readonly log: Logger; readonly onStop: OnStop };

function createServices(config: Config, { surroundings, log, onStop }: Ingredients): WorkerServices {
  const { databaseUrls, natsServers, secretsKey } = surroundings;
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
  const bus = new EventBus({
    servers: natsServers,
    loginFiles: login,
    names: natsNames(prefix),
    streams,
    makesRoom: config.roles.has('dispatcher'),
    seal: createMessageSeal(secretsKey),
    log,
    now: () => database.clock.now(),
  });
  onStop(() => bus.stop());
  const metrics = createMetrics(database, bus);
  const schemaThread = new SchemaThread({ log, metrics });
  onStop(() => schemaThread.stop());
  return { databaseUrls, database, secretBox, bus, schemaThread, log, metrics };
}

/** For every role: what they show is of Postgres and NATS, which outlive each of the processes. */
function createMetrics(database: Database, bus: EventBus): Registry {
  const metrics = new Registry();
  watchPools(metrics, database);
  watchQueues(metrics, database);
  watchNats(metrics, bus);
  return metrics;
}

type Parts = { readonly surroundings: Surroundings; readonly services: WorkerServices; readonly onStop: OnStop };

/** What serves and what works stops together, so that both have the whole time there is. */
async function startParts(
  config: Config,
  { surroundings, services, onStop }: Parts,
): Promise<Pick<App, 'url' | 'ready'>> {
  const stopping = new AbortController();
  let starting: Promise<unknown> = Promise.resolve();
  let startProblems: readonly string[] = [];
  const { adminApiKey } = surroundings;
  const { directUrl: databaseUrl } = services.databaseUrls;
  const server = new HttpServer({
    ...{ config, adminApiKey, ...services, databaseUrl },
    startProblems: () => startProblems,
  });
  const workers = createWorkers(config, services);
  onStop(async () => {
    stopping.abort();
    // Whatever waits longer than that for a server that hangs is as safe as it is when we are killed.
    const stops = [atMost(START_ENDS_WITHIN_MS, starting), server.stop(), ...workers.map((worker) => worker.stop())];
    await atMost(WORK_STOPS_WITHIN_MS, Promise.all(stops));
  });
  const url = await server.start();
  services.bus.start();
  const retentionDays = config.retention.days;
  const onWait = (what: string) => {
    startProblems = [`still starting: waiting for ${what}`];
  };
  const needsNats = NEED_NATS.some((role) => config.roles.has(role));
  const startOptions = { workers, retentionDays, needsNats, onWait, signal: stopping.signal };
  const ready = startUp(services, startOptions).then(() => {
    startProblems = [];
  });
  // Its rejection is for callers that wait for it; nobody has to.
  starting = ready.catch(() => undefined);
  return { url, ready };
}

/** Undoes in reverse, each step whatever became of the others. */
async function stopAll(stops: (() => Promise<void>)[], log: Logger): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    await stop().catch((error: unknown) => {
      log.error({ err: error }, 'a part did not stop cleanly');
    });
  }
}
