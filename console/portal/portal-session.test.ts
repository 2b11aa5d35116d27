import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';

vi.stubGlobal('document', {
  baseURI: 'http://localhost/portal/',
  documentElement: { dataset: { frontEnd: 'portal' } },
});
vi.stubGlobal('window', globalThis);
// Their modules read the address of the page and which front end it is.
const { absence, findSession, keepSession } = await import('./portal-session.ts');
const { session } = await import('../session/session.ts');

const NOW = '2026-01-31T12:00:00.000Z';

/** A port whose other end answers when `answer` is called. */
function portOf() {
  let asked = 0;
  const port = { onmessage: null as MessagePort['onmessage'], postMessage: () => void (asked += 1) };
  return {
    // `as`: only these two members are used.
    port: port as unknown as MessagePort,
    asked: () => asked,
    answer: async (data: object) => {
      // `as`: the same.
      port.onmessage?.call(port as unknown as MessagePort, { data } as MessageEvent);
      await vi.advanceTimersByTimeAsync(0);
    },
  };
}

function serve(expiresAt: string | null): void {
  const data = { viewer: { expiresAt, locale: 'en-US' }, server: { time: NOW } };
  vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ data })));
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  session.set(undefined);
  absence.set('waiting');
});
afterAll(() => {
  vi.unstubAllGlobals();
});

test('a credential that does not expire is never renewed', async () => {
  serve(null);
  const { port, asked, answer } = portOf();
  keepSession(port);
  await answer({ token: 'of ever' });
  expect(session.get()?.key).toBe('of ever');
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(asked()).toBe(1);
});

test('a session of two months is renewed after the longest delay of a timer', async () => {
  serve('2026-03-31T12:00:00.000Z');
  const { port, asked, answer } = portOf();
  keepSession(port);
  await answer({ token: 'of months' });
  await vi.advanceTimersByTimeAsync(24 * 86_400_000);
  expect(asked()).toBe(1);
  await vi.advanceTimersByTimeAsync(86_400_000);
  expect(asked()).toBe(2);
});

test('a slow token is requested once; without one the portal says so, and requests it again', async () => {
  serve('2026-01-31T12:10:00.000Z');
  const { port, asked, answer } = portOf();
  keepSession(port);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked()).toBe(1);
  await answer({});
  expect(absence.get()).toBe('noToken');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(asked()).toBe(2);
  await answer({ token: 'of ten minutes' });
  expect(session.get()?.key).toBe('of ten minutes');
  await vi.advanceTimersByTimeAsync(8 * 60_000);
  expect(asked()).toBe(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked()).toBe(3);
});

test('in a page that passes no port, the portal says after ten seconds that it got no access', async () => {
  vi.stubGlobal('location', { hash: '' });
  vi.stubGlobal('window', { parent: {}, setTimeout, addEventListener: () => undefined });
  vi.stubGlobal('document', { querySelector: () => null });
  await findSession();
  await vi.advanceTimersByTimeAsync(9_000);
  expect(absence.get()).toBe('waiting');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(absence.get()).toBe('noToken');
});
