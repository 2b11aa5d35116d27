import { putEventType } from '../events/catalogue/service.ts';
import type { EventType } from '../generated/prisma/client.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { builder } from './builder.ts';
import { PAGE_BY_NAME } from './page.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

const CataloguedType = builder.prismaObject('EventType', {
  description: 'An entry of the event catalogue, which is the same for every tenant.',
  fields: (t) => ({
    name: t.exposeString('name'),
    description: t.exposeString('description', { description: 'For people.' }),
    schema: t.expose('schema', {
      type: 'JSON',
      nullable: true,
      description: 'The JSON Schema (draft 2020-12) of its data; null if any data will do.',
    }),
    isArchived: t.exposeBoolean('isArchived', {
      description: 'An archived one still goes to those who have it, but no webhook subscription may newly ask for it.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime' }),
  }),
});

const Edge = builder.edgeObject({ name: 'EventTypeEdge', type: CataloguedType });
const Connection = builder.connectionObject({ name: 'EventTypeConnection', type: CataloguedType }, Edge);

const FilterInput = builder.inputType('EventTypeFilter', {
  description: 'Which event types are meant.',
  fields: (t) => ({ includeArchived: t.boolean({ description: 'Default: false.' }) }),
});

builder.queryFields((t) => ({
  eventType: t.prismaField({
    type: CataloguedType,
    nullable: true,
    description: 'Also if it is archived.',
    args: { name: t.arg.string({ required: true, description: 'Of the event type.' }) },
    resolve: (query, _root, { name }, { services }) =>
      // Postgres has no text with a NUL in it.
      name.includes('\0') ? null : services.database.prisma.eventType.findUnique({ ...query, where: { name } }),
  }),
  eventTypes: t.prismaConnection(
    {
      type: CataloguedType,
      ...PAGE_BY_NAME,
      description: 'The event catalogue, by name.',
      args: { filter: t.arg({ type: FilterInput, description: 'Default: those that are not archived.' }) },
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
    'An entry of the event catalogue. A field that is absent keeps its value, and so does one that is null, but for `schema`.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'The event type. An entry of this name is changed, or else created.',
    }),
    description: t.string({ description: 'For people; at most 1,000 characters.' }),
    schema: t.field({
      type: 'JSON',
      description:
        'JSON Schema, draft 2020-12, at most 64 KiB: what breaks it is rejected from now on. It may refer to nothing outside itself. `null` removes it.',
    }),
    isArchived: t.boolean({
      description: '`true`: no webhook subscription may newly ask for it. Its events go on as before.',
    }),
  }),
});

const Payload = builder.objectRef<{ readonly eventType: EventType }>('PutEventTypePayload').implement({
  description: 'The event catalogue has it now.',
  fields: (t) => ({ eventType: t.field({ type: CataloguedType, resolve: ({ eventType }) => eventType }) }),
});

builder.mutationField('putEventType', (t) =>
  t.field({
    type: Payload,
    authScopes: { admin: true },
    description:
      'Creates or changes an entry of the event catalogue; needs the scope ADMIN. Counts for every event published after the answer.',
    args: { input: t.arg({ type: Input, required: true, description: 'The entry, or what to change of it.' }) },
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { input }, { services }) => ({ eventType: await putEventType(services, input) }),
  }),
);
