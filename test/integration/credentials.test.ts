import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { issueApiKey } from '../../src/auth/api-keys.ts';
import { Credentials } from '../../src/auth/credentials.ts';
import { createConsoleSession } from '../../src/auth/sessions.ts';
import type { Viewer } from '../../src/auth/viewer.ts';
import { NotificationListener } from '../../src/postgres/listener.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';

const ADMIN_KEY = 'an-administrator-0123456789-0123456789';
const ADMIN: Viewer = { scope: 'ADMIN', credentialId: 'admin' };

let opened: OpenTestDatabase;
let credentials: Credentials;

beforeAll(async () => {
  opened = await openTestDatabase();
  const { url, database } = opened;
  await database.clock.measure(database.pool);
  const log = pino({ level: 'silent' });
  const notifications = new NotificationListener({ url, log });
  credentials = new Credentials({ adminApiKeys: [ADMIN_KEY], jwt: undefined, database, notifications, log });
});
afterEach(() => void vi.restoreAllMocks());
afterAll(async () => {
  await credentials.stop();
  await opened.close();
});

const authenticate = (key: string) => credentials.authenticate(`Bearer ${key}`);

it('accepts an API key although milliseconds pass during the check', async () => {
  const { key } = await issueApiKey(opened.database, { name: 'k', scope: 'TENANT_READ', tenant: 'acme' });
  let [nowMs, passedMs] = [Date.now(), performance.now()];
  vi.spyOn(Date, 'now').mockImplementation(() => (nowMs += 1));
  vi.spyOn(performance, 'now').mockImplementation(() => (passedMs += 1));
  expect(await authenticate(key)).toMatchObject({ scope: 'TENANT_READ', tenant: 'acme' });
});

it.each([86_400_000, -86_400_000])(
  'ends sessions by the time of Postgres, on a machine %i ms ahead',
  async (aheadMs) => {
    const issuer = (await authenticate(ADMIN_KEY))?.issuer;
    const { session, token } = await createConsoleSession(opened.database, { ...ADMIN, issuer });
    const machineNow = Date.now;
    vi.spyOn(Date, 'now').mockImplementation(() => machineNow() + aheadMs);
    const viewer = await authenticate(token);
    expect(viewer).toMatchObject({ session: 'CONSOLE', credentialId: session.id });
    const { signal, release } = credentials.watch(viewer ?? ADMIN);
    await opened.database.pool.query('SELECT pg_sleep(0.1)');
    expect(signal.aborted).toBe(false);
    release();
    const left = { ...(viewer ?? ADMIN), expiresAt: new Date(opened.database.clock.now() + 50) };
    await new Promise((resolve) => {
      credentials.watch(left).signal.addEventListener('abort', resolve);
    });
  },
);
