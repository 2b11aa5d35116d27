import { once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { describe, expect, it, vi } from 'vitest';
import { EgressAgents } from '../../src/delivery/http/agents.ts';
import { postWithStaleConnectionRetry } from '../../src/delivery/http/request.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { HOSTILITIES, portOf, startHostileReceiver } from '../support/hostile-receiver.ts';
import { createCertificate } from '../support/self-signed-certificate.ts';

const HOUR_MS = 3_600_000;
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const VALID = createCertificate({ hosts: ['localhost', '127.0.0.1'], notBefore: inHours(-1), notAfter: inHours(1) });
const EXPIRED = createCertificate({ hosts: ['localhost'], notBefore: inHours(-2), notAfter: inHours(-1) });
const FUTURE = createCertificate({ hosts: ['localhost'], notBefore: inHours(1), notAfter: inHours(2) });
const OTHER_HOST = createCertificate({ hosts: ['example.com'], notBefore: inHours(-1), notAfter: inHours(1) });

const cleanUps = createCleanUps();

/** Starts a receiver that answers each request with 200; `sockets` has its open connections. */
async function startTlsReceiver(options: TlsOptions) {
  const sockets = new Set<TLSSocket>();
  let connectionCount = 0;
  const server = createTlsServer(options, (socket) => {
    connectionCount += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'));
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: portOf(server), sockets, connectionCount: () => connectionCount };
}

/** Makes an attempt. `trusted` is a certificate that is treated like one of Node's certificate authorities. */
function attempt(
  url: string,
  trusted?: string,
  timeoutMs = 10_000,
): Promise<Awaited<ReturnType<typeof postWithStaleConnectionRetry>>> {
  return postWithStaleConnectionRetry(createAgents(trusted), { url, headers: {}, body: Buffer.from('{}'), timeoutMs });
}

function createAgents(trusted?: string): EgressAgents {
  const agents = new EgressAgents({ allowCidrs: ['127.0.0.0/8'], allowHttp: 'never', denyPorts: new Set() });
  if (trusted !== undefined) agents.pooled.https.options.ca = trusted;
  cleanUps.push(() => {
    agents.close();
  });
  return agents;
}

describe('send over TLS', () => {
  it('delivers to a trusted receiver by name and by address, and keeps the connection', async () => {
    const receiver = await startTlsReceiver(VALID);
    expect(await attempt(`https://127.0.0.1:${receiver.port}/`, VALID.cert)).toMatchObject({ statusCode: 200 });
    const agents = createAgents(VALID.cert);
    const phase: unknown = expect.toSatisfy((ms: unknown) => Number.isInteger(ms) && Number(ms) >= 0);
    for (let count = 0; count < 3; count++) {
      const handshakes = count === 0 ? phase : null;
      const outcome = await postWithStaleConnectionRetry(agents, {
        url: `https://localhost:${receiver.port}/`,
        headers: {},
        body: Buffer.from('{}'),
        timeoutMs: 10_000,
      });
      expect(outcome).toMatchObject({ kind: 'response', statusCode: 200, body: 'ok' });
      expect(outcome.trace).toEqual({
        remoteAddress: '127.0.0.1',
        dnsMs: handshakes,
        connectMs: handshakes,
        tlsMs: handshakes,
        firstByteMs: phase,
        bodyMs: phase,
      });
    }
    expect(receiver.connectionCount()).toBe(2);
  });

  it.each([
    ['self-signed', { certificate: VALID, trusted: undefined }, 'the certificate is self-signed'],
    ['expired', { certificate: EXPIRED, trusted: EXPIRED.cert }, 'the certificate has expired'],
    ['not valid yet', { certificate: FUTURE, trusted: FUTURE.cert }, 'the certificate is not valid yet'],
    [
      'for another host',
      { certificate: OTHER_HOST, trusted: OTHER_HOST.cert },
      'the certificate is for another host name',
    ],
  ])('refuses a certificate that is %s', async (_what, { certificate, trusted }, message) => {
    const receiver = await startTlsReceiver(certificate);
    const outcome = await attempt(`https://localhost:${receiver.port}/`, trusted);
    expect(outcome).toMatchObject({ kind: 'failure', reason: 'TLS_FAILURE', message });
    await expect.poll(() => receiver.sockets.size).toBe(0);
  });

  it.each<[what: string, TlsOptions]>([
    ['supports no version after TLS 1.1', { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['requires a client certificate, in TLS 1.2', { requestCert: true, maxVersion: 'TLSv1.2' }],
    // In TLS 1.3, the client's handshake ends before the receiver rejects it: only the alert distinguishes it from a reset.
    ['requires a client certificate, in TLS 1.3', { requestCert: true, minVersion: 'TLSv1.3' }],
  ])('fails with a receiver that %s', async (_what, options) => {
    const receiver = await startTlsReceiver({ ...VALID, ...options });
    const outcome = await attempt(`https://localhost:${receiver.port}/`, VALID.cert);
    expect(outcome).toMatchObject({ kind: 'failure', reason: 'TLS_FAILURE', message: 'the TLS handshake failed' });
    await expect.poll(() => receiver.sockets.size).toBe(0);
  });

  it('refuses to renegotiate TLS 1.2, of which a receiver could request thousands a second', async () => {
    const server = createTlsServer({ ...VALID, maxVersion: 'TLSv1.2' }, (socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.renegotiate({}, () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUps.push(() => void server.close());
    const outcome = await attempt(`https://localhost:${portOf(server)}/`, VALID.cert);
    expect(outcome).toMatchObject({ kind: 'failure' });
    expect(outcome).not.toMatchObject({ reason: 'TIMEOUT' });
  });

  it('ignores NODE_TLS_REJECT_UNAUTHORIZED', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    cleanUps.push(() => vi.unstubAllEnvs());
    const receiver = await startTlsReceiver(VALID);
    expect(await attempt(`https://localhost:${receiver.port}/`)).toMatchObject({ reason: 'TLS_FAILURE' });
  });

  it.each([
    ['never answers', 'TIMEOUT', 'no TLS handshake within 1000 ms'],
    ['closes at once', 'CONNECTION_RESET', 'the connection was closed before a response came'],
    ['resets at once', 'CONNECTION_RESET', 'the connection was closed before a response came'],
    ['speaks SSH', 'TLS_FAILURE', 'the TLS handshake failed'],
    ['speaks TLS', 'TLS_FAILURE', 'the TLS handshake failed'],
  ] as const)('to a receiver that %s fails with %s', async (hostility, reason, message) => {
    const receiver = await startHostileReceiver(HOSTILITIES[hostility]);
    cleanUps.push(() => receiver.close());
    const outcome = await attempt(`https://127.0.0.1:${receiver.port}/`, undefined, 1_000);
    expect(outcome).toMatchObject({ kind: 'failure', reason, message });
    receiver.drain();
    await expect.poll(() => receiver.openConnections()).toBe(0);
  });

  it('to a port without a listener fails as refused', async () => {
    const server = createTcpServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = portOf(server);
    server.close();
    expect(await attempt(`https://127.0.0.1:${port}/`)).toMatchObject({ reason: 'CONNECTION_REFUSED' });
  });
});
