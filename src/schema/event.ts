import { formatPrismaCursor } from '@pothos/plugin-prisma';
import { resolveCursorConnection } from '@pothos/plugin-relay';
import { isTenant, readTenant, tenantWhere } from '../auth/viewer.ts';
import { checkFilter, eventWhere, rejectionWhere } from '../delivery-log/filter.ts';
import { EventDataInvalidError } from '../events/catalogue/validator.ts';
import { isEventType, problemOfEventId } from '../events/event-type.ts';
import {
  type ExplainedSubscription,
  explainedSubscriptions,
  explainMatch,
  type MatchResult,
} from '../events/matching/explain.ts';
import { compileFilter } from '../events/matching/filter.ts';
import { isTooNested, MAX_DATA_BYTES, rememberData, TOO_NESTED, tooLarge } from '../events/parse.ts';
import type { EventToPublish } from '../events/publish.ts';
import type { Event } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { hasOnlyFiniteNumbers, NUMBER_TOO_LARGE } from '../lib/json.ts';
import type { OperationWork } from '../lib/operation-work.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST, pageOf } from '../postgres/keyset.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import {
  DeliveryConnection,
  DeliveryType,
  EventFilterInput,
  RejectedEventFilterInput,
  RejectionReasonEnum,
} from './delivery.ts';
import { PAGE, type PageArguments, parseCursor } from './page.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

/** Fields of the created event that credentials with the scope PUBLISH can read. */
const FOR_PUBLISHERS = { skipTypeScopes: true } as const;

