import type { Attempt } from '../../generated/prisma/client.ts';
import { type SenderSubscription, UnusableSubscriptionError } from '../../subscriptions/cache.ts';
import { failureReasonOf, NO_TRACE, type Outcome, type PostRequest } from '../http/request.ts';
import type { DeliveryMessage } from '../queue/message.ts';
import type { RequestAuth, SigningSecret } from './request-auth.ts';

/** An attempt without the id that it gets when it is written. */
export type NewAttempt = Omit<Attempt, 'id'>;

export type AttemptDeps = {
  readonly authenticate: RequestAuth;
  /** Never rejects. */
  readonly post: (request: PostRequest) => Promise<Outcome>;
  readonly userAgent: string;
  readonly clock: { now(): number };
};

type AttemptInput = {
  readonly delivery: DeliveryMessage & { readonly data: Buffer };
  readonly subscription: SenderSubscription;
  /** The number of this attempt, from 1. */
  readonly number: number;
  /** Sent to the receiver. */
  readonly traceParent: string | undefined;
  readonly signal: AbortSignal;
};

/** Sends one request and returns its outcome and its entry for the delivery log. Rejects if it cannot be authenticated. */
export async function makeAttempt(
  { authenticate, post, userAgent, clock }: AttemptDeps,
  { delivery, subscription, number, traceParent, signal }: AttemptInput,
): Promise<{ readonly outcome: Outcome; readonly attempt: NewAttempt }> {
  const startedAt = new Date(clock.now());
  const body = webhookBody(delivery);
  const secrets = validSecrets(subscription, startedAt);
  const { eventId } = delivery;
  const headers = {
    ...(await authenticate({ subscription, secrets, eventId, startedAt, body })),
    // Last, so that no custom header replaces them.
    'content-type': 'application/json',
    'user-agent': userAgent,
    'webhook-event': delivery.eventType,
    'webhook-delivery': delivery.deliveryId,
    'webhook-attempt': String(number),
    ...(traceParent !== undefined && { traceparent: traceParent }),
  };
  const { url, timeoutMs } = subscription;
  const outcome = await post({ url, headers, body, timeoutMs, signal });
  const failureReason = failureReasonOf(outcome) ?? null;
  const response = outcome.kind === 'response' ? outcome : undefined;
  const attempt = {
    deliveryId: delivery.deliveryId,
    subscriptionId: subscription.id,
    tenant: delivery.tenant,
    eventType: delivery.eventType,
    number,
    status: failureReason === null ? ('SUCCESS' as const) : ('FAILURE' as const),
    failureReason,
    statusCode: response?.statusCode ?? null,
    responseTimeMs: Math.round(outcome.responseTimeMs),
    startedAt,
    url,
    ...(outcome.trace ?? NO_TRACE),
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

/** The secrets that sign now, the current one first. */
function validSecrets(
  { id, secrets }: SenderSubscription,
  now: Date,
): readonly [current: SigningSecret, ...older: SigningSecret[]] {
  const [current, ...older] = secrets.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now);
  if (current === undefined) throw new UnusableSubscriptionError(`webhook subscription ${id} has no signing secret`);
  return [current, ...older];
}

type WebhookEvent = {
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  readonly data: Buffer;
};

/** `{"id","type","timestamp","data"}`. The data has exactly the published bytes; it is not serialized again. */
export function webhookBody({ eventId, eventType, occurredAt, data }: WebhookEvent): Buffer {
  const head = JSON.stringify({ id: eventId, type: eventType, timestamp: occurredAt });
  return Buffer.concat([Buffer.from(`${head.slice(0, -1)},"data":`), data, Buffer.from('}')]);
}

const REDACTED = '[redacted]';
/** Limits of the headers that one attempt stores. */
const MAX_HEADERS = 64;
const MAX_BYTES = 16_384;

/** Header names whose values are credentials. `-key` also redacts idempotency keys: redacting too much is safe. */
const SECRET_NAME =
  /authorization|cookie|token|secret|signature|password|passwd|credential|session|api-?key|access-?key|(?:^|[-_])(?:key|auth|jwt)$/i;

/** The request headers for the delivery log. Values of custom headers, credentials and signatures are redacted. */
export function redactRequestHeaders(
  headers: Readonly<Record<string, string>>,
  customHeaderNames: readonly string[],
): Record<string, string> {
  const custom = new Set(customHeaderNames.map((name) => name.toLowerCase()));
  return redact(headers, (name) => custom.has(name.toLowerCase()) || SECRET_NAME.test(name));
}

/** The response headers for the delivery log. Values of credentials are redacted. */
export function redactResponseHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return redact(headers, (name) => SECRET_NAME.test(name));
}

function redact(
  headers: Readonly<Record<string, string>>,
  isSecret: (name: string) => boolean,
): Record<string, string> {
  const kept: [string, string][] = [];
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    const shown = isSecret(name) ? REDACTED : value;
    bytes += Buffer.byteLength(name) + Buffer.byteLength(shown);
    if (kept.length === MAX_HEADERS || bytes > MAX_BYTES) break;
    kept.push([name, shown]);
  }
  // Object.fromEntries also stores a header named `__proto__`; an assignment would set the prototype.
  return Object.fromEntries(kept);
}
