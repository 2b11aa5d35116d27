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
  description: 'How wide the buckets of statistics are. They begin at whole minutes, hours and days in UTC.',
  values: {
    MINUTE: { description: 'Read from the log itself.' },
    HOUR: { description: 'Read from counts that are kept.' },
    DAY: { description: 'Read from counts that are kept.' },
  } satisfies Record<StatsBucket, object>,
});

const ResponseTimesType = builder.objectRef<ResponseTimes>('ResponseTimes').implement({
  description:
    'The times that so many percent of the attempts did not exceed, in milliseconds; they are off by 5 % at most.',
  fields: (t) => ({
    p50: t.exposeFloat('p50'),
    p90: t.exposeFloat('p90'),
    p95: t.exposeFloat('p95'),
    p99: t.exposeFloat('p99'),
  }),
});

type Bucket = { readonly fromMs: number; readonly toMs: number; readonly stats: AttemptStats | undefined };

const WHOLE = 'A whole number, which may be more than an Int can be.';

const DeliveryStatsBucketType = builder.objectRef<Bucket>('DeliveryStatsBucket').implement({
  description: 'What became of the attempts that were started in a stretch of time.',
  fields: (t) => ({
    from: t.field({ type: 'DateTime', description: 'It included.', resolve: ({ fromMs }) => new Date(fromMs) }),
    to: t.field({ type: 'DateTime', description: 'It excluded.', resolve: ({ toMs }) => new Date(toMs) }),
    // Int ends at 2,147,483,647, which a large installation has in a month.
    attemptCount: t.float({ description: WHOLE, resolve: ({ stats }) => stats?.attemptCount ?? 0 }),
    successCount: t.float({ description: WHOLE, resolve: ({ stats }) => stats?.successCount ?? 0 }),
    failureCount: t.float({
      description: WHOLE,
      resolve: ({ stats }) => (stats === undefined ? 0 : stats.attemptCount - stats.successCount),
    }),
    successRate: t.float({
      nullable: true,
      description: 'From 0 to 1; null if there was no attempt.',
      resolve: ({ stats }) => (stats === undefined ? null : stats.successCount / stats.attemptCount),
    }),
    responseTimeMs: t.field({
      type: ResponseTimesType,
      nullable: true,
      description: 'Of all attempts, failed ones too; null if there was none.',
      resolve: ({ stats }) => stats?.responseTimeMs,
    }),
  }),
});

type Stats = { readonly total: Bucket; readonly buckets: readonly Bucket[] };

const DeliveryStatsType = builder.objectRef<Stats>('DeliveryStats').implement({
  description: 'Statistics of attempts: what the delivery log has, counted.',
  fields: (t) => ({
    total: t.field({
      type: DeliveryStatsBucketType,
      description: 'All buckets together.',
      resolve: ({ total }) => total,
    }),
    buckets: t.field({
      type: [DeliveryStatsBucketType],
      description: 'All of them, the oldest first, also those without attempts.',
      resolve: ({ buckets }) => [...buckets],
    }),
  }),
});

builder.queryField('deliveryStats', (t) =>
  t.field({
    type: DeliveryStatsType,
    complexity: 5_000,
    description:
      'How many attempts were started in each bucket, what became of them and how long they took. An attempt counts as soon as it is in the delivery log. The counts are exact.',
    args: {
      filter: t.arg({
        type: DeliveryFilterInput,
        description: 'Which attempts, as in `deliveryLog`; without its `from` and `to`.',
      }),
      from: t.arg({ type: 'DateTime', required: true, description: 'Rounded down to the beginning of a bucket.' }),
      to: t.arg({ type: 'DateTime', required: true, description: 'Rounded up to the end of a bucket.' }),
      bucket: t.arg({ type: StatsBucketEnum, required: true, description: 'There may be at most 1,000 of them.' }),
    },
    resolve: async (_root, args, context): Promise<Stats> => {
      // The counts of a subscription do not say whose it is: its id is looked up here.
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
