import { readOneTenant } from '../auth/viewer.ts';
import { MAX_DATA_BYTES } from '../events/parse.ts';
import type { PublishOutcome } from '../events/publish.ts';
import { DomainError, InputError, type InputProblem, InvalidInputError } from '../lib/errors.ts';
import type { OperationWork } from '../lib/operation-work.ts';
import { builder } from './builder.ts';
import { InputProblemType } from './errors.ts';
import { encodeEventData, type ReadEvent, readEvent, TENANT_DESCRIPTION } from './publish-event.ts';
import { TEXT_ID } from './row-ids.ts';

/** Maximum events per call. */
const MAX_EVENTS = 1_000;
/** Maximum bytes of all reasons in one response, as JSON. Further refused events have only their code. */
const MAX_REASON_BYTES = 24 * 1_024;
/** Estimated milliseconds of the event loop for matching, writing and publishing one event, charged to the tenant. */
const EVENT_MS = 0.1;

const EventInput = builder.inputType('PublishEventsEventInput', {
  description: 'One of several events, with the same rules as for `publishEvent`.',
  fields: (t) => ({
    type: t.string({ required: true, description: 'The event type, such as `conversation.created`.' }),
    data: t.field({
      type: 'JSON',
      required: true,
      description: 'Any JSON except null. It is serialized again, as for `publishEvent`.',
    }),
    id: t.id({
      ...TEXT_ID,
      description:
        'An id that is unique within the tenant, so that the call can be repeated safely. Default: a new UUID, without that protection.',
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'The time of the event. Default: now.' }),
  }),
});

const Input = builder.inputType('PublishEventsInput', {
  description: 'Events of one tenant.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT_DESCRIPTION }),
    events: t.field({
      type: [EventInput],
      required: true,
      description: 'At most 1,000 events, whose data has at most 1 MiB in all.',
    }),
  }),
});

const StatusEnum = builder.enumType('PublishStatus', {
  description: 'The outcome of publishing an event.',
  values: {
    ACCEPTED: { description: 'The event and its deliveries were recorded.' },
    KNOWN: { description: 'The id was already known: the event published first counts, even if its data differs.' },
    REFUSED: { description: 'Nothing was recorded. `code`, `message` and `path` give the reason.' },
  },
});

type Refusal = {
  readonly code: string;
  readonly message: string;
  readonly path: string;
  readonly problems: readonly InputProblem[];
};
type Result = { readonly status: 'ACCEPTED' | 'KNOWN' | 'REFUSED'; readonly id?: string; readonly refusal?: Refusal };

const ResultType = builder.objectRef<Result>('PublishedEventResult').implement({
  description: 'The result of one event.',
  fields: (t) => ({
    status: t.field({ type: StatusEnum, description: 'The outcome.', resolve: ({ status }) => status }),
    id: t.id({
      nullable: true,
      description: "The event's id, the `webhook-id` of every request; null if the event was refused.",
      resolve: ({ id }) => id,
    }),
    code: t.string({
      nullable: true,
      description:
        'The reason of a refusal, for programs: `INVALID_INPUT`, `EVENT_DATA_INVALID`, or `SERVICE_UNAVAILABLE`, after which the event can be published again.',
      resolve: ({ refusal }) => refusal?.code,
    }),
    message: t.string({
      nullable: true,
      description: 'The reason of a refusal, for people. It may change.',
      resolve: ({ refusal }) => refusal?.message,
    }),
    path: t.string({
      nullable: true,
      description: 'The path of the first problem of a refused event, below `input`: `events.3.data.user.age`.',
      resolve: ({ refusal }) => refusal?.path,
    }),
    problems: t.field({
      type: [InputProblemType],
      description: 'All problems of a refused event; empty otherwise.',
      resolve: ({ refusal }) => [...(refusal?.problems ?? [])],
    }),
  }),
});

const Payload = builder.objectRef<{ readonly results: Result[] }>('PublishEventsPayload').implement({
  description: 'The results of the events. The refusal of one event does not affect the others.',
  fields: (t) => ({
    results: t.field({
      type: [ResultType],
      description: 'One result for each event, in the order of the input.',
      // The mutation is priced by the number of events.
      complexity: { field: 1, multiplier: 1 },
      resolve: ({ results }) => results,
    }),
  }),
});

