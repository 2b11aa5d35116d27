import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Browser, BrowserContext, Page, Route } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import { createIdSequence } from '../../src/lib/uuid7.ts';
import { createApiKey, revokeApiKey } from '../support/api-keys.ts';
import { buildConsole, CHROMIUM, launchChromium, NO_CHROMIUM } from '../support/chromium.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import {
  type ConsolePage,
  createSharedProfile,
  findBarriers,
  findCutOff,
  findOverflow,
  findWideLists,
  goTo,
  openConsole,
  openRow,
  press,
  tabTo,
} from '../support/console-page.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { ADMIN_API_KEY, startTestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor, waitUntilReady } from '../support/wait-for.ts';

const DIST = join(import.meta.dirname, '../../dist/console');
/** Texts of receivers and publishers that attack the page that shows them. */
const HOSTILE = [
  '<img src=x onerror="globalThis.attacked=1">',
  '<script>globalThis.attacked=1</script>',
  '"><svg onload=globalThis.attacked=1>',
  'javascript:globalThis.attacked=1',
  '{{constructor.constructor("globalThis.attacked=1")()}}',
  '\u202egnp.exe\u200b\u0000',
];
/** A JavaScript expression: the labels of the fields with a problem in the open dialog. */
const FIELDS_WITH_PROBLEMS = `[...document.querySelectorAll('dialog [id$="-problem"]:not(:empty)')].map(({ id }) =>
  document.querySelector('label[for="' + id.replace(/-problem$/, '') + '"]').textContent)`;
