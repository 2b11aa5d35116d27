import { subscriptionsWhere } from '../auth/viewer.ts';
import { SubscriptionInactiveError } from '../delivery/queue/retry.ts';
import { isEventType, TEST_EVENT_TYPE } from '../events/event-type.ts';
import { MAX_PENDING_TESTS, sendTestEvent, TooManyTestsError, waitForAttempt } from '../events/test-event.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { encodeEventData } from './publish-event.ts';

const SAMPLE = { message: 'This is a test event.' };

/** Milliseconds. Longer than any attempt, and shorter than the usual timeout of proxies. */
const MAX_WAIT_MS = 35_000;

const NOTICES = {
  unpublished: 'NATS is unavailable; the test event is sent when it is available again',
  pending: 'the endpoint has not answered yet, or no sender process was free to send the test event',
  ended: 'the delivery was cancelled before it was attempted',
} as const;

type Sent = {
  readonly deliveryId: string;
  readonly attemptId: string | undefined;
  readonly notice: string | undefined;
};

const Payload = builder.objectRef<Sent>('SendTestEventPayload').implement({
  description: 'The test event was created.',
  fields: (t) => ({
    delivery: t.prismaField({
      type: DeliveryType,
      resolve: (query, { deliveryId }, _args, { services }) =>
        services.database.prisma.delivery.findUniqueOrThrow({ ...query, where: { id: deliveryId } }),
    }),
    attempt: t.prismaField({
      type: AttemptType,
      nullable: true,
      description: 'The only attempt of the test event, with the response. Null if it did not end within `waitMs`.',
      resolve: (query, { attemptId }, _args, { services }) =>
        attemptId === undefined
          ? null
          : services.database.prisma.attempt.findUnique({ ...query, where: { id: attemptId } }),
    }),
    notice: t.exposeString('notice', {
      nullable: true,
      description: 'The reason why the attempt did not end within `waitMs`, for people. Null without `waitMs`.',
    }),
  }),
});

type Arguments = {
  readonly subscriptionId: string;
  readonly eventType?: string | null | undefined;
  readonly data?: unknown;
  readonly waitMs?: number | null | undefined;
};

builder.mutationField('sendTestEvent', (t) =>
  t.field({
    audit: false,
    type: Payload,
    description: `Sends a signed event to this webhook subscription, regardless of its event types, filter, circuit and limits. It is attempted once, and counts neither for the circuit nor for deactivation; the event catalogue does not check its type and data. At most ${MAX_PENDING_TESTS} test events of a tenant can be pending.`,
    args: {
      subscriptionId: t.arg.id({ required: true, description: 'The id of an active webhook subscription.' }),
      eventType: t.arg.string({ description: `The type of the event. Default: \`${TEST_EVENT_TYPE}\`.` }),
      data: t.arg({
        type: 'JSON',
        description: 'The data of the event, at most 1 MiB. Default: a small sample object.',
      }),
      waitMs: t.arg.int({
        defaultValue: 0,
        description: `The time to wait for the attempt in milliseconds, from 0 to ${MAX_WAIT_MS}. A little more than the subscription's \`timeoutMs\` is enough.`,
      }),
    },
    errors: { types: [NotFoundError, InvalidInputError, SubscriptionInactiveError, TooManyTestsError] },
    resolve: (_root, args, context) => send(context, args),
  }),
);

async function send(context: Context, args: Arguments): Promise<Sent> {
  const { services } = context;
  const { eventType, data, waitMs } = await readArguments(context, args);
  const { id: subscriptionId, tenant } = await activeSubscription(context, args.subscriptionId);
  const event = { subscriptionId, tenant, eventType, data: data.toString() };
  const { deliveryId, isPublished } = await sendTestEvent(services, event);
  const none = { deliveryId, attemptId: undefined, notice: undefined };
  if (waitMs === 0) return none;
  if (!isPublished) return { ...none, notice: NOTICES.unpublished };
  const wait = () => waitForAttempt(services.database.readPool, deliveryId, { waitMs, signal: context.stopping });
  const attempt = await (context.withoutPermit === undefined ? wait() : context.withoutPermit(wait));
  return typeof attempt === 'string' ? { ...none, notice: NOTICES[attempt] } : { ...none, ...attempt };
}

async function readArguments({ work }: Context, args: Arguments) {
  const eventType = args.eventType ?? TEST_EVENT_TYPE;
  const waitMs = args.waitMs ?? 0;
  const { data, problem } = await encodeEventData(work.compute, args.data ?? SAMPLE);
  const problems: InputProblem[] = [];
  if (!isEventType(eventType))
    problems.push({ path: 'eventType', message: 'must be an event type such as conversation.created' });
  if (problem !== undefined) problems.push({ path: 'data', message: problem });
  if (waitMs < 0 || waitMs > MAX_WAIT_MS) {
    problems.push({ path: 'waitMs', message: `must be from 0 to ${MAX_WAIT_MS}` });
  }
  if (problems.length > 0 || data === undefined) throw new InvalidInputError(problems);
  return { eventType, data, waitMs };
}

export async function activeSubscription({ services, viewer }: Context, id: string) {
  const subscription = isUuid(id)
    ? await services.database.prisma.webhookSubscription.findFirst({
        where: { id, deletedAt: null, ...subscriptionsWhere(viewer) },
      })
    : null;
  if (subscription === null) throw new NotFoundError('webhook subscription');
  if (!subscription.isActive) throw new SubscriptionInactiveError();
  return subscription;
}
