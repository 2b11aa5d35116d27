/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { builder } from './builder.ts';
import { PAGE_BY_NAME } from './page.ts';

export const CataloguedType = builder.prismaObject('EventType', {
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
