import { scopeFilterToViewer } from '../delivery-log/filter.ts';
import {
  type AttemptStats,
  planStats,
  problemsOfStats,
  type ResponseTimes,
  readCountedStats,
  readLoggedStats,
  type StatsBucket,
} from '../delivery-log/stats.ts';
import { builder } from './builder.ts';
import { DeliveryFilterInput } from './delivery.ts';

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

type Stats = { readonly total: Bucket; readonly buckets: readonly Bucket[] };

const DeliveryStatsType = builder.objectRef<Stats>('DeliveryStats').implement({
  description: 'Statistics of the attempts in the delivery log.',
  fields: (t) => ({
    total: t.field({
      type: DeliveryStatsBucketType,
      description: 'The sum of all buckets.',
      resolve: ({ total }) => total,
    }),
    buckets: t.field({
      type: [DeliveryStatsBucketType],
      description: 'All buckets, oldest first, including those without attempts.',
      resolve: ({ buckets }) => [...buckets],
    }),
  }),
});

builder.queryField('deliveryStats', (t) =>
  t.field({
    type: DeliveryStatsType,
    complexity: 5_000,
    description:
      'The number, results and response times of the attempts started in each bucket. An attempt counts as soon as it is in the delivery log. The counts are exact.',
    args: {
      filter: t.arg({
        type: DeliveryFilterInput,
        description: 'The attempts to count, as in `deliveryLog`; without `from` and `to`.',
      }),
      from: t.arg({
        type: 'DateTime',
        required: true,
        description: 'The start of the period, rounded down to the start of a bucket.',
      }),
      to: t.arg({
        type: 'DateTime',
        required: true,
        description: 'The end of the period, rounded up to the end of a bucket.',
      }),
      bucket: t.arg({
        type: StatsBucketEnum,
        required: true,
        description: 'The width of a bucket. At most 1,000 buckets are possible.',
      }),
    },
    resolve: async (_root, args, context): Promise<Stats> => {
      // Stored counts of a subscription have no tenant, so the id is checked here.
      const filter = await scopeFilterToViewer(context, args.filter, problemsOfStats(args.filter ?? {}, args));
      const { query, idBounds } = planStats(filter, args);
      const { readPool } = context.services.database;
      const read =
        idBounds === undefined
          ? readCountedStats(readPool, query)
          : readLoggedStats(readPool, { ...query, ...idBounds });
      const { total, buckets } = await read;
      const { fromMs, toMs, bucketMs } = query;
      return {
        total: { fromMs, toMs, stats: total },
        buckets: Array.from({ length: (toMs - fromMs) / bucketMs }, (_, index) => ({
          fromMs: fromMs + index * bucketMs,
          toMs: fromMs + (index + 1) * bucketMs,
          stats: buckets.get(index),
        })),
      };
    },
  }),
);
