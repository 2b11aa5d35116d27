import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { ChangeListener } from './database/change-listener.ts';
import { createDatabase, type Database } from './database/client.ts';
import { migrate } from './database/migrate.ts';
import { EgressAgents } from './delivery/egress-agents.ts';
import { createSecretBox, type SecretBox } from './delivery/secret-box.ts';
import { Sender } from './delivery/sender.ts';
import { SubscriptionCache } from './delivery/subscription-cache.ts';
import { Sweeper } from './delivery/sweeper.ts';
import type { Report } from './embedded/report.ts';
import { Dispatcher } from './events/dispatcher.ts';
import { EventBus } from './events/event-bus.ts';
import { HttpServer } from './server/http-server.ts';
import { prepareSurroundings } from './surroundings.ts';
import { VERSION } from './version.ts';

export type App = {
  /** Where HTTP and WebSocket listen. */
  readonly url: string;
  /** For publishing events. */
  readonly natsServers: readonly string[];
  readonly adminApiKey: string;
  /** Resolves when the database is migrated, NATS is connected and every role runs; never, if the app is stopped before. */
  readonly ready: Promise<void>;
  /** Takes no more work, finishes or hands back what is in flight within 25 s, and stops everything. May be called twice. */
  stop(): Promise<void>;
};

export type AppOptions = {
  readonly log: Logger;
  /** Shows a person what takes so long. */
  readonly report: Report;
};

const MIGRATIONS = fileURLToPath(new URL('../prisma/migrations', import.meta.url));
const RETRY_MS = 1_000;

/** The composition root: everything is made here and handed to what needs it. Resolves when HTTP answers. */
export async function startApp(config: Config, { log, report }: AppOptions): Promise<App> {
  const stops: (() => Promise<void>)[] = [];
  const onStop = (stop: () => Promise<void>) => stops.push(stop);
  try {
    const surroundings = await prepareSurroundings(config, { log, report, onStop });
    const { databaseUrl, natsServers, adminApiKey } = surroundings;
    const database = createDatabase({
      url: databaseUrl,
      onError: (error) => {
        log.error({ err: error }, 'Postgres closed a connection');
      },
    });
    onStop(() => database.close());
    const secretBox = createSecretBox(surroundings.secretsKey);
    const bus = new EventBus({ servers: natsServers, log, receivesLog: config.roles.has('api') });
    bus.start();
    onStop(() => bus.stop());
    const server = new HttpServer({ config, adminApiKey, database, bus, secretBox, log });
    const url = await server.start();
    const starting = new AbortController();
    const workers = createWorkers(config, { databaseUrl, database, secretBox, bus, log });
    onStop(async () => {
      starting.abort();
      await Promise.all([server.stop(), ...workers.map((worker) => worker.stop())]);
    });
    const ready = startWorkers(workers, { databaseUrl, bus, log, signal: starting.signal });
    let stopped: Promise<void> | undefined;
    return { url, natsServers, adminApiKey, ready, stop: () => (stopped ??= stopAll(stops, log)) };
  } catch (error) {
    await stopAll(stops, log);
    throw error;
  }
}

type Worker = { start(): void; stop(): Promise<void> };

type WorkerServices = {
  readonly databaseUrl: string;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly bus: EventBus;
  readonly log: Logger;
};

/** What the roles of this process run besides HTTP. */
function createWorkers({ roles, egress, retryScheduleMs }: Config, services: WorkerServices): Worker[] {
  const { databaseUrl, database, secretBox, bus, log } = services;
  const workers: Worker[] = [];
  if (roles.has('dispatcher')) workers.push(new Dispatcher({ database, bus, log }));
  if (roles.has('sender')) {
    const subscriptions = new SubscriptionCache(database, secretBox);
    const agents = new EgressAgents(egress);
    const sender = new Sender({
      ...{ database, bus, log, agents, subscriptions, retryScheduleMs },
      userAgent: `webhooks-engine/${VERSION}`,
    });
    const changes = new ChangeListener({
      url: databaseUrl,
      log,
      onChange: (id) => {
        subscriptions.forget(id);
      },
      onGap: () => {
        subscriptions.forgetAll();
      },
    });
    workers.push(changes, new Sweeper({ database, bus, log }), {
      start: () => {
        sender.start();
      },
      stop: async () => {
        await sender.stop();
        agents.close();
      },
    });
  }
  return workers;
}

type Start = Pick<WorkerServices, 'databaseUrl' | 'bus' | 'log'> & { readonly signal: AbortSignal };

/** Waits for Postgres and NATS for as long as it takes. */
async function startWorkers(workers: readonly Worker[], { databaseUrl, bus, log, signal }: Start): Promise<void> {
  let migrated = false;
  for (let failures = 0; !migrated && !signal.aborted; failures += 1) {
    try {
      const applied = await migrate(databaseUrl, MIGRATIONS);
      if (applied.length > 0) log.info({ migrations: applied }, 'database migrated');
      migrated = true;
    } catch (error) {
      if (failures % 30 === 0) log.error({ err: error }, 'the database cannot be migrated; trying again every second');
      await pause(signal);
    }
  }
  if (!signal.aborted) for (const worker of workers) worker.start();
  while (!bus.connected && !signal.aborted) await pause(signal);
  // Whoever awaits readiness of an app that was stopped learns nothing more.
  if (signal.aborted) await new Promise(() => undefined);
  log.info('ready');
}

async function pause(signal: AbortSignal): Promise<void> {
  await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
}

/** Undoes in reverse, each step whatever became of the others. */
async function stopAll(stops: (() => Promise<void>)[], log: Logger): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    await stop().catch((error: unknown) => {
      log.error({ err: error }, 'a part did not stop cleanly');
    });
  }
}
