import type { Clock } from '../../postgres/clock.ts';
import type { DeliveryMessage } from '../queue/delivery-message.ts';
import type { Attempt } from '../../generated/prisma/client.ts';
import type { EgressAgents } from '../http/egress-agents.ts';
import { failureReasonOf, type Outcome } from '../http/outcome.ts';
import { redactRequestHeaders, redactResponseHeaders } from './redaction.ts';
import { send } from '../http/send.ts';
import { signingHeaders } from './signature.ts';
import { type SenderSubscription, UnusableSubscriptionError } from '../../subscriptions/subscription-cache.ts';
import { webhookBody } from './webhook-body.ts';

/** Its id is given to it when it is written. */
export type UnwrittenAttempt = Omit<Attempt, 'id'>;

export type AttemptInput = {
  readonly delivery: DeliveryMessage & { readonly data: Buffer };
  readonly subscription: SenderSubscription;
  /** The number of this attempt, from 1. */
  readonly number: number;
  readonly userAgent: string;
  readonly signal: AbortSignal;
  readonly clock: Pick<Clock, 'now'>;
};

/** Makes one attempt and returns its outcome with its line in the delivery log. Rejects only on a bug. */
export async function makeAttempt(
  agents: EgressAgents,
  input: AttemptInput,
): Promise<{ readonly outcome: Outcome; readonly attempt: UnwrittenAttempt }> {
  const { delivery, subscription, signal } = input;
  const startedAt = new Date(input.clock.now());
  const body = webhookBody(delivery);
  const secrets = validSecrets(subscription, startedAt);
  const headers = requestHeaders(input, { startedAt, body, secrets });
  const { url, timeoutMs } = subscription;
  const outcome = await send(agents, { url, headers, body, timeoutMs, signal });
  const failureReason = failureReasonOf(outcome) ?? null;
  const response = outcome.kind === 'response' ? outcome : undefined;
  const attempt = {
    deliveryId: delivery.deliveryId,
    subscriptionId: subscription.id,
    tenant: delivery.tenant,
    eventType: delivery.eventType,
    number: input.number,
    status: failureReason === null ? ('SUCCESS' as const) : ('FAILURE' as const),
    failureReason,
    statusCode: response?.statusCode ?? null,
    responseTimeMs: Math.round(outcome.responseTimeMs),
    startedAt,
    requestHeaders: redactRequestHeaders(headers, subscription.headerNames),
    responseHeaders: response === undefined ? null : redactResponseHeaders(response.headers),
    responseBody: response?.body ?? null,
    responseBodyTruncated: response?.bodyTruncated ?? false,
    errorMessage: outcome.kind === 'failure' ? outcome.message : null,
    payloadSizeBytes: body.length,
    signingSecretIds: secrets.map(({ id }) => id),
    isTest: delivery.isTest,
  };
  return { outcome, attempt };
}

/** Those that sign now, the current one first. */
function validSecrets({ id, secrets }: SenderSubscription, now: Date): readonly [Secret, ...Secret[]] {
  const [current, ...older] = secrets.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
  if (current === undefined) throw new UnusableSubscriptionError(`webhook subscription ${id} has no signing secret`);
  return [current, ...older];
}

type Secret = SenderSubscription['secrets'][number];
type Signing = { readonly startedAt: Date; readonly body: Buffer; readonly secrets: readonly [Secret, ...Secret[]] };

/** The subscription's own headers come first, so that none of them can replace one of ours. */
function requestHeaders(
  { delivery, subscription, number, userAgent }: AttemptInput,
  { startedAt, body, secrets: [current, ...older] }: Signing,
): Record<string, string> {
  return {
    ...subscription.headers,
    'content-type': 'application/json',
    'user-agent': userAgent,
    ...signingHeaders({
      secrets: [current.secret, ...older.map(({ secret }) => secret)],
      eventId: delivery.eventId,
      timestampSeconds: Math.floor(startedAt.getTime() / 1_000),
      body,
    }),
    'webhook-event': delivery.eventType,
    'webhook-delivery': delivery.deliveryId,
    'webhook-attempt': String(number),
  };
}
