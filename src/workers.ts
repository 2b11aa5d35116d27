import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Config } from './config/config.ts';
import { AttemptCounter } from './delivery-log/attempt-counter.ts';
import { ChangeListener } from './postgres/listener.ts';
import type { Database } from './postgres/client.ts';
import { ClockWatch } from './postgres/clock.ts';
import { RetentionJob } from './retention/job.ts';
import type { DatabaseUrls } from './postgres/session.ts';
import { Cancellations } from './delivery/queue/cancellations.ts';
import { EgressAgents } from './delivery/http/egress-agents.ts';
import { ReplayJob } from './replays/replay-job.ts';
import type { SecretBox } from './subscriptions/secret-box.ts';
import { Sender } from './delivery/sending/sender.ts';
import { SubscriptionCache } from './subscriptions/subscription-cache.ts';
import { Sweeper } from './delivery/queue/sweeper.ts';
import { Dispatcher } from './events/dispatcher.ts';
import type { EventBus } from './nats/event-bus.ts';
import type { SchemaThread } from './events/catalogue/schema-thread.ts';
import { storedFilterWhere } from './delivery-log/replay-filter.ts';
import { VERSION } from './lib/version.ts';

/** Started once; may be stopped twice, or without having been started. */
export type Worker = { start(): void; stop(): Promise<void> };

export type WorkerServices = {
  readonly databaseUrls: DatabaseUrls;
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly bus: EventBus;
  readonly schemaThread: SchemaThread;
  readonly log: Logger;
  /** The program's own: each part registers what it counts. */
  readonly metrics: Registry;
};

/** What the roles of this process run besides HTTP. */
export function createWorkers(config: Config, services: WorkerServices): Worker[] {
  const { database, bus, schemaThread, log, metrics } = services;
  return [
    new ClockWatch({ database, log, metrics }),
    ...(config.roles.has('dispatcher') ? [new Dispatcher({ database, bus, schemaThread, log, metrics })] : []),
    ...(config.roles.has('sender') ? createSenderWorkers(config, services) : []),
  ];
}

function createSenderWorkers(
  { egress, retryScheduleMs, retention, logAttempts }: Config,
  services: WorkerServices,
): Worker[] {
  const { databaseUrls, database, secretBox, bus, log, metrics } = services;
  const databaseUrl = databaseUrls.directUrl;
  const subscriptions = new SubscriptionCache(database, secretBox);
  const cancellations = new Cancellations();
  const agents = new EgressAgents(egress);
  const userAgent = `webhooks-engine/${VERSION}`;
  const sender = new Sender({
    ...{ database, bus, log, metrics, agents, subscriptions, cancellations, retryScheduleMs, userAgent, logAttempts },
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
    new Sweeper({ database, bus, log, metrics, waitingToBegin: () => sender.waiting }),
    senderWithAgents,
    retentionJob,
    counter,
  ];
}
