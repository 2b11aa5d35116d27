import { timingSafeEqual } from 'node:crypto';
import { standardSignature } from './request-auth.ts';

/** A request as the receiver got it: three headers and the exact bytes of the body. */
export type ReceivedRequest = {
  readonly webhookId: string;
  readonly webhookTimestamp: string;
  readonly webhookSignature: string;
  readonly body: Buffer;
  readonly receivedAt: Date;
};

export type VerificationSecret = {
  readonly id: string;
  /** In the form that the API returns: `whsec_` and base64. */
  readonly secret: string;
  readonly expiresAt: Date | null;
};

export type SignatureFailureCode =
  | 'MALFORMED_HEADER'
  | 'TIMESTAMP_OUTSIDE_TOLERANCE'
  | 'BODY_DIFFERS'
  | 'SECRET_EXPIRED'
  | 'NO_MATCHING_SECRET';

/** `message`: a description for people that contains no secrets or signatures. */
export type SignatureFailure = { readonly code: SignatureFailureCode; readonly message: string };

export type Verification = {
  /** Every reason why a receiver rejects the request; empty if it is valid. */
  readonly failures: readonly SignatureFailure[];
  /** The secret that made one of the signatures, if any did. */
  readonly secretId: string | null;
};

type Known = {
  readonly secrets: readonly VerificationSecret[];
  /** The body that the engine sent; undefined if it is not known. */
  readonly sentBody: Buffer | undefined;
  /** Runs one computation of a signature, which takes about 2 ms for 1 MB, between other work of the event loop. */
  readonly compute: <T>(piece: () => T) => Promise<T>;
};

/** The tolerance of the libraries of Standard Webhooks, in seconds. */
export const TOLERANCE_SECONDS = 300;
const MAX_TIMESTAMP_LENGTH = 15;
/** Maximum signatures of one header that are compared. The engine sends one for each valid secret. */
const MAX_SIGNATURES = 32;
const SIGNATURE = /^[A-Za-z0-9+/]{43}=$/;

/** Verifies a request as a receiver with these secrets does, and returns the reasons why it is not valid. */
export async function verifySignature(known: Known, received: ReceivedRequest): Promise<Verification> {
  const signatures = readSignatures(received.webhookSignature);
  const failures = [...failuresOfTimestamp(received), ...signatures.failures];
  if (signatures.failures.length > 0) return { failures, secretId: null };
  const difference = known.sentBody === undefined ? undefined : describeDifference(known.sentBody, received.body);
  if (difference !== undefined) failures.push({ code: 'BODY_DIFFERS', message: difference });
  // If a proxy has changed the body, the signature is still that of the body that the engine sent.
  const bodies = difference === undefined ? [received.body] : [received.body, known.sentBody ?? received.body];
  const signer = await findSigner(known, { received, bodies, signatures: signatures.values });
  if (signer === undefined) failures.push({ code: 'NO_MATCHING_SECRET', message: describeNoMatch(known) });
  else if (signer.expiresAt !== null && signer.expiresAt <= received.receivedAt) {
    const message = `the secret expired at ${signer.expiresAt.toISOString()}, before the request was received`;
    failures.push({ code: 'SECRET_EXPIRED', message });
  }
  return { failures, secretId: signer?.id ?? null };
}

function failuresOfTimestamp({ webhookTimestamp, receivedAt }: ReceivedRequest): SignatureFailure[] {
  if (!/^\d+$/.test(webhookTimestamp) || webhookTimestamp.length > MAX_TIMESTAMP_LENGTH) {
    return [{ code: 'MALFORMED_HEADER', message: 'webhook-timestamp is not a number of seconds since 1970' }];
  }
  const ageSeconds = Math.floor(receivedAt.getTime() / 1_000) - Number(webhookTimestamp);
  if (Math.abs(ageSeconds) <= TOLERANCE_SECONDS) return [];
  const when = ageSeconds > 0 ? `${ageSeconds} s before` : `${-ageSeconds} s after`;
  const message = `webhook-timestamp is ${when} the request was received; ${TOLERANCE_SECONDS} s are tolerated`;
  return [{ code: 'TIMESTAMP_OUTSIDE_TOLERANCE', message }];
}

/** The `v1` signatures of the header. Entries of other versions are ignored, as the specification requires. */
function readSignatures(header: string): {
  readonly values: readonly Buffer[];
  readonly failures: readonly SignatureFailure[];
} {
  const entries = header.trim().split(/ +/).slice(0, MAX_SIGNATURES);
  const texts = entries.flatMap((entry) => (entry.startsWith('v1,') ? [entry.slice(3)] : []));
  const values = texts.filter((text) => SIGNATURE.test(text)).map((text) => Buffer.from(text, 'base64'));
  if (values.length > 0) return { values, failures: [] };
  const message =
    texts.length === 0
      ? 'webhook-signature has no entry that begins with v1, (entries are separated by spaces)'
      : 'webhook-signature has no v1 entry of 32 bytes in base64';
  return { values, failures: [{ code: 'MALFORMED_HEADER', message }] };
}

type Search = {
  readonly received: ReceivedRequest;
  readonly bodies: readonly Buffer[];
  readonly signatures: readonly Buffer[];
};

async function findSigner(
  { secrets, compute }: Known,
  { received, bodies, signatures }: Search,
): Promise<VerificationSecret | undefined> {
  const { webhookId: eventId, webhookTimestamp: timestamp } = received;
  for (const body of bodies) {
    for (const secret of secrets) {
      const expected = await compute(() => standardSignature(secret.secret, { eventId, timestamp, body }));
      const bytes = Buffer.from(expected.slice(3), 'base64');
      if (signatures.some((signature) => timingSafeEqual(signature, bytes))) return secret;
    }
  }
  return undefined;
}

/** Undefined if the bodies are equal. */
function describeDifference(sent: Buffer, received: Buffer): string | undefined {
  if (sent.equals(received)) return undefined;
  const shorter = Math.min(sent.length, received.length);
  const sizes = `${received.length} bytes were received, ${sent.length} bytes were sent`;
  let index = 0;
  while (index < shorter && sent[index] === received[index]) index += 1;
  return `${sizes}, and they differ from byte ${index} on; verify the bytes as received, before they are parsed`;
}

function describeNoMatch({ sentBody }: Known): string {
  const subject =
    'no secret of the webhook subscription made a signature of this webhook-id, webhook-timestamp and body';
  return sentBody === undefined
    ? `${subject}; no delivery of an event with this webhook-id is kept, so the body could not be compared`
    : subject;
}
