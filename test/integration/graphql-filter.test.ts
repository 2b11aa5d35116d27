import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findDeliveries } from '../../src/delivery-log/delivery-search.ts';
import {
  attemptMatches,
  attemptWhere,
  type DeliveryFilter,
  deliveryWhere,
  type ResolvedFilter,
} from '../../src/delivery-log/filter.ts';
import { parseStoredFilter, problemsOfFilter, serializeFilter } from '../../src/delivery-log/filter-input.ts';
import type { Attempt } from '../../src/generated/prisma/client.ts';
import { uuid7, uuid7Time } from '../../src/lib/uuid7.ts';
import { NEWEST_FIRST } from '../../src/postgres/keyset.ts';
import { type Api, attemptOf, post, startApi, storeAttempt } from '../support/graphql-api.ts';

let api: Api;
const ids: Record<string, string> = {};
const attempts = new Map<string, Attempt>();
const NOON = Date.parse('2026-03-01T12:00:00.000Z');
const SUBSCRIPTION_A = uuid7(1, 'a');
const SUBSCRIPTION_B = uuid7(1, 'b');

/** Each attempt has its own delivery, created at the start of the attempt. */
const ROWS: Readonly<Record<string, Partial<Attempt>>> = {
  success: { eventType: 'conversation.created', statusCode: 200 },
  notFound: { eventType: 'conversation', number: 3, status: 'FAILURE', statusCode: 404, failureReason: 'HTTP_STATUS' },
  unavailable: {
    eventType: 'conversation.message.created',
    number: 2,
    responseTimeMs: 1_000,
    status: 'FAILURE',
    statusCode: 503,
    failureReason: 'HTTP_STATUS',
  },
  timeout: {
    eventType: 'a_b.c',
    status: 'FAILURE',
    statusCode: null,
    failureReason: 'TIMEOUT',
    responseTimeMs: 5_000,
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
/** Excludes the attempts of single tests. */
const OF_ROWS = { tenant: { in: ['acme', 'other'] } };
const CASES: readonly [name: string, filter: ResolvedFilter, expected: readonly string[]][] = [
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

test('ids select attempts or deliveries, in Postgres and in memory, even with conditions on attempts', async () => {
  const { prisma } = api.database;
  const [notFound, timeout] = [attempts.get('notFound'), attempts.get('timeout')];
  if (notFound === undefined || timeout === undefined) throw new Error('two attempts are needed');
  const ofAttempts = { ids: [notFound.id.toUpperCase(), timeout.id, 'x'], statusCodes: [{ from: 404, to: 404 }] };
  expect([...attempts.values()].filter(attemptMatches(ofAttempts))).toEqual([notFound]);
  expect(await prisma.attempt.findMany({ where: attemptWhere(ofAttempts) })).toMatchObject([{ id: notFound.id }]);
  const idsOf = async (filter: ResolvedFilter) => {
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
  expect(parseStoredFilter(serializeFilter({ ids: [notFound.id, '\0'] }))).toEqual({ ids: [notFound.id] });
});

test.each(CASES)('%s: Postgres and memory agree', async (_name, filter, expected) => {
  expect(problemsOfFilter(filter)).toEqual([]);
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

test('attempts and deliveries recorded late are found by the time of their creation', async () => {
  const HOUR_MS = 3_600_000;
  const of = { id: uuid7(NOON), subscriptionId: SUBSCRIPTION_A, tenant: 'late', eventType: 'a' };
  // Recorded after almost an hour without Postgres, and with a clock that was then set back.
  for (const lateMs of [0.9 * HOUR_MS, -60_000]) {
    const attempt = attemptOf(of, { id: uuid7(NOON + lateMs), startedAt: new Date(NOON) });
    await storeAttempt(api.database, attempt);
  }
  // Recorded after three days in JetStream, and with a clock ahead of Postgres's clock.
  for (const lateMs of [72 * HOUR_MS, -60_000]) {
    await api.database.prisma.delivery.create({
      data: { ...of, id: uuid7(NOON - lateMs), eventId: uuid7(NOON), createdAt: new Date(NOON) },
    });
  }
  const filter = { tenant: 'late', from: new Date(NOON), to: new Date(NOON + 1) };
  expect(await api.database.prisma.attempt.count({ where: attemptWhere(filter) })).toBe(2);
  expect(await api.database.prisma.delivery.count({ where: deliveryWhere(filter) })).toBe(2);
});

test('deliveries are searched until the page is full, from either end', async () => {
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

describe('a search that finds too few rows among many', () => {
  const CROWD = 50_000;
  const FAILED = { tenant: 'crowd', statuses: ['FAILURE' as const], failureReasons: ['TIMEOUT' as const] };
  // Without a tenant, no index finds these rows.
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
  });

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

  test('is not necessary for a tenant without rows', async () => {
    const query = '{ deliveries(filter: { tenant: "crowd", statusCodes: [{ from: 200, to: 299 }] }) { nodes { id } } }';
    expect(await post(api.graphql, JSON.stringify({ query }))).toMatchObject({ data: { deliveries: { nodes: [] } } });
  });

  test.each([
    ['that failed', FAILED],
    ['that were answered', ANSWERED],
  ])('stops when it is aborted: among deliveries %s', async (_name, filter) => {
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
    // `as`: an extended client has no event methods, which the search does not use.
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

test('all problems of a filter are reported together', () => {
  const filter: DeliveryFilter = {
    tenant: 'a.b',
    eventTypes: ['ok', 'a..b'],
    statusCodes: [{ from: 500, to: 400 }],
    from: new Date(2),
    to: new Date(1),
    subscriptionIds: Array<string>(251).fill('x'),
  };
  const all = { ...filter, minResponseTimeMs: 999, attemptNumbers: [2] };
  expect(problemsOfFilter(all, { use: 'deliveries' }).map(({ path }) => path)).toEqual([
    'filter.tenant',
    'filter.subscriptionIds',
    'filter.minResponseTimeMs',
    'filter.attemptNumbers',
    'filter.eventTypes.1',
    'filter.statusCodes.0',
    'filter.minResponseTimeMs',
    'filter.to',
  ]);
});

describe('deliveries by wait reason', () => {
  const TENANT = 'waiting';
  /** Every state of a subscription and of a delivery that the reason depends on. */
  const STATES = ['paused', 'pause over', 'open', 'refused', 'refused long ago', 'limited'];
  const REASONS = [
    'BACKOFF',
    'RETRY_AFTER',
    'PAUSED',
    'CIRCUIT_OPEN',
    'RATE_LIMITED',
    'IN_FLIGHT_LIMIT',
    'BROKER_UNAVAILABLE',
  ];

  beforeAll(async () => {
    const { pool } = api.database;
    const combinations = Array.from({ length: 2 ** STATES.length }, (_, bits) =>
      STATES.filter((_name, index) => (bits & (1 << index)) !== 0),
    );
    for (const [index, states] of combinations.entries()) {
      const id = uuid7(NOON + index);
      const has = (state: string) => states.includes(state);
      await pool.query(
        `INSERT INTO webhook_subscriptions (id, tenant, url, event_types, rate_limit_per_second)
         VALUES ($1, $2, 'https://example.com', '{a}', $3)`,
        [id, TENANT, has('limited') ? 1 : null],
      );
      await pool.query(
        `UPDATE subscription_states SET opened_at = $2, paused_until = $3, refused_at = $4 WHERE subscription_id = $1`,
        [
          id,
          has('open') ? new Date() : null,
          has('paused') ? new Date(Date.now() + 600_000) : has('pause over') ? new Date(NOON) : null,
          has('refused') ? new Date(Date.now() + 600_000) : has('refused long ago') ? new Date(NOON) : null,
        ],
      );
      await pool.query(
        `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, next_attempt_at, waiting_for, enqueued_at)
         SELECT gen_random_uuid(), $1, $2::uuid, gen_random_uuid(), 'a', 'PENDING'::delivery_status,
           now() + due * interval '1 h', reason::wait_reason, enqueued
         FROM unnest(ARRAY[-1, 1]) AS due, unnest(ARRAY[NULL, 'BACKOFF', 'RETRY_AFTER']) AS reason,
           unnest(ARRAY[NULL, now()]) AS enqueued
         UNION ALL
         SELECT gen_random_uuid(), $1, $2::uuid, gen_random_uuid(), 'a', 'SUCCESS'::delivery_status, NULL, NULL, NULL`,
        [TENANT, id],
      );
    }
  });

  type Waiting = { readonly id: string; readonly waitingFor: string | null };

  async function read(filter: string): Promise<Waiting[]> {
    const found: Waiting[] = [];
    for (let after = ''; ; ) {
      const query = `{ deliveries(first: 250${after}, filter: { tenant: "${TENANT}"${filter} }) {
        nodes { id waitingFor } pageInfo { hasNextPage endCursor } } }`;
      const { data, errors } = await post<{
        deliveries: { nodes: Waiting[]; pageInfo: { hasNextPage: boolean; endCursor: string } };
      }>(api.graphql, JSON.stringify({ query }));
      expect(errors).toBeUndefined();
      if (data == null) throw new Error('there is no answer');
      found.push(...data.deliveries.nodes);
      if (!data.deliveries.pageInfo.hasNextPage) return found;
      after = `, after: "${data.deliveries.pageInfo.endCursor}"`;
    }
  }

  const lists: readonly (readonly string[])[] = [...REASONS.map((reason) => [reason]), ['BACKOFF', 'CIRCUIT_OPEN'], []];
  test.each(lists.map((reasons) => ({ reasons })))('are selected by waitingFor: $reasons', async ({ reasons }) => {
    const wanted = (await read('')).filter(({ waitingFor }) => waitingFor !== null && reasons.includes(waitingFor));
    if (reasons.length > 0) expect(wanted.length).toBeGreaterThan(0);
    expect(await read(`, waitingFor: [${reasons.join(', ')}]`)).toEqual(wanted);
    expect(await read(`, waitingFor: [${reasons.join(', ')}], statuses: [SUCCESS]`)).toEqual([]);
  });

  test('are counted', async () => {
    const query = `{ deliveryCounts(filter: { tenant: "${TENANT}", waitingFor: [PAUSED] }) { pending success isExact } }`;
    const { data } = await post(api.graphql, JSON.stringify({ query }));
    const pending = (await read(', waitingFor: [PAUSED]')).length;
    expect(data).toEqual({ deliveryCounts: { pending, success: 0, isExact: true } });
  });
});

describe('deliveries and events by publishers’ ids', () => {
  const EVENT = uuid7(NOON + 1, 'named');
  const UNNAMED = uuid7(NOON + 2, 'unnamed');
  const FOREIGN = uuid7(NOON + 3, 'foreign');

  beforeAll(async () => {
    const { pool } = api.database;
    for (const [id, tenant, eventId] of [
      [EVENT, 'named', 'order-1'],
      [UNNAMED, 'named', UNNAMED],
      [FOREIGN, 'stranger', 'order-1'],
    ]) {
      await pool.query(
        `INSERT INTO events (id, tenant, event_id, type, occurred_at, data) VALUES ($1, $2, $3, 'a', now(), '{}')`,
        [id, tenant, eventId],
      );
      if (eventId === 'order-1') await pool.query('INSERT INTO event_ids VALUES ($1, $2, $3)', [tenant, eventId, id]);
      await pool.query(
        `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status)
         VALUES ($1, $2, $3, $1, 'a', 'SUCCESS')`,
        [id, tenant, SUBSCRIPTION_A],
      );
    }
  });

  test.each<[filter: string, expected: readonly string[]]>([
    ['"order-1"', [EVENT]],
    [`"${UNNAMED}", "x", "\\u0000"`, [UNNAMED]],
    [`"order-1", "${UNNAMED}"`, [UNNAMED, EVENT]],
    [`"${EVENT}", "${FOREIGN}"`, []],
    ['', []],
  ])('are selected by the list [%s]', async (list, expected) => {
    const query = `{ deliveries(filter: { tenant: "named", eventIds: [${list}] }) { nodes { id } }
      events(filter: { tenant: "named", ids: [${list}] }) { nodes { id } } }`;
    const { data, errors } = await post<{
      deliveries: { nodes: { id: string }[] };
      events: { nodes: { id: string }[] };
    }>(api.graphql, JSON.stringify({ query }));
    expect(errors).toBeUndefined();
    expect(data?.deliveries.nodes.map(({ id }) => id)).toEqual(expected);
    const publishersIds = expected.map((id) => (id === EVENT ? 'order-1' : id));
    expect(data?.events.nodes.map(({ id }) => id)).toEqual(publishersIds);
  });

  test.each([
    ['deliveries(filter: { eventIds: ["a"] }) { nodes { id } }', 'filter.tenant'],
    ['events(filter: { ids: ["a"] }) { nodes { id } }', 'filter.tenant'],
    ['deliveryLog(filter: { tenant: "named", eventIds: ["a"] }) { nodes { id } }', 'filter.eventIds'],
    ['deliveryLog(filter: { waitingFor: [BACKOFF] }) { nodes { id } }', 'filter.waitingFor'],
    ['deliveries(filter: { attemptNumbers: [2] }) { nodes { id } }', 'filter.attemptNumbers'],
    ['deliveryCounts(filter: { minResponseTimeMs: 2000 }) { success }', 'filter.minResponseTimeMs'],
    ['deliveryLog(filter: { minResponseTimeMs: 999 }) { nodes { id } }', 'filter.minResponseTimeMs'],
  ])('cannot be selected by %s, and the error has the path of the problem', async (field, path) => {
    const { errors } = await post(api.graphql, JSON.stringify({ query: `{ ${field} }` }));
    expect(errors).toMatchObject([{ extensions: { code: 'INVALID_INPUT', problems: [{ path }] } }]);
  });
});

test.each<[name: string, filter: ResolvedFilter, expected: readonly string[]]>([
  ['slow ones', { minResponseTimeMs: 1_000 }, ['timeout', 'unavailable']],
  ['very slow ones', { minResponseTimeMs: 5_000 }, ['timeout']],
  ['first attempts', { attemptNumbers: [1] }, ['success', 'timeout', 'other']],
  ['retries', { attemptNumbers: [2, 3, 9] }, ['notFound', 'unavailable']],
  ['any number', { attemptNumbers: [1, 2, 3] }, ALL],
  ['no number', { attemptNumbers: [] }, []],
  ['slow retries', { minResponseTimeMs: 1_000, attemptNumbers: [2] }, ['unavailable']],
])('of attempts, %s: Postgres and memory agree', async (_name, filter, expected) => {
  const inMemory = [...attempts].filter(([, attempt]) => attemptMatches(filter)(attempt)).map(([name]) => name);
  const rows = await api.database.prisma.attempt.findMany({ where: { AND: [attemptWhere(filter), OF_ROWS] } });
  expect(inMemory.sort()).toEqual([...expected].sort());
  expect(rows.map(({ id }) => ids[id]).sort()).toEqual([...expected].sort());
});
