import { putEventType } from '../events/catalogue/service.ts';
import { MAX_SAMPLES, MAX_TRIAL_EVENTS, type SchemaTrial, tryEventType } from '../events/schema-trial.ts';
import type { Event, EventType } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { idRange } from '../lib/uuid7.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { InputProblemType } from './errors.ts';
import { EVENT_COLUMNS, EventType as StoredEventType } from './event.ts';
import { PAGE_BY_NAME } from './page.ts';

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
    hasSchema: t.boolean({
      description: 'Whether data is checked against a schema.',
      select: { schema: true },
      resolve: ({ schema }) => schema !== null,
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
    dryRun: t.boolean({
      defaultValue: false,
      description: 'Whether the schema is only tried on stored events, and nothing is saved.',
    }),
  }),
});

type StoredEvent = Pick<Event, keyof typeof EVENT_COLUMNS>;
type Sample = { readonly event: StoredEvent; readonly reasons: readonly InputProblem[] };
type Trial = Omit<SchemaTrial, 'samples'> & { readonly samples: readonly Sample[] };

const SampleType = builder.objectRef<Sample>('RejectedSample').implement({
  description: 'A stored event that would have been rejected.',
  fields: (t) => ({
    event: t.field({ type: StoredEventType, resolve: ({ event }) => event }),
    reasons: t.field({
      type: [InputProblemType],
      description: 'The first 20 violations of the schema, with paths such as `data.user.age`.',
      resolve: ({ reasons }) => [...reasons],
    }),
  }),
});

const TrialType = builder.objectRef<Trial>('EventTypeTrial').implement({
  description: 'The result of trying a schema on the newest stored events of its type, of all tenants.',
  fields: (t) => ({
    checkedCount: t.exposeInt('checkedCount', {
      description: `The number of events that were checked, at most ${MAX_TRIAL_EVENTS.toLocaleString('en')}, with 8 MiB of data, in some 5 s. Test events and redacted events are excluded.`,
    }),
    rejectedCount: t.exposeInt('rejectedCount', {
      description: 'The number of events among them that the schema would have rejected.',
    }),
    isComplete: t.exposeBoolean('isComplete', { description: 'Whether every stored event of the type was checked.' }),
    samples: t.field({
      type: [SampleType],
      description: `Rejected events, newest first, at most ${MAX_SAMPLES}.`,
      resolve: ({ samples }) => [...samples],
    }),
  }),
});

const Payload = builder
  .objectRef<{ readonly eventType: EventType; readonly trial?: Trial }>('PutEventTypePayload')
  .implement({
    description: 'The entry was created or changed, or a dry run has tried its schema.',
    fields: (t) => ({
      eventType: t.field({
        type: CataloguedType,
        description: 'The entry; after a dry run, the entry that would have been saved.',
        resolve: ({ eventType }) => eventType,
      }),
      trial: t.field({
        type: TrialType,
        nullable: true,
        description: 'The result of a dry run; otherwise null.',
        resolve: ({ trial }) => trial ?? null,
      }),
    }),
  });

builder.mutationField('putEventType', (t) =>
  t.field({
    audit: 'EventType',
    type: Payload,
    authScopes: { admin: true },
    description:
      'Creates or changes an entry of the event catalogue, effective for every event published after the answer. Requires the scope ADMIN.',
    args: { input: t.arg({ type: Input, required: true, description: 'The entry, or the changes to it.' }) },
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { input: { dryRun, ...input } }, { services }) => {
      if (dryRun !== true) return { eventType: await putEventType(services, input) };
      services.database.recorder?.omit();
      const { eventType, trial } = await tryEventType(services, input);
      return { eventType, trial: { ...trial, samples: await readSamples(services, trial) } };
    },
  }),
);

async function readSamples({ database }: Context['services'], { samples }: SchemaTrial): Promise<Sample[]> {
  if (samples.length === 0) return [];
  const ids = samples.map(({ eventRowId }) => eventRowId);
  const [gte, lte] = idRange(ids);
  const where = { id: { in: ids, gte, lte } };
  const rows = await database.prisma.event.findMany({ where, select: EVENT_COLUMNS });
  const events = new Map(rows.map((event) => [event.id, event]));
  return samples.flatMap(({ eventRowId, reasons }) => {
    const event = events.get(eventRowId);
    return event === undefined ? [] : [{ event, reasons }];
  });
}
