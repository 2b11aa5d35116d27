import { InputError, type InputProblem } from '../lib/errors.ts';

/** A subscription's own headers cannot be sent; no message has a value. */
export class InvalidHeadersError extends InputError {
  readonly code = 'INVALID_HEADERS';
}

export type CustomHeader = { readonly name: string; readonly value: string };

/** As a user gives it: without a value, it keeps the stored one. */
export type GivenHeader = { readonly name: string; readonly value?: string | null | undefined };

const MAX_HEADERS = 20;
const MAX_VALUE_BYTES = 4_096;
const MAX_TOTAL_BYTES = 4_096;
/** RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** Not beyond ASCII: receivers disagree on the charset. Not at the ends: parsers strip spaces there. */
const VALUE = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/**
 * Headers that say where a request begins, ends or goes: on a shared connection a customer's own `content-length` makes
 * the next customer's request part of this one's body (measured with got 14). And those that carry our own meaning.
 */
const FORBIDDEN: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'te', 'trailer', 'trailers', 'transfer-encoding', 'upgrade', 'expect'],
  ...['http2-settings', 'date', 'via', 'forwarded', 'x-real-ip', 'range', 'accept-encoding', 'user-agent'],
  ...['cookie', 'cookie2', 'set-cookie', 'set-cookie2'],
  // Gateways read them as said by a trusted proxy. `Proxy` becomes the environment variable HTTP_PROXY of CGI programs.
  ...['proxy', 'max-forwards', 'x-forwarded', 'x-rewrite-url', 'x-host', 'client-ip', 'true-client-ip', 'x-client-ip'],
  ...['x-cluster-client-ip', 'fastly-client-ip', 'cf-connecting-ip', 'x-remote-ip', 'x-remote-addr', 'remote-addr'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override'],
  // In an object that is not made with care, they are something else than a member.
  ...['prototype', ...Object.getOwnPropertyNames(Object.prototype)].map(readByProxies),
]);

/** With what cloud metadata services ask for among them: a hole in the target guard would still not get an answer. */
const FORBIDDEN_PREFIXES: readonly string[] = [
  ...['content-', 'if-', 'proxy-', 'sec-', 'x-forwarded-', 'x-original-', 'x-accel-', 'x-envoy-'],
  ...['webhook-', 'x-hub-signature', 'svix-'],
  ...['metadata', 'x-aws-', 'x-amz-', 'x-amzn-', 'x-goog-', 'x-google-', 'x-gfe', 'x-azure-', 'x-fd-', 'x-ms-'],
];

/** By the name in lower case: HTTP does not tell names apart by case. */
export type StoredHeaders = ReadonlyMap<string, string>;

/** Whether values that are stored are needed to know what these headers are. */
export function keepsValues(headers: readonly GivenHeader[]): boolean {
  return headers.some(({ value }) => value == null);
}

/**
 * The headers to store: one that is given without a value has the stored one of its name. To be called with headers that
 * have no problems.
 */
export function completeHeaders(headers: readonly GivenHeader[], stored: StoredHeaders): CustomHeader[] {
  return headers.map(({ name, value }) => ({ name, value: value ?? stored.get(name.toLowerCase()) ?? '' }));
}

/** Every problem of the headers, never with a value. Headers that have none are sent as they are. */
export function problemsOfHeaders(headers: readonly GivenHeader[], stored: StoredHeaders): InputProblem[] {
  const path = 'headers';
  // Counted first, so that there are no more problems than the limits allow.
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

/** HTTP does not tell names apart by case, and CGI and its heirs not by anything but letters and digits: `X_A` is `x-a`. */
function readByProxies(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-');
}

function problemOfValue(value: string): string | undefined {
  if (value === '') return 'has no value';
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) return `has a value of more than ${MAX_VALUE_BYTES} bytes`;
  return VALUE.test(value) ? undefined : 'has a value with something else than printable ASCII, or spaces at its ends';
}

function quote(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}
