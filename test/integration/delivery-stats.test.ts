import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { countAttempts } from '../../src/delivery-log/attempt-counter.ts';
import { attemptMatches, type ResolvedFilter } from '../../src/delivery-log/filter.ts';
import type { Attempt } from '../../src/generated/prisma/client.ts';
import { groupBy } from '../../src/lib/collections.ts';
import { uuid7, uuid7Floor } from '../../src/lib/uuid7.ts';
import { transaction } from '../../src/postgres/client.ts';
import { deleteOldCounts } from '../../src/retention/expired-rows.ts';
import {
  type Api,
  attemptOf,
  expectType,
  post,
  startApi,
  storeAttempt,
  storeAttempts,
} from '../support/graphql-api.ts';
import { CREATE, STATS } from '../support/graphql-operations.graphql.ts';
import { seededChance } from '../support/seeded-chance.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const WIDTH = { MINUTE: MINUTE_MS, HOUR: HOUR_MS, DAY: DAY_MS } as const;
type Bucket = keyof typeof WIDTH;

let api: Api;
const subscriptions: { id: string; tenant: string }[] = [];
beforeAll(async () => {
  api = await startApi();
  for (const tenant of ['acme', 'acme', 'globex']) subscriptions.push({ id: await subscribe(tenant), tenant });
});
afterAll(async () => {
  await api.stop();
});

async function subscribe(tenant: string): Promise<string> {
  const { data } = await api.run(CREATE, { input: { tenant, url: 'https://example.com', eventTypes: ['*'] } });
  return expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload').subscription.id;
}

const count = (limit: number) => transaction(api.database.pool, (client) => countAttempts(client, limit));

type StatsArguments = {
  readonly filter?: ResolvedFilter;
  readonly from: number;
  readonly to: number;
  readonly bucket: Bucket;
};

async function readStats({ filter = {}, from, to, bucket }: StatsArguments) {
  // `as`: the lists of a filter are read-only in this file.
  const given = filter as Parameters<typeof api.run<never, { filter: object }>>[1]['filter'];
  const range = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  const { data, errors } = await api.run(STATS, { filter: given, ...range, bucket });
  return { stats: data?.deliveryStats, errors };
}

/** Nearest-rank percentile of the response times of attempts in memory. */
function percentile(attempts: readonly Attempt[], percent: number): number {
  const times = attempts.map(({ responseTimeMs }) => responseTimeMs).sort((a, b) => a - b);
  return times[Math.ceil((percent / 100) * times.length) - 1] ?? 0;
}

function expectToBe(
  counted: NonNullable<Awaited<ReturnType<typeof readStats>>['stats']>['total'],
  attempts: readonly Attempt[],
): void {
  const successes = attempts.filter(({ status }) => status === 'SUCCESS').length;
  const { attemptCount, successCount, failureCount, successRate, responseTimeMs } = counted;
  expect({ attemptCount, successCount, failureCount, successRate }).toEqual({
    attemptCount: attempts.length,
    successCount: successes,
    failureCount: attempts.length - successes,
    successRate: attempts.length === 0 ? null : successes / attempts.length,
  });
  if (attempts.length === 0) expect(responseTimeMs).toBeNull();
  for (const [name, time] of Object.entries(responseTimeMs ?? {})) {
    const exact = percentile(attempts, Number(name.slice(1)));
    expect(Math.abs(Number(time) - exact), `${name}: ${time} for ${exact}`).toBeLessThanOrEqual(0.05 * exact);
  }
}

