import { tenantScope, tenantWhere } from '../auth/viewer.ts';
import { cancelDelivery } from '../delivery/queue/cancel.ts';
import {
  DeliveryNotPendingError,
  DeliveryNotRetryableError,
  retryDelivery,
  SubscriptionInactiveError,
} from '../delivery/queue/retry.ts';
import { nextAttemptOf, waitReasonOf } from '../delivery/queue/wait-reason.ts';
import { attemptWhere, scopeFilterToViewer } from '../delivery-log/filter.ts';
import { findDeliveries } from '../delivery-log/search.ts';
import { watchDeliveryLog } from '../delivery-log/watch.ts';
import { DeliveryStatus, FailureReason, RejectionReason, WaitReason } from '../generated/prisma/client.ts';
import { NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { pageOf } from '../postgres/keyset.ts';
import { AttemptConnection, AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import { LOG_PAGE, PAGE, readLogPosition } from './page.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

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
        const filter = await scopeFilterToViewer(context, args.filter);
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

const RetryPayload = payload('RetryDeliveryPayload', 'The delivery is attempted now, or already under way.');
const CancelPayload = payload('CancelDeliveryPayload', 'The delivery is cancelled.');

builder.mutationFields((t) => ({
  retryDelivery: t.field({
    type: RetryPayload,
    description:
      'Has a delivery that waits attempted now, even if the circuit is open, and gives one that has failed another attempt. One that is under way stays as it is.',
    args: { id: t.arg.id({ required: true, description: 'Of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotRetryableError, SubscriptionInactiveError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await retryDelivery(services, { id, tenant: tenantScope(viewer) });
      return { deliveryId: id };
    },
  }),
  cancelDelivery: t.field({
    type: CancelPayload,
    description:
      'Ends a pending delivery without another attempt. One that is being made is finished, and counts if it succeeds.',
    args: { id: t.arg.id({ required: true, description: 'Of the delivery.' }) },
    errors: { types: [NotFoundError, DeliveryNotPendingError] },
    resolve: async (_root, { id }, { services, viewer }) => {
      await cancelDelivery(services.database, { id, tenant: tenantScope(viewer) });
      return { deliveryId: id };
    },
  }),
}));

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
      args: { filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await scopeFilterToViewer(context, args.filter);
        return context.services.database.prisma.attempt.findMany(pageOf(query, attemptWhere(filter)));
      },
    },
    AttemptConnection,
  ),
);

builder.subscriptionField('deliveryLog', (t) =>
  t.field({
    type: AttemptType,
    description:
      'Each attempt as it is made. With `after`, first those that were made since, oldest first: subscribe again with the last `cursor` that arrived, and nothing is missed or comes twice. Who reads slowly gets them later, from the database.',
    args: {
      filter: t.arg({ type: DeliveryFilterInput, description: 'Default: all of them.' }),
      after: t.arg.string({ description: 'The `cursor` of an attempt that arrived, or of an edge of `deliveryLog`.' }),
    },
    subscribe: async (_root, args, context) => {
      const { position: after, problems } = args.after == null ? NO_POSITION : readLogPosition(args.after, 'after');
      const filter = await scopeFilterToViewer(context, args.filter, problems);
      return watchDeliveryLog(context, { filter, after });
    },
    resolve: (emission) => {
      if (emission.kind === 'failure') throw emission.error;
      return emission.attempt;
    },
  }),
);

const DeliveryStatusEnum = builder.enumType('DeliveryStatus', {
  description: 'What became of a delivery so far.',
  values: {
    [DeliveryStatus.PENDING]: { description: 'An attempt is being made, or due, or waited for.' },
    [DeliveryStatus.SUCCESS]: { description: 'The endpoint answered with a 2xx.' },
    [DeliveryStatus.FAILURE]: { description: 'Every attempt failed; no more are made.' },
    [DeliveryStatus.CANCELLED]: {
      description: 'It was cancelled by a user, or the webhook subscription was deactivated or deleted first.',
    },
  },
});

export const FailureReasonEnum = builder.enumType('FailureReason', {
  description: 'Why an attempt failed.',
  values: {
    [FailureReason.HTTP_STATUS]: { description: 'A status from 400 to 599.' },
    [FailureReason.REDIRECT]: { description: 'A status from 300 to 399; redirects are not followed.' },
    [FailureReason.TIMEOUT]: { description: 'No status line within `timeoutMs`, or no connection in time.' },
    [FailureReason.CONNECTION_REFUSED]: { description: 'Nothing listens at the address.' },
    [FailureReason.CONNECTION_RESET]: { description: 'The connection was closed before a response came.' },
    [FailureReason.UNREACHABLE]: { description: 'There is no route to the host.' },
    [FailureReason.DNS_FAILURE]: { description: 'The name has no address, or its name servers did not answer.' },
    [FailureReason.BLOCKED_TARGET]: { description: 'Requests may not be sent to the address or the port.' },
    [FailureReason.TLS_FAILURE]: { description: 'The handshake failed, or the certificate is not valid.' },
    [FailureReason.INVALID_RESPONSE]: { description: 'It was not HTTP, or a status that does not exist.' },
    [FailureReason.INVALID_REQUEST]: { description: 'The URL or a header cannot be sent.' },
    [FailureReason.OTHER]: { description: 'Anything else; `errorMessage` says what.' },
  },
});

export const RejectionReasonEnum = builder.enumType('RejectionReason', {
  description: 'Why a published message did not become an event.',
  values: {
    [RejectionReason.INVALID_SUBJECT]: { description: 'The subject names no valid tenant or event type.' },
    [RejectionReason.INVALID_HEADERS]: { description: 'The headers cannot be read.' },
    [RejectionReason.INVALID_JSON]: { description: 'The data is not JSON in UTF-8, or nested too deep.' },
    [RejectionReason.TOO_LARGE]: { description: 'There is more than 1 MiB of data.' },
    [RejectionReason.INVALID_EVENT_ID]: { description: 'The id cannot be sent as a header.' },
    [RejectionReason.INVALID_OCCURRED_AT]: { description: 'The time is not ISO 8601 with a zone.' },
    [RejectionReason.INVALID_CLOUD_EVENT]: { description: 'It says that it is a CloudEvent, and is none.' },
    [RejectionReason.SCHEMA_MISMATCH]: {
      description: 'The data breaks the schema of its type in the event catalogue.',
    },
    [RejectionReason.NOT_RECORDED]: {
      description: 'It was an event, but Postgres refused to record it, again and again for two days.',
    },
  },
});

const StatusCodeRange = builder.inputType('StatusCodeRange', {
  description: 'HTTP status codes, both ends included.',
  fields: (t) => ({
    from: t.int({ required: true, description: 'The least one.' }),
    to: t.int({ required: true, description: 'The greatest one.' }),
  }),
});

const EVENT_TYPES = 'Event types, prefixes such as `conversation.*`, or `*`.';
const FROM = 'From this moment on, it included.';
const TO = 'Up to this moment, it excluded.';
const TENANT = 'Only the admin key may name any tenant; other credentials see their own alone.';

export const DeliveryFilterInput = builder.inputType('DeliveryFilter', {
  description:
    'Which deliveries or attempts are meant: all fields given must match, of a list one entry; an empty list matches nothing, and none may have more than 250. The delivery log, live or not, looks at the attempt; `deliveries` at the delivery, of which one attempt must match `statusCodes` and `failureReasons`.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList({ description: 'Of webhook subscriptions.' }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    statuses: t.field({ type: [DeliveryStatusEnum], description: 'Attempts only ever have SUCCESS or FAILURE.' }),
    statusCodes: t.field({ type: [StatusCodeRange], description: 'The response had one of these.' }),
    failureReasons: t.field({ type: [FailureReasonEnum], description: 'Only what failed has one.' }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const EventFilterInput = builder.inputType('EventFilter', {
  description: 'Which events are meant; `from` and `to` say when they came in.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    eventTypes: t.stringList({ description: EVENT_TYPES }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const RejectedEventFilterInput = builder.inputType('RejectedEventFilter', {
  description: 'Which rejected events are meant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    reasons: t.field({ type: [RejectionReasonEnum], description: 'Rejected for one of these.' }),
    from: t.field({ type: 'DateTime', description: FROM }),
    to: t.field({ type: 'DateTime', description: TO }),
  }),
});

export const WebhookSubscriptionFilterInput = builder.inputType('WebhookSubscriptionFilter', {
  description: 'Which webhook subscriptions are meant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT }),
    subscriptionIds: t.idList({ description: 'One of these.' }),
    isActive: t.boolean({ description: 'Only those that are active, or only the others.' }),
  }),
});
