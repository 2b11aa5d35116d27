import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import { dial } from '../../src/delivery/http/dial.ts';
import type { EgressPolicy } from '../../src/delivery/http/egress-policy.ts';
import { postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startDnsServer } from '../support/dns-server.ts';
import { type ForwardProxy, startConnectProxy, startSocksProxy } from '../support/forward-proxies.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startReceiver } from '../support/receiver.ts';
import { createCertificate } from '../support/self-signed-certificate.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

const NAME = 'hooks.example.com';
/** No request is sent to this address: the proxies of these tests connect to a receiver on loopback instead. */
const PUBLIC = '8.8.8.8';
const OTHER_PUBLIC = '8.8.4.4';
const HOUR_MS = 3_600_000;
const CERTIFICATE = createCertificate({
  hosts: [NAME],
  notBefore: new Date(Date.now() - HOUR_MS),
  notAfter: new Date(Date.now() + HOUR_MS),
});

const cleanUps = createCleanUps();

const KINDS = [
  { protocol: 'http', startProxy: startConnectProxy },
  { protocol: 'socks5', startProxy: startSocksProxy },
] as const;

type ProxyOptions = Parameters<typeof startConnectProxy>[0];
type Kind = (typeof KINDS)[number];

async function startProxy({ startProxy: start }: Kind, options: ProxyOptions): Promise<ForwardProxy> {
  const proxy = await start(options);
  cleanUps.push(() => proxy.close());
  return proxy;
}

async function startAgents(policy: Partial<EgressPolicy>, addresses: readonly string[] = [PUBLIC]) {
  const dns = await startDnsServer(({ type }) => ({ addresses: type === 'A' ? addresses : [] }));
  const agents = new EgressAgents({
    allowCidrs: [],
    allowHttp: 'always',
    denyPorts: new Set(),
    dnsServers: [dns.address],
    ...policy,
  });
  agents.pooled.https.options.ca = CERTIFICATE.cert;
  cleanUps.push(
    () => dns.close(),
    () => {
      agents.close();
    },
  );
  const post = (url: string, timeoutMs = 5_000) =>
    postWithStaleConnectionRetry(agents, { url, headers: {}, body: Buffer.from('{}'), timeoutMs });
  return { dns, post };
}

function proxyAt(kind: Kind, port: number, username = '') {
  return { protocol: kind.protocol, host: '127.0.0.1', port, username, password: username && 'pass word' };
}

async function startHttpReceiver() {
  const receiver = await startReceiver();
  cleanUps.push(() => receiver.close());
  return { receiver, address: new URL(receiver.url).host };
}

