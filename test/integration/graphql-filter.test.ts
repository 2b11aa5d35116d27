import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  attemptMatches,
  attemptWhere,
  checkDeliveryFilter,
  type DeliveryFilter,
  deliveryWhere,
  storedFilter,
  storeFilter,
} from '../../src/delivery-log/filter.ts';
import { findDeliveries } from '../../src/delivery-log/search.ts';
import type { Attempt } from '../../src/generated/prisma/client.ts';
import { uuid7, uuid7Time } from '../../src/lib/uuid7.ts';
import { NEWEST_FIRST } from '../../src/postgres/keyset.ts';
import { type Api, attemptOf, post, startApi, storeAttempt } from './graphql-api.ts';

let api: Api;
const ids: Record<string, string> = {};
const attempts = new Map<string, Attempt>();
const NOON = Date.parse('2026-03-01T12:00:00.000Z');
const SUBSCRIPTION_A = uuid7(1, 'a');
const SUBSCRIPTION_B = uuid7(1, 'b');

/** Each attempt has a delivery of its own, created when it was started. */
const ROWS: Readonly<Record<string, Partial<Attempt>>> = {
  success: { eventType: 'conversation.created', statusCode: 200 },
  notFound: { eventType: 'conversation', status: 'FAILURE', statusCode: 404, failureReason: 'HTTP_STATUS' },
  unavailable: {
    eventType: 'conversation.message.created',
    status: 'FAILURE',
    statusCode: 503,
    failureReason: 'HTTP_STATUS',
  },
  timeout: {
    eventType: 'a_b.c',
    status: 'FAILURE',
    statusCode: null,
    failureReason: 'TIMEOUT',
    subscriptionId: SUBSCRIPTION_B,
  },
  other: { eventType: 'axb.c', tenant: 'other', startedAt: new Date(NOON + 1), subscriptionId: SUBSCRIPTION_B },
};

beforeAll(async () => {
  api = await startApi();
  for (const [name, values] of Object.entries(ROWS)) {
    const startedAt = values.startedAt ?? new Date(NOON);
    const of = { id: uuid7(NOON), subscriptionId: SUBSCRIPTION_A, tenant: 'acme', eventType: '' };
    const attempt = attemptOf(of, { startedAt, ...values });
    attempts.set(name, await storeAttempt(api.database, attempt));
    await api.database.prisma.delivery.create({
      data: {
        id: attempt.deliveryId,
        tenant: attempt.tenant,
        subscriptionId: attempt.subscriptionId,
        eventId: uuid7(NOON),
        eventType: attempt.eventType,
        status: attempt.status,
        createdAt: startedAt,
      },
    });
    ids[attempt.id] = name;
    ids[attempt.deliveryId] = name;
  }
});
afterAll(async () => {
  await api.stop();
});

