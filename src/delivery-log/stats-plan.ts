import type { AttemptStatsQuery, IdBounds } from './attempt-stats.ts';
import { isUuid } from '../subscriptions/service.ts';
import type { InputProblem } from '../lib/domain-error.ts';
import type { DeliveryFilter } from './delivery-filter.ts';
import { attemptIdBounds } from './delivery-filter-where.ts';

export type StatsBucket = 'MINUTE' | 'HOUR' | 'DAY';

type StatsArguments = { readonly from: Date; readonly to: Date; readonly bucket: StatsBucket };

const BUCKET_MS: Readonly<Record<StatsBucket, number>> = { MINUTE: 60_000, HOUR: 3_600_000, DAY: 86_400_000 };
const MAX_BUCKETS = 1_000;

/** Every problem of the arguments, apart from those that the filter has wherever it is used. */
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

/** The query for valid arguments; with bounds of ids if it reads the log. */
export function planStats(
  filter: DeliveryFilter,
  args: StatsArguments,
): { readonly query: AttemptStatsQuery; readonly idBounds: IdBounds | undefined } {
  const bucketMs = BUCKET_MS[args.bucket];
  const { fromMs, toMs } = wholeBuckets(args);
  const query = { ...filterOf(filter), fromMs, toMs, bucketMs };
  // The counts are of whole hours; 1,000 minutes are few enough to read.
  return { query, idBounds: args.bucket === 'MINUTE' ? attemptIdBounds({ fromMs, toMs }) : undefined };
}

function filterOf(filter: DeliveryFilter): Omit<AttemptStatsQuery, 'fromMs' | 'toMs' | 'bucketMs'> {
  const { tenant, subscriptionIds, eventTypes, statuses, statusCodes, failureReasons } = filter;
  const endings = [statuses?.includes('SUCCESS') !== false, statuses?.includes('FAILURE') !== false];
  // Attempts have none of the other statuses, so there may be nothing that matches.
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
