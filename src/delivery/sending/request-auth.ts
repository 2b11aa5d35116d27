import { createHmac } from 'node:crypto';
import type { SenderSubscription } from '../../subscriptions/cache.ts';
import { SECRET_PREFIX } from '../../subscriptions/secrets.ts';

/**
 * Returns the headers that authenticate one request; a promise only if it has to fetch something first. If it fails, no
 * request is sent: handleDelivery() retries a transient error soon and any other error later. The delivery log redacts
 * a header by its name (attempt.ts).
 */
export type RequestAuth = (request: UnauthenticatedRequest) => Headers | Promise<Headers>;

type Headers = Readonly<Record<string, string>>;

type UnauthenticatedRequest = {
  readonly subscription: Pick<SenderSubscription, 'id' | 'url' | 'headers'>;
  /** The signing secrets that are valid now, the current one first. */
  readonly secrets: readonly [current: SigningSecret, ...older: SigningSecret[]];
  readonly eventId: string;
  /** The start of this attempt. */
  readonly startedAt: Date;
  /** Exactly the bytes that are sent. */
  readonly body: Buffer;
};

export type SigningSecret = SenderSubscription['secrets'][number];

/** The custom headers of the subscription, which may contain credentials. */
const staticHeaders: RequestAuth = ({ subscription }) => subscription.headers;

const signatures: RequestAuth = ({ secrets: [current, ...older], eventId, startedAt, body }) =>
  signingHeaders({
    secrets: [current.secret, ...older.map(({ secret }) => secret)],
    eventId,
    timestampSeconds: Math.floor(startedAt.getTime() / 1_000),
    body,
  });

/** Every kind of authentication, in order: a later header replaces an earlier one with the same name. */
export const authenticateRequest: RequestAuth = combineAuth([staticHeaders, signatures]);

export function combineAuth(auths: readonly RequestAuth[]): RequestAuth {
  return async (request) => {
    let headers: Headers = {};
    for (const auth of auths) {
      const added = auth(request);
      headers = { ...headers, ...(added instanceof Promise ? await added : added) };
    }
    return headers;
  };
}

type SigningInput = Pick<UnauthenticatedRequest, 'eventId' | 'body'> & {
  /** The valid secrets as their owner received them, the current one first. */
  readonly secrets: readonly [current: string, ...older: string[]];
  /** Unix seconds of this attempt. */
  readonly timestampSeconds: number;
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
  const signed = secrets.map((secret) => standardSignature(secret, { eventId, timestamp, body }));
  return {
    'webhook-id': eventId,
    'webhook-timestamp': timestamp,
    'webhook-signature': signed.join(' '),
    'X-Hub-Signature-256': `sha256=${createHmac('sha256', secrets[0]).update(body).digest('hex')}`,
  };
}

type SignedRequest = {
  /** The values of the headers `webhook-id` and `webhook-timestamp`. */
  readonly eventId: string;
  readonly timestamp: string;
  readonly body: Buffer;
};

/** A Standard Webhooks `v1` signature, as one entry of the header `webhook-signature`. */
export function standardSignature(secret: string, { eventId, timestamp, body }: SignedRequest): string {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
  return `v1,${createHmac('sha256', key).update(`${eventId}.${timestamp}.`).update(body).digest('base64')}`;
}
