import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import type { Config } from './config/config.ts';
import { registerQueueMetrics } from './delivery/queue/metrics.ts';
import { DeliveryStream } from './delivery/queue/stream.ts';
import { AttemptFeed } from './delivery-log/attempt-feed.ts';
import { SchemaThread } from './events/catalogue/schema-thread.ts';
import type { Infrastructure } from './infrastructure.ts';
import type { Tracing } from './lib/tracing.ts';
import { NatsClient } from './nats/connection.ts';
import { registerConnectionMetrics, registerStreamMetrics } from './nats/metrics.ts';
import { createMessageSeal, natsNames } from './nats/names.ts';
import { createDatabase, type Database } from './postgres/client.ts';
import type { DatabaseUrls } from './postgres/connection.ts';
import { NotificationListener } from './postgres/listener.ts';
import { registerPoolMetrics } from './postgres/pool.ts';
import { createSecretBox, type SecretBox } from './subscriptions/secrets.ts';

/** The parts that the roles of a process share. */
export type Services = {
  readonly databaseUrls: DatabaseUrls;
  readonly database: Database;
  readonly notifications: NotificationListener;
  readonly secretBox: SecretBox;
  readonly nats: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptFeed;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  /** The metrics of this process, which its parts register. */
  readonly metrics: Registry;
  /** Undefined if tracing is off. */
  readonly tracing?: Tracing | undefined;
};

export type OnStop = (stop: Stop) => void;

/** Stops a part. `leftMs`: milliseconds until the process must have stopped. */
export type Stop = (leftMs: number) => Promise<void>;

type ServiceDeps = {
  readonly infrastructure: Infrastructure;
  readonly log: Logger;
  readonly onStop: OnStop;
  /** Whether this is a worker process, which registers no gauges of queues and streams. */
  readonly isWorker: boolean;
  readonly tracing: Tracing | undefined;
};

/** Creates the services without opening connections. Passes the functions that stop them to `onStop` in order of creation. */
export function createServices(
  config: Config,
  { infrastructure, log, onStop, isWorker, tracing }: ServiceDeps,
): Services {
  const { databaseUrls, natsServers, secretsKeys } = infrastructure;
  const secretBox = createSecretBox(...secretsKeys);
  const database = createDatabase({
    url: databaseUrls.url,
    behindPooler: databaseUrls.directUrl !== databaseUrls.url,
    poolSize: config.databasePoolSize,
    onError: (error) => {
      log.error({ err: error }, 'Postgres closed a connection');
    },
  });
  onStop(() => database.close());
  const notifications = new NotificationListener({ url: databaseUrls.directUrl, log });
  const { prefix, streams, login } = config.nats;
  const nats = new NatsClient({
    servers: natsServers,
    loginFiles: login,
    names: natsNames(prefix),
    streams,
    deletesDispatchedEvents: config.roles.has('dispatcher'),
    seal: createMessageSeal(...secretsKeys),
    log,
  });
  onStop(() => nats.stop());
  const now = () => database.clock.now();
  const deliveries = new DeliveryStream({ nats, log, now });
  const feed = new AttemptFeed({ nats, log });
  const metrics = createMetrics({ database, nats, isWorker });
  const schemaThread = new SchemaThread({ log, metrics });
  onStop(() => schemaThread.stop());
  return {
    databaseUrls,
    database,
    notifications,
    secretBox,
    nats,
    deliveries,
    feed,
    schemaThread,
    log,
    metrics,
    tracing,
  };
}

type MetricsDeps = Pick<Services, 'database' | 'nats'> & Pick<ServiceDeps, 'isWorker'>;

/** The gauges of queues and streams describe shared state: only the main process registers them, whatever its roles are. */
function createMetrics({ database, nats, isWorker }: MetricsDeps): Registry {
  const metrics = new Registry();
  registerPoolMetrics(metrics, database);
  registerConnectionMetrics(metrics, nats);
  if (isWorker) return metrics;
  registerQueueMetrics(metrics, database);
  registerStreamMetrics(metrics, nats);
  return metrics;
}
