import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { CryptoKey, JWK } from 'jose';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createVerifyJwt } from '../../src/auth/jwt.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { postOperation } from '../support/graphql-client.ts';
import { findOwnPort } from '../support/own-port.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';

const SECRET = 'a secret of thirty-two characters';

let services: TestServices;
const cleanUps = createCleanUps();

beforeAll(async () => {
  services = await startTestServices();
});
afterAll(async () => {
  await services.stop();
});

async function startApp(env: Record<string, string>): Promise<TestApp> {
  const app = await startTestApp(services, { env: { ROLES: 'api', ...env } });
  cleanUps.push(() => app.stop());
  return app;
}

type Signing = {
  readonly alg: string;
  readonly key: CryptoKey | Uint8Array;
  readonly kid?: string;
  readonly id?: string;
};

function sign({ alg, key, kid, id }: Signing): Promise<string> {
  return new SignJWT({ tenant: 'acme', scope: 'TENANT_READ', ...(id !== undefined && { jti: id }) })
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .setExpirationTime('5 minutes')
    .sign(key);
}

const readMonotonicClock = performance.now.bind(performance);

/** Sets the monotonic clock ahead of what it shows now, until the test ends. */
function advanceMonotonicClock(byMs: number): void {
  const aheadMs = performance.now() - readMonotonicClock() + byMs;
  vi.spyOn(performance, 'now').mockImplementation(() => readMonotonicClock() + aheadMs);
  cleanUps.push(() => vi.restoreAllMocks());
}

const secretOf = (text: string) => new TextEncoder().encode(text);

const query = '{ webhookSubscriptions { nodes { tenant } } }';
const statusWith = async (app: TestApp, credentials: string) =>
  (await postOperation(app.url, { credentials, query })).status;

/** Starts a server that publishes the keys of an identity provider. */
async function startJwks(keys: JWK[]): Promise<{
  readonly url: string;
  readonly fetches: () => number;
  readonly setStatus: (status: number) => void;
  /** Answers with this text in place of the keys. */
  readonly setBody: (body?: string) => void;
  readonly server: Server;
}> {
  let fetches = 0;
  let status = 200;
  let body: string | undefined;
  const server = createServer((_request, response) => {
    fetches += 1;
    response.writeHead(status, { 'content-type': 'application/json' }).end(body ?? JSON.stringify({ keys }));
  });
  // The port must stay free while the server is down.
  server.listen(await findOwnPort(), '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(async () => {
    server.closeAllConnections();
    server.close();
    await Promise.resolve();
  });
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  return {
    url: `http://127.0.0.1:${port}/keys`,
    fetches: () => fetches,
    setStatus: (next) => void (status = next),
    setBody: (next) => void (body = next),
    server,
  };
}

