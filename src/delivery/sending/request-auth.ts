import { createHmac } from 'node:crypto';
import type { SenderSubscription } from '../../subscriptions/cache.ts';
import { SECRET_PREFIX } from '../../subscriptions/secrets.ts';

/**
 * Returns the headers that authenticate one request, or a promise if it has to fetch something first (such as a token). If
 * it fails, no request is sent: handleDelivery() retries after 5 s if the error is transient, otherwise after ten minutes.
 * The delivery log redacts headers by name (attempt.ts).
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

/** All kinds of authentication in order. A later header replaces an earlier one with the same name. */
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
  /** The valid secrets in the form that the API returns (`whsec_…`), the current one first. */
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
 * Returns Standard Webhooks `v1` signatures and GitHub's X-Hub-Signature-256. The key of a `v1` signature is the bytes that
 * the secret encodes; there is one signature per secret, so that receivers can verify with the old or the new secret during
 * a rotation. The key of X-Hub-Signature-256 is the text of the current secret.
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
