import { deactivationTime } from '../delivery/circuit/evaluate.ts';
import { batched } from '../lib/batched.ts';
import { GREATEST_UUID, leastChildId, uuid7Floor } from '../lib/uuid7.ts';
import type { Database, Queryable } from '../postgres/client.ts';
import { type GroupStats, NO_STATS, planStats, readStats, type StatsBucket } from './attempt-stats.ts';

/** The present state of a webhook subscription's deliveries. */
export type SubscriptionHealth = {
  /** Pending deliveries, counted up to MAX_PENDING. */
  readonly pendingCount: number;
  readonly isExact: boolean;
  /** Creation time of the oldest counted delivery. Counted are the deliveries that are due first. */
  readonly oldestPendingAt: Date | null;
  readonly lastAttemptAt: Date | null;
  readonly lastSuccessAt: Date | null;
  readonly willDeactivateAt: Date | undefined;
};

/** The newest attempts that a signing secret signed, among the newest MAX_SEARCHED of its webhook subscription. */
export type SecretUsage = {
  readonly attemptCount: number;
  readonly successCount: number;
  /** Whether the secret signed no older attempt. */
  readonly isExact: boolean;
  readonly lastAttemptAt: Date | null;
};

type Period = { readonly from: Date; readonly to: Date; readonly bucket: StatsBucket };

/**
 * Figures about subscriptions and secrets by their ids. Equal requests in one turn of the event loop are combined into
 * one statement.
 */
export type SubscriptionFigures = {
  readonly health: (subscriptionId: string) => Promise<SubscriptionHealth>;
  readonly stats: (subscriptionId: string, period: Period) => Promise<GroupStats>;
  readonly secretUsage: (secretId: string) => Promise<SecretUsage>;
};

/** Maximum pending deliveries that are counted per subscription. */
export const MAX_PENDING = 1_000;
/**
 * Number of newest attempts of a subscription that are searched for a success and for attempts that a secret signed. An
 * open circuit keeps the number of consecutive failures small.
 */
export const MAX_SEARCHED = 1_000;
/**
 * Milliseconds. An attempt that succeeded before the first failure can be logged this much later: the duration of the
 * longest attempt and its write.
 */
const LOGGED_WITHIN_MS = 60_000;

export function createSubscriptionFigures({
  readPool,
  clock,
}: Pick<Database, 'readPool' | 'clock'>): SubscriptionFigures {
  const health = batched((ids) => readHealth(readPool, { ids, now: new Date(clock.now()) }));
  const stats = batched((ids, period: Period) => statsOf(readPool, { ids, period }));
  const secretUsage = batched((ids) => readUsage(readPool, ids));
  return { health: (id) => health(id, null), stats, secretUsage: (id) => secretUsage(id, null) };
}

type StateRow = Parameters<typeof deactivationTime>[0] & { readonly id: string };

type FiguresRow = Pick<SubscriptionHealth, 'oldestPendingAt' | 'lastAttemptAt' | 'lastSuccessAt'> & {
  readonly id: string;
  readonly counted: number;
};

async function readHealth(
  db: Queryable,
  { ids, now }: { readonly ids: readonly string[]; readonly now: Date },
): Promise<ReadonlyMap<string, SubscriptionHealth>> {
  const states = new Map((await db.query<StateRow>(STATES, [ids])).rows.map((row) => [row.id, row]));
  const successIds = ids.map((id) => {
    const failingSince = states.get(id)?.failingSince ?? null;
    return failingSince === null ? GREATEST_UUID : uuid7Floor(failingSince.getTime() + LOGGED_WITHIN_MS);
  });
  const { rows } = await db.query<FiguresRow>(FIGURES, [ids, successIds, MAX_PENDING + 1, MAX_SEARCHED]);
  return new Map(
    rows.map(({ id, counted, ...figures }) => {
      const state = states.get(id);
      const willDeactivateAt = state === undefined ? undefined : deactivationTime(state, now);
      const pendingCount = Math.min(counted, MAX_PENDING);
      return [id, { ...figures, pendingCount, isExact: counted <= MAX_PENDING, willDeactivateAt }];
    }),
  );
}

