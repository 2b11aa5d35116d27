import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import type { Browser, BrowserContext, Frame, Page, WebSocket } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { buildConsole, CHROMIUM, launchChromium, NO_CHROMIUM } from '../support/chromium.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { findBarriers, findCutOff, findOverflow, findWideLists, goTo } from '../support/console-page.ts';
import { findOwnPort } from '../support/own-port.ts';
import type { Receiver } from '../support/receiver.ts';
import { ADMIN_API_KEY } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { WAIT_TIMEOUT_MS, waitFor } from '../support/wait-for.ts';

if (CHROMIUM === undefined) process.stderr.write(`tests of the portal are skipped: ${NO_CHROMIUM}\n`);

describe.skipIf(CHROMIUM === undefined)('the portal in Chromium', () => {
  const cleanUps = createCleanUps(afterAll);
  let stack: TestStack;
  let browser: Browser;
  let context: BrowserContext;
  let receiver: Receiver;
  let subscriptionId: string;
  /** Servers of examples/portal: the origin of the first one is listed, that of the second is not. */
  let listed: string;
  let unlisted: string;
  /** The URL and the referrer of each request, and everything that a page logged. */
  let traces: string[];

  beforeAll(async () => {
    const builds = buildConsole();
    browser = await launchChromium();
    cleanUps.push(() => browser.close());
    await builds;
    const ports = [await findOwnPort(), await findOwnPort()] as const;
    listed = `http://localhost:${ports[0]}`;
    unlisted = `http://localhost:${ports[1]}`;
    stack = await startTestStack(cleanUps, { env: { PORTAL_ORIGINS: listed } });
    for (const port of ports) await startExample(port);
    receiver = await stack.receive(() => ({ status: 200, body: 'secret answer' }));
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['order.*'] });
    subscriptionId = id;
    await stack.publish('events.acme.order.paid', '{"card":"secret data"}');
    await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
  });
  afterEach(() => context.close());

  async function startExample(port: number): Promise<void> {
    const env = { ...process.env, URL: stack.app.url, KEY: ADMIN_API_KEY, PORT: String(port) };
    const path = join(import.meta.dirname, '../../examples/portal/serve.mjs');
    const child: ChildProcess = spawn(process.execPath, [path], { env, stdio: 'ignore' });
    cleanUps.push(() => child.kill());
    await waitFor(async () => (await fetch(`http://localhost:${port}/`)).ok, { what: 'the example' });
  }

  type OpenOptions = { readonly scheme?: 'light' | 'dark'; readonly width?: number };

  async function open(url: string, { scheme = 'light', width = 1280 }: OpenOptions = {}): Promise<Page> {
    context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 800 } });
    context.setDefaultTimeout(WAIT_TIMEOUT_MS);
    traces = [];
    context.on('request', (request) => {
      traces.push(`${request.url()} ${request.headers()['referer'] ?? ''}`);
    });
    context.on('console', (message) => traces.push(message.text()));
    context.on('weberror', (error) => traces.push(error.error().message));
    const page = await context.newPage();
    page.on('framenavigated', (frame) => traces.push(frame.url()));
    await page.goto(url);
    return page;
  }

  async function portalIn(page: Page): Promise<Frame> {
    const frame = await (await page.waitForSelector('iframe')).contentFrame();
    if (frame === null) throw new Error('there is no frame');
    return frame;
  }

  async function mint(input = ''): Promise<{ readonly token: string; readonly code: string; readonly id: string }> {
    const { createPortalSession } = await stack.app.graphql<{
      createPortalSession: { token: string; code: string; session: { id: string } };
    }>(
      `mutation { createPortalSession(input: { tenant: "acme", scope: TENANT_WRITE ${input} }) {
        ... on CreatePortalSessionPayload { token code session { id } } } }`,
    );
    const { token, code, session } = createPortalSession;
    return { token, code, id: session.id };
  }

  /** Paths and headings. */
  const pages = (): [path: string, heading: string][] => [
    ['log', 'Live log'],
    ['events', 'Events'],
    ['deliveries', 'Deliveries'],
    ['event-types', 'Event catalogue'],
    [`subscriptions/${subscriptionId}`, new URL(receiver.url).host],
  ];

  const expectNoSecret = () => {
    expect(traces.length).toBeGreaterThan(3);
    const log = stack.logLines.join('\n');
    expect([...traces, log].filter((text) => /wh[sk]_[\w-]{20}/.test(text))).toEqual([]);
  };

  test('a page of a listed origin embeds it, with a token in no address, referrer or log', async () => {
    const page = await open(listed);
    const portal = await portalIn(page);
    await portal
      .getByRole('link', { name: new RegExp(new URL(receiver.url).host) })
      .or(portal.getByText('Active'))
      .first()
      .waitFor();
    const names = await portal.getByRole('navigation').getByRole('link').allTextContents();
    expect(names).toEqual(['Live log', 'Events', 'Deliveries', 'Subscriptions', 'Event catalogue']);
    await portal.getByRole('link', { name: 'Events' }).click();
    await portal.getByText('order.paid').first().waitFor();
    // Chromium blocks storage for frames of other sites.
    expect(await portal.evaluate('document.cookie')).toBe('');
    // The back end of the page fails for a while.
    await page.route('**/portal-session', (route) => route.fulfill({ status: 502 }));
    await page.reload();
    const again = await portalIn(page);
    await again.getByText('Your application gave no access').waitFor();
    await page.unrouteAll();
    await again.getByText('Active').first().waitFor();
    expectNoSecret();
  });

  test('a page of another origin can neither embed it nor pass a token to it', async () => {
    const page = await open(unlisted);
    await waitFor(() => traces.some((text) => text.includes('frame-ancestors')), { what: 'the refusal' });
    const portal = await portalIn(page);
    expect(await portal.content()).not.toContain('root');
    // A popup window, to which no frame policy applies, accepts no message port either.
    const [popup] = await Promise.all([
      context.waitForEvent('page'),
      page.evaluate(`globalThis.popup = open('${stack.app.url}/portal/')`),
    ]);
    await popup.getByText('Open the portal from your application').waitFor();
    expectNoSecret();
  });

  test.for(['light', 'dark'] as const)(
    'a one-time link opens it once, and each page is accessible: %s',
    async (scheme) => {
      const { code } = await mint(', locale: "de-AT"');
      const page = await open(`${stack.app.url}/portal/#code=${code}`, {
        scheme,
        width: scheme === 'light' ? 1280 : 320,
      });
      await page.getByText('Active').first().waitFor();
      expect(page.url()).toBe(`${stack.app.url}/portal/`);
      expect(await findBarriers(page)).toEqual([]);
      // The session survives a reload.
      await page.reload();
      for (const [path, heading] of pages()) {
        await goTo(page, `${stack.app.url}/portal/${path}`);
        await page.getByRole('heading', { level: 1, name: heading }).waitFor();
        // The layout outside of `main` is the same on each page.
        expect([path, await findBarriers(page, 'main')]).toEqual([path, []]);
        expect([path, await findOverflow(page)]).toEqual([path, 0]);
        expect([path, await findWideLists(page)]).toEqual([path, []]);
        expect([path, await findCutOff(page)]).toEqual([path, []]);
        // The tenant's name is the platform's, and says nothing to the tenant's users.
        expect([path, await page.locator('main').getByText('Tenant', { exact: true }).count()]).toEqual([path, 0]);
      }
      for (const path of scheme === 'light' ? ['keys', 'tenants'] : ['replays', 'rejected-events']) {
        await goTo(page, `${stack.app.url}/portal/${path}`);
        await page.getByText('This page does not exist').first().waitFor();
        await goTo(page, `${stack.app.url}/portal/events`);
        await page.getByText('This page does not exist').first().waitFor({ state: 'detached' });
      }
      expectNoSecret();
      await context.close();
      const again = await open(`${stack.app.url}/portal/#code=${code}`, { scheme });
      await again.getByText('This link was already used').waitFor();
      expect(await findBarriers(again)).toEqual([]);
    },
  );

  test('a token is renewed before it expires, and the live log continues with each row once', async () => {
    const page = await open(listed);
    const portal = await portalIn(page);
    const [first, second] = [await mint(', ttlSeconds: 900'), await mint()];
    let [isDue, asked] = [false, 0];
    await page.route('**/portal-session', async (route) => {
      asked += 1;
      await route.fulfill({ json: { token: (isDue ? second : first).token } });
    });
    const sockets: WebSocket[] = [];
    page.on('websocket', (socket) => void sockets.push(socket));
    await page.clock.install();
    await portal.goto(`${stack.app.url}/portal/log?q=type%3Alive.*`);
    await portal.getByText('Live', { exact: true }).waitFor();
    await stack.app.subscribe({ url: receiver.url, eventTypes: ['live.*'] });
    await stack.publishMany('live.before', 3);
    await portal.getByText('3 attempts', { exact: true }).waitFor();
    // A minute before the end by the clock of the page; the server still accepts the first token.
    [isDue, asked] = [true, 0];
    await page.clock.fastForward(840_000);
    await waitFor(() => asked > 0, { what: 'the page to ask for the second token' });
    const socket = sockets.at(-1);
    await stack.query('UPDATE api_keys SET revoked_at = now() WHERE id = $1', [first.id]);
    await waitFor(() => socket?.isClosed(), { what: 'the end of the first token' });
    await stack.publishMany('live.after', 4);
    await portal.getByText('7 attempts', { exact: true }).waitFor();
    const rows = await portal.getByRole('row').allTextContents();
    expect(rows.filter((text) => text.includes('live.'))).toHaveLength(7);
    expectNoSecret();
  });

  test('the deletion of a subscription requires the name of its host, and a session of one subscription shows no other', async () => {
    const other = await stack.app.subscribe({ url: `${receiver.url}/other`, eventTypes: ['other.*'] });
    const { code } = await mint(`, hidePayloads: true, subscriptionIds: ["${other.id}"]`);
    await stack.publish('events.acme.other.event', '{"card":"secret data"}');
    await stack.waitForDeliveries(1, `status = 'SUCCESS' AND subscription_id = '${other.id}'`);
    const page = await open(`${stack.app.url}/portal/#code=${code}`);
    await page.getByRole('row').nth(1).waitFor();
    expect(await page.getByRole('row').count()).toBe(2);
    expect(await page.getByRole('button', { name: 'Create' }).count()).toBe(0);
    await page.getByRole('link', { name: 'Deliveries' }).click();
    await page.getByText('other.event').first().click();
    await page.keyboard.press('Enter');
    await page.getByText('Hidden in this session.').first().waitFor();
    expect(await page.content()).not.toContain('secret');
    await page.goto(`${stack.app.url}/portal/subscriptions/${other.id}`);
    await page.getByRole('button', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog');
    const confirm = dialog.getByRole('button', { name: 'Delete' });
    expect(await confirm.isDisabled()).toBe(true);
    await dialog.getByRole('textbox').fill(new URL(receiver.url).host);
    await confirm.click();
    await page.getByText('No webhook subscription').waitFor();
    expectNoSecret();
  });

  test('a session that hides payloads is led to no filter, and the page of one shows no data', async () => {
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['hidden'], filter: { card: 'none' } });
    await stack.publish('events.acme.hidden', '{"card":"secret data"}', { 'Event-Id': 'hidden-1' });
    await waitFor(async () => (await stack.query(`SELECT FROM events WHERE event_id = 'hidden-1'`)).length === 1, {
      what: 'the event',
    });
    const { code } = await mint(', hidePayloads: true');
    const page = await open(`${stack.app.url}/portal/#code=${code}`);
    await page.getByText('Active').first().waitFor();
    await goTo(page, `${stack.app.url}/portal/event?id=hidden-1`);
    await page.getByRole('region', { name: 'Considered subscriptions' }).getByRole('row').nth(1).waitFor();
    expect(await page.getByRole('link', { name: 'Edit the filter' }).count()).toBe(0);
    await goTo(page, `${stack.app.url}/portal/subscriptions/${id}/filter?event=hidden-1`);
    await page.getByRole('heading', { name: 'Payload filter' }).waitFor();
    await page.getByText('Hidden in this session.').waitFor();
    expect(await page.content()).not.toContain('secret');
    expectNoSecret();
  });

  test('the console exchanges the key for a session, and signing out revokes it', async () => {
    const page = await open(`${stack.app.url}/console/`);
    await page.getByLabel('API key or JWT').fill(ADMIN_API_KEY);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    const stored = await page.evaluate<string>(`sessionStorage.getItem('webhooks-engine.key')`);
    expect(stored).toMatch(/^whs_/);
    expect(await page.evaluate('JSON.stringify([sessionStorage, localStorage])')).not.toContain(ADMIN_API_KEY);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    const isRefused = async () => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${stored}` };
      const body = JSON.stringify({ query: '{ viewer { scope } }' });
      return (await fetch(`${stack.app.url}/graphql`, { method: 'POST', headers, body })).status === 401;
    };
    await waitFor(isRefused, { what: 'the revocation' });
    expectNoSecret();
  });
});
