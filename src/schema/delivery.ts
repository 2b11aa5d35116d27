import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { deliveriesWhere } from '../auth/viewer.ts';
import { cancelDelivery } from '../delivery/queue/cancel.ts';
import {
  DeliveryNotPendingError,
  DeliveryNotRetryableError,
  retryDelivery,
  SubscriptionInactiveError,
} from '../delivery/queue/retry.ts';
import { nextAttemptOf, waitReasonOf } from '../delivery/queue/wait-reason.ts';
import { type PlannedAttempt, plannedAttempts } from '../delivery/sending/retry-policy.ts';
import { findDeliveries } from '../delivery-log/delivery-search.ts';
import { attemptWhere } from '../delivery-log/filter.ts';
import { readFilter } from '../delivery-log/filter-input.ts';
import { presentOfLog, watchDeliveryLog } from '../delivery-log/watch-delivery-log.ts';
import { NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { pageOf } from '../postgres/keyset.ts';
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryFilterInput, DeliveryStatusEnum, WaitReasonEnum } from './filters.ts';
import { LOG_PAGE, PAGE, readLogPosition } from './page.ts';

const WAITING = {
  nextAttemptAt: true,
  enqueuedAt: true,
  waitingFor: true,
  subscription: {
    select: {
      rateLimitPerSecond: true,
      state: { select: { openedAt: true, probeAt: true, refusedAt: true, pausedUntil: true } },
    },
  },
} as const;

const PlannedAttemptType = builder.objectRef<PlannedAttempt>('PlannedAttempt').implement({
  description: 'An attempt that is not made yet.',
  fields: (t) => ({
    number: t.exposeInt('number', { description: 'The number of the attempt within its delivery, from 1.' }),
    at: t.expose('at', { type: 'DateTime', description: 'The earliest time of the attempt.' }),
  }),
});

export const DeliveryType = builder.prismaObject('Delivery', {
  description: 'An event to be sent to one webhook subscription.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    status: t.expose('status', { type: DeliveryStatusEnum }),
    attemptCount: t.exposeInt('attemptCount', { description: 'The number of attempts made so far.' }),
    nextAttemptAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'The time of the next attempt; null if none is planned. Not before the end of a pause or, while the circuit is open, its `nextProbeAt`.',
      select: WAITING,
      resolve: (delivery) => nextAttemptOf(delivery),
    }),
    waitingFor: t.field({
      type: WaitReasonEnum,
      nullable: true,
      description:
        'The reason why the delivery is waiting; null if it is on its way to a sender, if an attempt is in flight, or if none is planned.',
      select: WAITING,
      resolve: (delivery, _args, { services: { database, deliveries } }) =>
        waitReasonOf(delivery, { now: new Date(database.clock.now()), takesDeliveries: deliveries.takesDeliveries }),
    }),
    plannedAttempts: t.field({
      type: [PlannedAttemptType],
      complexity: { field: 1, multiplier: 1 },
      description:
        'The attempts that are still made if each fails at once, the next one first; none once the delivery has ended. Their times are varied by up to 20 %.',
      select: { ...WAITING, attemptCount: true, isTest: true },
      resolve: (delivery, _args, { services }) =>
        plannedAttempts({ ...delivery, nextAttemptAt: nextAttemptOf(delivery) }, services.server.retryScheduleMs),
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    completedAt: t.expose('completedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The end of the delivery; null while it is pending.',
    }),
    event: t.relation('event', {
      nullable: true,
      description:
        'The event; null if it is no longer kept, which happens only to deliveries of replays and of `deliverEvents`.',
    }),
    isTest: t.exposeBoolean('isTest', {
      description:
        'Whether `sendTestEvent` created the delivery. It is then attempted once, and counts neither for the circuit nor for deactivation.',
    }),
    replay: t.relation('replay', {
      nullable: true,
      authScopes: { wholeTenant: true },
      unauthorizedResolver: () => null,
      description:
        'The replay that created the delivery; null if none did, and for a session that is restricted to some webhook subscriptions.',
    }),
    subscription: t.relation('subscription', { description: 'The webhook subscription, even if it has been deleted.' }),
    attempts: t.prismaConnection(
      {
        type: AttemptType,
        ...LOG_PAGE,
        description: 'The attempts, newest first.',
        resolve: (query, { id }, _args, { childPages }) => childPages.attemptsOf(id, query),
      },
      AttemptConnection,
    ),
  }),
});

const DeliveryEdge = builder.edgeObject({ name: 'DeliveryEdge', type: DeliveryType });
export const DeliveryConnection = builder.connectionObject(
  { name: 'DeliveryConnection', type: DeliveryType },
  DeliveryEdge,
);