const ALL = Object.keys(ROWS);
const CASES: readonly [name: string, filter: DeliveryFilter, expected: readonly string[]][] = [
  ['nothing', {}, ALL],
  ['nulls', { tenant: null, eventTypes: null, statusCodes: null, from: null }, ALL],
  ['an empty list', { eventTypes: [] }, []],
  ['another empty list', { statuses: [] }, []],
  ['a tenant', { tenant: 'other' }, ['other']],
  ['a subscription', { subscriptionIds: [SUBSCRIPTION_A] }, ['success', 'notFound', 'unavailable']],
  [
    'a subscription in capitals',
    { subscriptionIds: [SUBSCRIPTION_A.toUpperCase()] },
    ['success', 'notFound', 'unavailable'],
  ],
  ['two subscriptions, one of them no id', { subscriptionIds: [SUBSCRIPTION_B, 'x'] }, ['timeout', 'other']],
  ['an exact type', { eventTypes: ['conversation'] }, ['notFound']],
  ['a prefix', { eventTypes: ['conversation.*'] }, ['success', 'unavailable']],
  ['a prefix with an underscore', { eventTypes: ['a_b.*'] }, ['timeout']],
  ['every type', { eventTypes: ['*'] }, ALL],
  ['a type or a prefix', { eventTypes: ['a_b.c', 'conversation.message.*'] }, ['unavailable', 'timeout']],
  ['a status', { statuses: ['FAILURE'] }, ['notFound', 'unavailable', 'timeout']],
  ['a status no attempt has', { statuses: ['PENDING', 'CANCELLED'] }, []],
  ['two statuses', { statuses: ['PENDING', 'SUCCESS'] }, ['success', 'other']],
  ['a status code', { statusCodes: [{ from: 404, to: 404 }] }, ['notFound']],
  [
    'status code ranges',
    {
      statusCodes: [
        { from: 200, to: 299 },
        { from: 500, to: 599 },
      ],
    },
    ['success', 'unavailable', 'other'],
  ],
  ['a failure reason', { failureReasons: ['TIMEOUT'] }, ['timeout']],
  ['from, included', { from: new Date(NOON + 1) }, ['other']],
  ['to, excluded', { to: new Date(NOON + 1) }, ['success', 'notFound', 'unavailable', 'timeout']],
  ['several fields', { tenant: 'acme', statuses: ['FAILURE'], eventTypes: ['conversation.*'] }, ['unavailable']],
  [
    'a reason and a code that no attempt has together',
    { failureReasons: ['TIMEOUT'], statusCodes: [{ from: 1, to: 999 }] },
    [],
  ],
];

test('ids select attempts or deliveries, in Postgres and in memory, also beside conditions on attempts', async () => {
  const { prisma } = api.database;
  const [notFound, timeout] = [attempts.get('notFound'), attempts.get('timeout')];
  if (notFound === undefined || timeout === undefined) throw new Error('two attempts are needed');
  const ofAttempts = { ids: [notFound.id.toUpperCase(), timeout.id, 'x'], statusCodes: [{ from: 404, to: 404 }] };
  expect([...attempts.values()].filter(attemptMatches(ofAttempts))).toEqual([notFound]);
  expect(await prisma.attempt.findMany({ where: attemptWhere(ofAttempts) })).toMatchObject([{ id: notFound.id }]);
  const idsOf = async (filter: DeliveryFilter) => {
    const find = (where: object, take: number) => prisma.delivery.findMany({ where, take, orderBy: NEWEST_FIRST });
    const rows = await findDeliveries(prisma, { filter, query: { take: 10 }, signal: undefined, find });
    return rows.map(({ id }) => id);
  };
  const deliveryIds = [timeout.deliveryId, notFound.deliveryId];
  expect((await idsOf({ ids: deliveryIds })).sort()).toEqual([...deliveryIds].sort());
  expect(await idsOf({ ...ofAttempts, ids: deliveryIds })).toEqual([notFound.deliveryId]);
  expect(await idsOf({ ids: deliveryIds, tenant: 'other' })).toEqual([]);
  expect(await idsOf({ ids: [] })).toEqual([]);
  expect(await idsOf({ ids: ['x'] })).toEqual([]);
  expect(storedFilter(storeFilter({ ids: [notFound.id, '\0'] }))).toEqual({ ids: [notFound.id] });
});

test.each(CASES)('%s: Postgres and memory agree', async (_name, filter, expected) => {
  checkDeliveryFilter(filter);
  const matches = attemptMatches(filter);
  const inMemory = [...attempts].filter(([, attempt]) => matches(attempt)).map(([name]) => name);
  const rows = await api.database.prisma.attempt.findMany({ where: attemptWhere(filter) });
  const { prisma } = api.database;
  const deliveries = await prisma.delivery.findMany({ where: deliveryWhere(filter) });
  const [found, fromTheEnd] = await Promise.all(
    [10, -10].map((size) =>
      findDeliveries(prisma, {
        filter,
        query: { take: size },
        signal: undefined,
        find: (where, take) => prisma.delivery.findMany({ where, take, orderBy: NEWEST_FIRST }),
      }),
    ),
  );
  const sorted = [...expected].sort();
  expect(inMemory.sort()).toEqual(sorted);
  expect(rows.map(({ id }) => ids[id]).sort()).toEqual(sorted);
  expect(deliveries.map(({ id }) => ids[id]).sort()).toEqual(sorted);
  expect(found?.map(({ id }) => ids[id]).sort()).toEqual(sorted);
  expect(fromTheEnd).toEqual(found);
});

