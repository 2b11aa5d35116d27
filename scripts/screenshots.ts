import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import type { Browser, Page } from 'playwright-core';
import { type App, startApp } from '../src/app.ts';
import { readConfig } from '../src/config/config.ts';
import { launchChromium } from '../test/support/chromium.ts';

/** `npm run screenshots`: makes the pictures of the README with embedded servers and events of two tenants. */

const OUT = join(import.meta.dirname, '../docs/images');
const VIEWPORT = { width: 1280, height: 660 };
const MAX_BYTES = 150 * 1024;
const EVENTS = 120;
/** Milliseconds between two events, so that the rows of the log have different times. */
const PACE_MS = 40;

type Picture = {
  readonly name: string;
  readonly path: string;
  /** Brings the page into the state for its picture. */
  readonly prepare: (page: Page) => Promise<unknown>;
};

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'screenshots-'));
  const receiver = await startReceiver();
  const app = await startApp(
    readConfig({
      PATH: process.env['PATH'],
      PORT: '0',
      DATA_DIR: folder,
      WORKERS: '0',
      RETRY_SCHEDULE: '2s,20s,2m,10m,1h',
    }),
    { log: pino({ level: 'silent' }), report: () => undefined },
  );
  const browser = await launchChromium();
  try {
    await app.ready;
    const filtered = await seed(app, receiver.url);
    await mkdir(OUT, { recursive: true });
    for (const scheme of ['light', 'dark'] as const) {
      for (const picture of picturesOf(filtered)) await take(browser, app, { picture, scheme });
    }
  } finally {
    await browser.close();
    await app.stop();
    await receiver.close();
    await rm(folder, { recursive: true });
  }
}

type Filtered = { readonly subscriptionId: string; readonly eventId: string };

function picturesOf({ subscriptionId, eventId }: Filtered): readonly Picture[] {
  return [
    {
      name: 'live-log',
      path: '/log',
      prepare: async (page) => {
        await page.getByText('Live', { exact: true }).waitFor();
        await page.getByRole('row').filter({ hasText: '503' }).first().click();
        await page.getByText('HTTP 503').waitFor();
      },
    },
    {
      name: 'event',
      path: `/event?tenant=acme&id=${eventId}`,
      prepare: (page) => page.getByText('Not matched:').waitFor(),
    },
    {
      name: 'filter',
      path: `/subscriptions/${subscriptionId}/filter?event=${eventId}`,
      prepare: async (page) => {
        await page.getByLabel('Filter', { exact: true }).fill('{\n  "currency": "EUR",\n  "total": { "$gte": 90 }\n}');
        await page.getByText('more and').waitFor();
      },
    },
  ];
}

async function take(
  browser: Browser,
  app: App,
  { picture, scheme }: { readonly picture: Picture; readonly scheme: 'light' | 'dark' },
): Promise<void> {
  const context = await browser.newContext({ colorScheme: scheme, viewport: VIEWPORT, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${app.url}/console${picture.path}`);
  await page.getByLabel('API key or JWT').fill(app.adminApiKey);
  await page.keyboard.press('Enter');
  await picture.prepare(page);
  // The answer to the last request has been rendered.
  await page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');
  const path = join(OUT, `${picture.name}-${scheme}.png`);
  await page.screenshot({ path });
  await context.close();
  const { size } = await stat(path);
  console.log(`${path}: ${Math.ceil(size / 1024)} KiB`);
  if (size > MAX_BYTES) throw new Error(`${path} is larger than ${MAX_BYTES / 1024} KiB`);
}

/** Publishes events of two tenants to four endpoints. Returns the subscription with a filter, and an event that it did not get. */
async function seed(app: App, url: string): Promise<Filtered> {
  const subscribe = async (input: Record<string, unknown>) => {
    const { createWebhookSubscription: created } = await graphql<{
      createWebhookSubscription: { subscription: { id: string } };
    }>(
      app,
      `mutation ($input: CreateWebhookSubscriptionInput!) { createWebhookSubscription(input: $input) {
        ... on CreateWebhookSubscriptionPayload { subscription { id } } } }`,
      { input },
    );
    return created.subscription.id;
  };
  await subscribe({ tenant: 'acme', url: `${url}/orders/webhooks`, eventTypes: ['order.*'] });
  const subscriptionId = await subscribe({
    tenant: 'acme',
    url: `${url}/finance/large-orders`,
    eventTypes: ['order.paid', 'invoice.*'],
    filter: { currency: 'EUR', total: { $gte: 250 } },
  });
  await subscribe({ tenant: 'acme', url: `${url}/legacy-crm/in`, eventTypes: ['user.*', 'invoice.*'] });
  await subscribe({ tenant: 'globex', url: `${url}/globex/events`, eventTypes: ['*'] });
  const types = ['order.paid', 'order.shipped', 'user.created', 'order.paid', 'invoice.sent'];
  for (let index = 0; index < EVENTS; index += 1) {
    const data = {
      number: 4_200 + index,
      currency: index % 7 === 0 ? 'USD' : 'EUR',
      total: (index * 37) % 400,
      customer: { name: ['Ada', 'Grace', 'Edsger', 'Barbara'][index % 4], country: ['DE', 'US', 'NL'][index % 3] },
      items: [{ sku: `A-${100 + (index % 9)}`, quantity: 1 + (index % 3) }],
    };
    const input = {
      tenant: index % 5 === 4 ? 'globex' : 'acme',
      type: types[index % types.length],
      data,
      id: `order-${index}`,
    };
    await graphql(app, 'mutation ($input: PublishEventInput!) { publishEvent(input: $input) { __typename } }', {
      input,
    });
    await delay(PACE_MS);
  }
  // Its total is 185.
  return { subscriptionId, eventId: 'order-5' };
}

async function graphql<Data>(app: App, query: string, variables: Record<string, unknown>): Promise<Data> {
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${app.adminApiKey}` },
    body: JSON.stringify({ query, variables }),
  });
  // `as`: the caller declares the type of the fields it selects.
  return ((await response.json()) as { data: Data }).data;
}

async function startReceiver(): Promise<{ readonly url: string; readonly close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      const isFailing = request.url?.startsWith('/legacy-crm') === true;
      response.writeHead(isFailing ? 503 : 200, { 'content-type': 'application/json' });
      response.end(isFailing ? '{"error":"maintenance","retry":true}' : '{"received":true}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the receiver does not listen on TCP');
  return {
    url: `http://localhost:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };
}

await main();
