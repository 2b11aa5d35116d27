/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */
import {
  type InputProblem,
  InvalidInputError,
  NotFoundError,
  SubscriptionInactiveError,
} from '../delivery/webhook-subscription-errors.ts';
import { isUuid } from '../delivery/webhook-subscriptions.ts';
import { isEventType, TEST_EVENT_TYPE } from '../events/event-type.ts';
import { sendTestEvent } from '../events/test-event.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { encodeEventData } from './event-data-input.ts';
import { tenantWhere } from './viewer.ts';

const SAMPLE = { message: 'This is a test event.' };

const Payload = builder.objectRef<{ readonly deliveryId: string }>('SendTestEventPayload').implement({
  description: 'The test event is on its way.',
  fields: (t) => ({
    delivery: t.prismaField({
      type: DeliveryType,
      resolve: (query, { deliveryId }, _args, { services }) =>
        services.database.prisma.delivery.findUniqueOrThrow({ ...query, where: { id: deliveryId } }),
    }),
  }),
});

type Arguments = {
  readonly subscriptionId: string;
  readonly eventType?: string | null | undefined;
  readonly data?: unknown;
};

builder.mutationField('sendTestEvent', (t) =>
  t.field({
    type: Payload,
    description:
      'Sends an event to this one webhook subscription, whatever types it wants and whatever its filter, like any other event; but the event catalogue is not asked about its type and data.',
    args: {
      subscriptionId: t.arg.id({ required: true, description: 'Of the webhook subscription; it must be active.' }),
      eventType: t.arg.string({ description: `Default: \`${TEST_EVENT_TYPE}\`.` }),
      data: t.arg({ type: 'JSON', description: 'At most 1 MiB. Default: a small sample object.' }),
    },
    errors: { types: [NotFoundError, InvalidInputError, SubscriptionInactiveError] },
    resolve: (_root, args, context) => send(context, args),
  }),
);

async function send({ services, viewer }: Context, args: Arguments): Promise<{ readonly deliveryId: string }> {
  const eventType = args.eventType ?? TEST_EVENT_TYPE;
  const { data, problem } = encodeEventData(args.data ?? SAMPLE);
  const problems: InputProblem[] = [];
  if (!isEventType(eventType)) problems.push({ path: 'eventType', message: 'is not an event type' });
  if (problem !== undefined) problems.push({ path: 'data', message: problem });
  if (problems.length > 0 || data === undefined) throw new InvalidInputError(problems);
  const { subscriptionId } = args;
  const subscription = isUuid(subscriptionId)
    ? await services.database.prisma.webhookSubscription.findFirst({
        where: { id: subscriptionId, deletedAt: null, ...tenantWhere(viewer) },
      })
    : null;
  if (subscription === null) throw new NotFoundError('webhook subscription');
  if (!subscription.isActive) throw new SubscriptionInactiveError();
  const { id, tenant } = subscription;
  return {
    deliveryId: await sendTestEvent(services, { subscriptionId: id, tenant, eventType, data: data.toString() }),
  };
}
