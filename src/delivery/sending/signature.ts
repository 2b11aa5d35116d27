import { createHmac, randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';

export type SigningInput = {
  /** The secrets that are valid now, as they were shown to their owner; the current one first. */
  readonly secrets: readonly [current: string, ...older: string[]];
  readonly eventId: string;
  /** Unix seconds of this attempt. */
  readonly timestampSeconds: number;
  /** Exactly the bytes that are sent. */
  readonly body: Buffer;
};

export type SigningHeaders = {
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
    const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${eventId}.${timestamp}.`).update(body).digest('base64')}`;
  });
  return {
    'webhook-id': eventId,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
    'X-Hub-Signature-256': `sha256=${createHmac('sha256', secrets[0]).update(body).digest('hex')}`,
  };
}

export function generateSigningSecret(): string {
  return PREFIX + randomBytes(32).toString('base64');
}
