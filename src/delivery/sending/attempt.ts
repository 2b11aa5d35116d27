import { createHmac } from 'node:crypto';
import type { Attempt } from '../../generated/prisma/client.ts';
import type { Clock } from '../../postgres/clock.ts';
import { type SenderSubscription, UnusableSubscriptionError } from '../../subscriptions/cache.ts';
import { SECRET_PREFIX } from '../../subscriptions/secrets.ts';
import type { EgressAgents } from '../http/agents.ts';
import { failureReasonOf, type Outcome, postWithStaleConnectionRetry } from '../http/request.ts';
import type { DeliveryMessage } from '../queue/message.ts';

/** Its id is given to it when it is written. */
export type NewAttempt = Omit<Attempt, 'id'>;

type AttemptInput = {
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
): Promise<{ readonly outcome: Outcome; readonly attempt: NewAttempt }> {
  const { delivery, subscription, signal } = input;
  const startedAt = new Date(input.clock.now());
  const body = webhookBody(delivery);
  const secrets = validSecrets(subscription, startedAt);
  const headers = requestHeaders(input, { startedAt, body, secrets });
  const { url, timeoutMs } = subscription;
  const outcome = await postWithStaleConnectionRetry(agents, { url, headers, body, timeoutMs, signal });
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

type WebhookEvent = {
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  readonly data: Buffer;
};

/** `{"id","type","timestamp","data"}` with the data byte for byte as it was published: it is never parsed again. */
export function webhookBody({ eventId, eventType, occurredAt, data }: WebhookEvent): Buffer {
  const head = JSON.stringify({ id: eventId, type: eventType, timestamp: occurredAt });
  return Buffer.concat([Buffer.from(`${head.slice(0, -1)},"data":`), data, Buffer.from('}')]);
}

type SigningInput = {
  /** The secrets that are valid now, as they were shown to their owner; the current one first. */
  readonly secrets: readonly [current: string, ...older: string[]];
  readonly eventId: string;
  /** Unix seconds of this attempt. */
  readonly timestampSeconds: number;
  /** Exactly the bytes that are sent. */
  readonly body: Buffer;
};

type SigningHeaders = {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
  readonly 'X-Hub-Signature-256': string;
};

/**
 * Standard Webhooks `v1`, keyed with the bytes the secret encodes, one signature for each secret so that a receiver
 * verifies before and after a rotation; and GitHub's X-Hub-Signature-256, keyed with the current secret's text.
 */
export function signingHeaders({ secrets, eventId, timestampSeconds, body }: SigningInput): SigningHeaders {
  const timestamp = String(timestampSeconds);
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${eventId}.${timestamp}.`).update(body).digest('base64')}`;
  });
  return {
    'webhook-id': eventId,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
    'X-Hub-Signature-256': `sha256=${createHmac('sha256', secrets[0]).update(body).digest('hex')}`,
  };
}

const REDACTED = '[redacted]';
const MAX_HEADERS = 64;
const MAX_BYTES = 16_384;

/** Header names whose values let their reader act as someone else. `-key` includes idempotency keys: better too many. */
const SECRET_NAME =
  /authorization|cookie|token|secret|signature|password|passwd|credential|session|api-?key|access-?key|(?:^|[-_])(?:key|auth|jwt)$/i;

/** The request headers as the delivery log shows them: no custom header's value, nothing secret-like, no signature. */
export function redactRequestHeaders(
  headers: Readonly<Record<string, string>>,
  customHeaderNames: readonly string[],
): Record<string, string> {
  const custom = new Set(customHeaderNames.map((name) => name.toLowerCase()));
  return redact(headers, (name) => custom.has(name.toLowerCase()) || SECRET_NAME.test(name));
}

/** The response headers as the delivery log shows them. */
export function redactResponseHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return redact(headers, (name) => SECRET_NAME.test(name));
}

/** Keeps the first 64 headers, or as many as fit 16 KiB. */
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
  // Not by assignment: a receiver may well name a header `__proto__`.
  return Object.fromEntries(kept);
}
