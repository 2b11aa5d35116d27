import { ForbiddenError, readTenant, tenantWhere } from '../auth/viewer.ts';
import { eventWhere } from '../delivery-log/filter.ts';
import { checkFilter } from '../delivery-log/filter-input.ts';
import { compileFilter, failedPaths } from '../events/matching/filter.ts';
import { validateFilter } from '../events/matching/filter-validation.ts';
import type { Event } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { EVENT_COLUMNS, EventType, eventWithId } from './event.ts';
import { encodeEventData } from './publish-event.ts';
import { TEXT_ID } from './row-ids.ts';

type FilterResult = { readonly failedPaths: string[] };

const FAILED_PATHS =
  'The paths of the conditions that do not match, such as `filter.user.age.$gt`. A `$or`, a `$not`, or fields of an array are named as a whole.';

const TestFilterResult = builder.objectRef<FilterResult>('TestFilterResult').implement({
  description: 'The result of a payload filter on data.',
  fields: (t) => ({
    matches: t.boolean({
      description: 'Whether the data matches the filter.',
      resolve: (result) => result.failedPaths.length === 0,
    }),
    failedPaths: t.exposeStringList('failedPaths', { description: FAILED_PATHS }),
  }),
});

type EventRow = Pick<Event, keyof typeof EVENT_COLUMNS>;

const EventResult = builder.objectRef<FilterResult & { readonly event: EventRow }>('TestFilterEventResult').implement({
  description: 'The result of a payload filter on the data of an event.',
  fields: (t) => ({
    event: t.field({ type: EventType, resolve: ({ event }) => event }),
    matches: t.boolean({
      description: 'Whether the data matches the filter.',
      resolve: (result) => result.failedPaths.length === 0,
    }),
    failedPaths: t.exposeStringList('failedPaths', { description: FAILED_PATHS }),
  }),
});

const FILTER = {
  type: 'JSON',
  required: true,
  description: 'A valid payload filter (docs/payload-filters.md), with the limits of a webhook subscription.',
} as const;

const MAX_LAST = 200;
const DEFAULT_LAST = 50;

builder.queryFields((t) => ({
  testFilter: t.field({
    type: TestFilterResult,
    description:
      'Evaluates a payload filter on data or on the data of an event, for trying a filter before it is used.',
    args: {
      filter: t.arg(FILTER),
      data: t.arg({ type: 'JSON', description: 'The data, at most 1 MiB. Excludes `eventId`.' }),
      eventId: t.arg.id({
        ...TEXT_ID,
        description: "The publisher's id of an event whose data is used. Excludes `data`.",
      }),
      tenant: t.arg.string({ description: 'The tenant of the event. Only the scope ADMIN can name any tenant.' }),
    },
    // Takes about 30 ms with a megabyte of data, in pieces. The complexity allows 19 in one operation.
    complexity: 5_000,
    resolve: async (_root, { filter, data, eventId, tenant }, context) => {
      const { compute } = context.work;
      const problems: InputProblem[] = [...(await compute(() => validateFilter(filter)))];
      if ((data === undefined) === (eventId == null)) {
        problems.push({ path: 'data', message: 'must be given, or eventId, but not both' });
      } else if (eventId == null) problems.push(...problemsOf(await encodeEventData(compute, data)));
      if (problems.length > 0) throw new InvalidInputError(problems);
      return evaluate(context, filter, eventId == null ? data : await dataOf(context, { eventId, tenant }));
    },
  }),
  testFilterOnEvents: t.field({
    type: [EventResult],
    // The results of chosen filters would reveal the data.
    authScopes: { payloads: true },
    description:
      'Evaluates a payload filter on the latest events of a tenant, newest first. An operation reads at most 16 MiB of data.',
    args: {
      filter: t.arg(FILTER),
      last: t.arg.int({
        defaultValue: DEFAULT_LAST,
        description: `The number of events, from 1 to ${MAX_LAST}.`,
      }),
      tenant: t.arg.string({ description: 'The tenant. Required with the scope ADMIN.' }),
      eventTypes: t.arg.stringList({
        description: 'Any of these event types, prefixes such as `conversation.*`, or `*`. Default: all.',
      }),
      olderThan: t.arg.id({
        ...TEXT_ID,
        description:
          "The publisher's id of an event of the tenant. Only events recorded before it are read: pass the last one of a result to go further back.",
      }),
    },
    complexity: ({ last }) => {
      const events = Math.min(last ?? DEFAULT_LAST, MAX_LAST);
      return { field: 100 * events, multiplier: events };
    },
    resolve: async (_root, { filter, ...args }, context) => {
      const { services, eventData, work } = context;
      const last = args.last ?? DEFAULT_LAST;
      const where = await readArguments(context, { ...args, filter, last });
      const events = await services.database.prisma.event.findMany({
        where,
        select: EVENT_COLUMNS,
        orderBy: NEWEST_FIRST,
        take: last,
      });
      const results = [];
      for (const event of events) {
        const text = await eventData.text(event.id);
        const data: unknown = await work.compute((): unknown => JSON.parse(text));
        results.push({ event, ...(await evaluate(context, filter, data)) });
      }
      return results;
    },
  }),
}));

async function evaluate({ work: { compute } }: Context, filter: unknown, data: unknown): Promise<FilterResult> {
  if (await compute(() => compileFilter(filter)(data))) return { failedPaths: [] };
  return { failedPaths: await compute(() => failedPaths(filter, data)) };
}

type EventKey = { readonly eventId: string; readonly tenant: string | null | undefined };

async function dataOf(context: Context, key: EventKey): Promise<unknown> {
  const { viewer, eventData, work } = context;
  // The results of chosen filters would reveal the data.
  if (viewer.hidesPayloads === true) throw new ForbiddenError('this session hides payloads');
  const text = await eventData.text(await rowIdOf(context, key));
  return work.compute((): unknown => JSON.parse(text));
}

async function rowIdOf({ services: { database }, viewer }: Context, { eventId, tenant }: EventKey): Promise<string> {
  const where = await eventWithId(database, { eventId, ...tenantWhere(viewer, tenant) });
  const event =
    where && (await database.prisma.event.findFirst({ where, select: { id: true }, orderBy: NEWEST_FIRST }));
  if (event === null) throw new NotFoundError('event');
  return event.id;
}

type EventsArguments = {
  readonly filter: unknown;
  readonly last: number;
  readonly tenant?: string | null | undefined;
  readonly eventTypes?: readonly string[] | null | undefined;
  readonly olderThan?: string | null | undefined;
};

/** Returns the condition that selects the events. Throws an InvalidInputError with every problem. */
async function readArguments(context: Context, { filter, last, tenant, eventTypes, olderThan }: EventsArguments) {
  const { viewer, work } = context;
  const problems: InputProblem[] = [...(await work.compute(() => validateFilter(filter)))];
  if (last < 1 || last > MAX_LAST) problems.push({ path: 'last', message: `must be from 1 to ${MAX_LAST}` });
  const known = readTenant(viewer, tenant);
  if (known.tenant === undefined && known.tenantProblem === undefined) {
    problems.push({ path: 'tenant', message: 'is required' });
  }
  const where = eventWhere({ eventTypes, ...checkFilter(viewer, { tenant, eventTypes }, problems) });
  if (olderThan == null) return where;
  return { AND: [where, { id: { lt: await rowIdOf(context, { eventId: olderThan, tenant }) } }] };
}

function problemsOf({ problem }: Awaited<ReturnType<typeof encodeEventData>>): InputProblem[] {
  return problem === undefined ? [] : [{ path: 'data', message: problem }];
}