builder.queryFields((t) => ({
  delivery: t.prismaField({
    type: DeliveryType,
    nullable: true,
    description: 'The delivery with this id; null if it does not exist or belongs to another tenant.',
    args: { id: t.arg.id({ required: true, description: 'The id of the delivery.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.delivery.findFirst({ ...query, where: { id, ...deliveriesWhere(viewer) } })
        : null,
  }),
  deliveries: t.prismaConnection(
    {
      type: DeliveryType,
      ...PAGE,
      description: 'The deliveries, newest first.',
      args: { filter: t.arg({ type: DeliveryFilterInput, description: 'The deliveries to return. Default: all.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await readFilter(context, args.filter, { use: 'deliveries' });
        const { prisma } = context.services.database;
        return findDeliveries(prisma, {
          filter,
          query,
          signal: context.signal,
          find: (where, take) => prisma.delivery.findMany(pageOf({ ...query, take }, where)),
        });
      },
    },
    DeliveryConnection,
  ),
}));

const RetryPayload = payload('RetryDeliveryPayload', 'The delivery is attempted as soon as its limits allow.');
const CancelPayload = payload('CancelDeliveryPayload', 'The delivery was cancelled.');

builder.mutationFields((t) => ({
  retryDelivery: t.field({
    audit: 'Delivery',
    type: RetryPayload,
    description:
      'Attempts a waiting delivery now, even if the circuit is open, and gives a failed delivery another attempt. Limits can delay the attempt. A delivery that is in flight is not changed.',
    args: { id: t.arg.id({ required: true, description: 'The id of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotRetryableError, SubscriptionInactiveError] },
    resolve: async (_root, { id }, context) => {
      await requireDelivery(context, id);
      await retryDelivery(context.services, { id, tenant: context.viewer.tenant });
      return { deliveryId: id };
    },
  }),
  cancelDelivery: t.field({
    audit: 'Delivery',
    type: CancelPayload,
    description:
      'Ends a pending delivery without another attempt. An attempt in flight is finished, and counts if it succeeds.',
    args: { id: t.arg.id({ required: true, description: 'The id of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotPendingError] },
    resolve: async (_root, { id }, context) => {
      await requireDelivery(context, id);
      await cancelDelivery(context.services.database, { id, tenant: context.viewer.tenant });
      return { deliveryId: id };
    },
  }),
}));

/** Throws a NotFoundError if the session is restricted to other subscriptions. The mutation itself checks the tenant. */
async function requireDelivery({ services, viewer }: Context, id: string): Promise<void> {
  if (viewer.subscriptionIds === undefined) return;
  const where = { id, ...deliveriesWhere(viewer) };
  const delivery = isUuid(id)
    ? await services.database.prisma.delivery.findFirst({ where, select: { id: true } })
    : null;
  if (delivery === null) throw new NotFoundError('delivery');
}

function payload(name: string, description: string) {
  return builder.objectRef<{ readonly deliveryId: string }>(name).implement({
    description,
    fields: (t) => ({
      delivery: t.prismaField({
        type: DeliveryType,
        resolve: (query, { deliveryId }, _args, { services }) =>
          services.database.prisma.delivery.findUniqueOrThrow({ ...query, where: { id: deliveryId } }),
      }),
    }),
  });
}

const NO_POSITION = { position: undefined, problems: [] };

builder.queryField('deliveryLog', (t) =>
  t.prismaConnection(
    {
      type: AttemptType,
      ...LOG_PAGE,
      description: 'The attempts, newest first.',
      args: { filter: t.arg({ type: DeliveryFilterInput, description: 'The attempts to return. Default: all.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await readFilter(context, args.filter, { use: 'attempts' });
        return context.services.database.prisma.attempt.findMany(pageOf(query, attemptWhere(filter)));
      },
    },
    AttemptConnection,
  ),
);

builder.queryField('deliveryLogCursor', (t) =>
  t.string({
    description:
      'A cursor of the present for `after` of the live stream `deliveryLog`. A client that subscribes with it misses no attempt that is logged after this query, even if its connection breaks before the first one.',
    resolve: async (_root, _args, context) => formatPrismaCursor({ id: await presentOfLog(context) }, 'id'),
  }),
);

builder.subscriptionField('deliveryLog', (t) =>
  t.field({
    type: AttemptType,
    description:
      'Each attempt as it is logged. With `after`, the attempts since that cursor come first, oldest first: a client that subscribes again with its last `cursor` misses no attempt and receives none twice. A slow reader receives attempts later, from the database.',
    args: {
      filter: t.arg({ type: DeliveryFilterInput, description: 'The attempts to return. Default: all.' }),
      after: t.arg.string({
        description: 'The `cursor` of an attempt or of an edge of `deliveryLog`, or a `deliveryLogCursor`.',
      }),
    },
    subscribe: async (_root, args, context) => {
      const { position: after, problems } = args.after == null ? NO_POSITION : readLogPosition(args.after, 'after');
      const filter = await readFilter(context, args.filter, { use: 'attempts', problems });
      return watchDeliveryLog(context, { filter, after });
    },
    resolve: (emission) => {
      if (emission.kind === 'failure') throw emission.error;
      return emission.value;
    },
  }),
);
