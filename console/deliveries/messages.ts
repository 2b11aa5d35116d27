export const deliveriesWords = {
  title: 'Deliveries',
  label: 'Deliveries, newest first',
  empty: 'No delivery',
  all: 'All',
  event: 'Event',
  retryMany: 'Retry deliveries',
  replayMany: 'Replay',
  waitsFor: 'Waits for',
  anything: 'Anything',
  waits: {
    BACKOFF: 'Back-off',
    BROKER_UNAVAILABLE: 'NATS',
    CIRCUIT_OPEN: 'Circuit to close',
    IN_FLIGHT_LIMIT: 'In-flight limit',
    PAUSED: 'End of the pause',
    RATE_LIMITED: 'Rate limit',
    RETRY_AFTER: 'Retry-After',
  },
} as const;

export const compareAttemptsWords = {
  title: 'Compare attempts',
  compareWith: (attempt: number) => `Compare attempt ${attempt} with`,
  difference: (before: number, after: number) => `Attempts ${before} and ${after}`,
  hint: (before: number, after: number) =>
    `Lines with − occur only in attempt ${before}, lines with + only in attempt ${after}. Request bodies are not compared: every attempt sends the same event.`,
} as const;

export const verifySignatureWords = {
  title: 'Verify signature',
  hint: 'Paste the request as the receiver got it. The server verifies it as the receiver’s library does; no secret leaves the server.',
  headers: 'Headers',
  headersHint: 'They must contain webhook-id, webhook-timestamp and webhook-signature: one on each line, or as JSON.',
  body: 'Body',
  bodyHint:
    'The raw body, as it was before parsing. A body that was parsed and serialized again has another signature.',
  encoding: 'The body is',
  asText: 'text',
  asBase64: 'base64, for bytes that pasting would change',
  verify: 'Verify',
  missing: (names: readonly string[]) => `Missing: ${names.join(', ')}.`,
  valid: 'Valid: a receiver with the secret accepts this request',
  invalid: 'Not valid: a receiver rejects this request',
  signedWith: 'Signed with',
  failures: {
    BODY_DIFFERS: 'Different body.',
    MALFORMED_HEADER: 'Malformed header.',
    NO_MATCHING_SECRET: 'No secret matches.',
    SECRET_EXPIRED: 'The secret had expired.',
    TIMESTAMP_OUTSIDE_TOLERANCE: 'Wrong time.',
  },
} as const;