test('what was recorded late is found by when it was made', async () => {
  const HOUR_MS = 3_600_000;
  const of = { id: uuid7(NOON), subscriptionId: SUBSCRIPTION_A, tenant: 'late', eventType: 'a' };
  // After almost an hour without Postgres, and by a clock that was then set back.
  for (const lateMs of [0.9 * HOUR_MS, -60_000]) {
    const attempt = attemptOf(of, { id: uuid7(NOON + lateMs), startedAt: new Date(NOON) });
    await storeAttempt(api.database, attempt);
  }
  // After three days in JetStream; and by a clock that was ahead of Postgres's.
  for (const lateMs of [72 * HOUR_MS, -60_000]) {
    await api.database.prisma.delivery.create({
      data: { ...of, id: uuid7(NOON - lateMs), eventId: uuid7(NOON), createdAt: new Date(NOON) },
    });
  }
  const filter = { tenant: 'late', from: new Date(NOON), to: new Date(NOON + 1) };
  expect(await api.database.prisma.attempt.count({ where: attemptWhere(filter) })).toBe(2);
  expect(await api.database.prisma.delivery.count({ where: deliveryWhere(filter) })).toBe(2);
});

test('deliveries are looked for until the page is full, from either end', async () => {
  const { prisma } = api.database;
  const all = { subscriptionId: SUBSCRIPTION_A, tenant: 'patient', eventType: 'a' };
  for (let n = 0; n < 30; n += 1) {
    const id = uuid7(NOON + n);
    const status = n === 1 || n === 28 ? ('FAILURE' as const) : ('SUCCESS' as const);
    await prisma.delivery.create({ data: { ...all, id, status, eventId: uuid7(NOON) } });
    const failed = { status: 'FAILURE' as const, failureReason: 'TIMEOUT' as const, statusCode: null };
    await storeAttempt(api.database, attemptOf({ ...all, id }, failed));
  }
  const filter = { tenant: 'patient', statuses: ['FAILURE' as const], failureReasons: ['TIMEOUT' as const] };
  for (const size of [2, -2]) {
    const found = await findDeliveries(prisma, {
      filter,
      query: { take: size },
      signal: undefined,
      find: (where, take) => prisma.delivery.findMany({ where, take, orderBy: NEWEST_FIRST }),
    });
    expect(found.map(({ id }) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16) - NOON)).toEqual([28, 1]);
  }
});

