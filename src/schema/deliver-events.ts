import { SubscriptionInactiveError } from '../delivery/queue/retry.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { deliverEvents, MAX_EVENTS } from '../replays/deliver-events.ts';
import { builder } from './builder.ts';
import { DeliveryType } from './delivery.ts';
import { TEXT_ID } from './row-ids.ts';
import { activeSubscription } from './test-event.ts';

type Delivered = { readonly deliveryIds: readonly string[]; readonly skippedCount: number };

const Payload = builder.objectRef<Delivered>('DeliverEventsPayload').implement({
  description: 'The deliveries were created.',
  fields: (t) => ({
    deliveries: t.prismaField({
      type: [DeliveryType],
      complexity: { field: 1, multiplier: MAX_EVENTS },
      description: 'The new deliveries, newest first.',
      resolve: (query, { deliveryIds }, _args, { services }) =>
        services.database.prisma.delivery.findMany({
          ...query,
          where: { id: { in: [...deliveryIds] } },
          orderBy: NEWEST_FIRST,
        }),
    }),
    skippedCount: t.exposeInt('skippedCount', {
      description:
        'The number of events without a new delivery: they are not kept, were redacted, belong to another tenant, or have a pending delivery to the webhook subscription.',
    }),
  }),
});

const Input = builder.inputType('DeliverEventsInput', {
  description: 'Events, and the webhook subscription that gets them.',
  fields: (t) => ({
    subscriptionId: t.id({ required: true, description: 'The id of an active webhook subscription.' }),
    eventIds: t.idList({
      ...TEXT_ID,
      required: true,
      description: `The publisher's ids of events of the same tenant, from 1 to ${MAX_EVENTS}.`,
    }),
  }),
});

builder.mutationField('deliverEvents', (t) =>
  t.field({
    audit: 'WebhookSubscription',
    // A session of some subscriptions sees no other events, and must not have them delivered.
    authScopes: { wholeTenant: true },
    type: Payload,
    description:
      'Delivers past events to one webhook subscription, regardless of its event types and its filter, for example after a filter was corrected. The deliveries are like those of a replay: they wait for an open circuit and for the limits, and are retried.',
    args: { input: t.arg({ type: Input, required: true, description: 'The events and the webhook subscription.' }) },
    errors: { types: [NotFoundError, InvalidInputError, SubscriptionInactiveError] },
    resolve: async (_root, { input }, context) => {
      const eventIds = [...new Set(input.eventIds)];
      const problems = problemsOf(eventIds);
      if (problems.length > 0) throw new InvalidInputError(problems);
      const { id: subscriptionId, tenant } = await activeSubscription(context, input.subscriptionId);
      const { database } = context.services;
      const deliveryIds = await deliverEvents(database, { tenant, subscriptionId, eventIds });
      return { deliveryIds, skippedCount: eventIds.length - deliveryIds.length };
    },
  }),
);

function problemsOf(eventIds: readonly string[]): InputProblem[] {
  const problems: InputProblem[] = [];
  if (eventIds.length < 1 || eventIds.length > MAX_EVENTS) {
    problems.push({ path: 'eventIds', message: `must be from 1 to ${MAX_EVENTS} ids` });
  }
  // Postgres cannot store a NUL in text.
  if (eventIds.some((id) => id.includes('\0'))) {
    problems.push({ path: 'eventIds', message: 'may not contain NUL' });
  }
  return problems;
}