/** A subscription whose filter an event did not match. */
type Filtered = { readonly id: string; readonly eventId: string };
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
  const cleanUps = createCleanUps(afterAll);
  let stack: TestStack;
  let browser: Browser;
  let profile: BrowserContext;
  /** The subscription of the hostile receiver, and its failed delivery. */
  let subscriptionId: string;
  let filtered: Filtered;
  /** Answers 200. */
  let receiver: Receiver;
  let delivery: { id: string; event: { id: string; tenant: string } };

  beforeAll(async () => {
    const builds = buildConsole();
    browser = await launchChromium();
    cleanUps.push(() => browser.close());
    await builds;
    stack = await startTestStack(cleanUps);
    profile = await createSharedProfile(browser, stack.app.url);
    const body = HOSTILE.join('\n');
    const hostile = await stack.receive(() => ({ status: 400, body, headers: { 'x-note': HOSTILE[0] ?? '' } }));
    const { id } = await stack.app.subscribe({ url: hostile.url, eventTypes: ['order.*'], description: HOSTILE[0] });
    subscriptionId = id;
    receiver = await stack.receive();
    filtered = await publishFiltered('user.created');
    await stack.publish('events.acme.order.paid', JSON.stringify({ total: 5, notes: HOSTILE, [HOSTILE[0] ?? '']: 1 }));
    await stack.waitForDeliveries(1, `status = 'FAILURE' AND subscription_id = '${id}'`);
    const { deliveries } = await stack.app.graphql<{ deliveries: { nodes: (typeof delivery)[] } }>(
      '{ deliveries { nodes { id event { id tenant } } } }',
    );
    const [first] = deliveries.nodes;
    if (first === undefined) throw new Error('there is no delivery');
    delivery = first;
  });

  /** Publishes an event that the filter of the only subscription to its type does not match. */
  async function publishFiltered(type: string): Promise<Filtered> {
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: [type], filter: { total: { $gt: 10 } } });
    const eventId = `${type}-1`;
    const data = JSON.stringify({ total: 5, secret: 'of Ada' });
    await stack.publish(`events.acme.${type}`, data, { 'Event-Id': eventId });
    return { id, eventId };
  }

  function waitForRequests(type: string, count: number): Promise<unknown> {
    const requests = () => receiver.requests.filter(({ headers }) => headers['webhook-event'] === type);
    return waitFor(() => requests().length >= count, { what: `${count} requests of ${type}` });
  }

  type OpenOptions = Partial<Omit<Parameters<typeof openConsole>[1], 'path'>>;

  /**
   * Opens a page and closes it at the end of the test; if the test has failed, the report gets the text of the page. The first
   * argument is the context of the test.
   */
  async function open(
    { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
    path: string,
    options: OpenOptions = {},
  ): Promise<ConsolePage> {
    const opened = await openConsole(browser, { url: stack.app.url, key: ADMIN_API_KEY, path, profile, ...options });
    onTestFinished(async ({ task }) => {
      if (task.result?.state === 'fail') process.stderr.write(`${path}: ${await opened.page.innerText('body')}\n`);
      await opened.page.close();
    });
    return opened;
  }

  /** Holds the requests with this text until `release` is called. */
  async function hold(
    page: Page,
    text: string,
  ): Promise<{ waitForOne: () => Promise<unknown>; release: () => Promise<void> }> {
    const held: Route[] = [];
    const handle = (route: Route) => {
      if (route.request().postData()?.includes(text) !== true) return route.fallback();
      held.push(route);
      return;
    };
    await page.route('**/graphql', handle);
    return {
      waitForOne: () => waitFor(() => held.length > 0, { what: `a request with ${text}` }),
      release: async () => {
        for (const route of held.splice(0)) await route.continue();
        await page.unroute('**/graphql', handle);
      },
    };
  }

  const pages = (): { path: string; shown?: string; heading?: string }[] => [
    { path: '/', heading: 'Overview' },
    { path: '/tenants', shown: 'acme' },
    { path: '/as/acme/events?type=user.*', shown: 'user.created' },
    { path: '/log?q=type:order.paid+attempt:1+slow:1ms', shown: 'order.paid' },
    { path: '/events?type=user.created', shown: 'user.created' },
    { path: '/deliveries?status=FAILURE', shown: 'Failed' },
    { path: '/deliveries?status=PENDING', shown: 'Waits for' },
    { path: `/event?tenant=${delivery.event.tenant}&id=${delivery.event.id}`, shown: 'onerror' },
    { path: `/deliveries/${delivery.id}`, shown: 'onerror' },
    { path: '/subscriptions', shown: 'Active' },
    { path: `/subscriptions/${subscriptionId}`, shown: 'order.*' },
    { path: `/subscriptions/${subscriptionId}/filter`, shown: 'events would be delivered' },
    { path: `/subscriptions/${filtered.id}/filter?event=${filtered.eventId}`, shown: '0 of 1 events would be' },
    { path: '/replays', heading: 'Replays' },
    { path: '/event-types', heading: 'Event catalogue' },
    { path: '/event-types?list=unlisted', shown: 'user.created' },
    { path: '/rejected-events', heading: 'Rejected events' },
    { path: '/jobs', heading: 'Bulk jobs' },
    { path: '/audit-log', heading: 'Audit log' },
    { path: '/erasures', heading: 'Erasures' },
    { path: '/keys', heading: 'API keys' },
    { path: '/nowhere', shown: 'does not exist' },
    { path: `/as/${'longest-name-'.repeat(5).slice(0, 64)}/subscriptions`, shown: 'No webhook subscription' },
  ];

  test.concurrent.for(['light', 'dark'] as const)(
    'every page is accessible and runs no code in shown texts: %s',
    async (scheme, context) => {
      const width = scheme === 'light' ? 1280 : 320;
      const { page, complaints } = await open(context, '/nowhere', { scheme, width });
      expect(await findBarriers(page)).toEqual([]);
      for (const { path, shown, heading } of pages()) {
        await goTo(page, `${stack.app.url}/console${path}`);
        // The navigation, which is hidden on narrow screens, also contains the names of the pages.
        const mark = shown === undefined ? page.getByRole('heading', { name: heading ?? '' }) : page.getByText(shown);
        await mark.first().waitFor();
        // The layout outside of `main` is the same on each page.
        expect([path, await findBarriers(page, 'main')]).toEqual([path, []]);
        expect([path, await page.evaluate('globalThis.attacked')]).toEqual([path, undefined]);
        expect([path, complaints]).toEqual([path, []]);
        expect([path, await findOverflow(page)]).toEqual([path, 0]);
        expect([path, await findWideLists(page)]).toEqual([path, []]);
        expect([path, await findCutOff(page)]).toEqual([path, []]);
      }
    },
  );

  test('a text that is cut off in a list is its title, and the page of its object shows all of it on request', async (context) => {
    const url = `${receiver.url}/${'long-path/'.repeat(40)}`;
    const { id } = await stack.app.subscribe({ url, tenant: 'cut', eventTypes: ['none'], isActive: false });
    const { page } = await open(context, '/as/cut/subscriptions', { width: 320 });
    const status = page.getByRole('gridcell', { name: /^Inactive/ });
    await status.hover();
    expect(await status.getAttribute('title')).toBe('Inactive a user deactivated it');
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByRole('columnheader', { name: 'Changed' }).hover();
    await status.hover();
    await context.expect.poll(() => status.getAttribute('title')).toBe('');
    await goTo(page, `${stack.app.url}/console/subscriptions/${id}`);
    const hiddenPart = () =>
      page.getByText('/long-path/').evaluate((text) => {
        const value = text.closest('dd > div');
        return value === null ? undefined : value.scrollHeight - value.clientHeight;
      });
    await press(page, page.getByRole('button', { name: 'Show all: Endpoint', expanded: false }));
    await context.expect.poll(hiddenPart).toBe(0);
    await press(page, page.getByRole('button', { name: 'Show all: Endpoint', expanded: true }));
    await context.expect.poll(hiddenPart).toBeGreaterThan(0);
  });

  test('an overview without attempts shows the next step that the viewer may take', async (context) => {
    const { key } = await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'new' });
    const { page: reader } = await open(context, '/', { key });
    await reader.getByText('Your access does not permit creating one.').waitFor();
    expect(await reader.locator('pre').count()).toBe(0);
    const { page } = await open(context, '/as/new/');
    await page.getByRole('link', { name: 'Create one under “Subscriptions”' }).waitFor();
    await page.locator('pre', { hasText: /createWebhookSubscription.*tenant: \\"new\\"/ }).waitFor();
    await stack.app.subscribe({ url: receiver.url, tenant: 'new', eventTypes: ['order.*'] });
    const publish = page.locator('pre', { hasText: /publishEvent.*tenant: \\"new\\"/ });
    await publish.waitFor();
    const command = (await publish.textContent()) ?? '';
    const [, body = ''] = /-d '(.*)'$/s.exec(command) ?? [];
    expect(JSON.parse(body)).toHaveProperty('query');
  });

  test('with the keyboard alone: sign in, filter with a completion, open a row, find an id', async (context) => {
    const { page, complaints } = await open(context, '/log', { key: '' });
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.type('not a key');
    await page.keyboard.press('Enter');
    await page.getByText('The server refused this key').waitFor();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type(ADMIN_API_KEY);
    await page.keyboard.press('Enter');
    await page.getByRole('gridcell').first().waitFor();
    expect(page.url()).not.toContain(ADMIN_API_KEY);
    await page.keyboard.press('/');
    await page.keyboard.type('status:f');
    // Behind the only completion none is chosen.
    for (const key of ['ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
    expect(await page.getByRole('combobox').getAttribute('aria-activedescendant')).toBeNull();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.keyboard.type('type:order.*');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await context.expect.poll(() => page.url()).toContain('q=status%3Afailure+type%3Aorder.*');
    await page.getByText('3 attempts', { exact: true }).waitFor();
    for (const key of ['j', 'j', 'k', 'Enter']) await page.keyboard.press(key);
    await page.getByRole('complementary', { name: 'Delivery' }).getByText('HTTP 400').waitFor();
    // The table head is row 1.
    expect(await page.getByRole('row', { selected: true }).getAttribute('aria-rowindex')).toBe('2');
    await page.keyboard.press('Escape');
    await page.getByRole('complementary').waitFor({ state: 'detached' });
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('f');
    await context.expect.poll(() => page.url()).toContain('code%3A400');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('ControlOrMeta+k');
    await page.keyboard.type(delivery.id);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Delivery' }).waitFor();
    expect(page.url()).toContain(`/console/deliveries/${delivery.id}`);
    expect(complaints.filter((text) => !text.includes('401'))).toEqual([]);
  });

  test('a lost connection is shown, and the log continues without a gap and without a row twice', async (context) => {
    const port = Number(new URL(stack.app.url).port);
    let proxy = await startTcpProxy({ port });
    const { page } = await open(context, '/log?q=type%3Alive.*', { url: `http://127.0.0.1:${proxy.port}` });
    await page.getByText('Live', { exact: true }).waitFor();
    const receiver = await startReceiver();
    cleanUps.push(() => receiver.close());
    await stack.app.subscribe({ url: receiver.url, eventTypes: ['live.*'] });
    await stack.publishMany('live.before', 5);
    await page.getByText('5 attempts', { exact: true }).waitFor();
    const { port: proxyPort } = proxy;
    await proxy.stop();
    await page
      .getByText(/Reconnecting for/)
      .first()
      .waitFor();
    await stack.publishMany('live.during', 20);
    await receiver.waitForRequests(25);
    proxy = await startTcpProxy({ port, ownPort: proxyPort });
    cleanUps.push(() => proxy.stop());
    await page.getByText('25 attempts', { exact: true }).waitFor();
    await stack.publishMany('live.after', 5);
    await page.getByText('30 attempts', { exact: true }).waitFor();
    const rows = await page.getByRole('row').allTextContents();
    expect(rows.slice(1, 6).every((text) => text.includes('live.after'))).toBe(true);
  });

  test('a paused log counts new attempts, and only the rows in view are in the document', async (context) => {
    const { page } = await open(context, '/log?q=type%3Amany.*');
    await page.getByText('Live', { exact: true }).waitFor();
    const receiver = await startReceiver();
    cleanUps.push(() => receiver.close());
    await stack.app.subscribe({ url: receiver.url, eventTypes: ['many.*'], maxInFlight: 100 });
    // Fewer than a page, which the log reads at its beginning: after it, all rows come from the stream.
    await stack.publishMany('many.first', 50);
    await page.getByText('50 attempts', { exact: true }).waitFor();
    await stack.publishMany('many.first', 150);
    await page.getByText('200 attempts', { exact: true }).waitFor();
    expect(await page.getByRole('row').count()).toBeLessThan(60);
    await page.keyboard.press('p');
    await stack.publishMany('many.second', 7);
    await page.getByRole('button', { name: 'Resume, 7 new' }).click();
    await page.getByText('207 attempts', { exact: true }).waitFor();
    const scrollTo = (top: number) => page.evaluate(`document.querySelector('[role=grid]').scrollTop = ${top}`);
    const rowInView = () =>
      page.evaluate<string>(`document.elementFromPoint(640, 400).closest('[role=row]')?.textContent ?? ''`);
    await scrollTo(3200);
    await context.expect.poll(rowInView).toContain('many.first');
    const row = await rowInView();
    await stack.publishMany('many.third', 100);
    await page.getByText('307 attempts', { exact: true }).waitFor();
    expect(await rowInView()).toBe(row);
    await page.keyboard.press('p');
    await stack.publishMany('many.fourth', 5);
    const resume = page.getByRole('button', { name: 'Resume, 5 new' });
    await resume.waitFor();
    expect(await rowInView()).toBe(row);
    await resume.click();
    await page.getByText('312 attempts', { exact: true }).waitFor();
    expect(await rowInView()).toBe(row);
    await scrollTo(0);
    await context.expect.poll(() => page.getByRole('row').nth(1).textContent()).toContain('many.fourth');
    await page.reload();
    await page.getByText('Newest 100 attempts', { exact: true }).waitFor();
  });

  test('rows that leave a list above move neither those in view nor the cursor, and another filter reads its own pages', async (context) => {
    const { id } = await stack.app.subscribe({ url: `${receiver.url}/kept`, eventTypes: ['kept'] });
    const change = (mutation: string) => stack.app.graphql(`mutation { ${mutation} { __typename } }`);
    await change(`pauseWebhookSubscription(id: "${id}")`);
    await stack.publishMany('kept', 120);
    await stack.waitForDeliveries(120, `waiting_for = 'PAUSED' AND subscription_id = '${id}'`);
    const { page, complaints } = await open(context, `/deliveries?status=PENDING&subscription=${id}`);
    const rowCount = () => page.getByRole('grid').getAttribute('aria-rowcount');
    await context.expect.poll(rowCount).toBe('101');
    await page.evaluate(`document.querySelector('[role=grid]').scrollTop = 960`);
    const selected = page.getByRole('row', { selected: true });
    const place = async () => (await selected.boundingBox())?.y;
    await page.locator('[role=row][aria-rowindex="42"]').click();
    const panel = page.getByRole('complementary', { name: 'Delivery' });
    await panel.getByText('Attempt 1 is planned').waitFor();
    const before = await place();
    // The grid may still be scrolling at the click, which then selects another row.
    const indexBefore = Number(await selected.getAttribute('aria-rowindex'));
    const opened = new URL(page.url()).searchParams.get('delivery');
    const newest = await stack.query<{ id: string }>(
      'SELECT id FROM deliveries WHERE subscription_id = $1 ORDER BY id DESC LIMIT 3',
      [id],
    );
    for (const delivery of newest) await change(`cancelDelivery(id: "${delivery.id}")`);
    await context.expect.poll(() => selected.getAttribute('aria-rowindex')).toBe(String(indexBefore - 3));
    expect(await place()).toBe(before);
    await page.keyboard.press('Escape');
    await panel.waitFor({ state: 'detached' });
    await page.getByRole('grid').press('Enter');
    await panel.waitFor();
    expect(new URL(page.url()).searchParams.get('delivery')).toBe(opened);

    await page.keyboard.press('End');
    await context.expect.poll(rowCount).toBe('118');
    await page.keyboard.press('End');
    const texts: string[] = [];
    page.on('request', (request) => texts.push(request.postData() ?? ''));
    await page.getByRole('button', { name: 'Cancelled', exact: true }).click();
    await context.expect.poll(rowCount).toBe('4');
    const read = texts.filter((text) => text.includes('query DeliveryList') && text.includes('"CANCELLED"'));
    expect([read.length > 0, read.filter((text) => text.includes('"after"'))]).toEqual([true, []]);
    expect(complaints).toEqual([]);
  });

  test('with the keyboard alone: why an event was not delivered, its filter repaired, the event delivered, a replay', async (context) => {
    const { id, eventId } = await publishFiltered('person.created');
    const { page, complaints } = await open(context, '/');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.keyboard.press('ControlOrMeta+k');
    await page.keyboard.type(eventId);
    await press(page, page.getByRole('link', { name: eventId }));
    await page.getByText('Not matched:').waitFor();
    const data = page.getByRole('group', { name: 'Data', exact: true });
    expect(await data.locator('[class*=marked]').allTextContents()).toEqual(['total: 5']);
    await press(page, page.getByRole('button', { name: 'Hide values' }));
    await context.expect.poll(() => data.textContent()).toContain('secret: "•••"');
    await page.keyboard.press('Enter');
    await context.expect.poll(() => data.textContent()).toContain('of Ada');
    await press(page, page.getByRole('link', { name: 'Edit the filter' }));
    await page.getByText('0 of 1 events would be delivered').waitFor();
    await tabTo(page, page.getByLabel('Filter', { exact: true }));
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('{"total": {"$gtt": 1}}');
    await page.getByText('total.$gtt').first().waitFor();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('{"total": {"$gt": 1}}');
    await page.getByText('1 of 1 events would be delivered').waitFor();
    // Another user saves first.
    await stack.app.graphql(
      'mutation ($id: ID!) { updateWebhookSubscription(id: $id, input: { description: "new" }) { __typename } }',
      { id },
    );
    const save = page.getByRole('button', { name: 'Save', exact: true });
    await page.getByLabel('Filter', { exact: true }).press('Shift+Tab');
    await press(page, save);
    const dialog = page.getByRole('dialog', { name: 'Save the filter' });
    await dialog.getByText('Added').first().waitFor({ state: 'attached' });
    expect(await findBarriers(page)).toEqual([]);
    await press(page, dialog.getByRole('button', { name: 'Save' }));
    await dialog.getByText('This subscription was changed meanwhile').waitFor();
    await press(page, dialog.getByRole('button', { name: 'Save' }));
    await press(page, page.getByRole('button', { name: 'Deliver this event' }));
    await page.getByText('One delivery was created.').waitFor();
    await waitForRequests('person.created', 1);
    await page.keyboard.press('Escape');
    await press(page, page.getByRole('link', { name: 'Replays' }));
    await press(page, page.getByRole('button', { name: 'Start a replay' }));
    await page.keyboard.type('acme');
    const form = page.getByRole('dialog', { name: 'Start a replay' });
    await tabTo(page, form.getByLabel('Status'));
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await tabTo(page, form.getByLabel('Event types'));
    await page.keyboard.type('person.created');
    await press(page, form.getByRole('button', { name: 'Count the deliveries' }));
    await form.getByText('One delivery matches. Nothing has changed yet.').waitFor();
    expect(await stack.query(`SELECT FROM replays WHERE filter::text LIKE '%person.created%'`)).toEqual([]);
    expect(await stack.countDeliveries(`event_type = 'person.created'`)).toBe(1);
    await press(page, form.getByRole('button', { name: 'Replay one delivery' }));
    await page.getByText('1 succeeded').waitFor();
    await waitForRequests('person.created', 2);
    expect(complaints).toEqual([]);
  });

  test('with the keyboard alone: a filtered event is delivered anyway, retried, copied for curl, its attempts compared, and the delivery cancelled', async (context) => {
    const headers = { 'retry-after': '600' };
    const busy = await stack.receive((_, index) => ({ status: 503, headers, body: `busy ${index}` }));
    const { id } = await stack.app.subscribe({ url: busy.url, eventTypes: ['busy'], filter: { urgent: true } });
    await stack.publish('events.acme.busy', '{}', { 'Event-Id': 'busy-1' });
    const { page, complaints } = await open(context, '/event?tenant=acme&id=busy-1');
    await profile.grantPermissions(['clipboard-read', 'clipboard-write']);
    const row = page.getByRole('row').filter({ hasText: new URL(busy.url).host });
    await press(page, row.getByRole('button', { name: 'Deliver anyway' }));
    await press(page, page.getByRole('button', { name: 'Deliver', exact: true }));
    await stack.waitForDeliveries(1, `waiting_for = 'RETRY_AFTER' AND subscription_id = '${id}'`);
    await press(page, row.getByRole('link', { name: /Pending/ }).first());
    await page.getByText('waits for Retry-After').first().waitFor();
    await press(page, page.getByRole('button', { name: 'Retry now' }));
    await page.getByRole('button', { name: /^2 Failed 503/ }).waitFor();
    await press(page, page.getByRole('button', { name: 'Copy as curl' }));
    const copied = () => page.evaluate<string>('navigator.clipboard.readText()');
    await context.expect.poll(copied).toContain(`curl --globoff --request POST '${busy.url}`);
    expect(await copied()).toContain(`--data-raw '${busy.requests[1]?.rawBody.toString()}'`);
    await press(page, page.getByRole('button', { name: 'Compare attempts' }));
    const difference = page.getByRole('dialog').getByRole('group', { name: 'Attempts 1 and 2' });
    await context.expect.poll(() => difference.textContent()).toMatch(/Attempt 1: busy 0.*Attempt 2: busy 1/);
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await press(page, page.getByRole('button', { name: 'Cancel delivery' }));
    await page.getByText('Cancelled', { exact: true }).first().waitFor();
    expect(await stack.countDeliveries(`status = 'CANCELLED' AND subscription_id = $1`, [id])).toBe(1);
    await press(page, page.getByRole('link', { name: new URL(busy.url).host }).first());
    const groups = { 'By event type': 'busy', 'Failures by status code': '503', 'Failures by reason': 'HTTP status' };
    for (const [title, name] of Object.entries(groups)) {
      await page
        .getByRole('region', { name: title })
        .getByRole('row', { name: new RegExp(`^${name} 2`) })
        .waitFor();
    }
    await page.goBack();
    await press(page, page.getByRole('button', { name: 'Deliver again' }));
    await press(page, page.getByRole('dialog').getByRole('button', { name: 'Deliver', exact: true }));
    await page.getByRole('heading', { name: 'busy' }).waitFor();
    await stack.waitForDeliveries(1, `waiting_for = 'RETRY_AFTER' AND subscription_id = '${id}'`);
    expect(complaints).toEqual([]);
  });

  test('with the keyboard alone: a subscription is created after each problem was shown at its field, tested, probed and deleted', async (context) => {
    const endpoint = await stack.receive((_, index) =>
      index === 0 ? { status: 422, body: 'not today' } : { status: 200 },
    );
    const { page, complaints } = await open(context, '/subscriptions');
    const dialog = page.getByRole('dialog');
    const write = async (field: string, text: string) => {
      await tabTo(page, dialog.getByLabel(field, { exact: true }));
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.insertText(text);
    };
    const focused = () => page.evaluate<string>("document.activeElement.labels?.[0].textContent ?? ''");
    const fieldsWithProblems = () => page.evaluate<string[]>(FIELDS_WITH_PROBLEMS);
    await press(page, page.getByRole('button', { name: 'Create', exact: true }));
    await page.keyboard.type('no tenant');
    await write('URL', 'ftp://example.com/');
    await write('Event types', 'no type!');
    await write('Payload filter', 'no JSON');
    for (let rows = 0; rows < 2; rows += 1) await press(page, dialog.getByRole('button', { name: 'Add a header' }));
    await write('Name of header 2', 'webhook-id');
    await write('Value of header 2', 'mine');
    await write('Time limit in ms', 'soon');
    // A click beside an edited form does not close it.
    await page.mouse.click(5, 5);
    await tabTo(page, dialog.getByLabel('Time limit in ms'));
    await page.keyboard.press('Enter');
    // The form checks texts that cannot be sent; the server finds all other problems.
    await context.expect.poll(fieldsWithProblems).toEqual(['Payload filter', 'Time limit in ms']);
    await context.expect.poll(() => focused()).toBe('Payload filter');
    await write('Payload filter', '{"total": {"$gtt": 1}}');
    await write('Time limit in ms', '1');
    await page.keyboard.press('Enter');
    const all = ['Tenant', 'URL', 'Event types', 'Payload filter', 'Name of header 1', 'Time limit in ms'];
    await context.expect.poll(fieldsWithProblems).toEqual(all);
    // The empty row was dropped.
    expect(await dialog.getByLabel('Name of header 1').inputValue()).toBe('webhook-id');
    await context.expect.poll(() => focused()).toBe('Tenant');
    const types = dialog.getByRole('textbox', { name: 'Event types', description: /type! must be an event type/ });
    expect(await types.getAttribute('aria-invalid')).toBe('true');
    expect(await findBarriers(page)).toEqual([]);
    await write('Tenant', 'keyboard');
    await write('URL', `${endpoint.url}/keyboard`);
    await write('Event types', 'keyboard.*');
    await write('Payload filter', '');
    await press(page, dialog.getByRole('button', { name: 'Remove header webhook-id' }));
    await write('Time limit in ms', '20000');
    await page.keyboard.press('Enter');
    await dialog.getByText(/^whsec_/).waitFor();
    await press(page, dialog.getByRole('button', { name: 'Open the subscription' }));
    await press(page, page.getByRole('button', { name: 'Send test' }));
    expect(await page.content()).not.toContain('whsec_');
    await press(page, dialog.getByRole('button', { name: 'Use the last event' }));
    await dialog.getByText('No event of this type is stored.').waitFor();
    await write('Data', '{"total": 5}');
    await press(page, dialog.getByRole('button', { name: 'Send', exact: true }));
    await dialog.getByText('not today').waitFor();
    await dialog.getByText('422').waitFor();
    await page.keyboard.press('Escape');

    const id = new URL(page.url()).pathname.split('/').at(-1) ?? '';
    await stack.query(
      `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now() + interval '1 h',
         probe_wait_ms = 3600000, next_sweep_at = now() + interval '1 h' WHERE subscription_id = $1`,
      [id],
    );
    await stack.publish('events.keyboard.keyboard.first', '{}');
    await press(page, page.getByRole('button', { name: 'Probe now' }));
    await endpoint.waitForRequests(2);
    await page.getByRole('button', { name: 'Probe now' }).waitFor({ state: 'detached' });
    await stack.app.graphql(`mutation { pauseWebhookSubscription(id: "${id}") { __typename } }`);
    await stack.publish('events.keyboard.keyboard.second', '{}');
    await press(page, page.getByRole('button', { name: 'Delete' }));
    await dialog.getByText('One pending delivery is cancelled.').waitFor();
    await press(page, dialog.getByRole('button', { name: 'Delete' }));
    await page.getByRole('heading', { name: 'Subscriptions' }).waitFor();
    await page.getByRole('grid').getByText('/keyboard').waitFor({ state: 'detached' });
    expect(await stack.countDeliveries(`status = 'CANCELLED' AND subscription_id = $1`, [id])).toBe(1);
    expect(complaints).toEqual([]);
  });

  test('with the keyboard alone: an API key is created, shown once, and revoked', async (context) => {
    const { page, complaints } = await open(context, '/keys');
    const dialog = page.getByRole('dialog');
    await press(page, page.getByRole('button', { name: 'Create a key' }));
    await page.keyboard.type('of an operator');
    await tabTo(page, dialog.getByLabel('Tenant'));
    await page.keyboard.type('acme');
    await dialog.getByLabel('Scope').selectOption('ADMIN');
    await press(page, dialog.getByRole('button', { name: 'Create a key' }));
    await dialog.getByText(/^whk_/).waitFor();
    await press(page, dialog.getByRole('button', { name: 'Done' }));
    await press(page, page.getByRole('button', { name: 'Create a key' }));
    await page.keyboard.type('of the keyboard');
    await tabTo(page, dialog.getByLabel('Scope'));
    // Selects the next option with this letter after TENANT_WRITE.
    await page.keyboard.press('t');
    await tabTo(page, dialog.getByLabel('Tenant'));
    await page.keyboard.type('acme');
    await page.keyboard.press('Enter');
    const key = (await dialog.getByText(/^whk_/).textContent()) ?? '';
    const answerTo = async (query: string): Promise<unknown> => {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` };
      const response = await fetch(`${stack.app.url}/graphql`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ query }),
      });
      return response.status === 200 ? await response.json() : response.status;
    };
    expect(await answerTo('{ viewer { scope tenant } }')).toEqual({
      data: { viewer: { scope: 'TENANT_READ', tenant: 'acme' } },
    });
    await press(page, dialog.getByRole('button', { name: 'Done' }));
    const row = page.getByRole('row').filter({ hasText: 'of the keyboard' });
    await row.getByText('Valid').waitFor();
    expect(await page.content()).not.toContain(key);
    await openRow(page);
    await press(
      page,
      page.getByRole('dialog', { name: 'of the keyboard', exact: true }).getByRole('button', { name: 'Revoke' }),
    );
    const revoke = page.getByRole('dialog', { name: 'Revoke the key of the keyboard' });
    await press(page, revoke.getByRole('button', { name: 'Revoke' }));
    await row.getByText('Revoked').waitFor();
    await waitFor(async () => (await answerTo('{ viewer { scope } }')) === 401, { what: 'the refusal of the key' });
    expect(complaints).toEqual([]);
  });

  test('a subscription is paused and resumed, and changes by other users appear without a reload', async (context) => {
    const change = (mutation: string) => stack.app.graphql(`mutation { ${mutation} { __typename } }`);
    const { id } = await stack.app.subscribe({ url: `${receiver.url}/paused`, tenant: 'pushed', eventTypes: ['*'] });
    const { page, complaints } = await open(context, `/subscriptions/${id}`);
    await press(page, page.getByRole('button', { name: 'Pause' }));
    // The dialog moves the focus to its first field.
    await page.keyboard.press('ArrowDown');
    await press(page, page.getByRole('dialog', { name: 'Pause' }).getByRole('button', { name: 'Pause' }));
    await page.getByText(/ends in [78] h/).waitFor();
    const waiting = await publishPaused(id);
    await goTo(page, `${stack.app.url}/console/as/pushed/deliveries?status=PENDING&waiting=BACKOFF`);
    await page.getByText('Nothing matches this filter').waitFor();
    await page.getByLabel('Waits for').selectOption('End of the pause');
    await page.getByRole('gridcell', { name: 'the subscription is paused' }).waitFor();
    expect(page.url()).toContain('waiting=PAUSED');
    await goTo(page, `${stack.app.url}/console/subscriptions/${id}`);
    await press(page, page.getByRole('link', { name: /Pending/ }));
    await page.getByText('the subscription is paused').first().waitFor();
    expect(page.url()).toContain(waiting);
    await change(`cancelDelivery(id: "${waiting}")`);
    await page.getByText('Cancelled', { exact: true }).first().waitFor();
    await page.goBack();
    const limited = { errors: [{ message: 'too many operations', extensions: { code: 'RATE_LIMITED' } }] };
    await page.route('**/graphql', (route) =>
      route.request().postData()?.includes('mutation ResumeSubscription') === true
        ? route.fulfill({ json: limited })
        : route.fallback(),
    );
    await press(page, page.getByRole('button', { name: 'Resume' }));
    await page.getByRole('main').getByRole('alert').getByText('too many operations').waitFor();
    expect(await findBarriers(page, 'main')).toEqual([]);
    await page.unrouteAll();
    await press(page, page.getByRole('button', { name: 'Resume' }));
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    await stack.waitForDeliveries(0, `status = 'PENDING' AND subscription_id = '${id}'`);

    await goTo(page, `${stack.app.url}/console/as/pushed/subscriptions`);
    const rows = page.getByRole('grid').getByRole('row');
    await context.expect.poll(() => rows.count()).toBe(2);
    await change(`pauseWebhookSubscription(id: "${id}")`);
    await rows.getByText('Paused').waitFor();
    await stack.app.subscribe({ url: `${receiver.url}/second`, tenant: 'pushed', eventTypes: ['none'] });
    await rows.getByText('/second').waitFor();
    await page.getByRole('button', { name: 'Paused' }).click();
    await context.expect.poll(() => rows.count()).toBe(2);
    await change(`resumeWebhookSubscription(id: "${id}")`);
    await page.getByText('Nothing matches this filter').waitFor();
    await change(`pauseWebhookSubscription(id: "${id}")`);
    await rows.getByText('/paused').waitFor();
    await change(`deleteWebhookSubscription(id: "${id}")`);
    await page.getByText('Nothing matches this filter').waitFor();
    await page.getByRole('link', { name: 'Events', exact: true }).click();
    await rows.getByText('paused-1').waitFor();
    await stack.publish('events.pushed.late', '{}', { 'Event-Id': 'late-1' });
    await rows.getByText('late-1').waitFor();
    await page.getByRole('link', { name: 'Rejected events' }).click();
    await page.getByText('No rejected event').waitFor();
    await stack.publish('events.pushed.late', 'no JSON');
    await rows.getByText('Invalid JSON').waitFor();

    await stack.query(
      `UPDATE webhook_subscriptions SET is_active = false, deactivation_reason = 'FAILING' WHERE tenant = 'pushed'`,
    );
    const columns = page.getByRole('group', { name: /deactivated/ }).getByRole('columnheader');
    for (const [path, shows] of [
      ['as/pushed/', false],
      ['', true],
    ] as const) {
      await goTo(page, `${stack.app.url}/console/${path}`);
      await columns.first().waitFor();
      expect((await columns.allTextContents()).includes('Tenant')).toBe(shows);
    }
    expect(complaints).toEqual([]);
  });

  /** Publishes an event to a paused subscription, and returns the id of the waiting delivery. */
  async function publishPaused(subscription: string): Promise<string> {
    await stack.publish('events.pushed.order.paid', '{}', { 'Event-Id': 'paused-1' });
    await stack.waitForDeliveries(1, `waiting_for = 'PAUSED' AND subscription_id = '${subscription}'`);
    const [row] = await stack.query<{ id: string }>('SELECT id FROM deliveries WHERE subscription_id = $1', [
      subscription,
    ]);
    return row?.id ?? '';
  }

  test('with the keyboard alone: a job gets another rate and is stopped, another one ends, the audit log names the change, an event is redacted, a tenant erased', async (context) => {
    const { id } = await stack.app.subscribe({ url: `${receiver.url}/bulk`, tenant: 'bulk', eventTypes: ['*'] });
    await stack.app.graphql(`mutation { pauseWebhookSubscription(id: "${id}") { __typename } }`);
    const ids = Array.from({ length: 40 }, (_, index) => `bulk-${index}`);
    await Promise.all(ids.map((event) => stack.publish('events.bulk.many', '{"x":1}', { 'Event-Id': event })));
    await stack.waitForDeliveries(ids.length, `waiting_for = 'PAUSED' AND subscription_id = '${id}'`);
    const { page, complaints } = await open(context, '/as/bulk/jobs');
    const dialog = page.getByRole('dialog');
    const cancelAtRate = async (rate: string) => {
      await press(page, page.getByRole('button', { name: 'Cancel deliveries' }));
      const count = dialog.getByRole('button', { name: 'Count the deliveries', disabled: false });
      const late = await hold(page, 'mutation CancelDeliveries');
      await press(page, count);
      await late.waitForOne();
      await tabTo(page, dialog.getByLabel('Deliveries a second'));
      await page.keyboard.type(rate);
      await late.release();
      // The answer was for the rate before.
      await press(page, count);
      await press(page, dialog.getByRole('button', { name: /^Cancel \d+ deliveries$/ }));
      await page.getByRole('heading', { name: 'Bulk job: cancel deliveries' }).waitFor();
    };
    const changeRate = async (rate: string) => {
      await press(page, page.getByRole('button', { name: 'Change the rate' }));
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.type(rate);
      await page.keyboard.press('Enter');
    };
    await cancelAtRate('1');
    await changeRate('0');
    await context.expect.poll(() => page.evaluate(FIELDS_WITH_PROBLEMS)).toEqual(['Deliveries a second']);
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await changeRate('2');
    await page.getByText('2 a second').waitFor();
    await press(page, page.getByRole('button', { name: 'Stop the job' }));
    await page.getByRole('button', { name: 'Stop the job' }).waitFor({ state: 'detached' });
    expect(await stack.countDeliveries(`status = 'CANCELLED' AND subscription_id = $1`, [id])).toBeLessThan(ids.length);
    await press(page, page.getByRole('link', { name: 'Bulk jobs' }));
    await cancelAtRate('400');
    await page.getByText('Completed').waitFor();
    await stack.waitForDeliveries(ids.length, `status = 'CANCELLED' AND subscription_id = '${id}'`);
    expect(await findBarriers(page)).toEqual([]);
    await press(page, page.locator('main').getByRole('link', { name: 'Deliveries' }));
    await press(page, page.getByRole('button', { name: 'Cancelled' }));
    await press(page, page.getByRole('button', { name: 'Replay' }));
    expect(await dialog.getByLabel('Status').inputValue()).toBe('CANCELLED');
    expect(await dialog.getByLabel('Tenant').inputValue()).toBe('bulk');
    await page.keyboard.press('Escape');
    const { startReplay } = await stack.app.graphql<{ startReplay: { replay: { id: string } } }>(
      `mutation { startReplay(input: { filter: { tenant: "bulk" }, ratePerSecond: 1 }) {
         ... on StartReplayPayload { replay { id } } } }`,
    );
    await goTo(page, `${stack.app.url}/console/as/bulk/replays/${startReplay.replay.id}`);
    await page.getByText('1 a second').waitFor();
    await changeRate('500');
    await page.getByText('500 a second').waitFor();
    await page.getByText('Completed').waitFor();
    await press(page, page.getByRole('link', { name: 'Audit log' }));
    await page.getByRole('gridcell', { name: 'cancelDeliveries' }).first().waitFor();
    await tabTo(page, page.getByLabel('Mutation', { exact: true }));
    await page.keyboard.type('pauseW');
    await page.getByRole('gridcell', { name: 'cancelDeliveries' }).first().waitFor({ state: 'detached' });
    await openRow(page);
    await dialog.getByText('After').waitFor({ state: 'attached' });
    await dialog.getByText('operator’s key').waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('ControlOrMeta+k');
    await page.keyboard.type('bulk-1');
    await press(page, page.getByRole('link', { name: /bulk-1$/ }));
    await press(page, page.getByRole('button', { name: 'Redact' }));
    await page.keyboard.type('bulk-1');
    await page.keyboard.press('Enter');
    await page.getByText('The data of this event was removed.').waitFor();
    await press(page, page.getByRole('link', { name: 'Erasures' }));
    await press(page, page.getByRole('button', { name: 'Erase a tenant' }));
    await tabTo(page, dialog.getByLabel('Repeat the name'));
    await page.keyboard.type('bul');
    expect(await dialog.getByRole('button', { name: 'Erase everything' }).isDisabled()).toBe(true);
    await page.keyboard.type('k');
    expect(await findBarriers(page)).toEqual([]);
    await page.keyboard.press('Enter');
    await page.getByRole('grid').getByText('Running').waitFor();
    expect(complaints).toEqual([]);
  });

  test('the lists of tenants, replays and bulk jobs change without another read', async (context) => {
    const { page, complaints } = await open(context, '/tenants?search=pushed');
    await page.getByText('Live', { exact: true }).waitFor();
    await stack.app.subscribe({ url: 'https://example.com/', tenant: 'pushed-tenant', eventTypes: ['a'] });
    await page.getByRole('gridcell', { name: 'pushed-tenant' }).waitFor();
    const input = 'input: { filter: { tenant: "pushed-tenant" } }';
    for (const [path, mutation] of [
      ['/replays', `startReplay(${input})`],
      ['/jobs', `retryDeliveries(${input})`],
    ] as const) {
      await goTo(page, `${stack.app.url}/console${path}`);
      await page.getByText('Live', { exact: true }).waitFor();
      await page.getByRole('gridcell', { name: 'pushed-tenant' }).waitFor({ state: 'detached' });
      await stack.app.graphql(`mutation { ${mutation} { __typename } }`);
      const row = page.getByRole('row').filter({ hasText: 'pushed-tenant' });
      await row.getByText('Completed').waitFor();
    }
    expect(complaints).toEqual([]);
  });

  test('with the keyboard alone: a received request is verified, and the overlap of a rotated secret is ended', async (context) => {
    const signed = await stack.receive();
    const { id } = await stack.app.subscribe({ url: signed.url, tenant: 'signed', eventTypes: ['*'] });
    const { page, complaints } = await open(context, `/subscriptions/${id}`);
    const dialog = page.getByRole('dialog');
    const rotate = page.getByRole('button', { name: 'Rotate' });
    await press(page, rotate);
    const late = await hold(page, 'mutation RotateSecret');
    await press(page, dialog.getByRole('button', { name: 'Rotate' }));
    await late.waitForOne();
    const leave = async () => {
      await page.keyboard.press('Escape');
      await page.keyboard.press('Escape');
      await page.mouse.click(5, 5);
    };
    await leave();
    await late.release();
    const secret = dialog.getByText(/^whsec_/);
    await secret.waitFor();
    // A selection of the text that ends beside the dialog.
    await secret.hover();
    await page.mouse.down();
    await page.mouse.move(5, 5);
    await page.mouse.up();
    await leave();
    await secret.waitFor();
    await press(page, dialog.getByRole('button', { name: 'Done' }));
    await dialog.waitFor({ state: 'detached' });
    expect(await rotate.evaluate((button) => button === document.activeElement)).toBe(true);
    await stack.publish('events.signed.order.paid', '{"total": 5}');
    const [request] = await signed.waitForRequests(1);
    await press(page, page.getByRole('link', { name: 'Succeeded' }));
    await press(page, page.getByRole('button', { name: 'Verify signature' }));
    await press(page, dialog.getByRole('button', { name: 'Verify', exact: true }));
    await dialog.getByText('Missing: webhook-id, webhook-timestamp, webhook-signature.').waitFor();
    await tabTo(page, dialog.getByLabel('Headers'));
    await page.keyboard.insertText(JSON.stringify(request?.headers));
    await tabTo(page, dialog.getByLabel('Body', { exact: true }));
    await page.keyboard.insertText(request?.rawBody.toString() ?? '');
    await press(page, dialog.getByRole('button', { name: 'Verify', exact: true }));
    await dialog.getByText('Valid: a receiver').waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await tabTo(page, dialog.getByLabel('Body', { exact: true }));
    await page.keyboard.insertText(' ');
    await press(page, dialog.getByRole('button', { name: 'Verify', exact: true }));
    await dialog.getByText('Different body.').waitFor();
    await page.keyboard.press('Escape');
    await press(page, page.getByRole('main').getByRole('link', { name: new URL(signed.url).host }));
    await page.getByText('Also signs').waitFor();
    await context.expect.poll(() => page.getByText('One, which succeeded').count()).toBe(2);
    await press(page, page.getByRole('button', { name: 'End now' }));
    await press(page, dialog.getByRole('button', { name: 'End now' }));
    await page.getByText('Also signs').waitFor({ state: 'detached' });
    expect(await page.content()).not.toContain('whsec_');
    expect(complaints).toEqual([]);
  });

  test("a one-time link signs in once, and an operator's link opens a tenant's portal", async (context) => {
    const { createConsoleSession } = await stack.app.graphql<{ createConsoleSession: { code: string } }>(
      'mutation { createConsoleSession { ... on CreateConsoleSessionPayload { code } } }',
    );
    const path = `/as/acme/subscriptions#code=${createConsoleSession.code}`;
    const { page } = await open(context, path, { key: '' });
    await page.getByText('Active').first().waitFor();
    expect(page.url()).toBe(`${stack.app.url}/console/as/acme/subscriptions`);
    await press(page, page.getByRole('button', { name: 'Portal link' }));
    const dialog = page.getByRole('dialog', { name: 'Portal link' });
    await press(page, dialog.getByRole('button', { name: 'Create the link' }));
    const link = await dialog.getByText('#code=').textContent();
    const portal = await profile.newPage();
    await portal.goto(link ?? '');
    await portal.getByText('Active').first().waitFor();
    expect(portal.url()).toBe(`${stack.app.url}/portal/`);
    expect(await portal.getByRole('button', { name: 'Create' }).count()).toBe(0);
    await Promise.all([page.close(), portal.close()]);
    const { page: again } = await open(context, path, { key: '', profile: undefined });
    await again.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(again.url()).not.toContain('code');
  });

  test("a tenant's key sees its tenant only; when it ends, the page stays and continues with another key", async (context) => {
    const globex = await stack.receive();
    await stack.app.subscribe({ url: globex.url, tenant: 'globex', eventTypes: ['*'] });
    const { id, key } = await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'globex' });
    const { page } = await open(context, '/log', { key });
    await page.getByText('No attempt yet').waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await stack.publish('events.acme.unrelated', '{}');
    await stack.publish('events.globex.order.paid', '{}');
    await page.getByText('1 attempt', { exact: true }).waitFor();
    expect(await page.getByRole('row').last().textContent()).toContain('order.paid');
    const expectNothingOfOthers = async () => {
      expect(await page.getByRole('columnheader', { name: 'Tenant' }).count()).toBe(0);
      expect(await page.getByRole('link', { name: 'Tenants' }).count()).toBe(0);
      expect(await page.getByRole('link', { name: 'API keys' }).count()).toBe(0);
    };
    await expectNothingOfOthers();
    const held: Route[] = [];
    await page.route('**/graphql', (route) => {
      if (route.request().postData()?.includes('query Viewer') !== true) return route.continue();
      held.push(route);
      return;
    });
    await page.reload();
    await page.getByText('1 attempt', { exact: true }).waitFor();
    expect(held).toHaveLength(1);
    await expectNothingOfOthers();
    await held[0]?.continue();
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.getByRole('link', { name: 'Rejected events' }).waitFor();
    await expectNothingOfOthers();
    await goTo(page, `${stack.app.url}/console/deliveries/${delivery.id}`);
    await page.getByText('There is no delivery with this id').waitFor();
    await goTo(page, `${stack.app.url}/console/tenants`);
    await page.getByText('The server refused this query').waitFor();
    await goTo(page, `${stack.app.url}/console/log`);
    await page.getByText('1 attempt', { exact: true }).waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await revokeApiKey(stack.app, id);
    const again = page.getByRole('alertdialog', { name: 'Sign in' });
    await again.getByText('Your key is no longer valid').waitFor();
    await stack.publish('events.globex.order.late', '{}');
    await globex.waitForRequests(2);
    expect(await page.getByText('1 attempt', { exact: true }).count()).toBe(1);
    const signInAgain = async (next: string) => {
      await again.getByLabel('API key or JWT').fill(next);
      await page.keyboard.press('Enter');
    };
    const second = await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'globex' });
    await page.evaluate(`document.querySelector('h1').dataset.isKept = 'yes'`);
    await signInAgain(second.key);
    await page.getByText('2 attempts', { exact: true }).waitFor();
    expect(await page.getByRole('row').nth(1).textContent()).toContain('order.late');
    expect(await page.locator('h1[data-is-kept]').count()).toBe(1);

    const paused = await stack.app.subscribe({ url: globex.url, tenant: 'globex', eventTypes: ['order.paused'] });
    await stack.app.graphql(`mutation { pauseWebhookSubscription(id: "${paused.id}") { __typename } }`);
    await stack.publish('events.globex.order.paused', '{}');
    await stack.waitForDeliveries(1, `waiting_for = 'PAUSED' AND subscription_id = '${paused.id}'`);
    await goTo(page, `${stack.app.url}/console/deliveries?subscription=${paused.id}`);
    await openRow(page);
    await page.getByText('Attempt 1 is planned').waitFor();
    expect(await page.getByRole('button', { name: /Retry now|Cancel delivery/ }).count()).toBe(0);

    await goTo(page, `${stack.app.url}/console/log`);
    await page.getByText('order.late').waitFor();
    await revokeApiKey(stack.app, second.id);
    await again.waitFor();
    await signInAgain((await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'acme' })).key);
    await page.getByText('order.late').waitFor({ state: 'detached' });
    await page.getByRole('gridcell').first().waitFor();
    expect(await page.getByText('order.late').count()).toBe(0);
  });

  test('behind a path prefix, the log continues after a restart of the server: no row is missing or doubled', async (context) => {
    const env = { ROLES: 'api', PUBLIC_URL: 'http://127.0.0.1/hooks' };
    let server = await startTestApp(stack, { env });
    // Not at the end of the file: the overview counts the processes.
    context.onTestFinished(() => server.stop());
    const port = Number(new URL(server.url).port);
    const toServer = (text: string) => text.replaceAll(/^(GET|POST) \/hooks\//gm, '$1 /');
    const proxy = await startTcpProxy({ port, toServer });
    cleanUps.push(() => proxy.stop());
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['bulk.*'] });
    await stack.publishMany('bulk.before', 1);
    const { page, complaints } = await open(context, '/log?q=type%3Abulk.*', {
      url: `http://127.0.0.1:${proxy.port}/hooks`,
    });
    await page.getByText('1 attempt', { exact: true }).waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await server.stop();
    await page
      .getByText(/Reconnecting for/)
      .first()
      .waitFor();
    await insertNumbered(id, 300);
    server = await startTestApp(stack, { env: { ...env, PORT: String(port) } });
    await page.getByText('301 attempts', { exact: true }).waitFor();
    const grid = page.getByRole('grid');
    const rowAt = (place: number) => grid.getByRole('row').nth(place).textContent();
    await stack.publishMany('bulk.after', 3);
    await page.getByText('304 attempts', { exact: true }).waitFor();
    await context.expect.poll(() => rowAt(1)).toContain('bulk.after');
    await grid.press('End');
    await context.expect.poll(() => rowAt(-1)).toContain('bulk.before');
    await page.getByRole('link', { name: 'Events', exact: true }).click();
    await page.getByRole('heading', { name: 'Events' }).waitFor();
    expect(new URL(page.url()).pathname).toBe('/hooks/console/events');
    expect(complaints.filter((text) => !/WebSocket|Failed to load/.test(text))).toEqual([]);
  });

  /** Inserts recent attempts with response times of 1, 2, 3… ms. */
  async function insertNumbered(subscription: string, count: number): Promise<void> {
    const nextId = createIdSequence();
    const ids = Array.from({ length: count }, () => nextId(Date.now()));
    await stack.query(
      `INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, status_code,
         response_time_ms, started_at, url, request_headers, payload_size_bytes)
       SELECT id, gen_random_uuid(), $1, 'acme', 'bulk.during', 1, 'SUCCESS', 200, place, now(), 'x', '{}', 2
       FROM unnest($2::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [subscription, ids],
    );
  }

  test('the overview shows the state of the server and its processes to operators, also after a lost connection, and not to tenants', async (context) => {
    const { key } = await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'acme' });
    const { page: ofTenant } = await open(context, '/', { key });
    await ofTenant.getByText('Live', { exact: true }).waitFor();
    const port = Number(new URL(stack.app.url).port);
    let proxy = await startTcpProxy({ port });
    const { port: proxyPort } = proxy;
    const { page } = await open(context, '/', { url: `http://127.0.0.1:${proxyPort}` });
    const state = page.getByRole('region', { name: 'Server' });
    await state.getByText('All parts of the server work').waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    const processes = state.getByRole('button', { name: '2 processes' });
    expect(await processes.count()).toBe(0);
    const sender = await startTestApp(stack, { env: { ROLES: 'sender' } });
    const checkUntil = (check: () => Promise<boolean>, what: string) =>
      waitFor(
        async () => {
          await press(page, state.getByRole('button', { name: 'Check again' }));
          return check();
        },
        { what },
      );
    try {
      await checkUntil(async () => (await processes.count()) > 0, 'the processes');
      await press(page, processes);
      const rows = state.getByRole('row');
      await context.expect.poll(() => rows.count()).toBe(3);
      await rows.filter({ hasText: 'api, dispatcher, sender' }).filter({ hasText: 'Ready' }).waitFor();
      expect(await findBarriers(page)).toEqual([]);
    } finally {
      await sender.stop();
    }
    await checkUntil(async () => (await state.getByRole('row').count()) === 0, 'the end of a process');
    await stack.nats.kill9();
    await state.getByText('The server is not ready').waitFor();
    await page.getByRole('link', { name: 'NATS: problem' }).waitFor();
    expect(await ofTenant.getByRole('heading', { name: 'Overview' }).count()).toBe(1);
    expect(await ofTenant.getByText(/Live/).allTextContents()).toEqual(['Live', 'Live log']);
    expect(await state.getByRole('listitem').allTextContents()).toEqual([expect.stringContaining('NATS')]);
    expect(await findBarriers(page)).toEqual([]);
    await proxy.stop();
    await state.getByText('The state of the server is unknown').waitFor();
    await stack.nats.start();
    await waitUntilReady(stack.app);
    proxy = await startTcpProxy({ port, ownPort: proxyPort });
    cleanUps.push(() => proxy.stop());
    await state.getByText('All parts of the server work').waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await ofTenant.getByRole('region', { name: 'Server' }).count()).toBe(0);
  });

  // The catalogue is shared: while it has an entry, other types cannot be selected.
  test('with the keyboard alone: an observed type is listed, its schema tried on past events first, a missed event delivered, and a rejected one followed to the schema', async (context) => {
    const [name, tenant] = ['trial.order', 'schemas'];
    const { id } = await stack.app.subscribe({ url: receiver.url, tenant, eventTypes: ['none'] });
    await stack.publish(`events.${tenant}.${name}`, '{"total":"5"}', { 'Event-Id': 'trial-1' });
    await stack.publish(`events.${tenant}.${name}`, '{"total":5}', { 'Event-Id': 'trial-2' });
    await waitFor(async () => (await stack.query('SELECT FROM events WHERE type = $1', [name])).length === 2, {
      what: 'the events',
    });
    const { page, complaints } = await open(context, `/as/${tenant}/event-types`);
    const dialog = page.getByRole('dialog');
    const schemaField = dialog.getByLabel('Schema', { exact: true });
    const trySchema = async (schema: object) => {
      await tabTo(page, schemaField);
      await page.keyboard.press('ControlOrMeta+a');
      await page.keyboard.insertText(JSON.stringify(schema));
      await press(page, dialog.getByRole('button', { name: 'Try on past events' }));
    };
    await press(page, page.getByRole('button', { name: 'Not listed (1)' }));
    await press(page, page.getByRole('button', { name: `Add ${name} to the catalogue` }));
    await press(page, dialog.getByRole('button', { name: 'Draft it from the last events' }));
    await context.expect.poll(() => schemaField.inputValue()).toMatch(/"integer",\s*"string"/);
    const late = await hold(page, 'mutation TryEventType');
    await trySchema({ properties: {} });
    await late.waitForOne();
    await tabTo(page, schemaField);
    await page.keyboard.type(' ');
    await late.release();
    // The answer was for the schema before.
    await dialog.getByRole('button', { name: 'Try on past events', disabled: false }).waitFor();
    await trySchema({ properties: { total: { type: 'number' } } });
    await dialog.getByText('1 of the 2 stored events would have been rejected.').waitFor();
    await dialog.getByRole('link', { name: 'trial-1' }).waitFor();
    await dialog.getByText('data.total').waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await trySchema({ properties: { total: { type: ['number', 'string'] } } });
    await dialog.getByText('All of the 2 stored events match the schema.').waitFor();
    await press(page, dialog.getByRole('button', { name: 'Save' }));
    await page.getByText('Every event type is listed').waitFor();
    await press(page, page.getByRole('button', { name: 'Listed', exact: true }));
    await openRow(page);
    const example = dialog.getByRole('region', { name: 'Data' });
    // If both events were recorded in one millisecond, either can be the last one.
    const total = example.getByText(/^total: "?5"?$/);
    await total.waitFor();
    expect(await findBarriers(page)).toEqual([]);
    await press(page, example.getByRole('button', { name: 'Hide values' }));
    await total.waitFor({ state: 'detached' });
    await press(page, example.getByRole('button', { name: 'Show values' }));
    await press(page, dialog.getByRole('link', { name: '0 that select it' }));
    await page.getByText('Nothing matches this filter').waitFor();
    await press(page, page.getByRole('link', { name: 'Subscriptions' }));
    await openRow(page);
    await press(page, page.getByRole('button', { name: 'Edit', exact: true }));
    await tabTo(page, dialog.getByLabel('Event types'));
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.insertText(name);
    // A query that is sent before the change shows the settings before it until it is answered.
    const before = await hold(page, 'query SubscriptionDetails');
    for (const field of ['pauseWebhookSubscription', 'resumeWebhookSubscription'])
      await stack.app.graphql(`mutation ($id: ID!) { ${field}(id: $id) { __typename } }`, { id });
    await before.waitForOne();
    await press(page, dialog.getByRole('button', { name: 'Save' }));
    await dialog.waitFor({ state: 'detached' });
    await press(page, page.getByRole('button', { name: 'Missed events' }));
    await dialog.getByText('No event was missed').waitFor();
    await before.release();
    await press(page, dialog.getByRole('button', { name: 'Deliver these 2 events' }));
    await dialog.getByText('2 deliveries were created.').waitFor();
    await stack.waitForDeliveries(2, `status = 'SUCCESS' AND subscription_id = '${id}'`);
    await page.keyboard.press('Escape');

    await stack.app.graphql(
      'mutation ($id: ID!) { updateWebhookSubscription(id: $id, input: { isActive: false }) { __typename } }',
      { id },
    );
    await stack.publish(`events.${tenant}.${name}`, '{"total":6}', { 'Event-Id': 'trial-3' });
    await waitFor(async () => (await stack.query('SELECT FROM events WHERE type = $1', [name])).length === 3, {
      what: 'the event',
    });
    await press(page, page.getByRole('button', { name: 'Activate', exact: true }));
    await press(page, dialog.getByRole('button', { name: 'Deliver this event' }));
    await stack.waitForDeliveries(3, `status = 'SUCCESS' AND subscription_id = '${id}'`);
    await page.keyboard.press('Escape');

    await stack.publish(`events.${tenant}.${name}`, '{"total":true}');
    await stack.publish(`events.${tenant}.${name}`, 'no JSON');
    await press(page, page.getByRole('link', { name: 'Rejected events' }));
    const rows = page.getByRole('grid').getByRole('row');
    await rows.getByText('Invalid JSON').waitFor();
    await tabTo(page, page.getByLabel('Reason'));
    await page.keyboard.press('s');
    await rows.getByText('Invalid JSON').waitFor({ state: 'detached' });
    await rows.getByText('Schema mismatch').waitFor();
    expect(page.url()).toContain('reason=SCHEMA_MISMATCH');
    await openRow(page);
    await dialog.getByText('data.total must be number,string').waitFor();
    await press(page, dialog.getByRole('link', { name: `Schema of ${name}` }));
    await dialog.getByText('does not match the schema at data.total').waitFor();
    expect(await dialog.locator('[class*=marked]').allTextContents()).toEqual([expect.stringContaining('total')]);
    expect(await findBarriers(page)).toEqual([]);
    await press(page, dialog.getByRole('button', { name: 'Edit', exact: true }));
    await trySchema({});
    await press(page, dialog.getByRole('button', { name: 'Save' }));
    await dialog.getByRole('link', { name: 'Events of this type' }).waitFor();
    expect(await dialog.getByText('does not match the schema').count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test('a delivery behind a rate limit says how many are pending and when the last of them is sent', async (context) => {
    const limited = { tenant: 'limited', eventTypes: ['*'], rateLimitPerSecond: 1 };
    await stack.app.subscribe({ url: `${receiver.url}/limited`, ...limited });
    const ids = Array.from({ length: 60 }, (_, index) => `limited-${index}`);
    await Promise.all(ids.map((event) => stack.publish('events.limited.many', '{}', { 'Event-Id': event })));
    const { page, complaints } = await open(context, '/as/limited/deliveries?status=PENDING&waiting=RATE_LIMITED');
    await page.getByRole('gridcell', { name: 'due', exact: true }).first().waitFor();
    await openRow(page);
    await page.getByText(/^due: \d+ pending, 1 sent a second, the last of them in about 0:\d\d$/).waitFor();
    expect(complaints).toEqual([]);
  });

  test('a refused query is tried again, one that the server cannot answer is shown with the reason, and a page that fails leaves the others usable', async (context) => {
    const { page, complaints } = await open(context, '/log');
    await page.getByText('Live', { exact: true }).waitFor();
    const limited = { errors: [{ message: 'too many operations', extensions: { code: 'RATE_LIMITED' } }] };
    let asked = 0;
    await page.route('**/graphql', (route) => {
      if (route.request().postData()?.includes('query TenantList') !== true) return route.continue();
      asked += 1;
      return asked <= 2 ? route.fulfill({ json: limited }) : route.continue();
    });
    await goTo(page, `${stack.app.url}/console/tenants`);
    await page.getByRole('alert').getByText('too many operations').waitFor();
    await page.getByRole('gridcell', { name: 'acme' }).waitFor();
    expect(asked).toBeGreaterThan(2);
    await page.unrouteAll({ behavior: 'ignoreErrors' });

    const unavailable = {
      data: null,
      errors: [{ message: 'Postgres is unavailable', extensions: { code: 'SERVICE_UNAVAILABLE' } }],
    };
    await page.route('**/graphql', (route) => route.fulfill({ json: unavailable }));
    await goTo(page, `${stack.app.url}/console/`);
    await page.getByRole('alert').getByText('Postgres is unavailable').waitFor();
    await page.keyboard.press('ControlOrMeta+k');
    await page.keyboard.type(delivery.id);
    await page.getByRole('dialog').getByText('Postgres is unavailable').waitFor();
    await page.keyboard.press('Escape');
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await page.getByRole('heading', { name: /succeeded, .* failed/ }).waitFor();
    expect(complaints).toEqual([]);

    await page.route('**/graphql', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: (await response.text()).replaceAll(/"from":"[^"]*"/g, '"from":"never"') });
    });
    await goTo(page, `${stack.app.url}/console/?range=7d`);
    await page.getByText('This page failed').waitFor();
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await goTo(page, `${stack.app.url}/console/tenants`);
    await page.getByRole('gridcell', { name: 'acme' }).waitFor();
  });

  test('a page shows and changes nothing but its own object, a filter is edited as the server has it, and the last hour moves on', async (context) => {
    const { page, complaints } = await open(context, `/deliveries/${delivery.id}`);
    const retry = page.getByRole('button', { name: 'Retry now' });
    await retry.waitFor();
    const late = await hold(page, 'query DeliveryDetails');
    await goTo(page, `${stack.app.url}/console/deliveries/${subscriptionId}`);
    await late.waitForOne();
    expect(await retry.count()).toBe(0);
    await late.release();
    await page.getByText('There is no delivery with this id').waitFor();

    await goTo(page, `${stack.app.url}/console/subscriptions/${filtered.id}`);
    await page.getByText('total: {').waitFor();
    await goTo(page, `${stack.app.url}/console/tenants`);
    await page.getByRole('gridcell', { name: 'acme' }).waitFor();
    await stack.app.graphql(
      'mutation ($id: ID!) { updateWebhookSubscription(id: $id, input: { filter: { total: 6 } }) { __typename } }',
      { id: filtered.id },
    );
    await goTo(page, `${stack.app.url}/console/subscriptions/${filtered.id}/filter`);
    await context.expect.poll(() => page.getByLabel('Filter', { exact: true }).inputValue()).toContain('"total": 6');

    const ends: number[] = [];
    page.on('request', (request) => {
      const { operationName, variables } = JSON.parse(request.postData() ?? '{}') as {
        operationName?: string;
        variables?: { to: string };
      };
      if (operationName === 'Overview' && variables !== undefined) ends.push(Date.parse(variables.to));
    });
    await page.clock.install();
    await goTo(page, `${stack.app.url}/console/?range=1h`);
    await page.getByRole('heading', { name: /succeeded, .* failed/ }).waitFor();
    const [first = 0] = ends;
    await page.clock.fastForward(60_000);
    await context.expect.poll(() => Math.max(...ends)).toBeGreaterThan(first);
    expect(complaints).toEqual([]);
  });

  test('a link opens its object at any position in the list', async (context) => {
    const nextId = createIdSequence();
    const createIds = () => Array.from({ length: 121 }, () => nextId(Date.now()));
    const [ids, keys, changes, erasures] = [createIds(), createIds(), createIds(), createIds()];
    const [oldest = '', key = ''] = [ids[0], keys[0]];
    await stack.query(
      `INSERT INTO event_types (name, description) SELECT 'early.' || n, '' FROM generate_series(1, 120) AS series (n)
       UNION ALL SELECT 'zebra', 'The last of many'`,
    );
    await stack.query(
      `INSERT INTO rejected_events (id, tenant, subject, reason, message, size_bytes)
       SELECT id, 'links', 'events', 'OTHER', 'message ' || place, 2 FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [ids],
    );
    await stack.query(
      `INSERT INTO api_keys (id, name, scope, key_hash)
       SELECT id, 'key ' || place, 'PUBLISH', sha256(id::text::bytea) FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [keys],
    );
    await stack.query(
      `INSERT INTO audit_log (id, mutation, actor_kind, actor_scope, object_type, object_id, before, after)
       SELECT id, 'revokeApiKey', 'OPERATOR', 'ADMIN', 'ApiKey', $2, '{"number":0}', json_build_object('number', place)
       FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [changes, key],
    );
    await stack.query(
      `INSERT INTO erasures (id, tenant, status, deleted_row_count, completed_at)
       SELECT id, 'erased-' || place, 'COMPLETED', 4242, now() FROM unnest($1::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [erasures],
    );
    const made = await stack.query<{ id: string }>('SELECT id FROM attempts WHERE delivery_id = $1', [delivery.id]);
    await stack.query(
      `INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, status_code,
         response_time_ms, started_at, url, request_headers, payload_size_bytes)
       SELECT id, $1, $2, 'acme', 'order.paid', place + 1, 'SUCCESS', 200, 1, now(), 'x', '{}', 2
       FROM unnest($3::uuid[]) WITH ORDINALITY AS a (id, place)`,
      [delivery.id, subscriptionId, ids.slice(0, 60)],
    );
    await stack.query(
      `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, completed_at)
       SELECT a.id, tenant, subscription_id, event_id, event_type, 'SUCCESS', now()
       FROM deliveries AS d, unnest($2::uuid[]) AS a (id) WHERE d.id = $1`,
      [delivery.id, ids.slice(0, 60)],
    );
    const { page, complaints } = await open(context, '/event-types?type=zebra');
    const find = async (text: string, name: RegExp) => {
      await page.keyboard.press('ControlOrMeta+k');
      await page.keyboard.type(text);
      await press(page, page.getByRole('dialog').getByRole('link', { name }));
    };
    const zebra = page.getByRole('dialog', { name: 'zebra' });
    await zebra.getByText('The last of many').waitFor();
    await zebra.getByText('No event of this type is among the latest 10,000').waitFor();
    expect(await findBarriers(page, 'dialog')).toEqual([]);
    await page.keyboard.press('Escape');
    const tree = page.getByRole('treegrid');
    const cursor = tree.locator('[class*=cursor]');
    await tree.getByRole('row', { name: 'zebra' }).waitFor();
    await tabTo(page, tree);
    await page.keyboard.press('Home');
    const closed = tree.getByRole('row', { name: 'early.* 120 types', expanded: false });
    await closed.waitFor();
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown']) await page.keyboard.press(key);
    await cursor.getByText('10', { exact: true }).waitFor();
    expect(await cursor.getAttribute('aria-level')).toBe('2');
    expect(page.url()).toContain('groups=closed&except=early.');
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await closed.waitFor();
    await tabTo(page, page.getByLabel('Name or description'));
    await page.keyboard.type('early.77');
    await tree.getByRole('row', { name: 'early.* 1 type' }).waitFor();
    expect(await findBarriers(page, 'main')).toEqual([]);
    await goTo(page, `${stack.app.url}/console/event-types?type=early.99`);
    await page.getByRole('dialog', { name: 'early.99' }).waitFor();
    await tree.getByRole('row', { selected: true, includeHidden: true }).getByText('99', { exact: true }).waitFor();
    await page.keyboard.press('Escape');
    await goTo(page, `${stack.app.url}/console/as/globex/deliveries/${delivery.id}?attempt=${made[0]?.id ?? ''}`);
    await page.getByText('HTTP 400').waitFor();
    const attempts = page.getByRole('region', { name: 'Attempts' }).getByRole('listitem');
    expect(await attempts.count()).toBe(50);
    await page.getByRole('button', { name: 'Show older attempts' }).click();
    await context.expect.poll(() => attempts.count()).toBe(60 + made.length);
    await page.getByRole('main').getByRole('link', { name: delivery.event.id }).click();
    await page.getByRole('link', { name: 'All deliveries of this event' }).click();
    await page.getByRole('button', { name: delivery.event.id }).waitFor();
    await context.expect.poll(() => page.getByRole('grid').getAttribute('aria-rowcount')).toBe('62');
    await find(oldest, /message 1$/);
    await page.getByRole('dialog', { name: 'Other reason' }).getByText('message 1', { exact: true }).waitFor();
    expect(await findBarriers(page, 'dialog')).toEqual([]);
    await page.keyboard.press('Escape');
    await find(changes[0] ?? '', /revokeApiKey$/);
    const change = page.getByRole('dialog', { name: 'revokeApiKey' });
    await change.getByText(/number: 1$/).waitFor();
    expect(await findBarriers(page, 'dialog')).toEqual([]);
    await press(page, change.getByRole('link', { name: 'ApiKey' }));
    await page.getByRole('dialog', { name: 'key 1', exact: true }).getByText('Valid').waitFor();
    expect(await findBarriers(page, 'dialog')).toEqual([]);
    await page.keyboard.press('Escape');
    await find(erasures[0] ?? '', /erased-1$/);
    await page.getByRole('dialog', { name: 'erased-1', exact: true }).getByText('4,242').waitFor();
    expect(await findBarriers(page, 'dialog')).toEqual([]);
    await page.keyboard.press('Escape');
    // A deleted object has no page, but an entry in the audit log.
    const [entry, deleted = ''] = createIds();
    await stack.query(
      `INSERT INTO audit_log (id, mutation, actor_kind, actor_scope, object_type, object_id)
       VALUES ($1, 'deleteWebhookSubscription', 'OPERATOR', 'ADMIN', 'WebhookSubscription', $2)`,
      [entry, deleted],
    );
    await find(deleted, /its changes/);
    await page.getByRole('gridcell', { name: 'deleteWebhookSubscription' }).waitFor();
    await find('acme', /acme$/);
    await page.getByRole('gridcell').getByText('user.created').waitFor();
    expect(page.url()).toBe(`${stack.app.url}/console/subscriptions?tenant=acme`);
    expect(complaints).toEqual([]);
  });
});
