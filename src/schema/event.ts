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

/** What somebody who may publish, and do nothing else, is told of the event that was made. */
const FOR_PUBLISHERS = { skipTypeScopes: true } as const;

const EventType = builder.prismaObject('Event', {
  description: 'Something a service published.',
  authScopes: { read: true },
  // Not the data, which can be a megabyte: it is read only where it is asked for.
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
      description: "The publisher's id, unique within the tenant; `webhook-id` in every request.",
    }),
    tenant: t.exposeString('tenant', FOR_PUBLISHERS),
    type: t.exposeString('type', FOR_PUBLISHERS),
    occurredAt: t.expose('occurredAt', { ...FOR_PUBLISHERS, type: 'DateTime', description: 'As the publisher says.' }),
    createdAt: t.expose('createdAt', { ...FOR_PUBLISHERS, type: 'DateTime', description: 'When it was recorded.' }),
    data: t.field({
      type: 'JSON',
      nullable: true,
      description: 'As it was published; it may be null. At most 16 MiB of all events together.',
      complexity: 100,
      // Its text: it was checked to be JSON when it came in.
      resolve: ({ id }, _args, { eventData }) => eventData(id),
    }),
    deliveries: t.prismaConnection(
      {
        type: DeliveryType,
        ...PAGE,
        description: 'One for each webhook subscription that got it; newest first.',
        resolve: (query, { id }, _args, { childPages }) => childPages.deliveriesOf(id, query),
      },
      DeliveryConnection,
    ),
    considered: t.connection(
      {
        type: ConsideredSubscription,
        complexity: PAGE.complexity,
        description:
          "The tenant's webhook subscriptions at the time it was dispatched, newest first, and why each did or did not get it: by the settings of that time, whatever has been changed since. Of test events and of those about subscriptions, only who got them.",
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
  description: 'A published message that could not become an event.',
  fields: (t) => ({
    id: t.exposeID('id'),
    tenant: t.exposeString('tenant', { nullable: true, description: 'Null where the subject names no valid tenant.' }),
    subject: t.exposeString('subject', { description: 'The NATS subject it was published to.' }),
    reason: t.expose('reason', { type: RejectionReasonEnum }),
    message: t.exposeString('message', { description: 'What was wrong with it, for people.' }),
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
    description: 'The newest event with this id, if several tenants have one and `tenant` does not say which.',
    args: {
      id: t.arg.id({ required: true, description: "The publisher's id, the one in `webhook-id`." }),
      tenant: t.arg.string({ description: 'Whose; only the admin key may name any tenant.' }),
    },
    resolve: async (query, _root, { id, tenant }, { services, viewer }) => {
      // Postgres has no text with a NUL in it.
      if (id.includes('\0')) return null;
      const { prisma } = services.database;
      const where = { eventId: id, ...tenantWhere(viewer, tenant) };
      // Events themselves have no index on the publisher's id; one without such an id goes by its row's.
      const known = await prisma.eventId.findMany({ where, orderBy: { eventRowId: 'desc' }, take: 1 });
      const rowIds = [...known.map(({ eventRowId }) => eventRowId), ...(isUuid(id) ? [id] : [])];
      return prisma.event.findFirst({ ...query, where: { ...where, id: { in: rowIds } }, orderBy: NEWEST_FIRST });
    },
  }),
  events: t.prismaConnection(
    {
      type: EventType,
      ...PAGE,
      description: 'Newest first.',
      args: { filter: t.arg({ type: EventFilterInput, description: 'Default: all of them.' }) },
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
      description: 'Newest first.',
      args: { filter: t.arg({ type: RejectedEventFilterInput, description: 'Default: all of them.' }) },
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
  description: 'An event. The rules are the same as over NATS.',
  fields: (t) => ({
    tenant: t.string({ description: 'Required with credentials that have no tenant of their own.' }),
    type: t.string({ required: true, description: 'The event type, such as `conversation.created`.' }),
    data: t.field({
      type: 'JSON',
      required: true,
      description:
        'Any JSON but null, at most 1 MiB. It is written anew, without spaces, and numbers beyond the precision of a double lose it: those who need every byte kept publish over NATS.',
    }),
    id: t.id({
      description:
        'Unique within the tenant; so that an event can be published again in case of doubt. Default: a new UUID, which no second try knows.',
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'Default: now.' }),
  }),
});

const Payload = builder.objectRef<{ readonly rowId: string }>('PublishEventPayload').implement({
  description: 'The event and its deliveries are written.',
  fields: (t) => ({
    event: t.prismaField({
      type: EventType,
      description: 'If its id was known, the event that was published first, whatever its data.',
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
      'For services that have no NATS, and while NATS is away. The same id again, over NATS or here, makes no second event.',
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
  const complain = (path: string, message: string | undefined) => {
    if (message !== undefined) problems.push({ path, message });
  };
  const { data, problem } = encoded;
  if (tenant === undefined) complain('tenant', tenantProblem ?? 'is required');
  else if (!isTenant(tenant)) complain('tenant', 'must be 1 to 64 letters, digits, _ or -');
  if (!isEventType(type)) complain('type', 'is not an event type');
  if (id != null) complain('id', problemOfEventId(id));
  complain('data', problem);
  if (problems.length > 0 || tenant === undefined || data === undefined) throw new InvalidInputError(problems);
  return { tenant, type, data, eventId: id ?? undefined, occurredAt: occurredAt ?? undefined };
}

type EncodedData =
  | { readonly data: Buffer; readonly problem?: never }
  | { readonly data?: never; readonly problem: string };

/** By the value: an operation can name one variable in many of its fields. */
const encoded = new WeakMap<object, Promise<EncodedData>>();

type Compute = OperationWork['compute'];

/** A value of GraphQL as the bytes of an event's data, or why it cannot be one. It is neither written nor checked twice. */
export async function encodeEventData(compute: Compute, given: unknown): Promise<EncodedData> {
  if (typeof given !== 'object' || given === null) return encode(compute, given);
  const known = encoded.get(given);
  if (known !== undefined) return known;
  const result = encode(compute, given);
  encoded.set(given, result);
  return result;
}

/** In two pieces: each can take 50 ms. */
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

/** Undefined if the value is nested so deep that V8 cannot write it. */
function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const ConsiderationResultEnum = builder.enumType('ConsiderationResult', {
  description: 'Why a webhook subscription did or did not get an event.',
  values: {
    DELIVERED_TO: { description: 'A delivery to it was made, whatever became of that.' },
    INACTIVE: { description: 'It was inactive.' },
    TYPE_MISMATCH: { description: 'It was active, but the type of the event matches none of the types it wanted.' },
    FILTER_FALSE: { description: 'It was active and wanted the type, but the data does not fulfil its filter.' },
  },
});

type Row = {
  readonly subscriptionId: string;
  readonly result: MatchResult;
  readonly deliveryId: string | null;
};

const ConsideredSubscription = builder.objectRef<Row>('ConsideredSubscription').implement({
  description: 'A webhook subscription that an event was matched with, and what came of it.',
  fields: (t) => ({
    subscription: t.prismaField({
      type: WebhookSubscriptionType,
      description: 'As it is now, also if it has been deleted since.',
      resolve: (query, { subscriptionId }, _args, { services }) =>
        services.database.prisma.webhookSubscription.findUniqueOrThrow({ ...query, where: { id: subscriptionId } }),
    }),
    result: t.expose('result', { type: ConsiderationResultEnum }),
    delivery: t.prismaField({
      type: DeliveryType,
      nullable: true,
      description: 'The first one, if there are several. Null if none was made, or if it is not kept any more.',
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

/** A page of them. The event is one that the viewer may see. */
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
        // Newest first: what comes after has a smaller id.
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
    // A delivery that was made later, by name, counts as well; of one that was not kept the settings tell.
    const result = deliveryId !== null || settings === null ? 'DELIVERED_TO' : await explainMatch(settings, event);
    results.push({ subscriptionId, result, deliveryId });
  }
  return results;
}

/** Data can be a megabyte: it is read when a filter asks for it, and then once. */
function onDemand<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => (reading ??= read());
}