async function startTlsReceiver() {
  const servernames: unknown[] = [];
  const server = createServer(CERTIFICATE, (request, response) => {
    // The type of the socket does not include the TLS members.
    servernames.push('servername' in request.socket ? request.socket.servername : undefined);
    request.resume();
    response.end('ok');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(() => {
    server.closeAllConnections();
    server.close();
  });
  // `as`: a server on TCP.
  return { servernames, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

describe.each(KINDS)('through a proxy ($protocol)', (kind) => {
  it('the proxy gets the checked address, the receiver gets the name, and the connection is reused', async () => {
    const { receiver, address } = await startHttpReceiver();
    const proxy = await startProxy(kind, { route: () => address, requiresPassword: true });
    const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port, 'user') });
    const outcome = { kind: 'response', statusCode: 200, trace: { remoteAddress: PUBLIC } };
    expect(await post(`http://${NAME}:8080/`)).toMatchObject(outcome);
    expect(await post(`http://${NAME}:8080/`)).toMatchObject({ ...outcome, trace: { connectMs: null } });
    expect(proxy.targets).toEqual([`${PUBLIC}:8080`]);
    expect(proxy.credentials).toEqual(['user:pass word']);
    expect(receiver.requests.map(({ headers }) => headers.host)).toEqual([`${NAME}:8080`, `${NAME}:8080`]);
    expect(JSON.stringify(receiver.requests.map(({ headers }) => headers))).not.toContain('proxy');
  });

  it('TLS is end to end, and the certificate of the receiver must be valid for the name', async () => {
    const { servernames, address } = await startTlsReceiver();
    const proxy = await startProxy(kind, { route: () => address });
    const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port) });
    expect(await post(`https://${NAME}:8443/`)).toMatchObject({ statusCode: 200, trace: { remoteAddress: PUBLIC } });
    expect(servernames).toEqual([NAME]);
    expect(await post(`https://${PUBLIC}:8443/`)).toMatchObject({ kind: 'failure', reason: 'TLS_FAILURE' });
    expect(proxy.targets).toEqual([`${PUBLIC}:8443`, `${PUBLIC}:8443`]);
  });

  it.each([
    ['a name with a private address', `http://${NAME}/`, ['10.0.0.1']],
    ['a name with a private address beside a public one', `https://${NAME}/`, [PUBLIC, '10.0.0.1']],
    ['a private address', 'https://10.0.0.1/', []],
    ['the metadata service', 'http://169.254.169.254/', []],
    ['localhost', 'http://localhost/', []],
  ])('%s is denied without a request to the proxy', async (_what, url, addresses) => {
    const proxy = await startProxy(kind, { refuseWith: 1 });
    const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port) }, addresses);
    expect(await post(url)).toMatchObject({ kind: 'failure', reason: 'BLOCKED_TARGET' });
    expect(proxy.targets).toEqual([]);
  });

  it('with EGRESS_PROXY_RESOLVES, the proxy gets the name; addresses and localhost are still checked', async () => {
    const { address } = await startHttpReceiver();
    const proxy = await startProxy(kind, { route: () => address });
    const { dns, post } = await startAgents({ proxy: proxyAt(kind, proxy.port), proxyResolves: true });
    expect(await post(`http://${NAME}:8080/`)).toMatchObject({ statusCode: 200, trace: { remoteAddress: null } });
    expect(proxy.targets).toEqual([`${NAME}:8080`]);
    expect(dns.questions).toEqual([]);
    for (const url of ['http://10.0.0.1/', 'http://[fd00::1]/', 'http://localhost/']) {
      expect(await post(url), url).toMatchObject({ kind: 'failure', reason: 'BLOCKED_TARGET' });
    }
    expect(proxy.targets).toHaveLength(1);
  });

  it('a proxy that refuses connections has its own failure reason', async () => {
    const { post } = await startAgents({ proxy: proxyAt(kind, await findOwnPort(), 'user') });
    const outcome = await post(`https://${NAME}/`);
    expect(outcome).toMatchObject({ reason: 'PROXY_FAILURE', message: 'the forward proxy cannot be reached' });
  });

  it('the next address is tried after one that the proxy cannot reach', async () => {
    const { address } = await startHttpReceiver();
    const unused = `127.0.0.1:${await findOwnPort()}`;
    const route = (target: string) => (target.startsWith(PUBLIC) ? unused : address);
    const proxy = await startProxy(kind, { route });
    const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port) }, [PUBLIC, OTHER_PUBLIC]);
    const outcome = await post(`http://${NAME}:8080/`);
    expect(outcome).toMatchObject({ statusCode: 200, trace: { remoteAddress: OTHER_PUBLIC } });
    expect(proxy.targets).toEqual([`${PUBLIC}:8080`, `${OTHER_PUBLIC}:8080`]);
  });

  it.each(
    kind.protocol === 'http'
      ? [
          [407, 'PROXY_FAILURE'],
          [403, 'PROXY_FAILURE'],
          [502, 'UNREACHABLE'],
          [504, 'TIMEOUT'],
        ]
      : [
          [2, 'PROXY_FAILURE'],
          [1, 'PROXY_FAILURE'],
          [4, 'UNREACHABLE'],
          [5, 'CONNECTION_REFUSED'],
        ],
  )('the status %i of the proxy is %s, and not a response of the receiver', async (refuseWith, reason) => {
    const proxy = await startProxy(kind, { refuseWith });
    const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port, 'user') });
    const outcome = await post(`http://${NAME}/`);
    expect(outcome).toMatchObject({ kind: 'failure', reason });
    expect(JSON.stringify(outcome)).not.toMatch(/127\.0\.0\.1|pass word|secret/);
  });
});

