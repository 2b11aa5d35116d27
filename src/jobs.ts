import { AlertJob } from './alerts/job.ts';
import type { Config } from './config/config.ts';
import { OmittedNotices } from './delivery/circuit/notices.ts';
import { EgressAgents } from './delivery/http/agents.ts';
import { Cancellations } from './delivery/queue/cancel.ts';
import { Sweeper } from './delivery/queue/sweeper.ts';
import { guardRedeliveries } from './delivery/sending/redelivery.ts';
import { Sender } from './delivery/sending/sender.ts';
import { SenderPeers } from './delivery/sending/sender-peers.ts';
import { AttemptCounter } from './delivery-log/attempt-counter.ts';
import { deliveryWhere } from './delivery-log/filter.ts';
import { parseStoredFilter, resolveFilter } from './delivery-log/filter-input.ts';
import { ErasureJob } from './erasure/job.ts';
import { Dispatcher } from './events/dispatcher.ts';
import { VERSION } from './lib/version.ts';
import { ClockWatch } from './postgres/clock.ts';
import { ReplayJob } from './replays/job.ts';
import { RetentionJob } from './retention/job.ts';
import type { Services } from './services.ts';
import type { Job } from './start-up.ts';
import { SubscriptionCache } from './subscriptions/cache.ts';

const USER_AGENT = `webhooks-engine/${VERSION}`;

/** Limits that a test lowers, to reach them with less work. */
export type JobLimits = {
  /** Maximum permits of the sender in use. */
  readonly maxInFlight?: number;
  /** Age in milliseconds at which the sender extends a message's ack deadline. */
  readonly extendAfterMs?: number;
  /** Milliseconds from the start to the first round of retention. */
  readonly firstRetentionInMs?: number;
};

/** The jobs of this process's roles, in the order of their start. */
export function createJobs(config: Config, services: Services, limits: JobLimits = {}): Job[] {
  const { database, nats, deliveries, schemaThread, log, metrics, tracing } = services;
  return [
    new ClockWatch({ database, log, metrics }),
    ...createAlertJobs(config, services),
    ...(config.roles.has('dispatcher')
      ? [new Dispatcher({ database, nats, deliveries, schemaThread, log, metrics, tracing })]
      : []),
    ...(config.roles.has('sender') ? createSenderJobs(config, services, limits) : []),
  ];
}

/** The jobs that send alerts. They run in every role, so that other processes send an alert if all senders have ended. */
function createAlertJobs(config: Config, { database, nats, deliveries, log }: Services): Job[] {
  const { alerts, egress, dataDir, databaseUrl, natsServers } = config;
  const { url, secret, format } = alerts;
  if (url === undefined) return [];
  const hasEmbedded = databaseUrl === undefined || natsServers === undefined;
  return [
    new AlertJob({
      database,
      log,
      url,
      secret,
      format,
      route: egress,
      userAgent: USER_AGENT,
      streamWarnings: () => [...nats.streamWarnings, ...deliveries.warnings],
      diskFolder: hasEmbedded ? dataDir : undefined,
    }),
  ];
}

function createSenderJobs(config: Config, services: Services, limits: JobLimits): Job[] {
  const { egress, retryScheduleMs, retention, logAttempts, sendsTraceParent } = config;
  const { databaseUrls, database, notifications, secretBox, nats, deliveries, feed, log, metrics, tracing } = services;
  const databaseUrl = databaseUrls.directUrl;
  const subscriptions = new SubscriptionCache(database, secretBox);
  const cancellations = new Cancellations();
  const agents = new EgressAgents(egress);
  const peers = new SenderPeers({ nats, log, metrics });
  const sender = new Sender({
    database,
    nats,
    deliveries,
    feed,
    redeliveryGuard: guardRedeliveries(nats, () => database.clock.now()),
    log,
    metrics,
    agents,
    peers,
    subscriptions,
    cancellations,
    retryScheduleMs,
    userAgent: USER_AGENT,
    logAttempts,
    tracing,
    sendsTraceParent,
    ...limits,
  });
  notifications.subscribe({
    onNotification: {
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
  const senderWithAgents: Job = {
    start: () => {
      sender.start();
    },
    stop: async () => {
      await sender.stop();
      agents.close();
    },
  };
  const { days: retentionDays, maxPerSubscription, auditLogDays } = retention;
  const retentionJob = new RetentionJob({
    databaseUrl,
    log,
    retentionDays,
    maxPerSubscription,
    auditLogDays,
    firstInMs: limits.firstRetentionInMs,
  });
  const replayJob = new ReplayJob({
    database,
    log,
    whereOf: async (filter, db) => {
      const references = { db, nowMs: database.clock.now(), takesDeliveries: deliveries.takesDeliveries };
      return deliveryWhere(await resolveFilter(references, parseStoredFilter(filter)));
    },
  });
  const erasureJob = new ErasureJob({ database, databaseUrl, nats, log });
  const counter = new AttemptCounter({ database, log });
  return [
    notifications,
    replayJob,
    new OmittedNotices({ database, deliveries, log }),
    new Sweeper({ database, deliveries, log, metrics, waitingToBegin: () => sender.waiting }),
    senderWithAgents,
    peers,
    retentionJob,
    erasureJob,
    counter,
  ];
}
