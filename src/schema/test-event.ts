import { tenantWhere } from '../auth/viewer.ts';
import { SubscriptionInactiveError } from '../delivery/queue/retry.ts';
import { isEventType, TEST_EVENT_TYPE } from '../events/event-type.ts';
import { compileFilter, failedPaths } from '../events/matching/filter.ts';
import { validateFilter } from '../events/matching/filter-validation.ts';
import { MAX_PENDING_TESTS, sendTestEvent, TooManyTestsError, waitForAttempt } from '../events/test-event.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { AttemptType } from './attempt.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { DeliveryType } from './delivery.ts';
import { encodeEventData } from './event.ts';

/* eslint max-params: ["error", 4] -- the signature of a Pothos resolver of rows: query, parent, arguments, context */

const SAMPLE = { message: 'This is a test event.' };

/** Longer than any attempt takes, and shorter than what proxies usually wait for an answer. */
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
  description: 'The test event is on its way, or has been attempted.',
  fields: (t) => ({
    delivery: t.prismaField({
      type: DeliveryType,
      resolve: (query, { deliveryId }, _args, { services }) =>
        services.database.prisma.delivery.findUniqueOrThrow({ ...query, where: { id: deliveryId } }),
    }),
    attempt: t.prismaField({
      type: AttemptType,
      nullable: true,
      description: 'Its one attempt, with what the endpoint answered. Null if `waitMs` is 0, or was not enough.',
      resolve: (query, { attemptId }, _args, { services }) =>
        attemptId === undefined
          ? null
          : services.database.prisma.attempt.findUnique({ ...query, where: { id: attemptId } }),
    }),
    notice: t.exposeString('notice', {
      nullable: true,
      description: 'If `waitMs` was not enough: why there is no attempt yet, for people.',
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
    type: Payload,
    description: `Sends an event to this one webhook subscription, whatever its event types, filter, circuit and limits say, signed and checked like any other. It is attempted once, and counts neither for the circuit nor for deactivation; the event catalogue does not check its type and data. At most ${MAX_PENDING_TESTS} of a tenant may be pending.`,
    args: {
      subscriptionId: t.arg.id({ required: true, description: 'Of the webhook subscription; it must be active.' }),
      eventType: t.arg.string({ description: `Default: \`${TEST_EVENT_TYPE}\`.` }),
      data: t.arg({ type: 'JSON', description: 'At most 1 MiB. Default: a small sample object.' }),
      waitMs: t.arg.int({
        defaultValue: 0,
        description: `How many milliseconds, 0 to ${MAX_WAIT_MS}, to wait for the attempt: with the subscription's \`timeoutMs\` and a little more it is in the answer.`,
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
  const attempt = await (context.rest === undefined ? wait() : context.rest(wait));
  return typeof attempt === 'string' ? { ...none, notice: NOTICES[attempt] } : { ...none, ...attempt };
}

async function readArguments({ work }: Context, args: Arguments) {
  const eventType = args.eventType ?? TEST_EVENT_TYPE;
  const waitMs = args.waitMs ?? 0;
  const { data, problem } = await encodeEventData(work.compute, args.data ?? SAMPLE);
  const problems: InputProblem[] = [];
  if (!isEventType(eventType)) problems.push({ path: 'eventType', message: 'is not an event type' });
  if (problem !== undefined) problems.push({ path: 'data', message: problem });
  if (waitMs < 0 || waitMs > MAX_WAIT_MS) {
    problems.push({ path: 'waitMs', message: `must be from 0 to ${MAX_WAIT_MS}` });
  }
  if (problems.length > 0 || data === undefined) throw new InvalidInputError(problems);
  return { eventType, data, waitMs };
}

async function activeSubscription({ services, viewer }: Context, id: string) {
  const subscription = isUuid(id)
    ? await services.database.prisma.webhookSubscription.findFirst({
        where: { id, deletedAt: null, ...tenantWhere(viewer) },
      })
    : null;
  if (subscription === null) throw new NotFoundError('webhook subscription');
  if (!subscription.isActive) throw new SubscriptionInactiveError();
  return subscription;
}

const TestFilterResult = builder.objectRef<{ readonly failedPaths: string[] }>('TestFilterResult').implement({
  description: 'What a payload filter makes of some data.',
  fields: (t) => ({
    matches: t.boolean({
      description: 'Whether an event with this data would be delivered.',
      resolve: (result) => result.failedPaths.length === 0,
    }),
    failedPaths: t.exposeStringList('failedPaths', {
      description:
        'The conditions that are not fulfilled: `filter.user.age.$gt`. Of a `$or`, a `$not`, or fields of an array, the whole.',
    }),
  }),
});

builder.queryField('testFilter', (t) =>
  t.field({
    type: TestFilterResult,
    description: 'Tries a payload filter on data, before a webhook subscription gets it.',
    args: {
      filter: t.arg({
        type: 'JSON',
        required: true,
        description: 'As docs/payload-filters.md says, with the limits of a webhook subscription. It must be valid.',
      }),
      data: t.arg({ type: 'JSON', required: true, description: 'At most 1 MiB.' }),
    },
    // Some 30 ms with data of a megabyte, in pieces: one operation can have 19 of them.
    complexity: 5_000,
    resolve: async (_root, { filter, data }, { work: { compute } }) => {
      const wrong = await compute(() => validateFilter(filter));
      const problems = [...wrong, ...problemsOf(await encodeEventData(compute, data))];
      if (problems.length > 0) throw new InvalidInputError(problems);
      if (await compute(() => compileFilter(filter)(data))) return { failedPaths: [] };
      return { failedPaths: await compute(() => failedPaths(filter, data)) };
    },
  }),
);

function problemsOf({ problem }: Awaited<ReturnType<typeof encodeEventData>>): InputProblem[] {
  return problem === undefined ? [] : [{ path: 'data', message: problem }];
}
