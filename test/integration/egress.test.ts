import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createServer } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import type { EgressPolicy } from '../../src/delivery/http/egress-policy.ts';
import { type Outcome, postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { Resolver } from '../../src/delivery/http/resolver.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type DnsAnswer, type DnsQuestion, startDnsServer } from '../support/dns-server.ts';
import { startReceiver } from '../support/receiver.ts';
import { startUnansweredPort } from '../support/unanswered-port.ts';

/** 127.0.0.1, the address of the receiver, stands for the public internet; 127.0.0.2 and ::1 are "inside". */
const PUBLIC = '127.0.0.1';
const INSIDE = '127.0.0.2';
const INSIDE_V6 = '::1';
const NAME = 'hooks.example.com';

const cleanUps = createCleanUps();

async function start(answer: (question: DnsQuestion) => DnsAnswer, policy: Partial<EgressPolicy> = {}) {
  const receiver = await startReceiver();
  const dns = await startDnsServer(answer);
  const agents = new EgressAgents({
    allowCidrs: [`${PUBLIC}/32`],
    allowHttp: 'always',
    denyPorts: new Set(),
    dnsServers: [dns.address],
    ...policy,
  });
  cleanUps.push(
    () => receiver.close(),
    () => dns.close(),
    () => {
      agents.close();
    },
  );
  const { port } = new URL(receiver.url);
  const attempt = (host: string, timeoutMs = 5_000): Promise<Outcome> =>
    postWithStaleConnectionRetry(agents, {
      url: `http://${host}:${port}/`,
      headers: {},
      body: Buffer.from('{}'),
      timeoutMs,
    });
  return { receiver, dns, agents, port, attempt };
}

const BLOCKED = { kind: 'failure', reason: 'BLOCKED_TARGET', message: 'the target is not reachable from the internet' };
const addresses = (...list: readonly string[]): DnsAnswer => ({ addresses: list });

describe('the egress guard', () => {
  it('allows a name whose addresses are all allowed, and asks the given name server', async () => {
    const { dns, receiver, attempt } = await start(() => addresses(PUBLIC));
    expect(await attempt(NAME)).toMatchObject({ kind: 'response', statusCode: 200 });
    expect(receiver.requests[0]?.headers.host).toMatch(/^hooks\.example\.com:\d+$/);
    expect(dns.questions.map(({ type }) => type).sort()).toEqual(['A', 'AAAA']);
  });

  it('blocks DNS rebinding: a name that is public at first and inside at the next connection', async () => {
    const { dns, receiver, attempt, agents } = await start(({ count }) => addresses(count === 1 ? PUBLIC : INSIDE));
    expect(await attempt(NAME)).toMatchObject({ statusCode: 200 });
    // Until the first DNS answer expires, new connections go to its address; after that, they are denied.
    const attemptAgain = async () => {
      for (const socket of Object.values(agents.pooled.http.freeSockets).flat()) socket?.destroy();
      return attempt(NAME);
    };
    await expect.poll(attemptAgain, { interval: 100 }).toMatchObject(BLOCKED);
    expect(dns.questions.filter(({ type }) => type === 'A')).toHaveLength(2);
    expect(receiver.requests.length).toBeGreaterThanOrEqual(1);
  });

  it('connects to the checked answer: each connection asks once, and an inside host gets no connection', async () => {
    const { dns, port, attempt } = await start(({ count }) => addresses(count === 1 ? PUBLIC : INSIDE));
    let heard = 0;
    const inside = createServer(() => {
      heard += 1;
    });
    inside.listen(Number(port), INSIDE);
    await once(inside, 'listening');
    cleanUps.push(() => inside.close());
    // If the check and the connection asked separately, this connection would go inside.
    expect(await attempt(NAME)).toMatchObject({ statusCode: 200 });
    expect(dns.questions.map(({ type, count }) => [type, count]).sort()).toEqual([
      ['A', 1],
      ['AAAA', 1],
    ]);
    expect(heard).toBe(0);
  });

  it('caches an answer for at least a second, so that one attempt never uses two answers', async () => {
    // Repeated, in case a busy machine takes longer than a second.
    const count = async () => {
      const { dns, agents, attempt, receiver } = await start(() => ({ addresses: [PUBLIC], ttlSeconds: 0 }));
      await Promise.all([attempt(NAME), attempt(NAME), attempt(NAME)]);
      for (const socket of Object.values(agents.pooled.http.freeSockets).flat()) socket?.destroy();
      await attempt(NAME);
      return { connections: receiver.connectionCount(), questions: dns.questions.length };
    };
    await expect.poll(count).toEqual({ connections: 4, questions: 2 });
  });

  it.each([
    ['an inside address', [INSIDE], []],
    ['an inside address after a public one', [PUBLIC, INSIDE], []],
    ['a public address after an inside one', [INSIDE, PUBLIC], []],
    ['an inside IPv6 address beside a public IPv4 one', [PUBLIC], [INSIDE_V6]],
    ['a mapped inside address', [PUBLIC], [`::ffff:${INSIDE}`]],
    ['the metadata service', ['169.254.169.254'], []],
    ['a private address beyond those that would be tried', [...Array<string>(20).fill(PUBLIC), '10.0.0.1'], []],
  ])('denies a name with %s', async (_what, ipv4, ipv6) => {
    const { receiver, attempt } = await start(({ type }) => addresses(...(type === 'A' ? ipv4 : ipv6)));
    expect(await attempt(NAME)).toMatchObject(BLOCKED);
    expect(receiver.connectionCount()).toBe(0);
  });

  it('refuses a name with more than 64 addresses, which would all be checked at each connection', async () => {
    const many = (count: number) => addresses(...Array.from({ length: count }, () => PUBLIC));
    const { attempt } = await start(({ name, type }) => {
      if (type === 'AAAA') return addresses();
      return many(name === NAME ? 64 : 65);
    });
    expect(await attempt(NAME)).toMatchObject({ kind: 'response', statusCode: 200 });
    const message = 'the host name has more than 64 addresses';
    expect(await attempt(`many.${NAME}`)).toMatchObject({ kind: 'failure', reason: 'DNS_FAILURE', message });
  });

  it('tries one address after the other', async () => {
    const { attempt } = await start(() => addresses('127.0.0.3', PUBLIC), { allowCidrs: ['127.0.0.0/8'] });
    expect(await attempt(NAME)).toMatchObject({ kind: 'response', statusCode: 200 });
  });

  it('tries the next address if one drops packets', async () => {
    const { attempt, port } = await start(() => addresses('127.0.0.3', PUBLIC), { allowCidrs: ['127.0.0.0/8'] });
    const target = await startUnansweredPort({ host: '127.0.0.3', port: Number(port) });
    cleanUps.push(() => target.close());
    expect(await attempt(NAME, 3_000)).toMatchObject({ kind: 'response', statusCode: 200 });
  });

  it.each([INSIDE, '[::1]', '[::ffff:127.0.0.2]', '2130706434', '0x7f.2', '127.2', '0'])(
    'denies the literal %s without a DNS question',
    async (host) => {
      const { dns, receiver, attempt } = await start(() => addresses(PUBLIC));
      expect(await attempt(host)).toMatchObject(BLOCKED);
      expect(dns.questions).toHaveLength(0);
      expect(receiver.connectionCount()).toBe(0);
    },
  );

  it('resolves localhost to loopback without a DNS question, if loopback is allowed', async () => {
    const { dns, attempt } = await start(() => addresses('8.8.8.8'));
    expect(await attempt('localhost')).toMatchObject({ statusCode: 200 });
    expect(await attempt('app.localhost')).toMatchObject({ statusCode: 200 });
    expect(dns.questions).toHaveLength(0);
    const strict = await start(() => addresses('8.8.8.8'), { allowCidrs: [] });
    expect(await strict.attempt('localhost')).toMatchObject(BLOCKED);
    expect(strict.dns.questions).toHaveLength(0);
  });

  it.each([
    ['never', PUBLIC, BLOCKED],
    ['never', NAME, BLOCKED],
    ['loopback', PUBLIC, { statusCode: 200 }],
    ['loopback', NAME, { statusCode: 200 }],
  ] as const)('with allowHttp %s, http to %s: %o', async (allowHttp, host, expected) => {
    const { attempt } = await start(() => addresses(PUBLIC), { allowHttp });
    expect(await attempt(host)).toMatchObject(expected);
  });

  it('with allowHttp loopback denies http to any other address', async () => {
    const { attempt } = await start(() => addresses('8.8.8.8'), { allowHttp: 'loopback' });
    expect(await attempt('8.8.8.8')).toMatchObject(BLOCKED);
    expect(await attempt(NAME)).toMatchObject(BLOCKED);
  });

  it.each([PUBLIC, NAME])('denies a denied port of %s, in every pool, without a DNS question', async (host) => {
    const denyPorts = new Set<number>();
    const { attempt, agents, dns, port, receiver } = await start(() => addresses(PUBLIC), { denyPorts });
    denyPorts.add(Number(port));
    const message = 'the port of the target is not allowed';
    expect(await attempt(host)).toMatchObject({ kind: 'failure', reason: 'BLOCKED_TARGET', message });
    for (const [client, agent] of [
      [http, agents.fresh.http],
      [https, agents.fresh.https],
    ] as const) {
      const failure: unknown = await once(client.get({ host, port, agent }), 'error');
      expect(failure).toMatchObject([{ code: 'ERR_BLOCKED_TARGET', message }]);
    }
    expect(dns.questions).toHaveLength(0);
    expect(receiver.connectionCount()).toBe(0);
  });

  it('uses no proxy from the environment, because the guard would check the proxy in place of the target', async () => {
    const proxy = await startReceiver();
    cleanUps.push(() => proxy.close());
    for (const name of ['http_proxy', 'https_proxy', 'all_proxy']) {
      vi.stubEnv(name, proxy.url);
      vi.stubEnv(name.toUpperCase(), proxy.url);
    }
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    vi.stubEnv('no_proxy', '');
    vi.stubEnv('NO_PROXY', '');
    cleanUps.push(() => vi.unstubAllEnvs());
    const { attempt, agents, receiver } = await start(() => addresses(PUBLIC));
    expect(await attempt(NAME)).toMatchObject({ statusCode: 200 });
    const overTls = { url: receiver.url.replace('http:', 'https:'), headers: {}, body: Buffer.from('{}') };
    expect(await postWithStaleConnectionRetry(agents, { ...overTls, timeoutMs: 5_000 })).toMatchObject({
      reason: 'TLS_FAILURE',
    });
    expect(receiver.requests).toHaveLength(1);
    expect(receiver.connectionCount()).toBe(2);
    expect(proxy.connectionCount()).toBe(0);
  });

  it('is part of the agents, even for a caller that passes its own lookup', async () => {
    const { agents, port } = await start(() => addresses(PUBLIC));
    for (const pair of [agents.pooled, agents.fresh]) {
      const error = await new Promise<unknown>((resolve) => {
        http
          .get({
            host: INSIDE,
            port,
            agent: pair.http,
            lookup: (_name, _options, callback) => {
              callback(null, INSIDE, 4);
            },
          })
          .on('error', resolve)
          .on('response', resolve);
      });
      expect(error).toMatchObject({ code: 'ERR_BLOCKED_TARGET' });
    }
  });

  it.each([
    ['NXDOMAIN', 'the host name does not exist'],
    ['SERVFAIL', 'the host name could not be resolved'],
    [addresses(), 'the host name has no address'],
  ] as const)('a name server that answers %o is a DNS failure', async (answer, message) => {
    const { attempt } = await start(() => answer);
    expect(await attempt(NAME)).toMatchObject({ kind: 'failure', reason: 'DNS_FAILURE', message });
  });

  it('a silent name server delays an attempt by the time limit at most', async () => {
    const { attempt } = await start(() => 'silent');
    const outcome = await attempt(NAME, 1_000);
    expect(outcome).toMatchObject({ reason: 'TIMEOUT', message: 'the host name was not resolved within 1000 ms' });
  });

  it('addresses of one family are used if the question for the other fails', async () => {
    const { attempt } = await start(({ type }) => (type === 'A' ? addresses(PUBLIC) : 'SERVFAIL'));
    expect(await attempt(NAME)).toMatchObject({ statusCode: 200 });
  });

  it.each([
    ['AAAA', [PUBLIC]],
    ['A', [INSIDE_V6]],
  ] as const)('an attempt does not wait for a late answer to %s, which is checked later', async (late, first) => {
    const { dns } = await start(({ type, count }) => {
      // c-ares repeats the question after 2 s.
      if (type === late && count === 1) return 'silent';
      return { addresses: [type === 'A' ? PUBLIC : INSIDE_V6], ttlSeconds: 60 };
    });
    const resolver = new Resolver([dns.address]);
    expect(await resolver.resolve(NAME)).toEqual(first);
    await expect.poll(() => resolver.resolve(NAME)).toEqual([PUBLIC, INSIDE_V6]);
    resolver.close();
  });

  it('keeps a limited number of free connections to all hosts, those that were used last', async () => {
    const agents = new EgressAgents(
      { allowCidrs: [`${PUBLIC}/32`], allowHttp: 'always', denyPorts: new Set() },
      { maxFreeSockets: 2 },
    );
    cleanUps.push(() => {
      agents.close();
    });
    const receivers = await Promise.all([startReceiver(), startReceiver(), startReceiver()]);
    for (const receiver of receivers) cleanUps.push(() => receiver.close());
    const free = () =>
      receivers.map(({ url }) => {
        const names = Object.entries(agents.pooled.http.freeSockets).filter(([name]) =>
          name.includes(new URL(url).port),
        );
        return names.flatMap(([, sockets = []]) => sockets.filter(({ destroyed }) => !destroyed)).length;
      });
    const post = async (index: number) => {
      const url = receivers[index]?.url ?? '';
      const outcome = await postWithStaleConnectionRetry(agents, {
        url,
        headers: {},
        body: Buffer.from('{}'),
        timeoutMs: 5_000,
      });
      expect(outcome).toMatchObject({ statusCode: 200 });
      await new Promise((resolve) => setImmediate(resolve));
    };
    for (const index of [0, 1, 0]) await post(index);
    expect(free()).toEqual([1, 1, 0]);
    await post(2);
    expect(free()).toEqual([1, 0, 1]);
  });

  it('closes open connections and aborts lookups when it is closed, and can be closed twice', async () => {
    const { agents, receiver, attempt, dns } = await start(({ name }) =>
      name === NAME ? addresses(PUBLIC) : 'silent',
    );
    await attempt(NAME);
    const waiting = attempt('silent.example.com', 30_000);
    await expect.poll(() => dns.questions.some(({ name }) => name === 'silent.example.com')).toBe(true);
    agents.close();
    agents.close();
    expect(await waiting).toMatchObject({ kind: 'failure' });
    await receiver.close();
  });

  it('aborts its open DNS questions when it is closed', async () => {
    const { dns } = await start(() => 'silent');
    const resolver = new Resolver([dns.address]);
    const pending = resolver.resolve(NAME);
    resolver.close();
    await expect(pending).rejects.toMatchObject({ code: 'ERR_DNS_FAILURE', dnsCode: 'ECANCELLED' });
  });
});