describe.each([...KINDS, { protocol: 'none' } as const])('a connection (proxy: $protocol)', (kind) => {
  it('is closed by its signal only until it is open', async () => {
    const { address } = await startHttpReceiver();
    const [host = '', port] = address.split(':');
    const route =
      kind.protocol === 'none'
        ? { sourceAddresses: ['127.0.0.77'] }
        : { proxy: proxyAt(kind, (await startProxy(kind, { route: () => address })).port) };
    const dialing = new AbortController();
    // The first address of several has a time limit of its own.
    const target = { hosts: [host, '127.0.0.2'], port: Number(port), signal: dialing.signal };
    const { socket } = await dial(route, target);
    dialing.abort();
    expect(socket.destroyed).toBe(false);
    socket.write('POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1.1 200/);
    await expect(dial(route, target)).rejects.toThrow();
  });
});

it('a proxy that hangs is a timeout', async () => {
  const [kind] = KINDS;
  const proxy = await startProxy(kind, { hangs: true });
  const { post } = await startAgents({ proxy: proxyAt(kind, proxy.port) });
  const outcome = await post(`https://${NAME}/`, 300);
  expect(outcome).toMatchObject({ reason: 'TIMEOUT', message: 'no connection within 300 ms' });
  // The connection to the proxy ends soon after the attempt, and not only at the longest time limit, 30 s.
  await waitFor(() => proxy.openCount() === 0, { what: 'the end of the connection', timeoutMs: 15_000 });
});

describe('from a fixed source address', () => {
  // On Linux, all of 127.0.0.0/8 is local.
  const SOURCE = '127.0.0.77';
  const allowCidrs = ['127.0.0.0/8', '::1/128'];

  it('connections to targets have this source address', async () => {
    const { post } = await startAgents({ sourceAddresses: [SOURCE], allowCidrs }, ['127.0.0.1']);
    const { receiver } = await startHttpReceiver();
    const { port } = new URL(receiver.url);
    expect(await post(`http://${NAME}:${port}/`)).toMatchObject({
      statusCode: 200,
      trace: { remoteAddress: '127.0.0.1' },
    });
    expect(receiver.requests.map(({ remoteAddress }) => remoteAddress)).toEqual([SOURCE]);
  });

  it('a target without an address of its family is unreachable', async () => {
    const { post } = await startAgents({ sourceAddresses: [SOURCE], allowCidrs });
    expect(await post('http://[::1]:8080/')).toMatchObject({ kind: 'failure', reason: 'UNREACHABLE' });
  });

  it('with one source address of each family, each target gets the one of its family', async () => {
    const { address, receiver } = await startHttpReceiver();
    const port = Number(address.split(':').at(-1));
    const sixth = await startTcpProxy({ port, ownHost: '::1' });
    cleanUps.push(() => sixth.stop());
    const { post } = await startAgents({ sourceAddresses: [SOURCE, '::1'], allowCidrs });
    expect(await post(`http://127.0.0.1:${port}/`)).toMatchObject({ statusCode: 200 });
    expect(receiver.requests.map(({ remoteAddress }) => remoteAddress)).toEqual([SOURCE]);
    expect(await post(`http://[::1]:${sixth.port}/`)).toMatchObject({ statusCode: 200 });
    // An IPv6 source address is used, too: with an address that this machine does not have, the target is unreachable.
    const { post: postFromElsewhere } = await startAgents({ sourceAddresses: ['2001:db8::7'], allowCidrs });
    expect(await postFromElsewhere(`http://[::1]:${sixth.port}/`)).toMatchObject({ reason: 'UNREACHABLE' });
  });

  it('connections to the proxy have this source address', async () => {
    const { address } = await startHttpReceiver();
    const proxy = await startProxy(KINDS[0], { route: () => address });
    const { post } = await startAgents({ proxy: proxyAt(KINDS[0], proxy.port), sourceAddresses: [SOURCE] });
    expect(await post(`http://${NAME}/`)).toMatchObject({ statusCode: 200 });
    expect(proxy.clients).toEqual([SOURCE]);
  });

  it('a source address that this machine does not have makes targets unreachable', async () => {
    const { post } = await startAgents({ sourceAddresses: ['203.0.113.7'], allowCidrs });
    expect(await post('http://127.0.0.1:8080/')).toMatchObject({ kind: 'failure', reason: 'UNREACHABLE' });
  });
});