describe('statistics agree with the log', () => {
  const NOON = Date.parse('2026-03-01T12:00:00Z');
  const attempts: Attempt[] = [];

  beforeAll(async () => {
    let [drawn, stored] = [0, 0];
    const chance = () => {
      drawn += 1;
      return seededChance(7, String(drawn));
    };
    const oneOf = <T>(values: readonly [T, ...T[]]): T => values[Math.floor(chance() * values.length)] ?? values[0];
    for (let n = 0; n < 400; n += 1) {
      const { id: subscriptionId, tenant } = subscriptions[n % 3] ?? { id: '', tenant: '' };
      const eventType = oneOf(['conversation.created', 'conversation', 'order_paid.eu', 'orderxpaid.eu']);
      const failure = oneOf([
        undefined,
        undefined,
        ['HTTP_STATUS', 500],
        ['HTTP_STATUS', 404],
        ['TIMEOUT', null],
      ] as const);
      const attempt = attemptOf(
        { id: uuid7(NOON), subscriptionId, tenant, eventType },
        {
          startedAt: new Date(NOON + Math.floor(chance() * 3 * DAY_MS)),
          responseTimeMs: Math.floor(10 ** (chance() * 4.5)),
          ...(failure && { status: 'FAILURE', failureReason: failure[0], statusCode: failure[1] }),
        },
      );
      attempts.push(attempt);
      // Some attempts are counted, some hours only partly, and the last attempts not at all.
      if (n % 37 !== 0) continue;
      await storeAttempts(api.database, attempts.slice(stored));
      stored = attempts.length;
      await count(20);
    }
    await storeAttempts(api.database, attempts.slice(stored));
  });

  const FILTERS: readonly [string, () => ResolvedFilter][] = [
    ['everything', () => ({})],
    ['a tenant', () => ({ tenant: 'acme' })],
    ['a subscription', () => ({ subscriptionIds: [subscriptions[1]?.id.toUpperCase() ?? ''] })],
    [
      'two subscriptions and an invalid id',
      () => ({ subscriptionIds: [...subscriptions.slice(1).map(({ id }) => id), 'x'] }),
    ],
    ["another tenant's subscription", () => ({ tenant: 'acme', subscriptionIds: [subscriptions[2]?.id ?? ''] })],
    ['a tenant without attempts', () => ({ tenant: 'nobody' })],
    ['a type', () => ({ tenant: 'acme', eventTypes: ['conversation'] })],
    ['a prefix, and a type', () => ({ eventTypes: ['conversation.*', 'order_paid.eu'] })],
    ['a prefix with an underscore', () => ({ eventTypes: ['order_paid.*'] })],
    ['every type', () => ({ eventTypes: ['*', 'conversation'] })],
    ['no type', () => ({ eventTypes: [] })],
    ['successes', () => ({ statuses: ['SUCCESS'] })],
    ['failures', () => ({ tenant: 'globex', statuses: ['FAILURE', 'PENDING'] })],
    ['successes or failures', () => ({ statuses: ['FAILURE', 'SUCCESS'] })],
    ['a status that no attempt has', () => ({ statuses: ['PENDING'] })],
    [
      'status codes',
      () => ({
        statusCodes: [
          { from: 200, to: 299 },
          { from: 404, to: 404 },
        ],
      }),
    ],
    ['every status code', () => ({ statusCodes: [{ from: -2_147_483_648, to: 2_147_483_647 }] })],
    ['no status code', () => ({ statusCodes: [] })],
    ['a failure reason', () => ({ failureReasons: ['TIMEOUT'] })],
    [
      'a reason and a code that no attempt has together',
      () => ({ failureReasons: ['TIMEOUT'], statusCodes: [{ from: 0, to: 999 }] }),
    ],
  ];

  test.each(FILTERS)('for the filter: %s', async (_name, filterOf) => {
    const filter = filterOf();
    const matches = attemptMatches(filter);
    for (const [bucket, from, to] of [
      ['DAY', NOON - 1, NOON + 3 * DAY_MS],
      ['HOUR', NOON + 100, NOON + 2 * DAY_MS + 1],
      ['MINUTE', NOON + 12 * HOUR_MS + 1, NOON + 24 * HOUR_MS],
    ] as const) {
      const { stats, errors } = await readStats({ filter, from, to, bucket });
      expect(errors).toBeUndefined();
      const [begin, end] = [
        Math.floor(from / WIDTH[bucket]) * WIDTH[bucket],
        Math.ceil(to / WIDTH[bucket]) * WIDTH[bucket],
      ];
      const within = (fromMs: number, toMs: number) =>
        attempts.filter((attempt) => matches(attempt) && +attempt.startedAt >= fromMs && +attempt.startedAt < toMs);
      if (stats == null) throw new Error('there are no statistics');
      expect(stats.buckets.length).toBe((end - begin) / WIDTH[bucket]);
      expect([stats.total.from, stats.total.to].map((time) => Date.parse(time))).toEqual([begin, end]);
      expectToBe(stats.total, within(begin, end));
      stats.buckets.forEach((counted, index) => {
        const start = begin + index * WIDTH[bucket];
        expect([counted.from, counted.to].map((time) => Date.parse(time))).toEqual([start, start + WIDTH[bucket]]);
        expectToBe(counted, within(start, start + WIDTH[bucket]));
      });
    }
  });

  const KEY_OF: Readonly<Record<string, (attempt: Attempt) => string>> = {
    SUBSCRIPTION: ({ subscriptionId }) => subscriptionId,
    TENANT: ({ tenant }) => tenant,
    EVENT_TYPE: ({ eventType }) => eventType,
    STATUS_CODE: ({ statusCode }) => String(statusCode ?? 0),
    FAILURE_REASON: ({ failureReason }) => failureReason ?? '',
  };
  type Group = { readonly key: string; readonly total: Counted; readonly buckets: readonly Counted[] };
  type Counted = NonNullable<Awaited<ReturnType<typeof readStats>>['stats']>['total'];
  const BUCKET = '{ from to attemptCount successCount failureCount successRate responseTimeMs { p50 p90 p95 p99 } }';

  test.each(
    Object.keys(KEY_OF).flatMap((property) =>
      (['HOUR', 'MINUTE'] as const).map((bucket) => [property, bucket] as const),
    ),
  )('by %s and %s', async (property, bucket) => {
    const tenant = property === 'TENANT' ? undefined : 'acme';
    const period = { from: new Date(NOON), to: new Date(NOON + (bucket === 'HOUR' ? 3 * DAY_MS : 12 * HOUR_MS)) };
    const query = `query ($filter: DeliveryFilter, $from: DateTime!, $to: DateTime!) {
      deliveryStats(filter: $filter, from: $from, to: $to, bucket: ${bucket}, groupBy: ${property}, top: 3) {
        groups { key total ${BUCKET} buckets ${BUCKET} } } }`;
    const variables = { filter: { tenant }, ...period };
    const { data, errors } = await post<{ deliveryStats: { groups: Group[] } }>(
      api.graphql,
      JSON.stringify({ query, variables }),
    );
    expect(errors).toBeUndefined();
    const expected = groupBy(
      attempts.filter((one) => (tenant === undefined || one.tenant === tenant) && +one.startedAt < +period.to),
      KEY_OF[property] ?? (() => ''),
    );
    const groups = data?.deliveryStats.groups ?? [];
    expect(groups.length).toBe(Math.min(3, expected.size));
    const sizes = [...expected.values()].map(({ length }) => length).toSorted((a, b) => b - a);
    expect(groups.map(({ total }) => total.attemptCount)).toEqual(sizes.slice(0, 3));
    for (const { key, total, buckets } of groups) {
      const ofGroup = expected.get(key) ?? [];
      expectToBe(total, ofGroup);
      const [third] = buckets.slice(2);
      if (third === undefined) throw new Error('there are no buckets');
      const isInThird = ({ startedAt }: Attempt) =>
        +startedAt >= Date.parse(third.from) && +startedAt < Date.parse(third.to);
      expectToBe(third, ofGroup.filter(isInThird));
    }
  });

  test('of each subscription of a page', async () => {
    const query = `query ($from: DateTime!, $to: DateTime!) { webhookSubscriptions { nodes { id
      stats(from: $from, to: $to, bucket: DAY) { total ${BUCKET} buckets { attemptCount } groups { key } } } } }`;
    const variables = { from: new Date(NOON), to: new Date(NOON + 3 * DAY_MS) };
    type Page = { webhookSubscriptions: { nodes: { id: string; stats: Group }[] } };
    const { data } = await post<Page>(api.graphql, JSON.stringify({ query, variables }));
    expect(data?.webhookSubscriptions.nodes.length).toBe(3);
    for (const { id, stats } of data?.webhookSubscriptions.nodes ?? []) {
      expectToBe(
        stats.total,
        attempts.filter(({ subscriptionId }) => subscriptionId === id),
      );
      expect(stats).toMatchObject({ groups: [], buckets: { length: 4 } });
    }
  });

  test.each([
    ['bucket: HOUR, groupBy: SUBSCRIPTION', ['groupBy']],
    ['bucket: HOUR, groupBy: TENANT, filter: { subscriptionIds: [] }', ['groupBy']],
    ['bucket: HOUR, groupBy: EVENT_TYPE, top: 51', ['top']],
    ['bucket: MINUTE, groupBy: EVENT_TYPE, top: 50', ['top']],
  ])('%s is INVALID_INPUT', async (args, paths) => {
    const times = `from: "${new Date(NOON).toISOString()}", to: "${new Date(NOON + HOUR_MS * 10).toISOString()}"`;
    const query = `{ deliveryStats(${args}, ${times}) { total { from } } }`;
    const { errors } = await post(api.graphql, JSON.stringify({ query }));
    expect(errors?.[0]?.extensions).toMatchObject({ problems: paths.map((path) => ({ path })) });
  });

  test('even if all attempts are counted', async () => {
    while (((await count(100)) ?? 0) > 0);
    const { stats } = await readStats({ from: NOON, to: NOON + 3 * DAY_MS, bucket: 'HOUR' });
    expect(stats?.total.attemptCount).toBe(attempts.length);
  });
});

