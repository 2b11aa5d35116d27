import { tenantWhere } from '../auth/viewer.ts';
import { eventWhere, rejectionWhere } from '../delivery-log/filter.ts';
import { checkFilter, readEventFilter } from '../delivery-log/filter-input.ts';
import { EventSource } from '../generated/prisma/client.ts';
import { isUuid } from '../lib/uuid7.ts';
import type { Database } from '../postgres/client.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import { ConsideredConnection, ConsideredEdge, ConsideredSubscription, considered } from './considered.ts';
import type { Context } from './context.ts';
import { DeliveryConnection, DeliveryType } from './delivery.ts';
import { DeliveryCountsType } from './delivery-counts.ts';
import { EventFilterInput, RejectedEventFilterInput, RejectionReasonEnum } from './filters.ts';
import { PAGE } from './page.ts';
import { TEXT_ID } from './row-ids.ts';

/** Fields of the created event that credentials with the scope PUBLISH can read. */
const FOR_PUBLISHERS = { skipTypeScopes: true } as const;

const EventSourceEnum = builder.enumType('EventSource', {
  description: 'Where an event was published.',
  values: {
    [EventSource.NATS]: { description: 'A service published the event over NATS.' },
    [EventSource.GRAPHQL]: { description: 'The mutation `publishEvent` or `publishEvents` published the event.' },
    [EventSource.TEST]: { description: 'The mutation `sendTestEvent` published the event.' },
    [EventSource.ENGINE]: { description: 'The engine published the event: `webhook_subscription.*`.' },
  },
});

/**
 * Options of a field with event data, or with the body of a request or response: for a session that hides payloads, the
 * field returns `value`.
 */
function hiddenAs<Value>(value: Value) {
  return {
    authScopes: { payloads: true },
    unauthorizedResolver: (
      _parent: unknown,
      _args: unknown,
      { viewer }: Context,
      _info: unknown,
      error: Error,
    ): Value => {
      if (viewer.hidesPayloads !== true) throw error;
      return value;
    },
  } as const;
}

export const PAYLOAD = hiddenAs(null);
/** Options of a field with rows of several subscriptions. */
const OF_TENANT = { authScopes: { wholeTenant: true } } as const;

/**
 * The columns of an event without its data, which can be a megabyte and is read by the field `data`. The fields of
 * these columns have resolvers: an exposed column would be read again by id if the row does not come from the query of
 * its page.
 */
export const EVENT_COLUMNS = {
  id: true,
  eventId: true,
  tenant: true,
  type: true,
  occurredAt: true,
  createdAt: true,
  matchedVersion: true,
  source: true,
  redactedAt: true,
} as const;

export const EventType = builder.prismaObject('Event', {
  description: 'An event that a service published.',
  authScopes: { read: true },
  select: EVENT_COLUMNS,
  fields: (t) => ({
    id: t.id({
      ...FOR_PUBLISHERS,
      resolve: ({ eventId }) => eventId,
      description: "The publisher's id, unique within the tenant, and the `webhook-id` of every request.",
    }),
    tenant: t.string({ ...FOR_PUBLISHERS, resolve: ({ tenant }) => tenant }),
    type: t.string({ ...FOR_PUBLISHERS, resolve: ({ type }) => type }),
    occurredAt: t.field({
      ...FOR_PUBLISHERS,
      type: 'DateTime',
      resolve: ({ occurredAt }) => occurredAt,
      description:
        'The time of the event, set by the publisher; if it set none, the time at which the event was stored in JetStream, or published over GraphQL.',
    }),
    createdAt: t.field({
      ...FOR_PUBLISHERS,
      type: 'DateTime',
      resolve: ({ createdAt }) => createdAt,
      description: 'The time at which the event was recorded.',
    }),
    data: t.field({
      type: 'JSON',
      nullable: true,
      ...PAYLOAD,
      description:
        'The data as it was published, which can be null; also null if the session hides payloads. An operation reads at most 16 MiB of data.',
      complexity: 100,
      // Returns the text, which was validated as JSON when the event was received.
      resolve: ({ id }, _args, { eventData }) => eventData.json(id),
    }),
    dataText: t.string({
      nullable: true,
      ...PAYLOAD,
      description:
        'The data byte for byte as it was published. Numbers beyond the precision of a double are exact here. Null if the session hides payloads. An operation reads at most 16 MiB of data.',
      complexity: 100,
      resolve: ({ id }, _args, { eventData }) => eventData.text(id),
    }),
    sizeBytes: t.int({
      description: 'The size of the data.',
      resolve: ({ id }, _args, { eventData }) => eventData.sizeBytes(id),
    }),
    source: t.field({ type: EventSourceEnum, resolve: ({ source }) => source }),
    redactedAt: t.field({
      type: 'DateTime',
      nullable: true,
      resolve: ({ redactedAt }) => redactedAt,
      description:
        'The time at which `redactEvent` removed the data, after which `data` is null; null if the event was not redacted.',
    }),
    summary: t.field({
      ...OF_TENANT,
      type: DeliveryCountsType,
      complexity: 20,
      description: 'The number of deliveries of the event by status, counted up to 1,000 deliveries.',
      resolve: ({ id }, _args, { countDeliveriesOfEvent }) => countDeliveriesOfEvent(id),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        ...OF_TENANT,
        description: 'The deliveries of the event, newest first.',
        resolve: (query, { id }, _args, { childPages }) => childPages.deliveriesOf(id, query),
      },
      DeliveryConnection,
    ),
    considered: t.connection(
      {
        type: ConsideredSubscription,
        ...OF_TENANT,
        complexity: PAGE.complexity,
        description:
          "The tenant's webhook subscriptions when the event was dispatched, newest first, each with the reason why it did or did not get the event by its settings at that time. Test events and `webhook_subscription.*` events have only the subscriptions that got them.",
        resolve: (event, args, context) => considered(context, { event, args }),
      },
      ConsideredConnection,
      ConsideredEdge,
    ),
  }),
});

