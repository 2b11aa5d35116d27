/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { isUuid } from '../subscriptions/service.ts';
import { builder } from './builder.ts';
import { ConsideredConnection, ConsideredEdge, ConsideredSubscription, considered } from './considered-subscription.ts';
import { DeliveryConnection, DeliveryType } from './delivery.ts';
import { eventWhere, rejectionWhere } from '../delivery-log/delivery-filter-where.ts';
import { EventFilterInput, RejectedEventFilterInput, RejectionReasonEnum } from './filter-inputs.ts';
import { checkFilter } from '../delivery-log/own-delivery-filter.ts';
import { NEWEST_FIRST, PAGE, pageOf } from './page.ts';
import { tenantWhere } from '../auth/viewer.ts';

/** What somebody who may publish, and do nothing else, is told of the event that was made. */
const FOR_PUBLISHERS = { skipTypeScopes: true } as const;

export const EventType = builder.prismaObject('Event', {
  description: 'Something a service published.',
  authScopes: { read: true },
  // Not the data, which can be a megabyte: it is read only where it is asked for.
  select: {
    id: true,
    eventId: true,
    tenant: true,
    type: true,
    occurredAt: true,
    createdAt: true,
    matchedVersion: true,
  },
  fields: (t) => ({
    id: t.exposeID('eventId', {
      ...FOR_PUBLISHERS,
      description: "The publisher's id, unique within the tenant; `webhook-id` in every request.",
    }),
    tenant: t.exposeString('tenant', FOR_PUBLISHERS),
    type: t.exposeString('type', FOR_PUBLISHERS),
    occurredAt: t.expose('occurredAt', { ...FOR_PUBLISHERS, type: 'DateTime', description: 'As the publisher says.' }),
    createdAt: t.expose('createdAt', { ...FOR_PUBLISHERS, type: 'DateTime', description: 'When it was recorded.' }),
    data: t.field({
      type: 'JSON',
      nullable: true,
      description: 'As it was published; it may be null. At most 16 MiB of all events together.',
      complexity: 100,
      // Its text: it was checked to be JSON when it came in.
      resolve: ({ id }, _args, { eventData }) => eventData(id),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        description: 'One for each webhook subscription that got it; newest first.',
        resolve: (query, { id }, _args, { childPages }) => childPages.deliveriesOf(id, query),
      },
      DeliveryConnection,
    ),
    considered: t.connection(
      {
        type: ConsideredSubscription,
        complexity: PAGE.complexity,
        description:
          "The tenant's webhook subscriptions at the time it was dispatched, newest first, and why each did or did not get it: by the settings of that time, whatever has been changed since. Of test events and of those about subscriptions, only who got them.",
        resolve: (event, args, context) => considered(context, { event, args }),
      },
      ConsideredConnection,
      ConsideredEdge,
    ),
  }),
});

const EventEdge = builder.edgeObject({ name: 'EventEdge', type: EventType });
const EventConnection = builder.connectionObject({ name: 'EventConnection', type: EventType }, EventEdge);

const RejectedEventType = builder.prismaObject('RejectedEvent', {
  description: 'A published message that could not become an event.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant', { nullable: true, description: 'Null where the subject names no valid tenant.' }),
    subject: t.exposeString('subject', { description: 'The NATS subject it was published to.' }),
    reason: t.expose('reason', { type: RejectionReasonEnum }),
    message: t.exposeString('message', { description: 'What was wrong with it, for people.' }),
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
    description: 'The newest event with this id, if several tenants have one and `tenant` does not say which.',
    args: {
      id: t.arg.id({ required: true, description: "The publisher's id, the one in `webhook-id`." }),
      tenant: t.arg.string({ description: 'Whose; only the admin key may name any tenant.' }),
    },
    resolve: async (query, _root, { id, tenant }, { services, viewer }) => {
      // Postgres has no text with a NUL in it.
      if (id.includes('\0')) return null;
      const { prisma } = services.database;
      const where = { eventId: id, ...tenantWhere(viewer, tenant) };
      // Events themselves have no index on the publisher's id; one without such an id goes by its row's.
      const known = await prisma.eventId.findMany({ where, orderBy: { eventRowId: 'desc' }, take: 1 });
      const rowIds = [...known.map(({ eventRowId }) => eventRowId), ...(isUuid(id) ? [id] : [])];
      return prisma.event.findFirst({ ...query, where: { ...where, id: { in: rowIds } }, orderBy: NEWEST_FIRST });
    },
  }),
  events: t.prismaConnection(
    {
      type: EventType,
      ...PAGE,
      description: 'Newest first.',
      args: { filter: t.arg({ type: EventFilterInput, description: 'Default: all of them.' }) },
      resolve: (query, _root, args, { services, viewer }) => {
        const filter = { ...args.filter, ...checkFilter(viewer, args.filter) };
        return services.database.prisma.event.findMany(pageOf(query, eventWhere(filter)));
      },
    },
    EventConnection,
  ),
  rejectedEvents: t.prismaConnection(
    {
      type: RejectedEventType,
      ...PAGE,
      description: 'Newest first.',
      args: { filter: t.arg({ type: RejectedEventFilterInput, description: 'Default: all of them.' }) },
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
