import type { Page } from 'playwright-core';
import { CHROMIUM, launchChromium, NO_CHROMIUM } from '../test/support/chromium.ts';
import type { Context, Outcome } from './measurement.ts';
import { publishFor, startTraffic } from './start-traffic.ts';
import { waitUntil } from './wait-until.ts';

const TENANT = 'bench';
const SUBSCRIPTIONS = 50;
const PER_SECOND = 1_000;
/** Rows that the live log holds. */
const ROWS = 20_000;
const VIEWPORT = { width: 1_440, height: 900 };
/** Time for the last rows to arrive: on a small machine, the page gets them later than they are made. */
const GRACE_MS = 60_000;

type Frames = { readonly p50: number; readonly p95: number; readonly max: number; readonly perSecond: number };

/** Counts what the WebSocket receives, before any script of the page runs. */
const COUNT_MESSAGES = `(() => {
  const Native = WebSocket;
  globalThis.messages = 0;
  globalThis.WebSocket = class extends Native {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', () => { globalThis.messages += 1; });
    }
  };
})()`;

/** The times between frames, in milliseconds, until `globalThis.done`. */
const RECORD_FRAMES = `globalThis.frames = []; (() => {
  let last = performance.now();
  const record = (now) => {
    globalThis.frames.push(now - last);
    last = now;
    if (!globalThis.done) requestAnimationFrame(record);
  };
  requestAnimationFrame(record);
})()`;

/** Measures the frames of the console's live log in Chromium while it holds 20,000 rows and gets 1,000 a second. */
export async function measureConsole(context: Context): Promise<Outcome> {
  if (CHROMIUM === undefined) return { tables: [], notes: [`skipped: ${NO_CHROMIUM}`], figures: {}, targets: [] };
  const stack = await context.startStack();
  const browser = await launchChromium();
  stack.onStop(() => browser.close());
  const traffic = await startTraffic(stack, { tenant: TENANT, subscriptions: SUBSCRIPTIONS, perSecond: PER_SECOND });
  await publishFor(traffic, 1_000, SUBSCRIPTIONS);
  const page = await browser.newPage({ viewport: VIEWPORT });
  await page.addInitScript({ content: COUNT_MESSAGES });
  await page.goto(`${stack.program.url}/console/log`);
  await page.getByLabel('API key or JWT').fill(stack.program.adminApiKey);
  await page.keyboard.press('Enter');
  await page.getByText('Live', { exact: true }).waitFor();
  context.report(`filling the log with ${ROWS} rows`);
  await publishFor(traffic, (ROWS / PER_SECOND) * 1_000);
  await waitUntil(async () => (await countRows(page)) >= ROWS, GRACE_MS);
  const rows = await countRows(page);
  const seconds = Math.max(10, context.size(60));
  context.report(`${rows} rows; ${seconds} s of ${PER_SECOND} events a second`);
  const idle = await framesDuring(page, () => new Promise((resolve) => setTimeout(resolve, 2_000)));
  const live = await framesDuring(page, () => publishFor(traffic, seconds * 1_000));
  return {
    tables: [[rowOf('no new rows', idle), rowOf(`${PER_SECOND} events a second`, live)]],
    notes: [`rows in the list: ${rows}`],
    figures: { rows, idle, live },
    targets: [{ name: 'console: median frame with 20,000 rows, ms', value: live.p50, atMost: 20 }],
  };
}

async function countRows(page: Page): Promise<number> {
  return page.evaluate<number>(`Number(document.querySelector('[role=grid]').getAttribute('aria-rowcount')) - 1`);
}

async function framesDuring(page: Page, work: () => Promise<unknown>): Promise<Frames> {
  await page.evaluate('globalThis.done = false; globalThis.messages = 0');
  await page.evaluate(RECORD_FRAMES);
  const startedAt = performance.now();
  await work();
  const messages = await page.evaluate<number>('globalThis.done = true; globalThis.messages');
  const seconds = (performance.now() - startedAt) / 1_000;
  const sorted = (await page.evaluate<number[]>('globalThis.frames')).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1), perSecond: messages / seconds };
}

function rowOf(name: string, { p50, p95, max, perSecond }: Frames): Record<string, string> {
  const show = (ms: number) => ms.toFixed(1);
  return {
    '': name,
    'rows a second': perSecond.toFixed(0),
    'frame p50 ms': show(p50),
    'p95 ms': show(p95),
    'max ms': show(max),
  };
}