const EventEdge = builder.edgeObject({ name: 'EventEdge', type: EventType });
const EventConnection = builder.connectionObject({ name: 'EventConnection', type: EventType }, EventEdge);

export const RejectedEventType = builder.prismaObject('RejectedEvent', {
  description: 'A published message that is not a valid event.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant', {
      nullable: true,
      description: 'The tenant; null if the subject has no valid tenant.',
    }),
    subject: t.exposeString('subject', { description: 'The NATS subject of the message.' }),
    reason: t.expose('reason', { type: RejectionReasonEnum }),
    message: t.exposeString('message', {
      description:
        'A description of the problem for people. It can name members of the data, so a session that hides payloads gets no text.',
      ...hiddenAs(''),
    }),
    sizeBytes: t.exposeInt('sizeBytes'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
});

const RejectedEventEdge = builder.edgeObject({ name: 'RejectedEventEdge', type: RejectedEventType });
const RejectedEventConnection = builder.connectionObject(
  { name: 'RejectedEventConnection', type: RejectedEventType },
  RejectedEventEdge,
);

builder.queryFields((t) => ({
  event: t.prismaField({
    type: EventType,
    nullable: true,
    description:
      'The event with this id; null if there is none. Without `tenant`, the newest one if several tenants have an event with this id.',
    args: {
      id: t.arg.id({ ...TEXT_ID, required: true, description: "The publisher's id, as in `webhook-id`." }),
      tenant: t.arg.string({ description: 'The tenant. Only the scope ADMIN can name any tenant.' }),
    },
    resolve: async (query, _root, { id, tenant }, { services, viewer }) => {
      const where = await eventWithId(services.database, { eventId: id, ...tenantWhere(viewer, tenant) });
      return where && services.database.prisma.event.findFirst({ ...query, where, orderBy: NEWEST_FIRST });
    },
  }),
  events: t.prismaConnection(
    {
      type: EventType,
      ...PAGE,
      description: 'The events, newest first.',
      args: { filter: t.arg({ type: EventFilterInput, description: 'The events to return. Default: all.' }) },
      resolve: async (query, _root, args, context) => {
        const filter = await readEventFilter(context, args.filter);
        return context.services.database.prisma.event.findMany(pageOf(query, eventWhere(filter)));
      },
    },
    EventConnection,
  ),
  rejectedEvents: t.prismaConnection(
    {
      type: RejectedEventType,
      ...PAGE,
      description: 'The rejected events, newest first.',
      args: {
        filter: t.arg({ type: RejectedEventFilterInput, description: 'The rejected events to return. Default: all.' }),
      },
      resolve: (query, _root, { filter }, { services, viewer }) => {
        const tenant = checkFilter(viewer, filter);
        const reasons = filter?.reasons == null ? {} : { reason: { in: filter.reasons } };
        const where = { ...tenant, ...reasons, ...rejectionWhere(filter ?? {}) };
        return services.database.prisma.rejectedEvent.findMany(pageOf(query, where));
      },
    },
    RejectedEventConnection,
  ),
}));

type EventKey = { readonly eventId: string; readonly tenant?: string };

/**
 * Returns the condition for the event with this publisher's id; null if there is none. The table of events has no index
 * on that id, and an event that was published without an id has the id of its row.
 */
export async function eventWithId({ prisma }: Pick<Database, 'prisma'>, key: EventKey) {
  const { eventId } = key;
  // Postgres cannot store a NUL in text.
  if (eventId.includes('\0')) return null;
  const known = await prisma.eventId.findMany({ where: key, orderBy: { eventRowId: 'desc' }, take: 1 });
  const rowIds = [...known.map(({ eventRowId }) => eventRowId), ...(isUuid(eventId) ? [eventId] : [])];
  return rowIds.length === 0 ? null : { ...key, id: { in: rowIds } };
}
