import type { InputProblem } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { attemptIdBounds, type DeliveryFilter } from './filter.ts';

/** Response times up to this many milliseconds have a class each. */
const EXACT_MS = 10;
/** Growth of the classes beyond EXACT_MS. The middle of a class is off by at most 4.5 %. */
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

/** Selects attempts and buckets; null fields are ignored. */
type AttemptStatsQuery = {
  readonly tenant: string | null;
  readonly subscriptionIds: readonly string[] | null;
  /** Exact types and prefixes, of which one must match. */
  readonly eventTypes: { readonly exact: readonly string[]; readonly prefixes: readonly string[] } | null;
  readonly hasSucceeded: boolean | null;
  readonly statusCodes: readonly { readonly from: number; readonly to: number }[] | null;
  readonly failureReasons: readonly string[] | null;
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

/** `buckets`: by number from 0, without empty ones. `total`: undefined if all are empty. */
type AttemptStatsResult = {
  readonly total: AttemptStats | undefined;
  readonly buckets: ReadonlyMap<number, AttemptStats>;
};

/** Reads the counts and the uncounted attempts. Buckets are whole hours or longer. */
export function readCountedStats(db: Queryable, query: AttemptStatsQuery): Promise<AttemptStatsResult> {
  const { tenant, subscriptionIds } = query;
  const scopes = subscriptionIds ?? [tenant === null ? 'all' : `tenant:${tenant}`];
  return run(db, { statement: FROM_COUNTS, values: [...valuesOf(query), scopes] });
}

/** Reads the log itself, for buckets shorter than an hour. */
export function readLoggedStats(db: Queryable, query: AttemptStatsQuery & IdBounds): Promise<AttemptStatsResult> {
  return run(db, { statement: FROM_LOG, values: [...valuesOf(query), query.leastId, query.beforeId] });
}

type Row = Omit<AttemptStats, 'responseTimeMs'> & { readonly bucket: number | null; readonly classes: number[] };

async function run(
  db: Queryable,
  { statement, values }: { readonly statement: string; readonly values: unknown[] },
): Promise<AttemptStatsResult> {
  const { rows } = await db.query<Row>(statement, values);
  const buckets = new Map<number | null, AttemptStats>();
  for (const { bucket, classes, attemptCount, successCount } of rows) {
    const [p50 = 0, p90 = 0, p95 = 0, p99 = 0] = classes.map(responseTimeOf);
    buckets.set(bucket, { attemptCount, successCount, responseTimeMs: { p50, p90, p95, p99 } });
  }
  const total = buckets.get(null);
  buckets.delete(null);
  // `as`: the null key was deleted.
  return { total, buckets: buckets as Map<number, AttemptStats> };
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

const FROM_COUNTS_TABLE = `
  SELECT hour AS at, event_type, status_code, failure_reason, response_class, count FROM attempt_counts
  WHERE scope = ANY ($11::text[]) AND hour >= $1::timestamptz AND hour < $2::timestamptz`;

function attemptsOf(table: string): string {
  return `
  SELECT started_at AS at, event_type, coalesce(status_code, 0) AS status_code,
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
    SELECT floor(date_part('epoch', at - $1::timestamptz) / $3::integer)::integer AS bucket, response_class,
      sum(count) AS count, coalesce(sum(count) FILTER (WHERE failure_reason = ''), 0) AS successes
    FROM attempt WHERE ${FILTER}
    GROUP BY 1, 2
  ), class AS (
    SELECT bucket, response_class, sum(count) AS count, sum(successes) AS successes
    FROM cell GROUP BY GROUPING SETS ((bucket, response_class), (response_class))
  ), ranked AS (
    SELECT *, sum(count) OVER (PARTITION BY bucket ORDER BY response_class) AS upto,
      sum(count) OVER (PARTITION BY bucket) AS total
    FROM class
  )
  SELECT bucket, sum(count)::float8 AS "attemptCount", sum(successes)::float8 AS "successCount",
    ARRAY[${[0.5, 0.9, 0.95, 0.99].map((part) => `min(response_class) FILTER (WHERE upto >= ${part} * total)`).join()}]
      AS classes
  FROM ranked GROUP BY bucket`;

const FROM_COUNTS = statement(`${FROM_COUNTS_TABLE} UNION ALL ${attemptsOf('uncounted_attempts')}`);
const FROM_LOG = statement(`${attemptsOf('attempts')} AND id >= $11::uuid AND id < $12::uuid`);

export type StatsBucket = 'MINUTE' | 'HOUR' | 'DAY';

type StatsArguments = { readonly from: Date; readonly to: Date; readonly bucket: StatsBucket };

const BUCKET_MS: Readonly<Record<StatsBucket, number>> = { MINUTE: 60_000, HOUR: 3_600_000, DAY: 86_400_000 };
const MAX_BUCKETS = 1_000;

/** Every problem of the arguments, without the problems of the filter itself. */
export function problemsOfStats(filter: DeliveryFilter, { from, to, bucket }: StatsArguments): InputProblem[] {
  const bucketMs = BUCKET_MS[bucket];
  const { fromMs, toMs } = wholeBuckets({ from, to, bucket });
  const problems: InputProblem[] = [];
  if (from > to) problems.push({ path: 'to', message: 'is before from' });
  if (toMs - fromMs > MAX_BUCKETS * bucketMs) {
    problems.push({ path: 'bucket', message: `is too small: there may be at most ${MAX_BUCKETS} of them` });
  }
  for (const field of ['from', 'to'] as const) {
    if (filter[field] == null) continue;
    problems.push({ path: `filter.${field}`, message: `is not for statistics: use the argument ${field}` });
  }
  return problems;
}

function wholeBuckets({ from, to, bucket }: StatsArguments): { readonly fromMs: number; readonly toMs: number } {
  const bucketMs = BUCKET_MS[bucket];
  return {
    fromMs: Math.floor(from.getTime() / bucketMs) * bucketMs,
    toMs: Math.ceil(to.getTime() / bucketMs) * bucketMs,
  };
}

/** The query for valid arguments, with bounds on ids if it reads the log. */
export function planStats(
  filter: DeliveryFilter,
  args: StatsArguments,
): { readonly query: AttemptStatsQuery; readonly idBounds: IdBounds | undefined } {
  const bucketMs = BUCKET_MS[args.bucket];
  const { fromMs, toMs } = wholeBuckets(args);
  const query = { ...filterOf(filter), fromMs, toMs, bucketMs };
  // Counts are kept by hour; the log of at most 1,000 minutes is read directly.
  return { query, idBounds: args.bucket === 'MINUTE' ? attemptIdBounds({ fromMs, toMs }) : undefined };
}

function filterOf(filter: DeliveryFilter): Omit<AttemptStatsQuery, 'fromMs' | 'toMs' | 'bucketMs'> {
  const { tenant, subscriptionIds, eventTypes, statuses, statusCodes, failureReasons } = filter;
  const endings = [statuses?.includes('SUCCESS') !== false, statuses?.includes('FAILURE') !== false];
  // Attempts have no other status, so the filter may match nothing.
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
