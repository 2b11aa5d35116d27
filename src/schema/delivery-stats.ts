import {
  type AttemptStats,
  DEFAULT_TOP,
  type GroupStats,
  MAX_BUCKETS,
  MAX_GROUPED_BUCKETS,
  MAX_TOP,
  NO_STATS,
  planStats,
  problemsOfStats,
  type ResponseTimes,
  readStats,
  type StatsBucket,
  type StatsGroup,
} from '../delivery-log/attempt-stats.ts';
import type { ResolvedFilter } from '../delivery-log/filter.ts';
import { readFilter } from '../delivery-log/filter-input.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryFilterInput } from './filters.ts';

const StatsBucketEnum = builder.enumType('StatsBucket', {
  description: 'The width of the buckets of statistics. Buckets begin at whole minutes, hours and days in UTC.',
  values: {
    MINUTE: { description: 'Buckets of a minute, counted from the delivery log itself.' },
    HOUR: { description: 'Buckets of an hour, read from stored counts.' },
    DAY: { description: 'Buckets of a day, read from stored counts.' },
  } satisfies Record<StatsBucket, object>,
});

const ResponseTimesType = builder.objectRef<ResponseTimes>('ResponseTimes').implement({
  description: 'Percentiles of response times in milliseconds, with an error of at most 5 %.',
  fields: (t) => ({
    p50: t.exposeFloat('p50'),
    p90: t.exposeFloat('p90'),
    p95: t.exposeFloat('p95'),
    p99: t.exposeFloat('p99'),
  }),
});

type Bucket = { readonly fromMs: number; readonly toMs: number; readonly stats: AttemptStats | undefined };

const WHOLE = 'An integer that can exceed the range of Int.';

const DeliveryStatsBucketType = builder.objectRef<Bucket>('DeliveryStatsBucket').implement({
  description: 'The results of the attempts that started in a period.',
  fields: (t) => ({
    from: t.field({
      type: 'DateTime',
      description: 'The start of the period, included.',
      resolve: ({ fromMs }) => new Date(fromMs),
    }),
    to: t.field({
      type: 'DateTime',
      description: 'The end of the period, excluded.',
      resolve: ({ toMs }) => new Date(toMs),
    }),
    // A large installation exceeds the maximum of Int (2,147,483,647) in a month.
    attemptCount: t.float({ description: WHOLE, resolve: ({ stats }) => stats?.attemptCount ?? 0 }),
    successCount: t.float({ description: WHOLE, resolve: ({ stats }) => stats?.successCount ?? 0 }),
    failureCount: t.float({
      description: WHOLE,
      resolve: ({ stats }) => (stats === undefined ? 0 : stats.attemptCount - stats.successCount),
    }),
    successRate: t.float({
      nullable: true,
      description: 'The share of successful attempts, from 0 to 1; null without attempts.',
      resolve: ({ stats }) => (stats === undefined ? null : stats.successCount / stats.attemptCount),
    }),
    responseTimeMs: t.field({
      type: ResponseTimesType,
      nullable: true,
      description: 'The response times of all attempts, including failed ones; null without attempts.',
      resolve: ({ stats }) => stats?.responseTimeMs,
    }),
  }),
});

type Group = { readonly key: string; readonly total: Bucket; readonly buckets: readonly Bucket[] };

const TOTAL = 'The sum of all buckets.';
const BUCKETS = 'All buckets, oldest first, including those without attempts.';

const DeliveryStatsGroupType = builder.objectRef<Group>('DeliveryStatsGroup').implement({
  description: 'Statistics of the attempts of one group.',
  fields: (t) => ({
    key: t.exposeString('key', {
      description:
        'The id of the webhook subscription, the tenant, the event type, the status code (0 without a response), or the failure reason (empty for successes).',
    }),
    total: t.field({ type: DeliveryStatsBucketType, description: TOTAL, resolve: ({ total }) => total }),
    buckets: t.field({
      type: [DeliveryStatsBucketType],
      description: BUCKETS,
      resolve: ({ buckets }) => [...buckets],
    }),
  }),
});

export type Stats = Omit<Group, 'key'> & { readonly groups: readonly Group[] };

export const DeliveryStatsType = builder.objectRef<Stats>('DeliveryStats').implement({
  description: 'Statistics of the attempts in the delivery log.',
  fields: (t) => ({
    total: t.field({ type: DeliveryStatsBucketType, description: TOTAL, resolve: ({ total }) => total }),
    buckets: t.field({
      type: [DeliveryStatsBucketType],
      description: BUCKETS,
      resolve: ({ buckets }) => [...buckets],
    }),
    groups: t.field({
      type: [DeliveryStatsGroupType],
      description: 'The groups with the most attempts, the largest first; none without `groupBy`.',
      resolve: ({ groups }) => [...groups],
    }),
  }),
});

