import type { CDPSession, Page } from 'playwright-core';
import { CHROMIUM, launchChromium, NO_CHROMIUM } from '../test/support/chromium.ts';
import { openConsole } from '../test/support/console-page.ts';
import type { Context, Outcome } from './measurement.ts';
import { type ReplayedLog, startReplayedLog } from './replayed-log.ts';
import { waitUntil } from './wait-until.ts';

const PER_SECOND = 1_000;
/** Rows that the live log holds. */
const ROWS = 20_000;
const FILL_PER_SECOND = 4_000;
const GRACE_MS = 60_000;

/** The state of the list while rows arrive. */
const SITUATIONS = [
  { name: 'newest rows in view', query: '', scrollTop: 0 },
  { name: 'scrolled to older rows', query: '', scrollTop: 64_000 },
  { name: 'searched for a word', query: 'customer-1', scrollTop: 0 },
] as const;

type Frames = {
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  /** Milliseconds of work of the page's main thread in each second. */
  readonly busy: number;
};

/** The times between frames, in milliseconds, until `globalThis.done`. */
const RECORD_FRAMES = `globalThis.done = false; globalThis.frames = []; (() => {
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
  const log = await startReplayedLog();
  context.onStop(log.stop);
  const browser = await launchChromium();
  context.onStop(() => browser.close());
  const seconds = Math.max(10, context.size(60));
  const results: Record<string, Frames> = {};
  for (const { name, query, scrollTop } of SITUATIONS) {
    context.report(`filling the log with ${ROWS} rows`);
    const path = query === '' ? '/log' : `/log?q=${query}`;
    const opened = await openConsole(browser, { url: log.url, key: 'bench', path, width: 1_440 });
    const { page } = opened;
    await page.getByText('Live', { exact: true }).waitFor();
    await log.send(ROWS, FILL_PER_SECOND);
    await waitUntil(async () => query !== '' || (await countRows(page)) >= ROWS, GRACE_MS);
    await page.evaluate(`document.querySelector('[role=grid]').scrollTop = ${scrollTop}`);
    context.report(`${name}: ${seconds} s of ${PER_SECOND} rows a second`);
    const session = await opened.context.newCDPSession(page);
    await session.send('Performance.enable');
    if (query === '' && scrollTop === 0) {
      results['no new rows'] = await framesDuring({ page, session }, () => page.waitForTimeout(2_000));
    }
    results[name] = await framesDuring({ page, session }, () => send(log, seconds));
    await opened.context.close();
  }
  const worst = Math.max(...Object.values(results).map(({ p50 }) => p50));
  return {
    tables: [Object.entries(results).map(([name, frames]) => rowOf(name, frames))],
    notes: [`${ROWS} rows in the list, ${PER_SECOND} new ones a second`],
    figures: results,
    targets: [{ name: 'console: median frame with 20,000 rows, ms', value: worst, atMost: 20 }],
  };
}

function send(log: ReplayedLog, seconds: number): Promise<void> {
  return log.send(seconds * PER_SECOND, PER_SECOND);
}

async function countRows(page: Page): Promise<number> {
  return page.evaluate<number>(`Number(document.querySelector('[role=grid]').getAttribute('aria-rowcount')) - 1`);
}

type Measured = { readonly page: Page; readonly session: CDPSession };

async function framesDuring({ page, session }: Measured, work: () => Promise<unknown>): Promise<Frames> {
  await page.evaluate(RECORD_FRAMES);
  const before = await taskSeconds(session);
  const startedAt = performance.now();
  await work();
  const seconds = (performance.now() - startedAt) / 1_000;
  const busy = ((await taskSeconds(session)) - before) / seconds;
  const frames = await page.evaluate<number[]>('globalThis.done = true; globalThis.frames');
  const sorted = frames.sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), max: at(1), busy: busy * 1_000 };
}

/** Seconds that the main thread of the page has worked. */
async function taskSeconds(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN;
}

function rowOf(name: string, { p50, p95, max, busy }: Frames): Record<string, string> {
  const show = (ms: number) => ms.toFixed(1);
  return {
    '': name,
    'frame p50 ms': show(p50),
    'p95 ms': show(p95),
    'max ms': show(max),
    'main thread ms/s': busy.toFixed(0),
  };
}
