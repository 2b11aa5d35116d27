import type { InputProblem } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { attemptIdBounds, type DeliveryFilter, type ResolvedFilter } from './filter.ts';

/** Milliseconds. Each response time up to this one has its own class. */
const EXACT_MS = 10;
/** Growth factor of the classes beyond EXACT_MS. The middle of a class differs from its values by at most 4.5 %. */
const GROWTH = 1.09;

/** SQL for the class of a response time in whole milliseconds. */
export function responseClassSql(column: string): string {
  return `(CASE WHEN ${column} <= ${EXACT_MS} THEN ${column}
    ELSE ${EXACT_MS} + ceil(ln(${column}::float8 / ${EXACT_MS}) / ln(${GROWTH}::float8)) END)::smallint`;
}

/** The response time that represents a class, in milliseconds with one decimal. */
export function responseTimeOf(responseClass: number): number {
  if (responseClass <= EXACT_MS) return responseClass;
  return Math.round(10 * EXACT_MS * GROWTH ** (responseClass - EXACT_MS - 0.5)) / 10;
}

/** The field by which attempts are grouped. NONE: one group, whose key is empty. */
export type StatsGroup = 'NONE' | 'SUBSCRIPTION' | 'TENANT' | 'EVENT_TYPE' | 'STATUS_CODE' | 'FAILURE_REASON';

