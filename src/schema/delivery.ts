/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { nextAttemptOf, waitReasonOf } from '../delivery/queue/wait-reason.ts';
import { isUuid } from '../subscriptions/service.ts';
import { WaitReason } from '../generated/prisma/client.ts';
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import { DeliveryFilterInput, DeliveryStatusEnum } from './filter-inputs.ts';
import { findDeliveries } from '../delivery-log/find-deliveries.ts';
import { ownDeliveryFilter } from '../delivery-log/own-delivery-filter.ts';
import { LOG_PAGE, PAGE, pageOf } from './page.ts';
import { tenantWhere } from '../auth/viewer.ts';

const WaitReasonEnum = builder.enumType('WaitReason', {
  description: 'What a pending delivery waits for.',
  values: {
    [WaitReason.BACKOFF]: { description: 'The wait after a failed attempt.' },
    [WaitReason.RETRY_AFTER]: {
      description: 'The endpoint asked to wait (Retry-After), for longer than the back-off.',
    },
    [WaitReason.CIRCUIT_OPEN]: {
      description: 'It is due, but the endpoint keeps failing: only probes are sent to it until one succeeds.',
    },
    [WaitReason.RATE_LIMITED]: {
      description: "It is due, but the subscription's rateLimitPerSecond is used up, or others come first.",
    },
    [WaitReason.IN_FLIGHT_LIMIT]: {
      description:
        "It is due, but as many attempts as the subscription's maxInFlight are being made, or others come first.",
    },
    [WaitReason.BROKER_UNAVAILABLE]: {
      description: 'It is due, but the message broker is unavailable or full. It is attempted once that is over.',
    },
  },
});

const WAITING = {
  nextAttemptAt: true,
  enqueuedAt: true,
  waitingFor: true,
  subscription: {
    select: { rateLimitPerSecond: true, state: { select: { openedAt: true, probeAt: true, refusedAt: true } } },
  },
} as const;

export const DeliveryType = builder.prismaObject('Delivery', {
  description: 'One event on its way to one webhook subscription.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    status: t.expose('status', { type: DeliveryStatusEnum }),
    attemptCount: t.exposeInt('attemptCount', { description: 'How many attempts have been made.' }),
    nextAttemptAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        "When the next attempt is due; null if none is planned. Behind an open circuit, not before the circuit's `nextProbeAt`.",
      select: WAITING,
      resolve: (delivery) => nextAttemptOf(delivery),
    }),
    waitingFor: t.field({
      type: WaitReasonEnum,
      nullable: true,
      description: 'Why no attempt is made right now; null if one is, or if none is planned.',
      select: WAITING,
      resolve: (delivery, _args, { services: { database, bus } }) =>
        waitReasonOf(delivery, { now: new Date(database.clock.now()), takesDeliveries: bus.takesDeliveries }),
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    completedAt: t.expose('completedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'Null while it is pending.',
    }),
    event: t.relation('event', {
      nullable: true,
      description: 'Null once it is gone, which can only be before a replayed delivery is.',
    }),
    isTest: t.exposeBoolean('isTest', {
      description:
        'Whether `sendTestEvent` made it: then it is attempted once, and counts neither for the circuit nor for deactivation.',
    }),
    replay: t.relation('replay', { nullable: true, description: 'The replay that made it; null if none did.' }),
    subscription: t.relation('subscription', { description: 'Also if it has been deleted since.' }),
    attempts: t.prismaConnection(
      {
        type: AttemptType,
        ...LOG_PAGE,
        description: 'Newest first.',
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
    description: "Null if there is none with this id, or if it is another tenant's.",
    args: { id: t.arg.id({ required: true, description: 'Of the delivery.' }) },
    resolve: (query, _root, { id }, { services, viewer }) =>
      isUuid(id)
        ? services.database.prisma.delivery.findFirst({ ...query, where: { id, ...tenantWhere(viewer) } })
        : null,
  }),
  deliveries: t.prismaConnection(
    {
      type: DeliveryType,
      ...PAGE,
      description: 'Newest first.',
      args: { filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await ownDeliveryFilter(context, args.filter);
        const { prisma } = context.services.database;
        return findDeliveries(prisma, {
          ...{ filter, query, signal: context.signal },
          find: (where, take) => prisma.delivery.findMany(pageOf({ ...query, take }, where)),
        });
      },
    },
    DeliveryConnection,
  ),
}));