describe('an attempt counts once', () => {
  const TIME = Date.parse('2026-05-01T00:00:00Z');
  const total = async () => {
    const { stats } = await readStats({ from: TIME, to: TIME + 1, bucket: 'DAY' });
    return stats?.total.attemptCount ?? -1;
  };
  const store = () => {
    const [subscription = { id: '', tenant: '' }] = subscriptions;
    const delivery = { id: uuid7(TIME), subscriptionId: subscription.id, tenant: subscription.tenant, eventType: 'a' };
    return storeAttempt(api.database, attemptOf(delivery, { startedAt: new Date(TIME) }));
  };

  test('in any order of commits and counting, and at any time between them', async () => {
    let committed = 0;
    let isOver = false;
    const write = async (n: number) => {
      const attempts = Array.from({ length: 5 }, store);
      await Promise.all(attempts);
      committed += attempts.length;
      if (n > 0) await write(n - 1);
    };
    const repeat = async (work: () => Promise<unknown>) => {
      while (!isOver) await work();
    };
    const started = () => 5 * WRITERS + committed;
    const WRITERS = 3;
    const watch = async () => {
      const least = committed;
      const seen = await total();
      expect(seen).toBeGreaterThanOrEqual(least);
      expect(seen).toBeLessThanOrEqual(started());
    };
    const writing = Promise.all(Array.from({ length: WRITERS }, () => write(20))).finally(() => {
      isOver = true;
    });
    await Promise.all([writing, repeat(() => count(7)), repeat(() => count(11)), repeat(watch)]);
    expect(await total()).toBe(committed);
    while (((await count(100)) ?? 0) > 0);
    expect(await total()).toBe(committed);
  });

  test('even if counting is rolled back, or the attempt is written twice', async () => {
    const before = await total();
    const attempt = await store();
    const undone = transaction(api.database.pool, async (client) => {
      expect(await countAttempts(client, 10)).toBe(1);
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    const again = `INSERT INTO attempts SELECT * FROM attempts WHERE id = $1 ON CONFLICT DO NOTHING`;
    await api.database.pool.query(again, [attempt.id]);
    expect(await total()).toBe(before + 1);
    expect(await count(10)).toBe(1);
    expect(await total()).toBe(before + 1);
  });

  test('one process at a time counts', async () => {
    await transaction(api.database.pool, async (client) => {
      await countAttempts(client, 1);
      expect(await count(1)).toBeUndefined();
    });
    expect(await count(1)).toBe(0);
  });
});

test('counts may exceed the range of Int', async () => {
  const hour = Date.parse('2026-04-01T00:00:00Z');
  await api.database.pool.query(
    `INSERT INTO attempt_counts (scope, hour, event_type, status_code, failure_reason, response_class, count)
     SELECT 'all', $1, 'a', 200, reason, 1, 2000000000 FROM unnest(ARRAY['', 'TIMEOUT', 'DNS_FAILURE']) AS reason`,
    [new Date(hour)],
  );
  const { stats, errors } = await readStats({ from: hour, to: hour + 1, bucket: 'HOUR' });
  expect(errors).toBeUndefined();
  expect(stats?.total).toMatchObject({ attemptCount: 6e9, successCount: 2e9, failureCount: 4e9 });
});

test('counts are deleted with the attempts', async () => {
  const day = Date.parse('2026-05-01T00:00:00Z');
  const hours = async () =>
    (await api.database.pool.query<{ hour: Date }>('SELECT DISTINCT hour FROM attempt_counts ORDER BY 1')).rows;
  const [oldest] = await hours();
  expect(+(oldest?.hour ?? 0)).toBeLessThan(day);
  // The counts of an hour that has not ended are kept.
  while ((await deleteOldCounts(api.database.pool, { beforeId: uuid7Floor(day + HOUR_MS - 1), limit: 10 })) === 10);
  expect((await hours()).map(({ hour }) => +hour)).toEqual([day]);
  await deleteOldCounts(api.database.pool, { beforeId: uuid7Floor(day + HOUR_MS + 1), limit: 10 });
  expect(await hours()).toEqual([]);
});

test.each([
  ['more than 1,000 buckets', { from: 0, to: 1_000 * MINUTE_MS + 1, bucket: 'MINUTE' }, 'bucket'],
  ['a range that ends before it begins', { from: 2, to: 1, bucket: 'DAY' }, 'to'],
  ['a second range', { filter: { from: new Date(0) }, from: 0, to: 1, bucket: 'DAY' }, 'filter.from'],
  ['a filter that makes no sense', { filter: { eventTypes: ['a..b'] }, from: 0, to: 1, bucket: 'DAY' }, 'eventTypes.0'],
] as const)('%s is INVALID_INPUT', async (_name, asked, path) => {
  const { errors } = await readStats(asked);
  expect(errors?.[0]?.extensions).toMatchObject({ code: 'INVALID_INPUT' });
  expect(JSON.stringify(errors)).toContain(path);
});