const STATES = `
  SELECT subscription_id AS id, opened_at AS "openedAt", failing_since AS "failingSince", notice_count AS "noticeCount",
    noticed_at AS "noticedAt"
  FROM subscription_states WHERE subscription_id = ANY ($1::uuid[])`;

// Each part reads the rows of an index in its order, up to its limit. If a limit is a sub-select, its value is unknown
// during planning, and Postgres assumes a tenth of the rows. If it is a number, Postgres expects an average
// subscription to have fewer rows, and reads and sorts all rows of the subscription: 72 ms instead of 3 ms with 300,000
// pending deliveries.
const FIGURES = `
  SELECT s.id, pending.counted, pending.oldest AS "oldestPendingAt", latest.started_at AS "lastAttemptAt",
    success.started_at AS "lastSuccessAt"
  FROM unnest($1::uuid[], $2::uuid[]) AS s (id, success_before)
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS counted, min(created_at) AS oldest FROM (
      (SELECT created_at FROM deliveries WHERE subscription_id = s.id AND status = 'PENDING' AND enqueued_at IS NULL
       ORDER BY next_attempt_at LIMIT (SELECT $3::bigint))
      UNION ALL
      (SELECT created_at FROM deliveries WHERE subscription_id = s.id AND status = 'PENDING' AND enqueued_at IS NOT NULL
       ORDER BY enqueued_at LIMIT (SELECT $3::bigint))
    ) AS first
  ) AS pending
  LEFT JOIN LATERAL (
    SELECT started_at FROM attempts WHERE subscription_id = s.id ORDER BY id DESC LIMIT 1
  ) AS latest ON true
  LEFT JOIN LATERAL (
    SELECT started_at FROM (
      SELECT started_at, failure_reason FROM attempts WHERE subscription_id = s.id AND id < s.success_before
      ORDER BY id DESC LIMIT $4
    ) AS searched
    WHERE failure_reason IS NULL LIMIT 1
  ) AS success ON true`;

async function readUsage(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, SecretUsage>> {
  const { rows } = await db.query<SecretUsage & { readonly id: string }>(USAGE, [
    ids,
    ids.map(leastChildId),
    MAX_SEARCHED,
  ]);
  return new Map(rows.map(({ id, ...usage }) => [id, usage]));
}

// Attempts older than a secret are not read. The attempt after the limit shows whether the secret signed older ones,
// because a secret signs every request until it ends. The limit is a sub-select for the same reason as in FIGURES.
const USAGE = `
  SELECT secret.id,
    count(*) FILTER (WHERE is_signed AND place <= $3)::integer AS "attemptCount",
    count(*) FILTER (WHERE is_signed AND place <= $3 AND failure_reason IS NULL)::integer AS "successCount",
    count(*) FILTER (WHERE is_signed AND place > $3) = 0 AS "isExact",
    max(started_at) FILTER (WHERE is_signed) AS "lastAttemptAt"
  FROM unnest($1::uuid[], $2::uuid[]) AS secret (id, earliest)
  LEFT JOIN signing_secrets s ON s.id = secret.id
  LEFT JOIN LATERAL (
    SELECT started_at, failure_reason, secret.id = ANY (signing_secret_ids) AS is_signed,
      row_number() OVER (ORDER BY id DESC) AS place
    FROM (
      SELECT id, started_at, failure_reason, signing_secret_ids FROM attempts
      WHERE subscription_id = s.subscription_id AND id >= secret.earliest ORDER BY id DESC LIMIT (SELECT $3::bigint + 1)
    ) AS newest
  ) AS attempt ON true
  GROUP BY secret.id`;

async function statsOf(
  db: Queryable,
  { ids, period }: { readonly ids: readonly string[]; readonly period: Period },
): Promise<ReadonlyMap<string, GroupStats>> {
  const grouping = { groupBy: 'SUBSCRIPTION', top: ids.length } as const;
  const groups = await readStats(db, planStats({ subscriptionIds: ids }, { ...period, ...grouping }));
  return new Map(ids.map((id) => [id, groups.get(id) ?? NO_STATS]));
}
