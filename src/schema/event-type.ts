import { putEventType } from '../events/catalogue/service.ts';
import type { EventType } from '../generated/prisma/client.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { builder } from './builder.ts';
import { PAGE_BY_NAME } from './page.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

export const CataloguedType = builder.prismaObject('EventType', {
  description: 'An entry of the event catalogue, which all tenants share.',
  fields: (t) => ({
    name: t.exposeString('name'),
    description: t.exposeString('description', { description: 'A text for people.' }),
    schema: t.expose('schema', {
      type: 'JSON',
      nullable: true,
      description: 'The JSON Schema (draft 2020-12) of the data; null if any data is valid.',
    }),
    isArchived: t.exposeBoolean('isArchived', {
      description:
        'Whether the type is archived. Archived types are still delivered to existing webhook subscriptions; new ones cannot select them.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
  }),
});

const Edge = builder.edgeObject({ name: 'EventTypeEdge', type: CataloguedType });
const Connection = builder.connectionObject({ name: 'EventTypeConnection', type: CataloguedType }, Edge);

const FilterInput = builder.inputType('EventTypeFilter', {
  description: 'A filter for event types.',
  fields: (t) => ({
    includeArchived: t.boolean({ description: 'Whether archived types are included. Default: false.' }),
  }),
});

builder.queryFields((t) => ({
  eventType: t.prismaField({
    type: CataloguedType,
    nullable: true,
    description: 'The event type of this name, even if it is archived; null if there is none.',
    args: { name: t.arg.string({ required: true, description: 'The name of the event type.' }) },
    resolve: (query, _root, { name }, { services }) =>
      // Postgres cannot store a NUL in text.
      name.includes('\0') ? null : services.database.prisma.eventType.findUnique({ ...query, where: { name } }),
  }),
  eventTypes: t.prismaConnection(
    {
      type: CataloguedType,
      ...PAGE_BY_NAME,
      description: 'The event catalogue, sorted by name.',
      args: {
        filter: t.arg({
          type: FilterInput,
          description: 'The event types to return. Default: all that are not archived.',
        }),
      },
      resolve: (query, _root, { filter }, { services }) =>
        services.database.prisma.eventType.findMany({
          ...query,
          where: filter?.includeArchived === true ? {} : { isArchived: false },
          orderBy: { name: 'asc' },
        }),
    },
    Connection,
  ),
}));

const Input = builder.inputType('PutEventTypeInput', {
  description:
    'An entry of the event catalogue. An absent field keeps its value, and so does one that is null, except for `schema`.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'The event type. The entry of this name is changed, or created if there is none.',
    }),
    description: t.string({ description: 'A text for people, at most 1,000 characters.' }),
    schema: t.field({
      type: 'JSON',
      description:
        'A JSON Schema (draft 2020-12), at most 64 KiB, without references outside itself. Events with data that does not match are rejected from now on. `null` removes the schema.',
    }),
    isArchived: t.boolean({
      description:
        'Whether the type is archived: new webhook subscriptions cannot select it, and its events are delivered as before.',
    }),
  }),
});

const Payload = builder.objectRef<{ readonly eventType: EventType }>('PutEventTypePayload').implement({
  description: 'The entry was created or changed.',
  fields: (t) => ({ eventType: t.field({ type: CataloguedType, resolve: ({ eventType }) => eventType }) }),
});

builder.mutationField('putEventType', (t) =>
  t.field({
    audit: 'CataloguedEventType',
    type: Payload,
    authScopes: { admin: true },
    description:
      'Creates or changes an entry of the event catalogue, effective for every event published after the answer. Requires the scope ADMIN.',
    args: { input: t.arg({ type: Input, required: true, description: 'The entry, or the changes to it.' }) },
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { input }, { services }) => ({ eventType: await putEventType(services, input) }),
  }),
);
