import { readOneTenant } from '../auth/viewer.ts';
import { checkFilter } from '../delivery-log/filter-input.ts';
import { eraseTenant, redactEvent, TooManyRedactionsError } from '../erasure/service.ts';
import { type Erasure, ErasureStatus } from '../generated/prisma/client.ts';
import { InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import { EventType, eventWithId } from './event.ts';
import { REQUIRED_TENANT } from './filters.ts';
import { PAGE } from './page.ts';
import { TEXT_ID } from './row-ids.ts';

/** Data that remains after an erasure. */
const REMAINS = [
  "the tenant's name and a version number in the table tenants",
  'the entry of eraseTenant in the audit log, and the rows in the table erasures: internal ids of redacted events, times and numbers of redactions and erasures',
  'numbers by event type and hour over all tenants in the table attempt_counts',
  'backups, replicas and write-ahead logs of Postgres, and free space on its disks until it is overwritten',
  'backups and mirrors of JetStream streams',
  'log lines of the engine: ids, tenant, event types and outcomes',
  'everything that receivers, proxies and publishers have stored',
];

const StatusEnum = builder.enumType('ErasureStatus', {
  description: 'The state of an erasure.',
  values: {
    [ErasureStatus.RUNNING]: { description: 'Rows and messages are being deleted.' },
    [ErasureStatus.COMPLETED]: { description: 'All data was deleted.' },
  },
});

export const ErasureType = builder.prismaObject('Erasure', {
  description: 'A job that deletes all data of a tenant.',
  authScopes: { admin: true },
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant'),
    status: t.expose('status', { type: StatusEnum }),
    deletedRowCount: t.int({
      description: 'The number of rows deleted from Postgres so far.',
      resolve: ({ deletedRowCount }) => countOf(deletedRowCount),
    }),
    deletedMessageCount: t.int({
      description: 'The number of messages deleted from JetStream so far.',
      resolve: ({ deletedMessageCount }) => countOf(deletedMessageCount),
    }),
    remains: t.stringList({
      description:
        'The data that remains after an erasure, as text for people: places from which the engine cannot or must not delete.',
      resolve: () => REMAINS,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    completedAt: t.expose('completedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The end of the erasure; null while it is running.',
    }),
  }),
});

/** GraphQL's Int has 32 bits. */
const MAX_INT = 2 ** 31 - 1;

function countOf(count: bigint): number {
  return Math.min(Number(count), MAX_INT);
}

const FilterInput = builder.inputType('ErasureFilter', {
  description: 'A filter for erasures.',
  fields: (t) => ({ tenant: t.string({ description: 'Only the erasures of this tenant.' }) }),
});

const Edge = builder.edgeObject({ name: 'ErasureEdge', type: ErasureType });
const Connection = builder.connectionObject({ name: 'ErasureConnection', type: ErasureType }, Edge);

/** Erasures of one event follow from redactEvent, and are not listed. */
export const WHERE_TENANT_ERASURE = { eventRowId: null };

builder.queryFields((t) => ({
  erasure: t.prismaField({
    type: ErasureType,
    nullable: true,
    authScopes: { admin: true },
    description: 'The erasure with this id; null if it does not exist. Requires the scope ADMIN.',
    args: { id: t.arg.id({ required: true, description: 'The id of the erasure.' }) },
    resolve: (query, _root, { id }, { services }) =>
      isUuid(id)
        ? services.database.prisma.erasure.findFirst({ ...query, where: { id, ...WHERE_TENANT_ERASURE } })
        : null,
  }),
  erasures: t.prismaConnection(
    {
      type: ErasureType,
      ...PAGE,
      authScopes: { admin: true },
      description: 'The erasures of tenants, newest first. Requires the scope ADMIN.',
      args: { filter: t.arg({ type: FilterInput, description: 'The erasures to return. Default: all.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.erasure.findMany(
          pageOf(query, { ...WHERE_TENANT_ERASURE, ...checkFilter(viewer, filter) }),
        ),
    },
    Connection,
  ),
}));

const ErasePayload = builder.objectRef<{ readonly erasure: Erasure }>('EraseTenantPayload').implement({
  description: 'The erasure is running.',
  fields: (t) => ({ erasure: t.field({ type: ErasureType, resolve: ({ erasure }) => erasure }) }),
});

const RedactPayload = builder.objectRef<{ readonly eventRowId: string }>('RedactEventPayload').implement({
  description: 'The data of the event was removed.',
  fields: (t) => ({
    event: t.prismaField({
      type: EventType,
      resolve: (query, { eventRowId }, _args, { services }) =>
        services.database.prisma.event.findUniqueOrThrow({ ...query, where: { id: eventRowId } }),
    }),
  }),
});

builder.mutationFields((t) => ({
  eraseTenant: t.field({
    type: ErasePayload,
    audit: 'Tenant',
    authScopes: { admin: true },
    description:
      'Deletes all data of a tenant from Postgres and JetStream: events, deliveries, attempts, webhook subscriptions, API keys and entries of the audit log. Events that are published in the meantime are deleted, too. An erasure takes at least five minutes, and cannot be stopped or undone. If one is already running for the tenant, it is returned. Requires the scope ADMIN.',
    args: { tenant: t.arg.string({ required: true, description: 'The tenant.' }) },
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { tenant }, { services }) => ({ erasure: await eraseTenant(services.database, tenant) }),
  }),
  redactEvent: t.field({
    type: RedactPayload,
    audit: 'Event',
    description:
      'Removes the data of an event and the response bodies of its attempts, also from JetStream within minutes. Its pending deliveries are cancelled; an attempt in flight is finished. The event is no longer replayed. Its deliveries and attempts are still listed. A tenant may have 10,000 running redactions, each of which takes at least five minutes. The operation cannot be undone.',
    args: {
      id: t.arg.id({ ...TEXT_ID, required: true, description: "The publisher's id, as in `webhook-id`." }),
      tenant: t.arg.string(REQUIRED_TENANT),
    },
    errors: { types: [NotFoundError, InvalidInputError, TooManyRedactionsError] },
    resolve: async (_root, { id, tenant: given }, { services, viewer }) => {
      const { tenant, tenantProblem } = readOneTenant(viewer, given);
      if (tenant === undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
      const { prisma } = services.database;
      const where = await eventWithId(services.database, { eventId: id, tenant });
      const event = where && (await prisma.event.findFirst({ where, select: { id: true }, orderBy: NEWEST_FIRST }));
      if (!event) throw new NotFoundError('event');
      await redactEvent(services.database, { tenant, id: event.id });
      return { eventRowId: event.id };
    },
  }),
}));