describe('a JWT', () => {
  it('shows only data of its tenant, and operations outside its scope are errors', async () => {
    const app = await startApp({ JWT_SECRET: SECRET });
    await app.subscribe({ url: 'https://example.com/', tenant: 'other' });
    const { id } = await app.subscribe({ url: 'https://example.com/', tenant: 'acme' });
    const credentials = await sign({ alg: 'HS256', key: secretOf(SECRET) });
    expect(await postOperation(app.url, { credentials, query })).toMatchObject({
      status: 200,
      data: { webhookSubscriptions: { nodes: [{ tenant: 'acme' }] } },
    });
    const mutation = `mutation { deleteWebhookSubscription(id: "${id}") { __typename } }`;
    const { errors } = await postOperation(app.url, { credentials, query: mutation });
    expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
  });

  it('that is invalid is answered like any other invalid credential', async () => {
    const app = await startApp({ JWT_SECRET: SECRET });
    const forged = await sign({ alg: 'HS256', key: secretOf(`${SECRET}!`) });
    const answers = [
      await postOperation(app.url, { credentials: forged, query }),
      await postOperation(app.url, { credentials: 'x', query }),
    ];
    expect(answers[0]).toMatchObject({ status: 401, errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
    expect(answers[0]).toEqual(answers[1]);
  });

  it('is rejected if JWTs are not configured', async () => {
    const app = await startApp({});
    expect(await statusWith(app, await sign({ alg: 'HS256', key: secretOf(SECRET) }))).toBe(401);
  });
});

describe('with a JWK Set', () => {
  const ALGORITHMS = ['RS256', 'ES256', 'EdDSA'];

  it('JWTs signed with its keys and their algorithms are accepted, and the keys are fetched once', async () => {
    const pairs = await Promise.all(
      ALGORITHMS.map(async (alg) => ({ alg, ...(await generateKeyPair(alg, { extractable: true })) })),
    );
    const keys = await Promise.all(
      pairs.map(async ({ alg, publicKey }) => ({ ...(await exportJWK(publicKey)), alg, kid: alg, use: 'sig' })),
    );
    const jwks = await startJwks(keys);
    const app = await startApp({ JWT_JWKS_URL: jwks.url });
    for (const { alg, privateKey } of pairs) {
      expect(await statusWith(app, await sign({ alg, key: privateKey, kid: alg }))).toBe(200);
    }
    const [rsa] = pairs;
    if (rsa === undefined) throw new Error('no key');
    const stranger = await generateKeyPair('RS256');
    const publicText = await exportSPKI(rsa.publicKey);
    const bad = [
      await sign({ alg: 'RS256', key: stranger.privateKey, kid: 'RS256' }),
      await sign({ alg: 'RS256', key: stranger.privateKey, kid: 'unknown' }),
      // The public key used as a secret.
      await sign({ alg: 'HS256', key: secretOf(publicText), kid: 'RS256' }),
      await sign({ alg: 'HS256', key: secretOf(JSON.stringify(keys[0])), kid: 'RS256' }),
      await sign({ alg: 'HS256', key: secretOf(SECRET) }),
    ];
    for (const token of bad) expect(await statusWith(app, token)).toBe(401);
    expect(jwks.fetches()).toBe(1);
  });

  it('that is unavailable, the error does not blame the token, and other credentials work', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = await startJwks([{ ...(await exportJWK(publicKey)), kid: 'a' }]);
    const app = await startApp({ JWT_JWKS_URL: jwks.url });
    jwks.server.closeAllConnections();
    await new Promise((resolve) => jwks.server.close(resolve));
    const credentials = await sign({ alg: 'ES256', key: privateKey, kid: 'a' });
    expect(await postOperation(app.url, { credentials, query })).toMatchObject({
      status: 503,
      errors: [{ extensions: { code: 'SERVICE_UNAVAILABLE' } }],
    });
    expect(await app.graphql(query)).toBeDefined();
    expect(await statusWith(app, 'nonsense')).toBe(401);
    const { port } = new URL(jwks.url);
    jwks.server.listen(Number(port), '127.0.0.1');
    await once(jwks.server, 'listening');
    await expect.poll(() => statusWith(app, credentials)).toBe(200);
  });

  it('that becomes unavailable, it is fetched once for any number of unknown key ids, and known keys stay valid', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = await startJwks([{ ...(await exportJWK(publicKey)), kid: 'a' }]);
    const verify = createVerifyJwt({ jwksUrl: jwks.url }, pino({ level: 'silent' }));
    expect(await verify(await sign({ alg: 'ES256', key: privateKey, kid: 'a' }))).toBeDefined();
    advanceMonotonicClock(31_000);
    jwks.setStatus(503);
    for (let n = 0; n < 20; n += 1) {
      expect(await verify(await sign({ alg: 'ES256', key: privateKey, kid: `unknown-${n}` }))).toBeUndefined();
    }
    expect(jwks.fetches()).toBe(2);
    expect(await verify(await sign({ alg: 'ES256', key: privateKey, kid: 'a' }))).toBeDefined();
  });

  it('changes while the clock of the machine is set back, it is fetched again', async () => {
    const [old, next] = [
      await generateKeyPair('ES256', { extractable: true }),
      await generateKeyPair('ES256', { extractable: true }),
    ];
    const keys = [{ ...(await exportJWK(old.publicKey)), kid: 'old' }];
    const jwks = await startJwks(keys);
    const verify = createVerifyJwt({ jwksUrl: jwks.url }, pino({ level: 'silent' }));
    expect(await verify(await sign({ alg: 'ES256', key: old.privateKey, kid: 'old' }))).toBeDefined();
    const machineNow = Date.now;
    vi.spyOn(Date, 'now').mockImplementation(() => machineNow() - 3_600_000);
    advanceMonotonicClock(31_000);
    keys.push({ ...(await exportJWK(next.publicKey)), kid: 'next' });
    const token = await sign({ alg: 'ES256', key: next.privateKey, kid: 'next' });
    expect(await verify(token)).toBeDefined();
    expect(jwks.fetches()).toBe(2);
    // A removed key is refused after ten minutes.
    keys.shift();
    advanceMonotonicClock(601_000);
    expect(await verify(await sign({ alg: 'ES256', key: old.privateKey, kid: 'old' }))).toBeUndefined();
    expect(jwks.fetches()).toBe(3);
  });

  it('failed once, it is fetched again after half a minute, so that a removed key is refused', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const keys = [{ ...(await exportJWK(publicKey)), kid: 'a' }];
    const jwks = await startJwks(keys);
    const verify = createVerifyJwt({ jwksUrl: jwks.url }, pino({ level: 'silent' }));
    const verifyNew = async (id: string) => verify(await sign({ alg: 'ES256', key: privateKey, kid: 'a', id }));
    expect(await verifyNew('1')).toBeDefined();
    jwks.setStatus(503);
    advanceMonotonicClock(601_000);
    for (const id of ['2', '3']) expect(await verifyNew(id)).toBeDefined();
    expect(jwks.fetches()).toBe(2);
    jwks.setStatus(200);
    keys.shift();
    advanceMonotonicClock(31_000);
    expect(await verifyNew('4')).toBeUndefined();
    expect(jwks.fetches()).toBe(3);
  });

  it.each<[string, (jwks: Awaited<ReturnType<typeof startJwks>>) => void]>([
    [
      'fails',
      ({ setStatus }) => {
        setStatus(503);
      },
    ],
    [
      'answers with no key set',
      ({ setBody }) => {
        setBody('{"error":"maintenance"}');
      },
    ],
  ])('that %s for an hour, no token is accepted until it answers again', async (_what, breakDown) => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = await startJwks([{ ...(await exportJWK(publicKey)), kid: 'a' }]);
    // Before the first fetch, because the clock begins at 0.
    vi.useFakeTimers({ toFake: ['performance'] });
    cleanUps.push(() => vi.useRealTimers());
    const verify = createVerifyJwt({ jwksUrl: jwks.url }, pino({ level: 'silent' }));
    let tokens = 0;
    const verifyAnother = async () =>
      verify(await sign({ alg: 'ES256', key: privateKey, kid: 'a', id: `${++tokens}` }));
    expect(await verifyAnother()).toBeDefined();
    breakDown(jwks);
    for (let minute = 0; minute < 58; minute += 1) {
      vi.advanceTimersByTime(60_000);
      expect(await verifyAnother()).toBeDefined();
    }
    const fetches = jwks.fetches();
    vi.advanceTimersByTime(120_000);
    for (let second = 1; second <= 5; second += 1) {
      for (let n = 0; n < 5; n += 1) await expect(verifyAnother()).rejects.toThrow('keys of JWTs');
      expect(jwks.fetches()).toBe(fetches + second);
      vi.advanceTimersByTime(1_000);
    }
    jwks.setStatus(200);
    jwks.setBody();
    expect(await verifyAnother()).toBeDefined();
  });

  it('that has never answered, it is fetched at most once a second', async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = await startJwks([]);
    jwks.setStatus(503);
    const verify = createVerifyJwt({ jwksUrl: jwks.url }, pino({ level: 'silent' }));
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    cleanUps.push(() => vi.useRealTimers());
    for (let n = 0; n < 20; n += 1) {
      await expect(verify(await sign({ alg: 'ES256', key: privateKey, kid: `${n}` }))).rejects.toThrow('keys of JWTs');
    }
    expect(jwks.fetches()).toBe(1);
  });
});