const StatsGroupEnum = builder.enumType('StatsGroup', {
  description: 'The property by which attempts are grouped.',
  values: {
    SUBSCRIPTION: {
      description: 'The webhook subscription. Requires a tenant or `subscriptionIds`.',
    },
    TENANT: { description: 'The tenant. Excludes `subscriptionIds`.' },
    EVENT_TYPE: { description: 'The event type.' },
    STATUS_CODE: { description: 'The HTTP status code.' },
    FAILURE_REASON: { description: 'The reason of the failure.' },
  } satisfies Record<Exclude<StatsGroup, 'NONE'>, object>,
});

/** The arguments `from` and `to` of a period. */
export const PERIOD_ARGUMENTS = {
  from: {
    type: 'DateTime',
    required: true,
    description: 'The start of the period, rounded down to the start of a bucket.',
  },
  to: {
    type: 'DateTime',
    required: true,
    description: 'The end of the period, rounded up to the end of a bucket.',
  },
} as const;

/** The argument `bucket`; `max` is the maximum number of buckets. */
export const bucketArgument = (max: number) =>
  ({
    type: StatsBucketEnum,
    required: true,
    description: `The width of a bucket. At most ${max.toLocaleString('en')} buckets are possible.`,
  }) as const;

builder.queryField('deliveryStats', (t) =>
  t.field({
    type: DeliveryStatsType,
    complexity: ({ groupBy }) => ({ field: groupBy == null ? 5_000 : 10_000 }),
    description:
      'The number, results and response times of the attempts started in each bucket. An attempt counts as soon as it is in the delivery log. The counts are exact.',
    args: {
      filter: t.arg({
        type: DeliveryFilterInput,
        description:
          'The attempts to count: by tenant, webhook subscription, event type, status, status code and reason of failure; without `from` and `to`.',
      }),
      from: t.arg(PERIOD_ARGUMENTS.from),
      to: t.arg(PERIOD_ARGUMENTS.to),
      bucket: t.arg(bucketArgument(MAX_BUCKETS)),
      groupBy: t.arg({ type: StatsGroupEnum, description: 'The property by which `groups` are formed.' }),
      top: t.arg.int({
        defaultValue: DEFAULT_TOP,
        description: `The number of groups, from 1 to ${MAX_TOP}. Groups times buckets are at most ${MAX_GROUPED_BUCKETS.toLocaleString('en')}.`,
      }),
    },
    resolve: async (_root, { filter: given, ...args }, context): Promise<Stats> => {
      const options = { ...args, top: args.top ?? DEFAULT_TOP };
      // Stored counts of a subscription have no tenant, so readFilter checks that the ids belong to the tenant.
      const problems = problemsOfStats(given ?? {}, options);
      const filter = await readFilter(context, given, { use: 'statistics', problems });
      const { readPool } = context.services.database;
      const plan = planStats(filter, { ...args, groupBy: 'NONE', top: 1 });
      const whole = (await readStats(readPool, plan)).get('') ?? NO_STATS;
      const stats = { ...bucketsOf(whole, plan.query), groups: [] };
      if (args.groupBy == null) return stats;
      const subscriptionIds = await groupedSubscriptions(context, { filter, groupBy: args.groupBy });
      const grouped = planStats({ ...filter, subscriptionIds }, options);
      const groups = await readStats(readPool, grouped);
      return { ...stats, groups: [...groups].map(([key, group]) => ({ key, ...bucketsOf(group, grouped.query) })) };
    },
  }),
);

/** Returns all buckets of a period, including empty ones. */
export function bucketsOf(
  { total, buckets }: GroupStats,
  { fromMs, toMs, bucketMs }: { readonly fromMs: number; readonly toMs: number; readonly bucketMs: number },
): Omit<Group, 'key'> {
  return {
    total: { fromMs, toMs, stats: total },
    buckets: Array.from({ length: (toMs - fromMs) / bucketMs }, (_, index) => ({
      fromMs: fromMs + index * bucketMs,
      toMs: fromMs + (index + 1) * bucketMs,
      stats: buckets.get(index),
    })),
  };
}

/** Maximum number of grouped subscriptions: the newest of the tenant, including deleted ones. */
const MAX_GROUPED = 10_000;

/**
 * The subscriptions of the filter, or all subscriptions of its tenant, because stored counts are looked up by the id of
 * the subscription.
 */
async function groupedSubscriptions(
  { services }: Context,
  { filter, groupBy }: { readonly filter: ResolvedFilter; readonly groupBy: StatsGroup },
): Promise<ResolvedFilter['subscriptionIds']> {
  const { tenant, subscriptionIds } = filter;
  if (groupBy !== 'SUBSCRIPTION' || subscriptionIds != null) return subscriptionIds;
  if (tenant == null) {
    throw new InvalidInputError([{ path: 'groupBy', message: 'SUBSCRIPTION requires a tenant or subscriptionIds' }]);
  }
  const rows = await services.database.prisma.webhookSubscription.findMany({
    where: { tenant },
    select: { id: true },
    orderBy: NEWEST_FIRST,
    take: MAX_GROUPED,
  });
  return rows.map(({ id }) => id);
}
