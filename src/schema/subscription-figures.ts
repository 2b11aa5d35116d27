import { problemsOfStats, wholeBuckets } from '../delivery-log/attempt-stats.ts';
import {
  MAX_PENDING,
  MAX_SEARCHED,
  type SecretUsage,
  type SubscriptionHealth,
} from '../delivery-log/subscription-figures.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { builder } from './builder.ts';
import { bucketArgument, bucketsOf, DeliveryStatsType, PERIOD_ARGUMENTS } from './delivery-stats.ts';
import { SigningSecretType, WebhookSubscriptionType } from './webhook-subscription.ts';

const HealthType = builder.objectRef<SubscriptionHealth>('SubscriptionHealth').implement({
  description: "The present state of a webhook subscription's deliveries.",
  fields: (t) => ({
    pendingCount: t.exposeInt('pendingCount', {
      description: `The number of pending deliveries, counted up to ${MAX_PENDING.toLocaleString('en')}.`,
    }),
    isExact: t.exposeBoolean('isExact', {
      description: 'Whether every pending delivery was counted. If not, there are more than `pendingCount`.',
    }),
    oldestPendingAt: t.expose('oldestPendingAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'The creation of the oldest pending delivery; null without any. Unless `isExact`, the oldest of those that are due first.',
    }),
    lastAttemptAt: t.expose('lastAttemptAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The start of the attempt logged last; null without attempts.',
    }),
    lastSuccessAt: t.expose('lastSuccessAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The start of the last successful attempt; null without any among the recent ones.',
    }),
    willDeactivateAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'The earliest time at which the engine deactivates the webhook subscription if no attempt succeeds; null unless the circuit is open.',
      resolve: ({ willDeactivateAt }) => willDeactivateAt,
    }),
  }),
});

const UsageType = builder.objectRef<SecretUsage>('SigningSecretUsage').implement({
  description:
    'The attempts that a signing secret signed. Every valid secret signs each request, so a success does not show with which of them the receiver verified it.',
  fields: (t) => ({
    attemptCount: t.exposeInt('attemptCount', {
      description: `The number of attempts that it signed, out of the newest ${MAX_SEARCHED.toLocaleString('en')} of the webhook subscription.`,
    }),
    successCount: t.exposeInt('successCount', { description: 'The number of these attempts that succeeded.' }),
    isExact: t.exposeBoolean('isExact', {
      description: 'Whether every attempt that it signed was counted. If not, there are older ones.',
    }),
    lastAttemptAt: t.expose('lastAttemptAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The start of the last attempt that it signed; null without any.',
    }),
  }),
});

builder.prismaObjectField(SigningSecretType, 'usage', (t) =>
  t.field({
    type: UsageType,
    complexity: 100,
    description: 'The newest attempts that the secret signed, and how many of them succeeded.',
    resolve: ({ id }, _args, { subscriptionFigures }) => subscriptionFigures.secretUsage(id),
  }),
);

/** Maximum buckets per subscription. A page can have 190 subscriptions with statistics. */
const MAX_BUCKETS = 200;

builder.prismaObjectFields(WebhookSubscriptionType, (t) => ({
  health: t.field({
    type: HealthType,
    complexity: 20,
    description: "The present state of the webhook subscription's deliveries.",
    resolve: ({ id }, _args, { subscriptionFigures }) => subscriptionFigures.health(id),
  }),
  stats: t.field({
    type: DeliveryStatsType,
    complexity: 500,
    description: 'Statistics of the attempts, like those of `deliveryStats`, without groups.',
    args: {
      from: t.arg(PERIOD_ARGUMENTS.from),
      to: t.arg(PERIOD_ARGUMENTS.to),
      bucket: t.arg(bucketArgument(MAX_BUCKETS)),
    },
    resolve: async ({ id }, args, { subscriptionFigures }) => {
      const problems = problemsOfStats({}, { ...args, maxBuckets: MAX_BUCKETS });
      if (problems.length > 0) throw new InvalidInputError(problems);
      return { ...bucketsOf(await subscriptionFigures.stats(id, args), wholeBuckets(args)), groups: [] };
    },
  }),
  deletedAt: t.expose('deletedAt', {
    type: 'DateTime',
    nullable: true,
    description:
      'The time of its deletion; null if it was not deleted. Its deliveries and attempts are kept, its event types and filter are not.',
  }),
}));
