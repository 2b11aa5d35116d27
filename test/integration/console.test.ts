import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { buildConsole, CHROMIUM, launchChromium, NO_CHROMIUM } from '../support/chromium.ts';
import { startReceiver } from '../support/receiver.ts';
import { type Scene, startScene } from '../support/scene.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { ADMIN_API_KEY } from '../support/test-app.ts';

// Limits for a busy machine: each test is many pages.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });
const PAGE_TIMEOUT_MS = 60_000;

const DIST = join(import.meta.dirname, '../../dist/console');
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
/** Texts with which receivers and publishers attack the page that shows them. */
const HOSTILE = [
  '<img src=x onerror="globalThis.attacked=1">',
  '<script>globalThis.attacked=1</script>',
  '"><svg onload=globalThis.attacked=1>',
  'javascript:globalThis.attacked=1',
  '{{constructor.constructor("globalThis.attacked=1")()}}',
  '\u202egnp.exe\u200b\u0000',
];
const FIRST_LOAD_LIMIT = 130 * 1024;
const TOTAL_LIMIT = 220 * 1024;

test('the console is small: first load and all files', async () => {
  await buildConsole();
  const page = await readFile(join(DIST, 'index.html'), 'utf8');
  const sizes = new Map<string, number>();
  for (const name of await readdir(join(DIST, 'assets'))) {
    if (!/\.(?:js|css)$/.test(name)) continue;
    sizes.set(name, gzipSync(await readFile(join(DIST, 'assets', name)), { level: 9 }).length);
  }
  const sum = (names: Iterable<string>) => [...names].reduce((bytes, name) => bytes + (sizes.get(name) ?? 0), 0);
  const first = [...page.matchAll(/assets\/([\w.-]+\.(?:js|css))/g)].map(([, name = '']) => name);
  expect(first.length).toBeGreaterThan(1);
  expect(sum(first)).toBeLessThan(FIRST_LOAD_LIMIT);
  expect(sum(sizes.keys())).toBeLessThan(TOTAL_LIMIT);
});

if (CHROMIUM === undefined) process.stderr.write(`tests of the console are skipped: ${NO_CHROMIUM}\n`);

