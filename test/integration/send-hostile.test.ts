import { afterEach, describe, expect, it } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import { failureReasonOf, postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { loopClock } from '../../src/lib/event-loop.ts';
import {
  HOSTILITIES,
  type HostileReceiver,
  type Hostility,
  startHostileReceiver,
} from '../support/hostile-receiver.ts';

const TIMEOUT_MS = 1_000;
/** Larger than the socket buffers, so that a receiver that does not read it blocks the sender. */
const LARGE_BODY = Buffer.alloc(16_000_000, 'x');
const UNREAD: ReadonlySet<Hostility> = new Set([
  'never reads',
  'answers before it reads the body',
  'refuses a large body and closes',
]);
const SMALL_BODY = Buffer.from('{"a":1}');

let receiver: HostileReceiver | undefined;
let agents: EgressAgents | undefined;
afterEach(async () => {
  agents?.close();
  await receiver?.close();
});

async function attempt(hostility: Hostility) {
  receiver = await startHostileReceiver(HOSTILITIES[hostility]);
  agents = new EgressAgents({ allowCidrs: ['127.0.0.1/32'], allowHttp: 'always', denyPorts: new Set() });
  const startedAt = loopClock.now();
  const outcome = await postWithStaleConnectionRetry(agents, {
    url: receiver.url,
    headers: { 'content-type': 'application/json' },
    body: UNREAD.has(hostility) ? LARGE_BODY : SMALL_BODY,
    timeoutMs: TIMEOUT_MS,
  });
  // The rest is for stalls of this process.
  expect(loopClock.now() - startedAt).toBeLessThan(TIMEOUT_MS + 1_500);
  return outcome;
}

/** Expects that `count` connections are pooled and all others are closed. */
async function expectConnectionsLeft(count: number): Promise<void> {
  receiver?.drain();
  const counts = () => ({
    used: Object.values(agents?.pooled.http.sockets ?? {}).flat().length,
    pooled: Object.values(agents?.pooled.http.freeSockets ?? {}).flat().length,
    open: receiver?.openConnections(),
  });
  await expect.poll(counts).toEqual({ used: 0, pooled: count, open: count });
}

const NO_RESPONSE: readonly [Hostility, reason: string, message: string][] = [
  ['never answers', 'TIMEOUT', 'no response within 1000 ms'],
  ['never reads', 'TIMEOUT', 'no response within 1000 ms'],
  ['drips headers', 'TIMEOUT', 'no response within 1000 ms'],
  ['closes at once', 'CONNECTION_RESET', 'closed before'],
  ['resets at once', 'CONNECTION_RESET', 'closed before'],
  ['closes after the request', 'CONNECTION_RESET', 'closed before'],
  ['resets after the request', 'CONNECTION_RESET', 'closed before'],
  ['closes within the status line', 'CONNECTION_RESET', 'closed before'],
  ['closes within the headers', 'CONNECTION_RESET', 'closed before'],
  ['sends 17 KiB of headers', 'INVALID_RESPONSE', '16 KiB'],
  ['sends headers without end', 'INVALID_RESPONSE', '16 KiB'],
  ['sends one header without end', 'INVALID_RESPONSE', '16 KiB'],
  ['sends garbage', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['speaks SSH', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['speaks HTTP/2', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['speaks Icecast', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['speaks HTTP/0.9', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['speaks TLS', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends a bad header byte', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends a header without colon', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends content-length and chunked', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends two content-lengths', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends a negative content-length', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends a content-length that is too large for a number', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['sends a folded header', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['ends its lines with LF alone', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['stops within the status line', 'TIMEOUT', 'no response within 1000 ms'],
  ['sends a reason without end', 'INVALID_RESPONSE', '16 KiB'],
  ['sends empty lines without end', 'TIMEOUT', 'no response within 1000 ms'],
  ['answers a status that is not a number', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['answers 20', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['answers 000', 'INVALID_RESPONSE', 'status 0'],
  ['answers 1000', 'INVALID_RESPONSE', 'not valid HTTP'],
  ['answers 099', 'INVALID_RESPONSE', 'status 99'],
  ['answers 600', 'INVALID_RESPONSE', 'status 600'],
  ['answers 999', 'INVALID_RESPONSE', 'status 999'],
  ['answers 101', 'INVALID_RESPONSE', '101'],
  ['answers 101 without upgrade', 'INVALID_RESPONSE', '101'],
  ['answers 101, then 200', 'INVALID_RESPONSE', '101'],
  ['drips 100 without end', 'TIMEOUT', 'no response within 1000 ms'],
  ['answers 103 without end', 'INVALID_RESPONSE', '1xx'],
  ['answers 9 times 100', 'INVALID_RESPONSE', '1xx'],
];

const RESPONSES: readonly [
  Hostility,
  statusCode: number,
  rest: { truncated?: boolean; body?: string; pooled?: boolean },
][] = [
  ['answers 8 times 100, then 200', 200, { body: 'ok', pooled: true }],
  ['answers in HTTP/1.0', 200, { body: 'ok' }],
  ['answers 200 and offers an upgrade', 200, { body: 'ok', pooled: true }],
  ['answers 404', 404, { body: 'none', pooled: true }],
  ['answers 410', 410, { body: '', pooled: true }],
  ['answers 429 with Retry-After', 429, { body: '', pooled: true }],
  ['answers 500', 500, { body: 'broken', pooled: true }],
  ['answers 503 and closes', 503, { body: '' }],
  ['answers 302', 302, { body: '', pooled: true }],
  ['answers 307 to itself', 307, { body: '', pooled: true }],
  ['answers 304', 304, { body: '', pooled: true }],
  ['answers 204', 204, { body: '', pooled: true }],
  // Bytes after the end of a response make the parser fail before it reports the end.
  ['answers 204 with a body', 204, { truncated: true, body: '' }],
  ['answers twice', 200, { body: 'ok' }],
  ['sends bytes after the body', 200, { truncated: true }],
  ['sends 1,200 header lines', 200, { body: 'ok', pooled: true }],
  ['sends a body without end', 200, { truncated: true, body: 'x'.repeat(20_000) }],
  ['sends chunks without end', 200, { truncated: true, body: 'x'.repeat(20_000) }],
  ['sends chunk extensions without end', 200, { truncated: true, body: '' }],
  ['sends trailers without end', 200, { truncated: true }],
  ['drips the body', 200, { truncated: true }],
  ['never sends the body', 200, { truncated: true, body: '' }],
  ['closes within the body', 200, { truncated: true, body: 'hello' }],
  ['resets within the body', 200, { truncated: true, body: 'hello' }],
  ['closes within a chunk', 200, { truncated: true, body: 'hello' }],
  ['sends a bad chunk size', 200, { truncated: true, body: '' }],
  ['sends a gzip bomb', 200, { truncated: true }],
  // The log keeps the bytes as UTF-8, regardless of the charset in the headers.
  ['says gzip and sends text', 200, { body: 'hello', pooled: true }],
  ['names a charset that does not exist', 200, { body: 'ok', pooled: true }],
  ['sends UTF-16', 200, { body: 'h\uFFFDi\uFFFD', pooled: true }],
  ['sends NUL and broken UTF-8', 200, { body: 'a\uFFFD\uFFFDb', pooled: true }],
  ['sends 20,000 bytes', 200, { body: 'x'.repeat(20_000), pooled: true }],
  ['sends 20,001 bytes', 200, { truncated: true, body: 'x'.repeat(20_000) }],
  ['refuses a large body and closes', 413, { body: 'big' }],
  ['answers before it reads the body', 401, { body: '' }],
];

describe('a receiver that', () => {
  it.each(NO_RESPONSE)('%s gets %s: %s', async (hostility, reason, message) => {
    const outcome = await attempt(hostility);
    expect(outcome).toMatchObject({ kind: 'failure', reason });
    expect('message' in outcome && outcome.message).toContain(message);
    await expectConnectionsLeft(0);
    expect(receiver?.connectionCount()).toBe(1);
  });

  it.each(RESPONSES)(
    '%s gets its status %d',
    async (hostility, statusCode, { truncated = false, body, pooled = false }) => {
      const outcome = await attempt(hostility);
      expect(outcome).toMatchObject({ kind: 'response', statusCode, bodyTruncated: truncated });
      if (body !== undefined) expect(outcome).toHaveProperty('body', body);
      await expectConnectionsLeft(pooled ? 1 : 0);
      expect(receiver?.connectionCount()).toBe(1);
    },
  );

  it.each([
    ['answers in HTTP/1.0', undefined],
    ['answers 204', undefined],
    ['closes within the body', undefined],
    ['answers 302', 'REDIRECT'],
    ['answers 304', 'REDIRECT'],
    ['answers 404', 'HTTP_STATUS'],
    ['answers 410', 'HTTP_STATUS'],
    ['answers 429 with Retry-After', 'HTTP_STATUS'],
    ['answers 500', 'HTTP_STATUS'],
  ] as const)('%s gets the failure reason %s', async (hostility, reason) => {
    expect(failureReasonOf(await attempt(hostility))).toBe(reason);
  });

  it('sends Retry-After in any letter case is understood, and the first value counts', async () => {
    expect(await attempt('answers 429 with Retry-After')).toHaveProperty('headers.retry-after', '30');
  });

  it('has each of its behaviours in one of the tables above', () => {
    const tested = [...NO_RESPONSE, ...RESPONSES].map(([hostility]) => hostility);
    expect(tested.sort()).toEqual(Object.keys(HOSTILITIES).sort());
  });
});
