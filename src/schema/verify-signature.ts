import { deliveriesWhere, subscriptionsWhere } from '../auth/viewer.ts';
import { webhookBody } from '../delivery/sending/attempt.ts';
import {
  type ReceivedRequest,
  type SignatureFailure,
  type SignatureFailureCode,
  TOLERANCE_SECONDS,
  type Verification,
  type VerificationSecret,
  verifySignature,
} from '../delivery/sending/verify-signature.ts';
import type { WebhookSubscription } from '../generated/prisma/client.ts';
import { type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { secretContext } from '../subscriptions/secrets.ts';
import { builder } from './builder.ts';
import type { Context } from './context.ts';
import { eventWithId } from './event.ts';

const CodeEnum = builder.enumType('SignatureFailureCode', {
  description: 'The reason why a receiver rejects a request.',
  values: {
    MALFORMED_HEADER: { description: 'A header does not have the form of Standard Webhooks.' },
    TIMESTAMP_OUTSIDE_TOLERANCE: {
      description: `\`webhook-timestamp\` is more than ${TOLERANCE_SECONDS} seconds from the time at which the request was received.`,
    },
    BODY_DIFFERS: {
      description: 'The body is not the one that was sent. It was changed on the way, or parsed and written again.',
    },
    SECRET_EXPIRED: {
      description:
        'The secret that made the signature had expired. The next rotation deletes it, and a rotation with `overlapSeconds: 0` deletes all old secrets; then the code is NO_MATCHING_SECRET.',
    },
    NO_MATCHING_SECRET: {
      description:
        'No stored secret of the webhook subscription made a signature of the id, the timestamp and the body.',
    },
  } satisfies Record<SignatureFailureCode, object>,
});

const FailureType = builder.objectRef<SignatureFailure>('SignatureFailure').implement({
  description: 'One reason why a receiver rejects a request.',
  fields: (t) => ({
    code: t.expose('code', { type: CodeEnum }),
    message: t.exposeString('message', { description: 'A text for people, without secrets. It may change.' }),
  }),
});

const ResultType = builder.objectRef<Verification>('VerifySignatureResult').implement({
  description: 'The result of verifying the signature of a request.',
  fields: (t) => ({
    isValid: t.boolean({
      description: 'Whether a receiver with the secret accepts the request.',
      resolve: ({ failures }) => failures.length === 0,
    }),
    failures: t.field({
      type: [FailureType],
      complexity: { field: 1, multiplier: 1 },
      description: 'Every reason why a receiver rejects the request; empty if the request is valid.',
      resolve: ({ failures }) => [...failures],
    }),
    secretId: t.exposeID('secretId', {
      nullable: true,
      description:
        "The id of the secret that made a signature of the request, also if the request is not valid for another reason; null if none of the webhook subscription's secrets did.",
    }),
  }),
});

/** Maximum bytes: a megabyte of data, and the members around it. */
const MAX_BODY_BYTES = 1_024 * 1_024 + 4_096;
/** Characters. An id has at most 256, and each of at most 32 signatures 47. */
const MAX_HEADER_LENGTH = 4_096;

const Input = builder.inputType('VerifySignatureInput', {
  description: 'A request as its receiver got it.',
  fields: (t) => ({
    subscriptionId: t.id({ description: 'The webhook subscription that sent it. Excludes `attemptId`.' }),
    attemptId: t.id({ description: 'The attempt that sent it. Excludes `subscriptionId`.' }),
    webhookId: t.string({ required: true, description: 'The header `webhook-id`.' }),
    webhookTimestamp: t.string({ required: true, description: 'The header `webhook-timestamp`.' }),
    webhookSignature: t.string({ required: true, description: 'The header `webhook-signature`.' }),
    body: t.string({
      description: 'The body as text, exactly as it was received, at most a megabyte. Excludes `bodyBase64`.',
    }),
    bodyBase64: t.string({ description: 'The bytes of the body in base64. Excludes `body`.' }),
    receivedAt: t.field({
      type: 'DateTime',
      description: 'The time at which the request was received. Default: the start of the attempt, or now.',
    }),
  }),
});

type VerifyInput = typeof Input.$inferInput;

builder.queryField('verifySignature', (t) =>
  t.field({
    type: ResultType,
    // The result would reveal whether a guessed body is right.
    authScopes: { payloads: true },
    complexity: 5_000,
    description:
      'Verifies the signature of a request that a receiver got, as its library does, and says why it is not valid. No secret is shown.',
    args: { input: t.arg({ type: Input, required: true, description: 'The request.' }) },
    resolve: async (_root, { input }, context) => {
      const body = await context.work.compute(() => checkInput(input));
      const { subscription, startedAt } = await findSender(context, input);
      const { webhookId, webhookTimestamp, webhookSignature, receivedAt } = input;
      const received: ReceivedRequest = {
        webhookId,
        webhookTimestamp,
        webhookSignature,
        body,
        receivedAt: receivedAt ?? startedAt ?? new Date(context.services.database.clock.now()),
      };
      return verifySignature(
        {
          secrets: await secretsOf(context, subscription),
          sentBody: await sentBodyOf(context, { subscription, webhookId }),
          compute: context.work.compute,
        },
        received,
      );
    },
  }),
);

/** Returns the body. Throws an InvalidInputError with every problem. */
function checkInput({ subscriptionId, attemptId, body, bodyBase64, ...headers }: VerifyInput): Buffer {
  const problems: InputProblem[] = [];
  if ((subscriptionId == null) === (attemptId == null)) {
    problems.push({ path: 'subscriptionId', message: 'must be given, or attemptId, but not both' });
  }
  for (const path of ['webhookId', 'webhookTimestamp', 'webhookSignature'] as const) {
    if (headers[path].length > MAX_HEADER_LENGTH) {
      problems.push({ path, message: `may have at most ${MAX_HEADER_LENGTH} characters` });
    }
  }
  const bytes = bodyBase64 == null ? Buffer.from(body ?? '') : Buffer.from(bodyBase64, 'base64');
  const path = bodyBase64 == null ? 'body' : 'bodyBase64';
  if ((body == null) === (bodyBase64 == null)) {
    problems.push({ path: 'body', message: 'must be given, or bodyBase64, but not both' });
  } else if (bodyBase64 != null && bytes.toString('base64') !== bodyBase64.replace(/\s/g, '')) {
    problems.push({ path, message: 'is not base64' });
  } else if (bytes.length > MAX_BODY_BYTES) {
    problems.push({ path, message: `may have at most ${MAX_BODY_BYTES} bytes` });
  }
  if (problems.length > 0) throw new InvalidInputError(problems);
  return bytes;
}

type Subscription = Pick<WebhookSubscription, 'id' | 'tenant'>;

type Sender = { readonly subscription: Subscription; readonly startedAt?: Date };

async function findSender(
  { services, viewer }: Context,
  { subscriptionId, attemptId }: Pick<VerifyInput, 'subscriptionId' | 'attemptId'>,
): Promise<Sender> {
  const { prisma } = services.database;
  if (attemptId != null) {
    const where = { id: attemptId, ...deliveriesWhere(viewer) };
    const select = { subscriptionId: true, tenant: true, startedAt: true } as const;
    const attempt = isUuid(attemptId) ? await prisma.attempt.findFirst({ where, select }) : null;
    if (attempt === null) throw new NotFoundError('attempt');
    const { subscriptionId: id, tenant, startedAt } = attempt;
    return { subscription: { id, tenant }, startedAt };
  }
  const id = subscriptionId ?? '';
  const where = { id, ...subscriptionsWhere(viewer) };
  const subscription = isUuid(id)
    ? await prisma.webhookSubscription.findFirst({ where, select: { id: true, tenant: true } })
    : null;
  if (subscription === null) throw new NotFoundError('webhook subscription');
  return { subscription };
}

/** The secrets, newest first, including expired ones that are still stored. */
async function secretsOf({ services }: Context, { id, tenant }: Subscription): Promise<VerificationSecret[]> {
  const rows = await services.database.prisma.signingSecret.findMany({
    where: { subscriptionId: id },
    orderBy: NEWEST_FIRST,
  });
  return rows.map((row) => ({
    id: row.id,
    expiresAt: row.expiresAt,
    secret: services.secretBox.open(row.encryptedSecret, secretContext(row.id, tenant)),
  }));
}

type SentTo = { readonly subscription: Subscription; readonly webhookId: string };

/**
 * The body that was sent to the subscription for this event. Undefined if the event was redacted, or if there is no
 * delivery of it to the subscription: the response would otherwise reveal data to a session that is restricted to other
 * subscriptions.
 */
async function sentBodyOf(context: Context, { subscription, webhookId }: SentTo): Promise<Buffer | undefined> {
  const { database } = context.services;
  const where = await eventWithId(database, { eventId: webhookId, tenant: subscription.tenant });
  const event = where && (await database.prisma.event.findFirst({ where, orderBy: NEWEST_FIRST, select: EVENT }));
  if (event === null || event.redactedAt !== null) return undefined;
  const delivery = await database.prisma.delivery.findFirst({
    where: { eventId: event.id, subscriptionId: subscription.id },
    select: { id: true },
  });
  if (delivery === null) return undefined;
  const data = Buffer.from(await context.eventData.text(event.id));
  const { eventId, type: eventType } = event;
  return webhookBody({ eventId, eventType, occurredAt: event.occurredAt.toISOString(), data });
}

const EVENT = { id: true, eventId: true, type: true, occurredAt: true, redactedAt: true } as const;
