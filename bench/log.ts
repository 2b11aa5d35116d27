import type pg from 'pg';
import type { Report } from '../src/embedded/report.ts';
import { uuid7Floor } from '../src/lib/uuid7.ts';
import { clockMs } from './clock.ts';
import { summarise } from './latency.ts';
import { pagesOf, STATS, type StatsCase } from './log-cases.ts';
import { fillLog } from './log-fill.ts';
import { insertBatches } from './log-inserts.ts';
import type { Context, Outcome } from './measurement.ts';
import type { Stack } from './stack.ts';

type Times = { readonly p50: number; readonly p95: number };
type LogFigure = {
  readonly name: string;
  readonly isPage: boolean;
  readonly first: Times;
  /** Page 50, with 50 rows to a page. Undefined if the log has fewer pages. */
  readonly later: Times | undefined;
};

const ROWS = 10_000_000;
const DAY_MS = 86_400_000;
const ROUNDS = 20;

/** Measures pages and statistics of a large log, and the writes to it. */
export async function measureLog({ report, size, startStack }: Context): Promise<Outcome> {
  const rows = size(ROWS);
  const stack = await startStack({ prepare: ({ databaseUrl }) => fillLog(databaseUrl, { rows, report }) });
  const figures = await measureRequests(stack, report);
  const worst = Math.max(...figures.filter(({ isPage }) => isPage).map(({ first }) => first.p95));
  return {
    tables: [figures.map(rowOf)],
    figures: { rows, figures },
    targets: [{ name: 'log: p95 of the slowest first page, ms', value: worst, atMost: 50 }],
  };
}

/** Sends each request over HTTP, one after another. */
async function measureRequests(stack: Pick<Stack, 'graphql' | 'query'>, report: Report): Promise<LogFigure[]> {
  const figures: LogFigure[] = [];
  for (const { name, ask } of pagesOf(await idsOf(stack.query))) {
    report(name);
    const page = async (after?: string) => (await ask(stack.graphql, { first: 50, after })).pageInfo;
    const cursor = await cursorOfPage50((after) => ask(stack.graphql, { first: 245, after }));
    const first = await timesOf(() => page());
    figures.push({
      name,
      isPage: true,
      first,
      later: cursor === undefined ? undefined : await timesOf(() => page(cursor)),
    });
  }
  for (const stats of STATS) {
    report(stats.name);
    figures.push({
      name: stats.name,
      isPage: false,
      first: await timesOf(() => askStats(stack, stats)),
      later: undefined,
    });
  }
  report('inserts');
  for (const [name, times] of Object.entries(await insertBatches(stack.query))) {
    figures.push({ name, isPage: false, first: summarise(times), later: undefined });
  }
  return figures;
}

/** A row of the terminal's table, in milliseconds. */
function rowOf({ name, first, later }: LogFigure): Record<string, string> {
  const show = (ms: number | undefined) => (ms === undefined ? '–' : ms.toFixed(1));
  return {
    '': name,
    'p50 ms': show(first.p50),
    'p95 ms': show(first.p95),
    'page 50: p50 ms': show(later?.p50),
    'p95 ms ': show(later?.p95),
  };
}

async function timesOf(request: () => Promise<unknown>): Promise<Times> {
  const times: number[] = [];
  await request();
  for (let round = 0; round < ROUNDS; round += 1) {
    const from = clockMs();
    await request();
    times.push(clockMs() - from);
  }
  const { p50, p95 } = summarise(times);
  return { p50, p95 };
}

type PageInfo = { readonly hasNextPage: boolean; readonly endCursor: string | null };

async function cursorOfPage50(
  page: (after: string | undefined) => Promise<{ pageInfo: PageInfo }>,
): Promise<string | undefined> {
  let after: string | undefined;
  for (let skipped = 0; skipped < 49 * 50; skipped += 245) {
    const { pageInfo } = await page(after);
    if (!pageInfo.hasNextPage || pageInfo.endCursor === null) return undefined;
    after = pageInfo.endCursor;
  }
  return after;
}

/** The busiest subscription of the tenant `big`, ten of its other subscriptions, and an event in the middle of the log. */
async function idsOf(query: Stack['query']): Promise<{ busiest: string; ten: string[]; event: string }> {
  const rows = await query<pg.QueryResultRow & { id: string }>(
    `SELECT id FROM webhook_subscriptions w WHERE tenant = 'big'
     ORDER BY (SELECT count(*) FROM (SELECT FROM attempts a WHERE a.subscription_id = w.id LIMIT 5000) AS s) DESC, id`,
  );
  const events = await query<pg.QueryResultRow & { id: string }>(
    `SELECT event_id AS id FROM events WHERE tenant = 'big' AND id > $1 ORDER BY id LIMIT 1`,
    [uuid7Floor(Date.now() - 14 * DAY_MS)],
  );
  return { busiest: rows[0]?.id ?? '', ten: rows.slice(20, 30).map(({ id }) => id), event: events[0]?.id ?? '' };
}

async function askStats({ graphql }: Pick<Stack, 'graphql'>, { filter, days, bucket }: StatsCase): Promise<unknown> {
  const to = new Date();
  const from = new Date(to.getTime() - days * DAY_MS);
  return graphql(
    `query ($filter: DeliveryFilter, $from: DateTime!, $to: DateTime!, $bucket: StatsBucket!) {
      deliveryStats(filter: $filter, from: $from, to: $to, bucket: $bucket) {
        total { attemptCount } buckets { from attemptCount successRate responseTimeMs { p50 p95 } } } }`,
    { filter, from, to, bucket },
  );
}