const EventType = builder.prismaObject('Event', {
  description: 'An event that a service published.',
  authScopes: { read: true },
  // Without the data, which can be a megabyte: the field `data` reads it.
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
      description: "The publisher's id, unique within the tenant, and the `webhook-id` of every request.",
    }),
    tenant: t.exposeString('tenant', FOR_PUBLISHERS),
    type: t.exposeString('type', FOR_PUBLISHERS),
    occurredAt: t.expose('occurredAt', {
      ...FOR_PUBLISHERS,
      type: 'DateTime',
      description: 'The time of the event, set by the publisher.',
    }),
    createdAt: t.expose('createdAt', {
      ...FOR_PUBLISHERS,
      type: 'DateTime',
      description: 'The time at which the event was recorded.',
    }),
    data: t.field({
      type: 'JSON',
      nullable: true,
      description: 'The data as it was published, which can be null. An operation reads at most 16 MiB of data.',
      complexity: 100,
      // Returns the text, which was validated as JSON when the event was received.
      resolve: ({ id }, _args, { eventData }) => eventData(id),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        description: 'The deliveries of the event, newest first.',
        resolve: (query, { id }, _args, { childPages }) => childPages.deliveriesOf(id, query),
      },
      DeliveryConnection,
    ),
    considered: t.connection(
      {
        type: ConsideredSubscription,
        complexity: PAGE.complexity,
        description:
          "The tenant's webhook subscriptions when the event was dispatched, newest first, each with the reason why it did or did not get the event by its settings at that time. Test events and `webhook_subscription.*` events have only the subscriptions that got them.",
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
  description: 'A published message that is not a valid event.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant', {
      nullable: true,
      description: 'The tenant; null if the subject has no valid tenant.',
    }),
    subject: t.exposeString('subject', { description: 'The NATS subject of the message.' }),
    reason: t.expose('reason', { type: RejectionReasonEnum }),
    message: t.exposeString('message', { description: 'A description of the problem for people.' }),
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
    description:
      'The event with this id; null if there is none. Without `tenant`, the newest one if several tenants have an event with this id.',
    args: {
      id: t.arg.id({ required: true, description: "The publisher's id, as in `webhook-id`." }),
      tenant: t.arg.string({ description: 'The tenant. Only the scope ADMIN can name any tenant.' }),
    },
    resolve: async (query, _root, { id, tenant }, { services, viewer }) => {
      // Postgres cannot store a NUL in text.
      if (id.includes('\0')) return null;
      const { prisma } = services.database;
      const where = { eventId: id, ...tenantWhere(viewer, tenant) };
      // The table of events has no index on the publisher's id. An event published without an id has that of its row.
      const known = await prisma.eventId.findMany({ where, orderBy: { eventRowId: 'desc' }, take: 1 });
      const rowIds = [...known.map(({ eventRowId }) => eventRowId), ...(isUuid(id) ? [id] : [])];
      return prisma.event.findFirst({ ...query, where: { ...where, id: { in: rowIds } }, orderBy: NEWEST_FIRST });
    },
  }),
  events: t.prismaConnection(
    {
      type: EventType,
      ...PAGE,
      description: 'The events, newest first.',
      args: { filter: t.arg({ type: EventFilterInput, description: 'The events to return. Default: all.' }) },
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
      description: 'The rejected events, newest first.',
      args: {
        filter: t.arg({ type: RejectedEventFilterInput, description: 'The rejected events to return. Default: all.' }),
      },
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

const Input = builder.inputType('PublishEventInput', {
  description: 'An event, with the same rules as over NATS.',
  fields: (t) => ({
    tenant: t.string({ description: 'The tenant. Required with credentials that belong to no tenant.' }),
    type: t.string({ required: true, description: 'The event type, such as `conversation.created`.' }),
    data: t.field({
      type: 'JSON',
      required: true,
      description:
        'Any JSON except null, at most 1 MiB. It is serialized again, without spaces, and numbers lose precision beyond that of a double. Events published over NATS keep every byte.',
    }),
    id: t.id({
      description:
        'An id that is unique within the tenant, so that the event can be published again safely. Default: a new UUID, without that protection.',
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'The time of the event. Default: now.' }),
  }),
});

const Payload = builder.objectRef<{ readonly rowId: string }>('PublishEventPayload').implement({
  description: 'The event and its deliveries were recorded.',
  fields: (t) => ({
    event: t.prismaField({
      type: EventType,
      description: 'The event. If the id was already known, the event published first, even if its data differs.',
      resolve: (query, { rowId }, _args, { services }) =>
        services.database.prisma.event.findUniqueOrThrow({ ...query, where: { id: rowId } }),
    }),
  }),
});

builder.mutationField('publishEvent', (t) =>
  t.field({
    type: Payload,
    skipTypeScopes: true,
    authScopes: { publish: true },
    description:
      'Publishes an event without NATS, also while NATS is unavailable. Publishing the same id again, over NATS or here, creates no second event.',
    args: { input: t.arg({ type: Input, required: true, description: 'The event.' }) },
    errors: { types: [InvalidInputError, EventDataInvalidError] },
    resolve: async (_root, { input }, { services, viewer, work }) => {
      const encoded = await encodeEventData(work.compute, input.data);
      const event = readEvent({ ...input, ...readTenant(viewer, input.tenant), encoded });
      return { rowId: await services.publishEvent(event) };
    },
  }),
);

type GivenEvent = {
  readonly tenant: string | undefined;
  readonly tenantProblem?: string | undefined;
  readonly type: string;
  readonly encoded: Awaited<ReturnType<typeof encodeEventData>>;
  readonly id?: string | null | undefined;
  readonly occurredAt?: Date | null | undefined;
};

function readEvent({ tenant, tenantProblem, type, encoded, id, occurredAt }: GivenEvent): EventToPublish {
  const problems: InputProblem[] = [];
  const addProblem = (path: string, message: string | undefined) => {
    if (message !== undefined) problems.push({ path, message });
  };
  const { data, problem } = encoded;
  if (tenant === undefined) addProblem('tenant', tenantProblem ?? 'is required');
  else if (!isTenant(tenant)) addProblem('tenant', 'must be 1 to 64 letters, digits, _ or -');
  if (!isEventType(type)) addProblem('type', 'is not an event type');
  if (id != null) addProblem('id', problemOfEventId(id));
  addProblem('data', problem);
  if (problems.length > 0 || tenant === undefined || data === undefined) throw new InvalidInputError(problems);
  return { tenant, type, data, eventId: id ?? undefined, occurredAt: occurredAt ?? undefined };
}

type EncodedData =
  | { readonly data: Buffer; readonly problem?: never }
  | { readonly data?: never; readonly problem: string };

/** By value: an operation can use one variable in many fields. */
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

/** Undefined if the value is nested too deeply for V8 to serialize. */
function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const ConsiderationResultEnum = builder.enumType('ConsiderationResult', {
  description: 'The reason why a webhook subscription did or did not get an event.',
  values: {
    DELIVERED_TO: { description: 'A delivery to the webhook subscription was created.' },
    INACTIVE: { description: 'The webhook subscription was inactive.' },
    TYPE_MISMATCH: {
      description: 'The webhook subscription was active, but the event type matches none of its event types.',
    },
    FILTER_FALSE: {
      description:
        'The webhook subscription was active and the event type matches, but the data does not match its filter.',
    },
  },
});

type Row = {
  readonly subscriptionId: string;
  readonly result: MatchResult;
  readonly deliveryId: string | null;
};

const ConsideredSubscription = builder.objectRef<Row>('ConsideredSubscription').implement({
  description: 'The result of matching an event with a webhook subscription.',
  fields: (t) => ({
    subscription: t.prismaField({
      type: WebhookSubscriptionType,
      description: 'The webhook subscription as it is now, even if it has been deleted.',
      resolve: (query, { subscriptionId }, _args, { services }) =>
        services.database.prisma.webhookSubscription.findUniqueOrThrow({ ...query, where: { id: subscriptionId } }),
    }),
    result: t.expose('result', { type: ConsiderationResultEnum }),
    delivery: t.prismaField({
      type: DeliveryType,
      nullable: true,
      description: 'The first delivery. Null if none was created, or if it is no longer kept.',
      resolve: (query, { deliveryId }, _args, { services }) =>
        deliveryId === null
          ? null
          : services.database.prisma.delivery.findUnique({ ...query, where: { id: deliveryId } }),
    }),
  }),
});

const ConsideredEdge = builder.edgeObject({ name: 'ConsideredSubscriptionEdge', type: ConsideredSubscription });
const ConsideredConnection = builder.connectionObject(
  { name: 'ConsideredSubscriptionConnection', type: ConsideredSubscription },
  ConsideredEdge,
);

type ConsideredEvent = Pick<Event, 'id' | 'tenant' | 'type' | 'matchedVersion'>;

/** A page of the subscriptions that the event was matched with. The viewer must be allowed to read the event. */
function considered(
  context: Context,
  { event, args }: { readonly event: ConsideredEvent; readonly args: PageArguments },
) {
  const options = {
    args,
    defaultSize: PAGE.defaultSize,
    maxSize: PAGE.maxSize(args),
    toCursor: ({ subscriptionId }: Row) => formatPrismaCursor({ id: subscriptionId }, 'id'),
  };
  return resolveCursorConnection<Promise<Row[]>>(options, async ({ before, after, limit, inverted }) => {
    const rows = await context.work.readPage(() =>
      explainedSubscriptions(context.services.database.readPool, {
        event,
        limit,
        order: inverted ? 'asc' : 'desc',
        // Newest first: rows after a cursor have smaller ids.
        beforeId: after === undefined ? undefined : parseCursor(after, 'after'),
        afterId: before === undefined ? undefined : parseCursor(before, 'before'),
      }),
    );
    const { compute } = context.work;
    const readData = onDemand(async (): Promise<unknown> => {
      const { text } = await context.eventData(event.id);
      return compute((): unknown => JSON.parse(text));
    });
    return resultsOf(rows, {
      type: event.type,
      fulfils: async (filter) => {
        const data = await readData();
        return compute(() => compileFilter(filter)(data));
      },
    });
  });
}

async function resultsOf(
  rows: readonly ExplainedSubscription[],
  event: Parameters<typeof explainMatch>[1],
): Promise<Row[]> {
  const results: Row[] = [];
  for (const { subscriptionId, settings, deliveryId } of rows) {
    // A delivery created later, by name, counts as well. If it is no longer kept, the settings give the result.
    const result = deliveryId !== null || settings === null ? 'DELIVERED_TO' : await explainMatch(settings, event);
    results.push({ subscriptionId, result, deliveryId });
  }
  return results;
}

/** Reads at the first call and returns the same result at later ones. Data can be a megabyte. */
function onDemand<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}