describe.skipIf(CHROMIUM === undefined)('the console in Chromium', () => {
  const cleanUps: (() => Promise<void>)[] = [];
  let scene: Scene;
  let browser: Browser;
  let context: BrowserContext;
  /** Errors and refusals of the content security policy that a page reported. */
  let complaints: string[];
  let subscriptionId: string;
  let delivery: { id: string; event: { id: string; tenant: string } };

  beforeAll(async () => {
    const builds = buildConsole();
    browser = await launchChromium();
    cleanUps.push(() => browser.close());
    await builds;
    scene = await startScene(cleanUps);
    const body = HOSTILE.join('\n');
    const hostile = await scene.receive(() => ({ status: 400, body, headers: { 'x-note': HOSTILE[0] ?? '' } }));
    const { id } = await scene.app.subscribe({ url: hostile.url, eventTypes: ['order.*'], description: HOSTILE[0] });
    subscriptionId = id;
    await scene.app.subscribe({ url: hostile.url, eventTypes: ['user.created'], filter: { total: { $gt: 10 } } });
    await scene.publish('events.acme.order.paid', JSON.stringify({ total: 5, notes: HOSTILE, [HOSTILE[0] ?? '']: 1 }));
    await scene.publish('events.acme.user.created', JSON.stringify({ total: 5 }));
    await scene.waitForDeliveries(1, `status = 'FAILURE' AND subscription_id = '${id}'`);
    const { deliveries } = await scene.app.graphql<{ deliveries: { nodes: (typeof delivery)[] } }>(
      '{ deliveries { nodes { id event { id tenant } } } }',
    );
    const [first] = deliveries.nodes;
    if (first === undefined) throw new Error('there is no delivery');
    delivery = first;
  });
  afterAll(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  });
  afterEach(() => context.close());

  async function open(
    path: string,
    options: { scheme?: 'light' | 'dark'; width?: number; url?: string; key?: string } = {},
  ) {
    const { scheme = 'light', width = 1280, url = scene.app.url, key = ADMIN_API_KEY } = options;
    context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 800 } });
    context.setDefaultTimeout(PAGE_TIMEOUT_MS);
    const page = await context.newPage();
    complaints = [];
    page.on('pageerror', ({ message }) => complaints.push(message));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('dialog', (dialog) => complaints.push(`dialog ${dialog.message()}`));
    const script = `sessionStorage.setItem('webhooks-engine.key', ${JSON.stringify(key)})`;
    if (key !== '') await page.addInitScript({ content: script });
    await page.goto(`${url}/console${path}`);
    return page;
  }

  /** The rules that axe finds broken. Evaluated over the protocol of the browser, which no policy hinders. */
  async function findBarriers(page: Page): Promise<unknown[]> {
    await page.evaluate(await readFile(AXE, 'utf8'));
    return page.evaluate<unknown[]>(
      `axe.run().then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary) })))`,
    );
  }

  const pages = (): { path: string; shown?: string; heading?: string }[] => [
    { path: '/', heading: 'Overview' },
    { path: '/log', shown: 'order.paid' },
    { path: '/events', shown: 'user.created' },
    { path: '/deliveries?status=FAILURE', shown: 'Failed' },
    { path: `/event?tenant=${delivery.event.tenant}&id=${delivery.event.id}`, shown: 'onerror' },
    { path: `/deliveries/${delivery.id}`, shown: 'onerror' },
    { path: '/subscriptions', shown: 'Active' },
    { path: `/subscriptions/${subscriptionId}`, shown: 'order.*' },
    { path: '/replays', heading: 'Replays' },
    { path: '/event-types', heading: 'Event catalogue' },
    { path: '/rejected-events', heading: 'Rejected events' },
    { path: '/keys', heading: 'API keys' },
    { path: '/nowhere', shown: 'does not exist' },
  ];

  test.for(['light', 'dark'] as const)(
    'every page is accessible and runs nothing that was sent to it: %s',
    async (scheme) => {
      for (const { path, shown, heading } of pages()) {
        const page = await open(path, { scheme, width: scheme === 'light' ? 1280 : 360 });
        // The navigation, which narrow screens hide, has the names of pages as well.
        const mark = shown === undefined ? page.getByRole('heading', { name: heading ?? '' }) : page.getByText(shown);
        await mark.first().waitFor();
        expect([path, await findBarriers(page)]).toEqual([path, []]);
        expect([path, await page.evaluate('globalThis.attacked')]).toEqual([path, undefined]);
        expect([path, complaints]).toEqual([path, []]);
        const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        expect([path, overflow]).toEqual([path, 0]);
        await context.close();
      }
    },
  );

  test('with the keyboard alone: sign in, filter with a completion, open a row, find an id', async () => {
    const page = await open('/log', { key: '' });
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.type('not a key');
    await page.keyboard.press('Enter');
    await page.getByText('The server refused this key').waitFor();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type(ADMIN_API_KEY);
    await page.keyboard.press('Enter');
    await page.getByText('order.paid').first().waitFor();
    expect(page.url()).not.toContain(ADMIN_API_KEY);
    await page.keyboard.press('/');
    await page.keyboard.type('status:f');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.keyboard.type('type:order.*');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await expect.poll(() => page.url(), { timeout: 20_000 }).toContain('q=status%3Afailure+type%3Aorder.*');
    await page.getByText('3 attempts', { exact: true }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('complementary', { name: 'Delivery' }).getByText('HTTP 400').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('complementary').waitFor({ state: 'detached' });
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('f');
    await expect.poll(() => page.url(), { timeout: 20_000 }).toContain('code%3A400');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('ControlOrMeta+k');
    await page.keyboard.type(delivery.id);
    await page.getByRole('link', { name: delivery.id }).waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Delivery' }).waitFor();
    expect(page.url()).toContain(`/console/deliveries/${delivery.id}`);
    expect(complaints.filter((text) => !text.includes('401'))).toEqual([]);
  });

  test('a lost connection is shown, and the log continues without a gap and without a row twice', async () => {
    const port = Number(new URL(scene.app.url).port);
    let proxy = await startTcpProxy({ port });
    const page = await open('/log?q=type%3Alive.*', { url: `http://127.0.0.1:${proxy.port}` });
    await page.getByText('Live', { exact: true }).waitFor();
    const receiver = await startReceiver();
    cleanUps.push(() => receiver.close());
    await scene.app.subscribe({ url: receiver.url, eventTypes: ['live.*'] });
    await scene.publishMany('live.before', 5);
    await page.getByText('5 attempts', { exact: true }).waitFor();
    const { port: proxyPort } = proxy;
    await proxy.stop();
    await page
      .getByText(/Reconnecting for/)
      .first()
      .waitFor();
    await scene.publishMany('live.during', 20);
    await receiver.waitForRequests(25);
    proxy = await startTcpProxy({ port, ownPort: proxyPort });
    cleanUps.push(() => proxy.stop());
    await page.getByText('25 attempts', { exact: true }).waitFor();
    await scene.publishMany('live.after', 5);
    await page.getByText('30 attempts', { exact: true }).waitFor();
    const rows = await page.getByRole('row').allTextContents();
    expect(rows.slice(1, 6).every((text) => text.includes('live.after'))).toBe(true);
  });

  test('a paused log counts what arrives, and only the rows in view are in the document', async () => {
    const page = await open('/log?q=type%3Amany.*');
    await page.getByText('Live', { exact: true }).waitFor();
    const receiver = await startReceiver();
    cleanUps.push(() => receiver.close());
    await scene.app.subscribe({ url: receiver.url, eventTypes: ['many.*'], maxInFlight: 100 });
    await scene.publishMany('many.first', 200);
    await page.getByText('200 attempts', { exact: true }).waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(60);
    await page.keyboard.press('p');
    await scene.publishMany('many.second', 7);
    await page.getByRole('button', { name: 'Resume, 7 new' }).click();
    await page.getByText('207 attempts', { exact: true }).waitFor();
  });
});
