import { InputError, type InputProblem } from '../lib/errors.ts';

/** The custom headers are not valid. Messages never contain values. */
export class InvalidHeadersError extends InputError {
  readonly code = 'INVALID_HEADERS';
}

export type CustomHeader = { readonly name: string; readonly value: string };

/** A header in an input. A header without a value keeps its stored value. */
export type GivenHeader = { readonly name: string; readonly value?: string | null | undefined };

const MAX_HEADERS = 20;
const MAX_VALUE_BYTES = 4_096;
const MAX_TOTAL_BYTES = 4_096;
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** Only ASCII, because receivers disagree on the charset. No spaces at the ends, because parsers strip them. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Headers that frame or route a request, and the engine's own headers. On a shared connection, a custom `content-length`
 * makes the next customer's request a part of this request's body (measured with got 14).
 */
const FORBIDDEN: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade', 'expect'],
  ...['http2-settings', 'date', 'via', 'forwarded', 'x-real-ip', 'range', 'accept-encoding', 'user-agent'],
  ...['cookie', 'cookie2', 'set-cookie', 'set-cookie2'],
  // Gateways trust these headers as set by a proxy. `Proxy` becomes the environment variable HTTP_PROXY of CGI programs.
  ...['proxy', 'max-forwards', 'x-forwarded', 'x-rewrite-url', 'x-host', 'client-ip', 'true-client-ip', 'x-client-ip'],
  ...['x-cluster-client-ip', 'fastly-client-ip', 'cf-connecting-ip', 'x-remote-ip', 'x-remote-addr', 'remote-addr'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override'],
  // Plain JavaScript objects inherit properties with these names, so a receiver may not find the header by its name.
  ...['prototype', ...Object.getOwnPropertyNames(Object.prototype)].map(readByProxies),
]);

/** Includes headers that cloud metadata services require: even if the egress guard failed, they would reject the request. */
const FORBIDDEN_PREFIXES: readonly string[] = [
  ...['content-', 'if-', 'proxy-', 'sec-', 'x-forwarded-', 'x-original-', 'x-accel-', 'x-envoy-'],
  ...['webhook-', 'x-hub-signature', 'svix-'],
  ...['metadata', 'x-aws-', 'x-amz-', 'x-amzn-', 'x-goog-', 'x-google-', 'x-gfe', 'x-azure-', 'x-fd-', 'x-ms-'],
];

/** Values by name in lower case, because HTTP ignores case. */
export type StoredHeaders = ReadonlyMap<string, string>;

/** Whether a header without a value keeps its stored one. */
export function keepsValues(headers: readonly GivenHeader[]): boolean {
  return headers.some(({ value }) => value == null);
}

/** The headers to store, with the stored value where none is given. The headers must be valid. */
export function completeHeaders(headers: readonly GivenHeader[], stored: StoredHeaders): CustomHeader[] {
  return headers.map(({ name, value }) => ({ name, value: value ?? stored.get(name.toLowerCase()) ?? '' }));
}

/** Returns every problem of the headers. Messages never contain values. */
export function problemsOfHeaders(headers: readonly GivenHeader[], stored: StoredHeaders): InputProblem[] {
  const path = 'headers';
  // This check comes first, because it bounds the number of problems.
  if (headers.length > MAX_HEADERS) return [problem(path, `at most ${MAX_HEADERS} headers are possible`)];
  const seen = new Set<string>();
  const problems = headers.flatMap(({ name, value }, index) => {
    const lowerCase = name.toLowerCase();
    const read = readByProxies(name);
    const ofName = problemOfName(name) ?? (seen.has(read) ? 'is given more than once' : undefined);
    seen.add(read);
    const ofValue = value == null && stored.has(lowerCase) ? undefined : problemOfValue(value ?? '');
    return [
      ...(ofName === undefined ? [] : [problem(`${path}.${index}.name`, `${quote(name)} ${ofName}`)]),
      ...(ofValue === undefined ? [] : [problem(`${path}.${index}.value`, `${quote(name)} ${ofValue}`)]),
    ];
  });
  const totalBytes = completeHeaders(headers, stored).reduce(
    (sum, { name, value }) => sum + Buffer.byteLength(name + value),
    0,
  );
  if (totalBytes <= MAX_TOTAL_BYTES) return problems;
  return [...problems, problem(path, `all names and values together exceed ${MAX_TOTAL_BYTES} bytes`)];
}

function problem(path: string, message: string): InputProblem {
  return { path, message, code: 'INVALID_HEADERS' };
}

function problemOfName(name: string): string | undefined {
  if (!TOKEN.test(name)) return "is not a valid header name: 1 to 128 letters, digits or !#$%&'*+.^_`|~-";
  const read = readByProxies(name);
  const forbidden = FORBIDDEN.has(read) || FORBIDDEN_PREFIXES.some((prefix) => read.startsWith(prefix));
  return forbidden ? 'cannot be set' : undefined;
}

/** The name as CGI and its successors read it: they ignore case and treat other characters than letters and digits alike. */
function readByProxies(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

function problemOfValue(value: string): string | undefined {
  if (value === '') return 'has no value';
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) return `has a value of more than ${MAX_VALUE_BYTES} bytes`;
  return VALUE.test(value)
    ? undefined
    : 'has a value with other characters than printable ASCII, or with spaces at its ends';
}

function quote(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}
