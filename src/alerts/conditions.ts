import { statfs } from 'node:fs/promises';
import { countPending } from '../delivery/queue/metrics.ts';
import { uuid7Floor } from '../lib/uuid7.ts';
import { type Database, transaction } from '../postgres/client.ts';

/** Conditions that need an operator's attention. The names are public, because alert messages contain them. */
export const ALERT_KINDS = [
  'CIRCUIT_OPENED',
  'SUBSCRIPTION_DEACTIVATED',
  'DELIVERIES_OVERDUE',
  'EVENTS_REJECTED',
  'STREAM_NEARLY_FULL',
  'DISK_NEARLY_FULL',
] as const;

export type AlertKind = (typeof ALERT_KINDS)[number];

/** A condition that holds now. Kind and subject identify it. */
export type Condition = {
  readonly kind: AlertKind;
  /** The id of the webhook subscription; empty for conditions of the installation. */
  readonly subject: string;
  /** Facts for the message, without customer data and without paths of URLs. */
  readonly detail: Readonly<Record<string, string | number>>;
};

export type ConditionSources = {
  readonly database: Pick<Database, 'readPool' | 'clock'>;
  /** Current warnings about streams, one sentence each. */
  readonly streamWarnings: () => readonly string[];
  /** A folder on the disk whose free space is checked; undefined: the engine stores no data on a local disk. */
  readonly diskFolder: string | undefined;
};

/** Maximum open circuits, and deactivated subscriptions, in one check. Others are found once some of these have ended. */
const MAX_SUBSCRIPTIONS = 1_000;
/** Minimum age of the oldest due and runnable delivery, in seconds, that is a condition. */
const OVERDUE_SECONDS = 300;
const REJECTED_WITHIN_MS = 15 * 60_000;
/**
 * Maximum age of the id of an event that was rejected because Postgres refused it (NOT_RECORDED). It is rejected two days
 * after its publication, whose time is in its id.
 */
const NOT_RECORDED_WITHIN_MS = 72 * 3_600_000;
const MAX_COUNTED = 1_000;
/** Minimum part of the disk that is free. */
const MIN_FREE = 0.1;

/**
 * Reads every condition that holds now. A kind that cannot be read, such as a count of an overloaded Postgres, does not hide
 * the others; `onFailure` gets its error.
 */
export async function findConditions(
  sources: ConditionSources,
  onFailure: (kind: AlertKind, error: unknown) => void,
): Promise<readonly Condition[]> {
  const found: Condition[] = [];
  for (const kind of ALERT_KINDS) {
    try {
      found.push(...(await FINDERS[kind](sources)));
    } catch (error) {
      onFailure(kind, error);
    }
  }
  return found;
}

type SubscriptionRow = {
  readonly id: string;
  readonly tenant: string;
  readonly url: string;
  readonly since: Date;
  readonly reason?: string;
};

function ofSubscription(kind: AlertKind, { id, tenant, url, since, reason }: SubscriptionRow): Condition {
  const detail = { tenant, subscriptionId: id, host: new URL(url).host, since: since.toISOString() };
  return { kind, subject: id, detail: reason === undefined ? detail : { ...detail, reason } };
}

async function findCircuits({ database }: ConditionSources): Promise<Condition[]> {
  const { rows } = await database.readPool.query<SubscriptionRow>(
    `SELECT s.id, s.tenant, s.url, st.opened_at AS since
     FROM subscription_states st JOIN webhook_subscriptions s ON s.id = st.subscription_id
     WHERE st.opened_at IS NOT NULL AND s.is_active AND s.deleted_at IS NULL LIMIT ${MAX_SUBSCRIPTIONS}`,
  );
  return rows.map((row) => ofSubscription('CIRCUIT_OPENED', row));
}

/** Later changes of the subscription do not change the time of its deactivation. */
async function findDeactivated({ database }: ConditionSources): Promise<Condition[]> {
  const { rows } = await database.readPool.query<SubscriptionRow>(
    `SELECT s.id, s.tenant, s.url, max(m.superseded_at) AS since, s.deactivation_reason AS reason
     FROM webhook_subscriptions s JOIN matching_settings m ON m.subscription_id = s.id AND m.is_active
     WHERE s.deactivation_reason IS NOT NULL AND s.updated_at > now() - interval '12 hours'
       AND NOT s.is_active AND s.deleted_at IS NULL AND m.superseded_at > now() - interval '12 hours'
     GROUP BY s.id ORDER BY since DESC LIMIT ${MAX_SUBSCRIPTIONS}`,
  );
  return rows.map((row) => ofSubscription('SUBSCRIPTION_DEACTIVATED', row));
}

async function findOverdue({ database }: ConditionSources): Promise<Condition[]> {
  const lanes = await transaction(database.readPool, countPending);
  const runnable = lanes.find(({ lane }) => lane === 'runnable');
  const seconds = Math.round(runnable?.overdueSeconds ?? 0);
  if (runnable === undefined || seconds < OVERDUE_SECONDS) return [];
  return [{ kind: 'DELIVERIES_OVERDUE', subject: '', detail: { seconds, count: runnable.count } }];
}

async function findRejected({ database }: ConditionSources): Promise<Condition[]> {
  const now = database.clock.now();
  const { rows } = await database.readPool.query<{ reason: string }>(
    `SELECT reason FROM rejected_events
     WHERE id >= $1::uuid AND (id >= $2::uuid OR reason = 'NOT_RECORDED' AND created_at > now() - $3 * interval '1 ms')
     LIMIT ${MAX_COUNTED}`,
    [uuid7Floor(now - NOT_RECORDED_WITHIN_MS), uuid7Floor(now - REJECTED_WITHIN_MS), REJECTED_WITHIN_MS],
  );
  if (rows.length === 0) return [];
  const reasons = [...new Set(rows.map(({ reason }) => reason))].sort().join(', ');
  return [{ kind: 'EVENTS_REJECTED', subject: '', detail: { count: rows.length, reasons } }];
}

function findStreams({ streamWarnings }: ConditionSources): Condition[] {
  const warnings = streamWarnings();
  return warnings.length === 0
    ? []
    : [{ kind: 'STREAM_NEARLY_FULL', subject: '', detail: { warnings: warnings.join('; ') } }];
}

async function findDisk({ diskFolder }: ConditionSources): Promise<Condition[]> {
  if (diskFolder === undefined) return [];
  const { bavail, blocks, bsize } = await statfs(diskFolder);
  if (blocks === 0 || bavail / blocks >= MIN_FREE) return [];
  return [
    { kind: 'DISK_NEARLY_FULL', subject: '', detail: { freeMegabytes: Math.round((bavail * bsize) / 1024 ** 2) } },
  ];
}

const FINDERS: Readonly<Record<AlertKind, (sources: ConditionSources) => Condition[] | Promise<Condition[]>>> = {
  CIRCUIT_OPENED: findCircuits,
  SUBSCRIPTION_DEACTIVATED: findDeactivated,
  DELIVERIES_OVERDUE: findOverdue,
  EVENTS_REJECTED: findRejected,
  STREAM_NEARLY_FULL: findStreams,
  DISK_NEARLY_FULL: findDisk,
};
