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