describe('a search that finds too few among many', () => {
  const CROWD = 50_000;
  const FAILED = { tenant: 'crowd', statuses: ['FAILURE' as const], failureReasons: ['TIMEOUT' as const] };
  // Without a tenant there is no index by which these would be found.
  const ANSWERED = { eventTypes: ['crowd'], statusCodes: [{ from: 200, to: 299 }] };

  beforeAll(async () => {
    const ids = `SELECT (lpad(to_hex(${NOON} + n), 12, '0') || '70008000000000000000')::uuid AS id
      FROM generate_series(1, ${CROWD}) AS n`;
    await api.database.pool.query(`
      INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status)
      SELECT id, 'crowd', '${SUBSCRIPTION_A}', id, 'crowd', 'SUCCESS' FROM (${ids}) AS made`);
    await api.database.pool.query(`
      INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason,
        response_time_ms, started_at, url, request_headers, payload_size_bytes)
      SELECT id, id, '${SUBSCRIPTION_A}', 'crowd', 'crowd', 1, 'FAILURE', 'TIMEOUT', 1, now(), 'x', '{}', 1 FROM (${ids}) AS made`);
    await api.database.pool.query('ANALYZE deliveries, attempts');
  }, 60_000);

  test.each([
    ['that failed', FAILED],
    ['that were answered', ANSWERED],
  ])('ends: among deliveries %s', async (_name, filter) => {
    const literal = JSON.stringify(filter)
      .replace(/"(\w+)":/g, '$1:')
      .replace(/"(FAILURE|TIMEOUT)"/g, '$1');
    const query = `{ deliveries(first: 1, filter: ${literal}) { nodes { id } } }`;
    const { data, errors } = await post(api.graphql, JSON.stringify({ query }));
    expect(data).toBeNull();
    expect(errors).toMatchObject([{ extensions: { code: 'LIMIT_EXCEEDED', limit: 'search', max: 50_000 } }]);
    expect(errors?.[0]?.message).toContain('narrow it');
  });

  test('is not needed to know that a tenant has none', async () => {
    const query = '{ deliveries(filter: { tenant: "crowd", statusCodes: [{ from: 200, to: 299 }] }) { nodes { id } } }';
    expect(await post(api.graphql, JSON.stringify({ query }))).toMatchObject({ data: { deliveries: { nodes: [] } } });
  });

  test.each([
    ['that failed', FAILED],
    ['that were answered', ANSWERED],
  ])('is over when it is ended: among deliveries %s', async (_name, filter) => {
    const { prisma } = api.database;
    const ending = new AbortController();
    let reads = 0;
    const counted = prisma.$extends({
      query: {
        $allOperations: ({ args, query }) => {
          reads += 1;
          ending.abort(new Error('ended'));
          return query(args);
        },
      },
    });
    // `as`: an extended client lacks events, which nobody asks for.
    const found = findDeliveries(counted as unknown as typeof prisma, {
      filter,
      query: { take: 1 },
      signal: ending.signal,
      find: (where, take) => prisma.delivery.findMany({ where, take, orderBy: NEWEST_FIRST }),
    });
    await expect(found).rejects.toThrow('ended');
    expect(reads).toBeLessThanOrEqual(3);
  });
});

test('deliveries with a rare code are found, from either end and beyond a cursor', async () => {
  const { prisma } = api.database;
  const all = { subscriptionId: SUBSCRIPTION_A, tenant: 'rare', eventType: 'a' };
  const made: string[] = [];
  for (let n = 0; n < 30; n += 1) {
    const id = uuid7(NOON + n);
    await prisma.delivery.create({ data: { ...all, id, status: 'SUCCESS', eventId: uuid7(NOON) } });
    made.push(id);
    const statusCode = n > 2 && n < 26 && n % 2 === 1 ? 201 : 200;
    await storeAttempt(api.database, attemptOf({ ...all, id }, { startedAt: new Date(NOON + n - 5), statusCode }));
  }
  const filter = { tenant: 'rare', statusCodes: [{ from: 201, to: 201 }] };
  const pages: readonly [take: number, cursor: number | undefined, expected: readonly number[]][] = [
    [2, undefined, [25, 23]],
    [-2, undefined, [5, 3]],
    [-1, undefined, [3]],
    [1, 25, [23]],
    [-1, 23, [25]],
    [5, 3, []],
  ];
  for (const [take, cursor, expected] of pages) {
    const query = { take, ...(cursor !== undefined && { cursor: { id: made[cursor] ?? '' } }) };
    const found = await findDeliveries(prisma, {
      filter,
      query,
      signal: undefined,
      find: (where, missing) => prisma.delivery.findMany({ where, take: missing, orderBy: NEWEST_FIRST }),
    });
    expect(found.map(({ id }) => uuid7Time(id) - NOON)).toEqual(expected);
  }
});

test('what is wrong with a filter is said at once', () => {
  const filter: DeliveryFilter = {
    tenant: 'a.b',
    eventTypes: ['ok', 'a..b'],
    statusCodes: [{ from: 500, to: 400 }],
    from: new Date(2),
    to: new Date(1),
    subscriptionIds: Array<string>(251).fill('x'),
  };
  expect(() => {
    checkDeliveryFilter(filter);
  }).toThrow(/filter.tenant.*filter.subscriptionIds.*filter.eventTypes.1.*filter.statusCodes.0.*filter.to/);
});
