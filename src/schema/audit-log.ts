import { checkFilter } from '../delivery-log/filter-input.ts';
import { AuditActorKind, type AuditEntry, type Prisma } from '../generated/prisma/client.ts';
import { CLOCK_DRIFT_MS, isUuid, uuid7Floor } from '../lib/uuid7.ts';
import { pageOf } from '../postgres/keyset.ts';
import { ApiKeyScopeEnum } from './api-key.ts';
import { builder } from './builder.ts';
import { FROM, TENANT, TO } from './filters.ts';
import { PAGE } from './page.ts';
import { TEXT_ID } from './row-ids.ts';

const ActorKindEnum = builder.enumType('AuditActorKind', {
  description: 'The kind of credential that made a change.',
  values: {
    [AuditActorKind.OPERATOR]: { description: "The operator's key, `ADMIN_API_KEY`." },
    [AuditActorKind.API_KEY]: { description: 'An API key.' },
    [AuditActorKind.SESSION]: { description: 'A session of the console or the portal.' },
    [AuditActorKind.JWT]: { description: 'A JWT.' },
  },
});

type Actor = Pick<AuditEntry, 'actorKind' | 'actorScope' | 'actorId' | 'actorName'>;

const ActorType = builder.objectRef<Actor>('AuditActor').implement({
  description: 'The credential that made a change.',
  fields: (t) => ({
    kind: t.expose('actorKind', { type: ActorKindEnum }),
    scope: t.expose('actorScope', { type: ApiKeyScopeEnum }),
    id: t.exposeID('actorId', {
      nullable: true,
      description:
        "The id of the API key or session; null for other kinds, and null for a viewer of a tenant if the credential is the operator's.",
    }),
    name: t.exposeString('actorName', {
      nullable: true,
      description:
        "The name of the API key, the subject of the session, or the claim `sub` of the JWT; null without one, and null for a viewer of a tenant if the credential is the operator's.",
    }),
  }),
});

export const AuditEntryType = builder.prismaObject('AuditEntry', {
  description: 'A change that was made with a mutation.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant', {
      nullable: true,
      description: 'The tenant whose data was changed; null if the change was not about one tenant.',
    }),
    mutation: t.exposeString('mutation', { description: 'The name of the mutation.' }),
    actor: t.field({
      type: ActorType,
      // The names of the operator's users and systems are hidden from tenants.
      resolve: (entry, _args, { viewer }) =>
        entry.actorScope === 'ADMIN' && viewer.scope !== 'ADMIN' ? { ...entry, actorId: null, actorName: null } : entry,
    }),
    objectType: t.exposeString('objectType', { description: 'The GraphQL type of the object that was changed.' }),
    objectId: t.exposeID('objectId', { nullable: true, description: 'The id of the object.' }),
    before: t.expose('before', {
      type: 'JSON',
      nullable: true,
      description:
        'The settings that were changed, with their old values, without secrets; null if the object was created.',
    }),
    after: t.expose('after', {
      type: 'JSON',
      nullable: true,
      description:
        'The settings that were changed, with their new values, without secrets; null if the object was deleted.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
});

const FilterInput = builder.inputType('AuditLogFilter', {
  description: 'A filter for the audit log. Every given field must match; a list has at most 250 entries.',
  fields: (t) => ({
    tenant: t.string(TENANT),
    mutations: t.stringList({ description: 'Any of these mutations.' }),
    objectIds: t.idList({ ...TEXT_ID, description: 'Any of these objects.' }),
    from: t.field(FROM),
    to: t.field(TO),
  }),
});

const Edge = builder.edgeObject({ name: 'AuditEntryEdge', type: AuditEntryType });
const Connection = builder.connectionObject({ name: 'AuditEntryConnection', type: AuditEntryType }, Edge);

builder.queryField('auditLog', (t) =>
  t.prismaConnection(
    {
      type: AuditEntryType,
      ...PAGE,
      description: 'The changes made with mutations, newest first. Published events are not included.',
      args: { filter: t.arg({ type: FilterInput, description: 'The changes to return. Default: all.' }) },
      resolve: (query, _root, { filter }, { services, viewer }) =>
        services.database.prisma.auditEntry.findMany(
          pageOf(query, { AND: [checkFilter(viewer, filter), ...conditions(filter ?? {})] }),
        ),
    },
    Connection,
  ),
);

type Filter = {
  readonly mutations?: readonly string[] | null | undefined;
  readonly objectIds?: readonly string[] | null | undefined;
  readonly from?: Date | null | undefined;
  readonly to?: Date | null | undefined;
};

function conditions({ mutations, objectIds, from, to }: Filter): Prisma.AuditEntryWhereInput[] {
  return [
    ...(mutations == null ? [] : [{ mutation: { in: mutations.filter(isStorable) } }]),
    ...(objectIds == null ? [] : [{ objectId: { in: objectIds.filter(isStorable).flatMap(formsOf) } }]),
    // An id contains the time at which its mutation started.
    ...(from == null ? [] : [{ createdAt: { gte: from }, id: { gte: uuid7Floor(from.getTime() - CLOCK_DRIFT_MS) } }]),
    ...(to == null ? [] : [{ createdAt: { lt: to }, id: { lt: uuid7Floor(to.getTime() + CLOCK_DRIFT_MS) } }]),
  ];
}

/** The ids of rows are recorded in lower case; publishers' ids of events and names as they are. */
function formsOf(id: string): string[] {
  return isUuid(id) ? [id, id.toLowerCase()] : [id];
}

/** Postgres cannot store a NUL in text. */
function isStorable(text: string): boolean {
  return !text.includes('\0');
}