/** Selects attempts and buckets; null fields are ignored. */
type AttemptStatsQuery = {
  readonly tenant: string | null;
  readonly subscriptionIds: readonly string[] | null;
  /** At least one of the exact types and prefixes must match. */
  readonly eventTypes: { readonly exact: readonly string[]; readonly prefixes: readonly string[] } | null;
  readonly hasSucceeded: boolean | null;
  readonly statusCodes: readonly { readonly from: number; readonly to: number }[] | null;
  readonly failureReasons: readonly string[] | null;
  readonly groupBy: StatsGroup;
  /** Maximum number of groups returned, those with the most attempts. */
  readonly top: number;
  /** Multiples of `bucketMs`, in milliseconds since 1970. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly bucketMs: number;
};

export type ResponseTimes = { readonly p50: number; readonly p90: number; readonly p95: number; readonly p99: number };

export type AttemptStats = {
  readonly attemptCount: number;
  readonly successCount: number;
  readonly responseTimeMs: ResponseTimes;
};

type IdBounds = { readonly leastId: string; readonly beforeId: string };

/** The attempts of one group. `buckets`: by number from 0, without empty ones. */
export type GroupStats = { total: AttemptStats | undefined; readonly buckets: Map<number, AttemptStats> };

export const NO_STATS: GroupStats = { total: undefined, buckets: new Map() };

/** Groups by key, those with the most attempts first; a group without attempts is absent. */
export type StatsResult = ReadonlyMap<string, GroupStats>;

/** Reads the statistics of a plan: from the stored counts, or for buckets shorter than an hour from the log itself. */
export function readStats(db: Queryable, { query, idBounds }: StatsPlan): Promise<StatsResult> {
  const { groupBy } = query;
  if (idBounds === undefined) {
    return run(db, { statement: FROM_COUNTS[groupBy], values: [...valuesOf(query), ...scopesOf(query)] });
  }
  const { leastId, beforeId } = idBounds;
  return run(db, { statement: FROM_LOG[groupBy], values: [...valuesOf(query), leastId, beforeId] });
}

/**
 * The scopes of attempt_counts to read, as two parameters: the scopes themselves, and whether to read the scope of
 * every tenant.
 */
function scopesOf({ tenant, subscriptionIds, groupBy }: AttemptStatsQuery): [readonly string[], boolean] {
  if (subscriptionIds !== null) return [subscriptionIds, false];
  if (tenant !== null) return [[`tenant:${tenant}`], false];
  return [['all'], groupBy === 'TENANT'];
}

type Row = Omit<AttemptStats, 'responseTimeMs'> & {
  readonly key: string;
  readonly bucket: number | null;
  readonly classes: number[];
};

async function run(
  db: Queryable,
  { statement, values }: { readonly statement: string; readonly values: unknown[] },
): Promise<StatsResult> {
  const { rows } = await db.query<Row>(statement, values);
  const groups = new Map<string, GroupStats>();
  for (const { key, bucket, classes, attemptCount, successCount } of rows) {
    const [p50 = 0, p90 = 0, p95 = 0, p99 = 0] = classes.map(responseTimeOf);
    const stats = { attemptCount, successCount, responseTimeMs: { p50, p90, p95, p99 } };
    const group = groups.get(key) ?? { total: undefined, buckets: new Map<number, AttemptStats>() };
    groups.set(key, group);
    if (bucket === null) group.total = stats;
    else group.buckets.set(bucket, stats);
  }
  return groups;
}

function valuesOf(query: AttemptStatsQuery): unknown[] {
  const { tenant, subscriptionIds, eventTypes, hasSucceeded, statusCodes, failureReasons } = query;
  return [
    new Date(query.fromMs),
    new Date(query.toMs),
    query.bucketMs / 1_000,
    tenant,
    subscriptionIds,
    eventTypes?.exact ?? null,
    eventTypes?.prefixes ?? null,
    hasSucceeded,
    statusCodes === null ? null : multirange(statusCodes),
    failureReasons,
    query.top,
  ];
}

/** The largest HTTP status code. Postgres cannot represent a range that includes the largest integer. */
const MAX_STATUS_CODE = 999;

function multirange(ranges: readonly { readonly from: number; readonly to: number }[]): string {
  const clamped = ranges.map(({ from, to }) => [Math.max(from, 1), Math.min(to, MAX_STATUS_CODE)] as const);
  return `{${clamped.flatMap(([from, to]) => (from > to ? [] : [`[${from},${to}]`])).join()}}`;
}

const FILTER = `
  ($6::text[] IS NULL OR event_type = ANY ($6::text[]) OR event_type ^@ ANY ($7::text[]))
  AND ($8::boolean IS NULL OR (failure_reason = '') = $8::boolean)
  AND ($9::int4multirange IS NULL OR status_code <@ $9::int4multirange)
  AND ($10::text[] IS NULL OR failure_reason = ANY ($10::text[]))`;

/** SQL for the key of a group, from the columns of an attempt or of attempt_counts. */
const KEYS: Readonly<Record<StatsGroup, { readonly ofAttempt: string; readonly ofCount: string }>> = {
  NONE: { ofAttempt: `''`, ofCount: `''` },
  SUBSCRIPTION: { ofAttempt: 'subscription_id::text', ofCount: 'scope' },
  TENANT: { ofAttempt: 'tenant', ofCount: `substr(scope, ${'tenant:'.length + 1})` },
  EVENT_TYPE: { ofAttempt: 'event_type', ofCount: 'event_type' },
  STATUS_CODE: { ofAttempt: 'coalesce(status_code, 0)::text', ofCount: 'status_code::text' },
  FAILURE_REASON: { ofAttempt: `coalesce(failure_reason::text, '')`, ofCount: 'failure_reason' },
};

function countsOf(groupBy: StatsGroup): string {
  return `
  SELECT ${KEYS[groupBy].ofCount} AS key, hour AS at, event_type, status_code, failure_reason, response_class, count
  FROM attempt_counts
  WHERE hour >= $1::timestamptz AND hour < $2::timestamptz AND scope = ANY (
    CASE WHEN $13::boolean THEN ARRAY(SELECT 'tenant:' || name FROM tenants) ELSE $12::text[] END
  )`;
}

function attemptsOf(table: string, groupBy: StatsGroup): string {
  return `
  SELECT ${KEYS[groupBy].ofAttempt} AS key, started_at AS at, event_type, coalesce(status_code, 0) AS status_code,
    coalesce(failure_reason::text, '') AS failure_reason, ${responseClassSql('response_time_ms')} AS response_class,
    1 AS count
  FROM ${table} WHERE started_at >= $1::timestamptz AND started_at < $2::timestamptz
    AND ($4::text IS NULL OR tenant = $4::text)
    AND ($5::uuid[] IS NULL OR subscription_id = ANY ($5::uuid[]))`;
}

// A bucket's width is a whole number of seconds, so rounding cannot move an attempt to another bucket.
const statement = (source: string): string => `
  WITH attempt AS (${source}
  ), cell AS (
    SELECT key, floor(date_part('epoch', at - $1::timestamptz) / $3::integer)::integer AS bucket, response_class,
      sum(count) AS count, coalesce(sum(count) FILTER (WHERE failure_reason = ''), 0) AS successes
    FROM attempt WHERE ${FILTER}
    GROUP BY 1, 2, 3
  ), size AS (
    SELECT key, sum(count) AS count FROM cell GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $11
  ), class AS (
    SELECT key, bucket, response_class, sum(count) AS count, sum(successes) AS successes
    FROM cell WHERE key IN (SELECT key FROM size)
    GROUP BY GROUPING SETS ((key, bucket, response_class), (key, response_class))
  ), ranked AS (
    SELECT *, sum(count) OVER (PARTITION BY key, bucket ORDER BY response_class) AS upto,
      sum(count) OVER (PARTITION BY key, bucket) AS total
    FROM class
  ), bucketed AS (
    SELECT key, bucket, sum(count)::float8 AS "attemptCount", sum(successes)::float8 AS "successCount",
      ARRAY[${[0.5, 0.9, 0.95, 0.99].map((part) => `min(response_class) FILTER (WHERE upto >= ${part} * total)`).join()}]
        AS classes
    FROM ranked GROUP BY key, bucket
  )
  SELECT bucketed.* FROM bucketed JOIN size USING (key) ORDER BY size.count DESC, key`;

const statementsOf = (source: (groupBy: StatsGroup) => string): Readonly<Record<StatsGroup, string>> => ({
  NONE: statement(source('NONE')),
  SUBSCRIPTION: statement(source('SUBSCRIPTION')),
  TENANT: statement(source('TENANT')),
  EVENT_TYPE: statement(source('EVENT_TYPE')),
  STATUS_CODE: statement(source('STATUS_CODE')),
  FAILURE_REASON: statement(source('FAILURE_REASON')),
});

const FROM_COUNTS = statementsOf(
  (groupBy) => `${countsOf(groupBy)} UNION ALL ${attemptsOf('uncounted_attempts', groupBy)}`,
);
const FROM_LOG = statementsOf((groupBy) => `${attemptsOf('attempts', groupBy)} AND id >= $12::uuid AND id < $13::uuid`);

export type StatsBucket = 'MINUTE' | 'HOUR' | 'DAY';

type StatsArguments = {
  readonly from: Date;
  readonly to: Date;
  readonly bucket: StatsBucket;
  readonly groupBy?: StatsGroup | null | undefined;
  readonly top?: number | null | undefined;
  /** Maximum number of buckets. Default: 1,000. */
  readonly maxBuckets?: number;
};

const BUCKET_MS: Readonly<Record<StatsBucket, number>> = { MINUTE: 60_000, HOUR: 3_600_000, DAY: 86_400_000 };
export const MAX_BUCKETS = 1_000;
export const DEFAULT_TOP = 10;
export const MAX_TOP = 50;
/** Maximum number of buckets of all groups together. */
export const MAX_GROUPED_BUCKETS = 10_000;

/** Returns every problem of the arguments, except those of the filter itself. */
export function problemsOfStats(filter: DeliveryFilter, args: StatsArguments): InputProblem[] {
  const { from, to, groupBy, maxBuckets = MAX_BUCKETS } = args;
  const top = args.top ?? DEFAULT_TOP;
  const { fromMs, toMs, bucketMs } = wholeBuckets(args);
  const problems: InputProblem[] = [];
  if (from > to) problems.push({ path: 'to', message: 'is before from' });
  if (toMs - fromMs > maxBuckets * bucketMs) {
    problems.push({ path: 'bucket', message: `is too small: there may be at most ${maxBuckets} of them` });
  }
  if (top < 1 || top > MAX_TOP) problems.push({ path: 'top', message: `must be from 1 to ${MAX_TOP}` });
  if (groupBy != null && (top * (toMs - fromMs)) / bucketMs > MAX_GROUPED_BUCKETS) {
    problems.push({
      path: 'top',
      message: `is too large: there may be at most ${MAX_GROUPED_BUCKETS} buckets of groups`,
    });
  }
  if (groupBy === 'TENANT' && filter.subscriptionIds != null) {
    problems.push({ path: 'groupBy', message: 'TENANT excludes filter.subscriptionIds' });
  }
  for (const field of ['from', 'to'] as const) {
    if (filter[field] == null) continue;
    problems.push({ path: `filter.${field}`, message: `is not for statistics: use the argument ${field}` });
  }
  return problems;
}

/** Extends the period to whole buckets, in milliseconds since 1970. */
export function wholeBuckets({ from, to, bucket }: StatsArguments): {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bucketMs: number;
} {
  const bucketMs = BUCKET_MS[bucket];
  return {
    fromMs: Math.floor(from.getTime() / bucketMs) * bucketMs,
    toMs: Math.ceil(to.getTime() / bucketMs) * bucketMs,
    bucketMs,
  };
}

type StatsPlan = { readonly query: AttemptStatsQuery; readonly idBounds: IdBounds | undefined };

/** Creates the query for valid arguments, with bounds on ids if it reads the log. */
export function planStats(filter: ResolvedFilter, args: StatsArguments): StatsPlan {
  const { fromMs, toMs, bucketMs } = wholeBuckets(args);
  const grouping = { groupBy: args.groupBy ?? 'NONE', top: args.top ?? 1 };
  const query = { ...filterOf(filter), ...grouping, fromMs, toMs, bucketMs };
  // Counts are kept by hour; the log of at most 1,000 minutes is read directly.
  return { query, idBounds: args.bucket === 'MINUTE' ? attemptIdBounds({ fromMs, toMs }) : undefined };
}

type StatsFilter = Omit<AttemptStatsQuery, 'fromMs' | 'toMs' | 'bucketMs' | 'groupBy' | 'top'>;

function filterOf(filter: ResolvedFilter): StatsFilter {
  const { tenant, subscriptionIds, eventTypes, statuses, statusCodes, failureReasons } = filter;
  const endings = [statuses?.includes('SUCCESS') !== false, statuses?.includes('FAILURE') !== false];
  // Attempts have no other status, so this filter may match nothing.
  const noReasons = endings.includes(true) ? undefined : [];
  return {
    tenant: tenant ?? null,
    subscriptionIds: subscriptionIds?.filter(isUuid).map((id) => id.toLowerCase()) ?? null,
    eventTypes: eventTypes == null || eventTypes.includes('*') ? null : typesOf(eventTypes),
    hasSucceeded: endings.every(Boolean) ? null : endings[0] === true,
    statusCodes: statusCodes ?? null,
    failureReasons: noReasons ?? failureReasons ?? null,
  };
}

function typesOf(patterns: readonly string[]): { readonly exact: string[]; readonly prefixes: string[] } {
  const prefixes = patterns.filter((pattern) => pattern.endsWith('.*'));
  return {
    exact: patterns.filter((pattern) => !prefixes.includes(pattern)),
    prefixes: prefixes.map((pattern) => pattern.slice(0, -1)),
  };
}