builder.mutationField('publishEvents', (t) =>
  t.field({
    audit: false,
    type: Payload,
    skipTypeScopes: true,
    authScopes: { publish: true },
    description:
      'Publishes up to 1,000 events without NATS, also while NATS is unavailable. Each event is accepted or refused separately. If there is no answer, the same call with the same ids can be repeated safely.',
    args: { input: t.arg({ type: Input, required: true, description: 'The events.' }) },
    complexity: ({ input }) => ({ field: input.events.length, multiplier: Math.max(1, input.events.length) }),
    errors: { types: [InvalidInputError] },
    resolve: async (_root, { input }, { services, viewer, work, traceParent }) => {
      const { tenant, tenantProblem } = readOneTenant(viewer, input.tenant);
      if (tenant === undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
      if (input.events.length > MAX_EVENTS) {
        const message = `has ${input.events.length} events, at most ${MAX_EVENTS} are accepted`;
        throw new InvalidInputError([{ path: 'events', message }]);
      }
      const results = await readEvents(work, { tenant, events: input.events });
      work.spend(EVENT_MS * results.length);
      const valid = results.flatMap(({ event }) => event ?? []);
      const outcomes = await services.publishEvents(valid, traceParent);
      rethrowIfAllFailed(outcomes);
      return { results: resultsOf(results, outcomes) };
    },
  }),
);

type Events = { readonly tenant: string; readonly events: readonly GivenEvent[] };
type GivenEvent = (typeof EventInput)['$inferInput'];

/** Throws an InvalidInputError if the data of all events together is too large. */
async function readEvents({ compute }: OperationWork, { tenant, events }: Events): Promise<ReadEvent[]> {
  const results: ReadEvent[] = [];
  let bytes = 0;
  for (const event of events) {
    const encoded = await encodeEventData(compute, event.data);
    bytes += encoded.data?.length ?? 0;
    if (bytes > MAX_DATA_BYTES) {
      const message = `have more than ${MAX_DATA_BYTES} bytes of data in all`;
      throw new InvalidInputError([{ path: 'events', message }]);
    }
    results.push(readEvent({ ...event, tenant, encoded }));
  }
  return results;
}

/** If all events failed because Postgres is unavailable, the whole operation fails, like other operations. */
function rethrowIfAllFailed(outcomes: readonly PublishOutcome[]): void {
  const errors = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
  const [first] = errors;
  if (errors.length > 0 && errors.length === outcomes.length && !errors.some(isOfOneEvent)) throw first;
}

/** Whether the error concerns this event only, not a dependency of the engine. */
function isOfOneEvent(error: unknown): boolean {
  return error instanceof InputError;
}

/** `outcomes` contains the outcomes of the events that were read without problems. */
function resultsOf(read: readonly ReadEvent[], outcomes: readonly PublishOutcome[]): Result[] {
  let next = 0;
  let bytesLeft = MAX_REASON_BYTES;
  const refused = (error: unknown, index: number): Result => {
    const refusal = refusalOf(error, index);
    bytesLeft -= Buffer.byteLength(JSON.stringify(refusal));
    if (bytesLeft > 0) return { status: 'REFUSED', refusal };
    const short = { code: refusal.code, message: 'omitted: too many reasons', path: `events.${index}`, problems: [] };
    return { status: 'REFUSED', refusal: short };
  };
  return read.map(({ problems }, index): Result => {
    if (problems !== undefined) return refused(new InvalidInputError(problems), index);
    const outcome = outcomes[next];
    next += 1;
    if (outcome === undefined || 'error' in outcome) return refused(outcome?.error, index);
    return { status: outcome.event.isKnown ? 'KNOWN' : 'ACCEPTED', id: outcome.event.eventId };
  });
}

function refusalOf(error: unknown, index: number): Refusal {
  const problems = (error instanceof InputError ? error.problems : []).map((problem) => ({
    ...problem,
    path: `events.${index}.${problem.path}`,
  }));
  const path = problems[0]?.path ?? `events.${index}`;
  if (error instanceof DomainError) return { code: error.code, message: error.message, path, problems };
  const message = 'the event could not be written; try again later';
  return { code: 'SERVICE_UNAVAILABLE', message, path, problems };
}
