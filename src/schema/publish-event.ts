import { type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';
import { readOneTenant, type TenantOrProblem } from '../auth/viewer.ts';
import { EventDataInvalidError } from '../events/catalogue/validator.ts';
import { isEventType, problemOfEventId } from '../events/event-type.ts';
import { isTooNested, MAX_DATA_BYTES, rememberData, TOO_NESTED, tooLarge } from '../events/parse.ts';
import type { EventToPublish, PublishedEvent } from '../events/publish.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE } from '../lib/json.ts';
import type { OperationWork } from '../lib/operation-work.ts';
import { builder } from './builder.ts';
import { EVENT_COLUMNS, EventType } from './event.ts';
import { TEXT_ID } from './row-ids.ts';

export const TENANT_DESCRIPTION = 'The tenant. Required with credentials that belong to no tenant.';

const Input = builder.inputType('PublishEventInput', {
  description: 'An event, with the same rules as over NATS.',
  fields: (t) => ({
    tenant: t.string({ description: TENANT_DESCRIPTION }),
    type: t.string({ required: true, description: 'The event type, such as `conversation.created`.' }),
    data: t.field({
      type: 'JSON',
      required: true,
      description:
        'Any JSON except null, at most 1 MiB. It is serialized again, without spaces, and numbers lose precision beyond that of a double. Events published over NATS keep every byte.',
    }),
    id: t.id({
      ...TEXT_ID,
      description:
        'An id that is unique within the tenant, so that the event can be published again safely. Default: a new UUID, without that protection.',
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'The time of the event. Default: now.' }),
  }),
});

/** Fields of Event that need no column of the row that was just written, or only its id. */
const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  ...['__typename', 'id', 'tenant', 'type', 'occurredAt', 'source'],
  ...['data', 'dataText', 'sizeBytes'],
]);

const Payload = builder.objectRef<PublishedEvent>('PublishEventPayload').implement({
  description: 'The event and its deliveries are recorded.',
  fields: (t) => ({
    isKnown: t.boolean({
      description: 'Whether the id was already known, so that this call recorded nothing.',
      resolve: ({ isKnown }) => isKnown,
    }),
    event: t.field({
      type: EventType,
      description: 'The event. If the id was already known, the event published first, even if its data differs.',
      resolve: ({ rowId, isKnown, data, ...event }, _args, { services, eventData }, info) => {
        if (!isKnown) eventData.remember(rowId, data);
        if (isKnown || !selectsOnly(KNOWN_FIELDS, info)) {
          return services.database.prisma.event.findUniqueOrThrow({ select: EVENT_COLUMNS, where: { id: rowId } });
        }
        // The query selects none of these three fields.
        const others = { createdAt: event.occurredAt, matchedVersion: null, redactedAt: null };
        return { ...event, id: rowId, source: 'GRAPHQL' as const, ...others };
      },
    }),
  }),
});

function selectsOnly(names: ReadonlySet<string>, { fieldNodes, fragments }: GraphQLResolveInfo): boolean {
  const isWithin = (selectionSet: SelectionSetNode | undefined): boolean =>
    selectionSet === undefined ||
    selectionSet.selections.every((selection) => {
      if (selection.kind === Kind.FIELD) return names.has(selection.name.value);
      if (selection.kind === Kind.INLINE_FRAGMENT) return isWithin(selection.selectionSet);
      return isWithin(fragments[selection.name.value]?.selectionSet);
    });
  return fieldNodes.every(({ selectionSet }) => isWithin(selectionSet));
}

builder.mutationField('publishEvent', (t) =>
  t.field({
    audit: false,
    type: Payload,
    skipTypeScopes: true,
    authScopes: { publish: true },
    description:
      'Publishes an event without NATS, also while NATS is unavailable. Publishing the same id again, over NATS or here, creates no second event.',
    args: { input: t.arg({ type: Input, required: true, description: 'The event.' }) },
    errors: { types: [InvalidInputError, EventDataInvalidError] },
    resolve: async (_root, { input }, { services, viewer, work, traceParent }) => {
      const encoded = await encodeEventData(work.compute, input.data);
      const { event, problems } = readEvent({ ...input, ...readOneTenant(viewer, input.tenant), encoded });
      if (event === undefined) throw new InvalidInputError(problems);
      const [outcome] = await services.publishEvents([event], traceParent);
      if (outcome === undefined || 'error' in outcome) throw outcome?.error;
      return outcome.event;
    },
  }),
);

type GivenEvent = TenantOrProblem & {
  readonly type: string;
  readonly encoded: EncodedData;
  readonly id?: string | null | undefined;
  readonly occurredAt?: Date | null | undefined;
};

export type ReadEvent =
  | { readonly event: EventToPublish; readonly problems?: never }
  | { readonly event?: never; readonly problems: readonly InputProblem[] };

/** Returns the event, or all problems of the input. */
export function readEvent({ tenant, tenantProblem, type, encoded, id, occurredAt }: GivenEvent): ReadEvent {
  const problems: InputProblem[] = [];
  const addProblem = (path: string, message: string | undefined) => {
    if (message !== undefined) problems.push({ path, message });
  };
  const { data, problem } = encoded;
  addProblem('tenant', tenantProblem);
  if (!isEventType(type)) addProblem('type', 'must be an event type such as conversation.created');
  if (id != null) addProblem('id', problemOfEventId(id));
  addProblem('data', problem);
  if (problems.length > 0 || tenant === undefined || data === undefined) return { problems };
  return { event: { tenant, type, data, eventId: id ?? undefined, occurredAt: occurredAt ?? undefined } };
}

type EncodedData =
  | { readonly data: Buffer; readonly problem?: never }
  | { readonly data?: never; readonly problem: string };

/** Encoded data by value: an operation can use one variable in many fields. */
const encoded = new WeakMap<object, Promise<EncodedData>>();

type Compute = OperationWork['compute'];

/** Serializes a GraphQL value as an event's data, or returns the reason why it is not valid. The result is kept by value. */
export async function encodeEventData(compute: Compute, given: unknown): Promise<EncodedData> {
  if (typeof given !== 'object' || given === null) return encode(compute, given);
  const known = encoded.get(given);
  if (known !== undefined) return known;
  const result = encode(compute, given);
  encoded.set(given, result);
  return result;
}

/** Runs in two pieces, each of which can take 50 ms. */
async function encode(compute: Compute, given: unknown): Promise<EncodedData> {
  if (!(await compute(() => hasOnlyFiniteNumbers(given)))) return { problem: NUMBER_TOO_LARGE };
  return compute(() => write(given));
}

function write(given: unknown): EncodedData {
  const json = stringify(given);
  if (json === undefined || isTooNested(json)) return { problem: TOO_NESTED };
  const length = Buffer.byteLength(json);
  if (length > MAX_DATA_BYTES) return { problem: tooLarge({ length }) };
  const data = Buffer.from(json);
  rememberData(data, given);
  return { data };
}

/** Returns undefined if the value is nested too deeply for V8 to serialize. */
function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
