import { createServer as createTcpServer } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import { type PostRequest, postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { loopClock } from '../../src/lib/event-loop.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { HOSTILITIES, portOf, startHostileReceiver } from '../support/hostile-receiver.ts';
import { createReceive } from '../support/receivers.ts';
import { startUnansweredPort } from '../support/unanswered-port.ts';

const receive = createReceive();
const cleanUps = createCleanUps();

function createAgents(options?: { maxSocketAgeMs: number }): EgressAgents {
  const agents = new EgressAgents({ allowCidrs: ['127.0.0.0/8'], allowHttp: 'always', denyPorts: new Set() }, options);
  cleanUps.push(() => {
    agents.close();
  });
  return agents;
}

const request = (url: string, more: Partial<PostRequest> = {}): PostRequest => ({
  url,
  headers: { 'content-type': 'application/json', 'user-agent': 'webhooks-engine/test' },
  body: Buffer.from('{"a":1}'),
  timeoutMs: 5_000,
  ...more,
});

describe('send', () => {
  it('posts exactly the given headers and bytes', async () => {
    const receiver = await receive(() => ({ status: 201, headers: { 'set-cookie': 'a=1', 'x-b': 'c' }, body: 'Ü' }));
    const body = Buffer.from([0x7b, 0xff, 0x00, 0x7d]);
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(`${receiver.url}/a%20b?c=d`, { body }));
    expect(outcome).toMatchObject({ kind: 'response', statusCode: 201, body: 'Ü', bodyTruncated: false });
    expect(outcome).toHaveProperty('headers.x-b', 'c');
    const [received] = receiver.requests;
    expect(received).toMatchObject({ method: 'POST', path: '/a%20b?c=d', rawBody: body });
    expect(received?.headers).toEqual({
      host: new URL(receiver.url).host,
      connection: 'keep-alive',
      'content-type': 'application/json',
      'content-length': '4',
      'user-agent': 'webhooks-engine/test',
    });
  });

  it('adds no user-agent', async () => {
    const receiver = await receive();
    await postWithStaleConnectionRetry(createAgents(), request(receiver.url, { headers: {} }));
    expect(receiver.requests[0]?.headers).not.toHaveProperty('user-agent');
  });

  it('joins a header that was received several times', async () => {
    const receiver = await startHostileReceiver({
      when: 'requested',
      behave: (socket) =>
        socket.write('HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n'),
    });
    cleanUps.push(() => receiver.close());
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(receiver.url));
    const headers = outcome.kind === 'response' ? Object.entries(outcome.headers) : [];
    expect(headers).toEqual([
      ['set-cookie', 'a, b'],
      ['content-length', '0'],
    ]);
  });

  it('has no phase that the system clock was set forward in', async () => {
    const machineNow = Date.now;
    const receiver = await receive(() => {
      vi.spyOn(Date, 'now').mockImplementation(() => machineNow() + 40 * 86_400_000);
      return { status: 200 };
    });
    cleanUps.push(() => vi.restoreAllMocks());
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(receiver.url));
    expect(outcome).toMatchObject({ statusCode: 200, trace: { firstByteMs: null } });
    expect(outcome.responseTimeMs).toBeLessThan(10_000);
  });

  it('keeps the connection for the next attempt', async () => {
    const receiver = await receive(() => ({ status: 500, body: 'x'.repeat(10_000) }));
    const agents = createAgents();
    for (let count = 0; count < 5; count++) await postWithStaleConnectionRetry(agents, request(receiver.url));
    expect(receiver.requests).toHaveLength(5);
    expect(receiver.connectionCount()).toBe(1);
  });

  it('does not keep a connection beyond its maximum age', async () => {
    const receiver = await receive();
    const agents = createAgents({ maxSocketAgeMs: 0 });
    for (let count = 0; count < 3; count++) await postWithStaleConnectionRetry(agents, request(receiver.url));
    expect(receiver.connectionCount()).toBe(3);
  });

  it('makes 200 requests to one slow host at a time, and keeps at most 16 of the connections', async () => {
    let arrived = 0;
    let open: () => void = () => undefined;
    const allArrived = new Promise<void>((resolve) => {
      open = resolve;
    });
    const receiver = await receive(async () => {
      arrived += 1;
      if (arrived === 200) open();
      await allArrived;
      return { status: 200 };
    });
    const agents = createAgents();
    const all = Array.from({ length: 200 }, () =>
      postWithStaleConnectionRetry(agents, request(receiver.url, { timeoutMs: 30_000 })),
    );
    const outcomes = await Promise.all(all);
    expect(outcomes.filter(({ kind }) => kind === 'response')).toHaveLength(200);
    expect(receiver.connectionCount()).toBe(200);
    expect(Object.values(agents.pooled.http.freeSockets).flat().length).toBeLessThanOrEqual(16);
  });

  it('sends again at once if the receiver had closed the pooled connection', async () => {
    let requests = 0;
    // Answers the first request of a connection, and resets the connection at the second one.
    const receiver = await startHostileReceiver({
      when: 'connected',
      behave: (socket) => {
        let seen = 0;
        socket.on('data', () => {
          requests += 1;
          seen += 1;
          if (seen === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
          else socket.resetAndDestroy();
        });
      },
    });
    cleanUps.push(() => receiver.close());
    const agents = createAgents();
    expect(await postWithStaleConnectionRetry(agents, request(receiver.url))).toMatchObject({ statusCode: 200 });
    expect(await postWithStaleConnectionRetry(agents, request(receiver.url))).toMatchObject({ statusCode: 200 });
    expect(requests).toBe(3);
    expect(receiver.connectionCount()).toBe(2);
  });

  it('does not send again after a reset of a first request or a partial response on a pooled connection', async () => {
    let requests = 0;
    const receiver = await startHostileReceiver({
      when: 'connected',
      behave: (socket) => {
        socket.on('data', () => {
          requests += 1;
          if (requests === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
          else socket.write('HTTP/1.1 103 Early Hints\r\n\r\n', () => setImmediate(() => socket.resetAndDestroy()));
        });
      },
    });
    cleanUps.push(() => receiver.close());
    const agents = createAgents();
    await postWithStaleConnectionRetry(agents, request(receiver.url));
    expect(await postWithStaleConnectionRetry(agents, request(receiver.url))).toMatchObject({
      reason: 'CONNECTION_RESET',
    });
    expect(requests).toBe(2);
  });

  it('has one time limit for both requests if it sends again', async () => {
    // Answers the first request, resets the connection at the second one, and then never answers.
    const receiver = await startHostileReceiver({
      when: 'connected',
      behave: (socket) => {
        let seen = 0;
        socket.on('data', () => {
          seen += 1;
          if (receiver.connectionCount() > 1) return;
          if (seen === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
          else setTimeout(() => socket.resetAndDestroy(), 1_500);
        });
      },
    });
    cleanUps.push(() => receiver.close());
    const agents = createAgents();
    await postWithStaleConnectionRetry(agents, request(receiver.url));
    const startedAt = loopClock.now();
    const outcome = await postWithStaleConnectionRetry(agents, request(receiver.url, { timeoutMs: 2_000 }));
    expect(outcome).toMatchObject({ reason: 'TIMEOUT', message: 'no response within 2000 ms' });
    expect(loopClock.now() - startedAt).toBeLessThan(3_400);
    expect(receiver.connectionCount()).toBe(2);
  });

  it('does not read data that arrived on an idle pooled connection as a response', async () => {
    const UNASKED = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil';
    let requests = 0;
    const receiver = await startHostileReceiver({
      when: 'requested',
      behave: (socket) => {
        requests += 1;
        if (requests === 1) {
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
          setTimeout(() => socket.write(UNASKED), 50);
        } else socket.write('HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n');
      },
    });
    cleanUps.push(() => receiver.close());
    const agents = createAgents();
    await postWithStaleConnectionRetry(agents, request(receiver.url));
    const [idle] = Object.values(agents.pooled.http.freeSockets).flat();
    const bytesBefore = idle?.bytesRead ?? 0;
    await expect
      .poll(() => idle?.destroyed === true || (idle?.bytesRead ?? 0) >= bytesBefore + UNASKED.length)
      .toBe(true);
    expect(await postWithStaleConnectionRetry(agents, request(receiver.url))).toMatchObject({ statusCode: 500 });
  });

  it.each(['http', 'https'])('times out on an address that drops packets (%s)', async (scheme) => {
    const target = await startUnansweredPort();
    cleanUps.push(() => target.close());
    const agents = createAgents();
    const startedAt = loopClock.now();
    const outcome = await postWithStaleConnectionRetry(
      agents,
      request(`${scheme}://127.0.0.1:${target.port}/`, { timeoutMs: 1_000 }),
    );
    expect(outcome).toMatchObject({ reason: 'TIMEOUT', message: 'no connection within 1000 ms' });
    expect(loopClock.now() - startedAt).toBeLessThan(4_000);
    const openSockets = () =>
      [agents.pooled.http.sockets, agents.pooled.https.sockets].flatMap((pool) => Object.values(pool).flat());
    await expect.poll(openSockets).toHaveLength(0);
  });

  it('is aborted by its signal, and closes the connection', async () => {
    const receiver = await startHostileReceiver(HOSTILITIES['never answers']);
    cleanUps.push(() => receiver.close());
    const abort = new AbortController();
    const sending = postWithStaleConnectionRetry(createAgents(), request(receiver.url, { signal: abort.signal }));
    await expect.poll(() => receiver.openConnections()).toBe(1);
    abort.abort();
    expect(await sending).toMatchObject({ kind: 'failure', reason: 'OTHER' });
    await expect.poll(() => receiver.openConnections()).toBe(0);
  });

  it('does not start if its signal is already aborted', async () => {
    const receiver = await receive();
    const outcome = await postWithStaleConnectionRetry(
      createAgents(),
      request(receiver.url, { signal: AbortSignal.abort() }),
    );
    expect(outcome).toMatchObject({ kind: 'failure', reason: 'OTHER' });
    // A second request arrives, so the first one would have arrived by now.
    await postWithStaleConnectionRetry(createAgents(), request(receiver.url));
    expect(receiver.requests).toHaveLength(1);
  });

  it('keeps the received part if its signal is aborted within the body', async () => {
    const receiver = await startHostileReceiver(HOSTILITIES['drips the body']);
    cleanUps.push(() => receiver.close());
    const abort = new AbortController();
    const sending = postWithStaleConnectionRetry(
      createAgents(),
      request(receiver.url, { signal: abort.signal, timeoutMs: 30_000 }),
    );
    await expect.poll(() => receiver.openConnections()).toBe(1);
    const startedAt = loopClock.now();
    const timer = setTimeout(() => {
      abort.abort();
    }, 1_000);
    expect(await sending).toMatchObject({ kind: 'response', statusCode: 200, bodyTruncated: true });
    // Without the signal, it would take 3 s.
    expect(loopClock.now() - startedAt).toBeLessThan(2_500);
    clearTimeout(timer);
  });

  it('reads a body for 3 seconds at most, with any time limit', async () => {
    const receiver = await startHostileReceiver(HOSTILITIES['drips the body']);
    cleanUps.push(() => receiver.close());
    const startedAt = loopClock.now();
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(receiver.url, { timeoutMs: 30_000 }));
    expect(outcome).toMatchObject({ kind: 'response', statusCode: 200, bodyTruncated: true });
    expect(outcome.responseTimeMs).toBeLessThan(2_000);
    expect(loopClock.now() - startedAt).toBeGreaterThan(2_900);
    expect(loopClock.now() - startedAt).toBeLessThan(10_000);
  });

  it('measures the time until the headers', async () => {
    let receivedAt = 0;
    const receiver = await receive(async () => {
      receivedAt = performance.now();
      await vi.waitUntil(() => performance.now() - receivedAt > 300, { interval: 10 });
      return { status: 200 };
    });
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(receiver.url));
    expect(outcome.responseTimeMs).toBeGreaterThanOrEqual(300);
    expect(outcome.responseTimeMs).toBeLessThan(4_000);
  });

  it('reports that the connection was refused', async () => {
    const server = createTcpServer().listen(0, '127.0.0.1');
    await vi.waitUntil(() => server.listening);
    const port = portOf(server);
    server.close();
    const outcome = await postWithStaleConnectionRetry(createAgents(), request(`http://127.0.0.1:${port}/`));
    expect(outcome).toMatchObject({ kind: 'failure', reason: 'CONNECTION_REFUSED' });
  });

  it.each([
    ['a bad header value', { headers: { 'x-a': 'geheim\r\nx-b: c' } }],
    ['a bad header name', { headers: { 'x a': 'geheim' } }],
    ['an invalid URL', { url: 'geheim' }],
    ['a URL of another scheme', { url: 'ftp://127.0.0.1/geheim' }],
  ])('refuses to send %s, and does not repeat it', async (_what, more) => {
    const outcome = await postWithStaleConnectionRetry(createAgents(), request('http://127.0.0.1:1/', more));
    expect(outcome).toMatchObject({ kind: 'failure', reason: 'INVALID_REQUEST' });
    expect(JSON.stringify(outcome)).not.toContain('geheim');
  });
});
