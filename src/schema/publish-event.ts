/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import { type InputProblem, InvalidInputError } from '../lib/webhook-subscription-errors.ts';
import { EventDataInvalidError } from '../events/catalogue/event-data-invalid-error.ts';
import { problemOfEventId } from '../events/event-id.ts';
import { isEventType, isTenant } from '../events/event-type.ts';
import type { EventToPublish } from '../events/publish-event.ts';
import { builder } from './builder.ts';
import { EventType } from './event.ts';
import { encodeEventData } from './event-data-input.ts';
import { readTenant } from '../auth/viewer.ts';

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
