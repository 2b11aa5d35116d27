import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  CreateWebhookSubscriptionInput,
  UpdateWebhookSubscriptionInput,
} from '../../src/generated/graphql/graphql.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { headersContext } from '../../src/subscriptions/secrets.ts';
import {
  type Api,
  attemptOf,
  expectType,
  post,
  seedDelivery,
  startApi,
  storeAttempt,
  storeAttempts,
} from '../support/graphql-api.ts';
import {
  CREATE,
  DELETE,
  DELIVERY,
  HEALTH,
  ROTATE,
  SEND_TEST_EVENT,
  SUBSCRIPTION,
  SUBSCRIPTIONS,
  UPDATE,
} from '../support/graphql-operations.graphql.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await api.stop();
});

const VALID = { tenant: 'acme', url: 'https://example.com/hook', eventTypes: ['conversation.*', 'NEW_MESSAGE'] };

async function create(input: Partial<CreateWebhookSubscriptionInput> = {}) {
  const { data } = await api.run(CREATE, { input: { ...VALID, ...input } });
  return expectType(data?.createWebhookSubscription, 'CreateWebhookSubscriptionPayload');
}

async function version(id: string): Promise<bigint> {
  return (await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id } })).version;
}

describe('createWebhookSubscription', () => {
  test('returns the subscription with its defaults, and a secret that is stored only sealed', async () => {
    const { subscription, secret } = await create({ headers: [{ name: 'X-Team', value: 'canary-header-value' }] });
    expect(subscription).toMatchObject({
      ...VALID,
      description: '',
      isActive: true,
      timeoutMs: 5000,
      maxInFlight: 10,
      rateLimitPerSecond: null,
      headerNames: ['X-Team'],
    });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({
      where: { id: subscription.id },
      include: { secrets: true },
    });
    const everything = JSON.stringify(row, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    expect(everything).not.toContain('canary');
    expect(everything).not.toContain(secret.slice(6, 20));
    const [stored] = row.secrets;
    expect(api.secretBox.open(stored?.encryptedSecret ?? '', `signing_secrets|${stored?.id}|acme`)).toBe(secret);
    const headers = api.secretBox.open(row.encryptedHeaders ?? '', `webhook_subscriptions|${row.id}|acme|headers`);
    expect(JSON.parse(headers)).toEqual({ 'X-Team': 'canary-header-value' });
  });

  test('is rejected beyond the limit of a tenant, which counts inactive and not deleted ones, even concurrently', async () => {
    const { services } = api;
    const tenant = 'crowded';
    Object.assign(services, { maxSubscriptionsPerTenant: 3 });
    try {
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          api.run(CREATE, { input: { ...VALID, tenant, isActive: index % 2 === 0 } }),
        ),
      );
      const results = answers.map(({ data }) => data?.createWebhookSubscription);
      const created = results.filter((result) => result?.__typename === 'CreateWebhookSubscriptionPayload');
      const refused = results.filter((result) => result?.__typename === 'TooManySubscriptionsError');
      expect(created).toHaveLength(3);
      // On a busy machine, one can also wait too long for its turn.
      const failed = answers.flatMap(({ errors = [] }) => errors);
      expect(failed.filter(({ extensions }) => extensions?.['code'] !== 'SERVICE_UNAVAILABLE')).toEqual([]);
      expect(refused).toHaveLength(9 - failed.length);
      expect(refused[0]).toMatchObject({
        code: 'TOO_MANY_SUBSCRIPTIONS',
        message: 'a tenant may have at most 3 webhook subscriptions, active or not; delete one first',
      });
      await create({ tenant: 'roomy' });
      const { subscription } = expectType(created[0], 'CreateWebhookSubscriptionPayload');
      await api.run(UPDATE, { id: subscription.id, input: { isActive: true } });
      await api.run(DELETE, { id: subscription.id });
      await create({ tenant });
      const { data } = await api.run(CREATE, { input: { ...VALID, tenant } });
      expectType(data?.createWebhookSubscription, 'TooManySubscriptionsError');
    } finally {
      Object.assign(services, { maxSubscriptionsPerTenant: 1_000 });
    }
  });

  test('and updates are rejected beyond the limit of event types and filters of a tenant, even concurrently', async () => {
    const tenant = 'large';
    // About 13 KB of JSON for the GraphQL API, and 400 KB for Postgres, which stores the digits of each number.
    const filter = { $or: Array.from({ length: 6 }, () => ({ a: { $in: Array.from({ length: 222 }, () => 1e300) } })) };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => api.run(CREATE, { input: { ...VALID, tenant, filter } })),
    );
    const results = answers.map(({ data }) => data?.createWebhookSubscription);
    const created = results.flatMap((result) =>
      result?.__typename === 'CreateWebhookSubscriptionPayload' ? [result.subscription] : [],
    );
    expect(created).toHaveLength(5);
    const refused = results.find((result) => result?.__typename === 'SubscriptionsTooLargeError');
    expect(refused).toMatchObject({
      code: 'SUBSCRIPTIONS_TOO_LARGE',
      message: expect.stringMatching(/at most 2097152 bytes of JSON together.* they have 24\d{5}$/) as string,
    });
    await create({ tenant: 'small', filter });

    const { subscription } = await create({ tenant, isActive: false });
    const { id } = subscription;
    const update = async (input: UpdateWebhookSubscriptionInput) =>
      (await api.run(UPDATE, { id, input })).data?.updateWebhookSubscription.__typename;
    expect(await update({ filter, url: 'https://example.com/large' })).toBe('SubscriptionsTooLargeError');
    const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id } });
    expect(row).toMatchObject({ filter: null, url: VALID.url });
    expect(await update({ filter: { a: 1 }, eventTypes: ['a'] })).toBe('UpdateWebhookSubscriptionPayload');
    await api.run(DELETE, { id: created[0]?.id ?? '' });
    expect(await update({ filter })).toBe('UpdateWebhookSubscriptionPayload');
  });

  test('reports all problems of the input together', async () => {
    const { data } = await api.run(CREATE, {
      input: {
        url: 'https://example.com',
        eventTypes: ['ok', 'not ok', 'ok', '*'],
        timeoutMs: 999,
        maxInFlight: 0,
        rateLimitPerSecond: 1_001,
        description: 'a\0b',
      },
    });
    const { code, problems } = expectType(data?.createWebhookSubscription, 'InvalidInputError');
    expect(code).toBe('INVALID_INPUT');
    expect(problems.map(({ path }) => path)).toEqual([
      'tenant',
      'eventTypes.1',
      'eventTypes.2',
      'description',
      'timeoutMs',
      'maxInFlight',
      'rateLimitPerSecond',
    ]);
  });

  test.each([
    ['an empty list of event types', { eventTypes: [] }],
    ['101 event types', { eventTypes: Array.from({ length: 101 }, (_, n) => `type.${n}`) }],
    ['a tenant with a dot', { tenant: 'a.b' }],
    ['a timeout of 30,001 ms', { timeoutMs: 30_001 }],
    ['a maximum of 101 in flight', { maxInFlight: 101 }],
    ['a rate limit of 0 per second', { rateLimitPerSecond: 0 }],
    ['a description of 1,001 characters', { description: 'x'.repeat(1_001) }],
  ])('rejects %s', async (_name, input) => {
    const { data } = await api.run(CREATE, { input: { ...VALID, ...input } });
    expectType(data?.createWebhookSubscription, 'InvalidInputError');
  });

  test('accepts 100 event types, and the ends of each range', async () => {
    const eventTypes = Array.from({ length: 100 }, (_, n) => `type.${n}`);
    for (const limits of [
      { timeoutMs: 30_000, maxInFlight: 100, rateLimitPerSecond: 1_000 },
      { timeoutMs: 1_000, maxInFlight: 1, rateLimitPerSecond: 1 },
    ]) {
      expect((await create({ eventTypes, ...limits })).subscription).toMatchObject({ eventTypes, ...limits });
    }
  });

  test('rejects private targets and reserved headers, each with its own error, and stores nothing', async () => {
    const before = await api.database.prisma.webhookSubscription.count();
    const target = await api.run(CREATE, { input: { ...VALID, url: 'http://169.254.169.254/' } });
    expect(expectType(target.data?.createWebhookSubscription, 'TargetRejectedError').code).toBe('TARGET_REJECTED');
    const headers = await api.run(CREATE, { input: { ...VALID, headers: [{ name: 'Webhook-Id', value: 'x' }] } });
    expect(expectType(headers.data?.createWebhookSubscription, 'InvalidHeadersError').code).toBe('INVALID_HEADERS');
    expect(await api.database.prisma.webhookSubscription.count()).toBe(before);
  });
});

describe('problems of a form', () => {
  const BAD = {
    url: 'http://169.254.169.254/',
    eventTypes: ['fine', 'not fine'],
    headers: [
      { name: 'X-Fine', value: 'v' },
      { name: 'Host', value: ' ' },
    ],
    filter: { n: { $gt: true } },
    timeoutMs: 1,
    rateLimitPerSecond: 0,
  };
  const PATHS = [
    ...['eventTypes.1', 'filter.n.$gt', 'headers.1.name', 'headers.1.value', 'rateLimitPerSecond', 'timeoutMs', 'url'],
  ];
  const pathsOf = ({ problems }: { readonly problems: readonly { readonly path: string }[] }) =>
    problems.map(({ path }) => path).sort();

  test('are reported together when a subscription is created, each with its path and kind', async () => {
    const { data } = await api.run(CREATE, { input: { ...BAD, tenant: 'no tenant' } });
    const error = expectType(data?.createWebhookSubscription, 'InvalidInputError');
    expect(pathsOf(error)).toEqual([...PATHS, 'tenant'].sort());
    const codes = Object.fromEntries(error.problems.map(({ path, code }) => [path, code]));
    expect(codes).toMatchObject({
      url: 'TARGET_REJECTED',
      'headers.1.name': 'INVALID_HEADERS',
      tenant: 'INVALID_INPUT',
    });
  });

  test('are reported when it is changed, and nothing is changed', async () => {
    const { subscription } = await create();
    const { data } = await api.run(UPDATE, { id: subscription.id, input: { ...BAD, description: 'changed' } });
    expect(pathsOf(expectType(data?.updateWebhookSubscription, 'InvalidInputError'))).toEqual(PATHS);
    const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id: subscription.id } });
    expect(row.description).toBe(subscription.description);
  });

  test('of one kind have the error of that kind, with the same shape', async () => {
    const target = (await api.run(CREATE, { input: { ...VALID, url: BAD.url } })).data?.createWebhookSubscription;
    expect(expectType(target, 'TargetRejectedError').problems).toMatchObject([{ path: 'url' }]);
    const headers = (await api.run(CREATE, { input: { ...VALID, headers: BAD.headers } })).data;
    expect(pathsOf(expectType(headers?.createWebhookSubscription, 'InvalidHeadersError'))).toEqual([
      ...['headers.1.name', 'headers.1.value'],
    ]);
  });

  test('are reported up to a limit', async () => {
    const names = Array.from({ length: 8 }, () => 'n'.repeat(250));
    const bad = Object.fromEntries(Array.from({ length: 90 }, (_, index) => [`m${index}`, { $gt: true }]));
    const filter = names.reduce<object>((inner, name) => ({ [name]: inner }), bad);
    const { data } = await api.run(CREATE, { input: { ...VALID, filter } });
    expect(expectType(data?.createWebhookSubscription, 'InvalidInputError').problems.length).toBeGreaterThan(1);
    expect(JSON.stringify(data).length).toBeLessThan(32 * 1024);
  });

  test.each([
    [
      'startReplay',
      `mutation { startReplay(input: { filter: { eventTypes: ["?"] }, ratePerSecond: 0 }) {
        ... on InputError { problems { path } } } }`,
      ['filter.eventTypes.0', 'filter.tenant', 'ratePerSecond'],
    ],
    [
      'publishEvent',
      'mutation { publishEvent(input: { type: "?", id: "", data: 1 }) { ... on InputError { problems { path } } } }',
      ['id', 'tenant', 'type'],
    ],
    [
      'putEventType',
      'mutation { putEventType(input: { name: "?", schema: 1 }) { ... on InputError { problems { path } } } }',
      ['name', 'schema'],
    ],
    [
      'createApiKey',
      'mutation { createApiKey(input: { name: "", scope: TENANT_READ }) { ... on InputError { problems { path } } } }',
      ['name', 'tenant'],
    ],
  ])('are reported together by %s', async (name, query, paths) => {
    const { data } = await post<Record<string, { problems: { path: string }[] }>>(
      api.graphql,
      JSON.stringify({ query }),
    );
    expect(pathsOf(data?.[name] ?? { problems: [] })).toEqual(paths);
  });

  test.each([
    [
      '{ deliveries(first: 251, after: "?", filter: { tenant: "?" }) { nodes { id } } }',
      ['after', 'filter.tenant', 'first'],
    ],
    [
      `{ deliveryStats(from: "2026-02-01T00:00:00Z", to: "2026-01-01T00:00:00Z", bucket: HOUR, filter: { eventTypes: ["?"] }) {
        total { attemptCount } } }`,
      ['filter.eventTypes.0', 'to'],
    ],
    ['{ testFilter(filter: { x: {}, y: {} }, data: 1) { matches } }', ['filter.x', 'filter.y']],
  ])('are reported together by the query %s', async (query, paths) => {
    const { errors } = await post(api.graphql, JSON.stringify({ query }));
    const problems = errors?.[0]?.extensions?.['problems'] as { path: string; code: string }[];
    expect(pathsOf({ problems })).toEqual(paths);
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(['INVALID_INPUT']));
  });
});

describe('a custom header without a value', () => {
  const sealed = async (id: string) => {
    const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id } });
    const text = api.secretBox.open(row.encryptedHeaders ?? '', headersContext(id, row.tenant));
    return JSON.parse(text) as Record<string, string>;
  };

  test('keeps the stored value, so that another one can be changed alone', async () => {
    const { id } = (
      await create({
        headers: [
          { name: 'X-A', value: 'a' },
          { name: 'X-B', value: 'b' },
        ],
      })
    ).subscription;
    const headers = [{ name: 'x-a' }, { name: 'X-B', value: 'changed' }, { name: 'X-C', value: 'new' }];
    const { data } = await api.run(UPDATE, { id, input: { headers } });
    expectType(data?.updateWebhookSubscription, 'UpdateWebhookSubscriptionPayload');
    expect(await sealed(id)).toEqual({ 'x-a': 'a', 'X-B': 'changed', 'X-C': 'new' });
  });

  test('is rejected if none is stored, and nothing is changed', async () => {
    const { id } = (await create({ headers: [{ name: 'X-A', value: 'a' }] })).subscription;
    const { data } = await api.run(UPDATE, { id, input: { headers: [{ name: 'X-A' }, { name: 'X-B' }] } });
    expect(expectType(data?.updateWebhookSubscription, 'InvalidHeadersError').problems).toEqual([
      { path: 'headers.1.value', message: '"X-B" has no value', code: 'INVALID_HEADERS' },
    ]);
    expect(await sealed(id)).toEqual({ 'X-A': 'a' });
    const created = await api.run(CREATE, { input: { ...VALID, headers: [{ name: 'X-A' }] } });
    expect(expectType(created.data?.createWebhookSubscription, 'InvalidHeadersError').problems).toMatchObject([
      { path: 'headers.0.value' },
    ]);
  });
});

describe('updateWebhookSubscription', () => {
  test('changes the given settings, keeps the others, and invalidates the caches', async () => {
    const { subscription } = await create({ headers: [{ name: 'X-A', value: '1' }], description: 'kept' });
    const before = await version(subscription.id);
    const { data } = await api.run(UPDATE, {
      id: subscription.id,
      input: { eventTypes: ['*'], timeoutMs: 1_000, url: null },
    });
    const updated = expectType(data?.updateWebhookSubscription, 'UpdateWebhookSubscriptionPayload').subscription;
    expect(updated).toMatchObject({
      url: VALID.url,
      eventTypes: ['*'],
      timeoutMs: 1_000,
      description: 'kept',
      headerNames: ['X-A'],
    });
    expect(await version(subscription.id)).toBeGreaterThan(before);
  });

  test('null removes the rate limit, and keeps any other setting', async () => {
    const { id } = (await create({ maxInFlight: 20, rateLimitPerSecond: 50 })).subscription;
    const change = async (input: UpdateWebhookSubscriptionInput) => {
      const { data } = await api.run(UPDATE, { id, input });
      return expectType(data?.updateWebhookSubscription, 'UpdateWebhookSubscriptionPayload').subscription;
    };
    expect(await change({ timeoutMs: 2_000 })).toMatchObject({ maxInFlight: 20, rateLimitPerSecond: 50 });
    expect(await change({ rateLimitPerSecond: 7 })).toMatchObject({ maxInFlight: 20, rateLimitPerSecond: 7 });
    const unlimited = { timeoutMs: null, maxInFlight: null, rateLimitPerSecond: null };
    const kept = { timeoutMs: 2_000, maxInFlight: 20, rateLimitPerSecond: null };
    expect(await change(unlimited)).toMatchObject(kept);
    const { data } = await api.run(UPDATE, { id, input: { rateLimitPerSecond: 0 } });
    expectType(data?.updateWebhookSubscription, 'InvalidInputError');
  });

  test('an empty list of headers removes them', async () => {
    const { subscription } = await create({ headers: [{ name: 'X-A', value: '1' }] });
    await api.run(UPDATE, { id: subscription.id, input: { headers: [] } });
    const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id: subscription.id } });
    expect(row).toMatchObject({ headerNames: [], encryptedHeaders: null });
  });

  test('deactivating cancels only the pending deliveries of this subscription', async () => {
    const [one, other] = [await create(), await create()];
    const pending = await seedDelivery(api.database, { subscriptionId: one.subscription.id, tenant: 'acme' });
    const ended = await seedDelivery(api.database, { subscriptionId: one.subscription.id, tenant: 'acme' });
    await api.database.prisma.delivery.update({ where: { id: ended.id }, data: { status: 'SUCCESS' } });
    const foreign = await seedDelivery(api.database, { subscriptionId: other.subscription.id, tenant: 'acme' });
    await api.run(UPDATE, { id: one.subscription.id, input: { isActive: false } });
    const row = await api.database.prisma.delivery.findUniqueOrThrow({ where: { id: pending.id } });
    expect(row).toMatchObject({ status: 'CANCELLED', nextAttemptAt: null, waitingFor: null, enqueuedAt: null });
    expect(row.completedAt).toBeInstanceOf(Date);
    expect((await api.run(DELIVERY, { id: ended.id })).data?.delivery?.status).toBe('SUCCESS');
    expect((await api.run(DELIVERY, { id: foreign.id })).data?.delivery?.status).toBe('PENDING');
  });
});

test('a subscription shows its circuit, and its deliveries their wait reason', async () => {
  const tenant = 'waiter';
  const [open, limited, well] = [
    (await create({ tenant })).subscription.id,
    (await create({ tenant, rateLimitPerSecond: 1 })).subscription.id,
    (await create({ tenant })).subscription.id,
  ];
  const { prisma } = api.database;
  const at = (seconds: number) => new Date(Date.now() + seconds * 1_000);
  const [openedAt, probeAt, later] = [at(-60), at(30), at(3_600)];
  await prisma.subscriptionState.update({
    where: { subscriptionId: open },
    data: { openedAt, probeAt, failingSince: openedAt },
  });
  const deliveries = [];
  for (const subscriptionId of [open, open, limited, well]) {
    const { id } = await seedDelivery(api.database, { subscriptionId, tenant });
    deliveries.push(id);
    await prisma.delivery.update({ where: { id }, data: { enqueuedAt: null, waitingFor: 'BACKOFF' } });
  }
  await prisma.delivery.update({ where: { id: deliveries[0] ?? '' }, data: { nextAttemptAt: later } });
  const { data } = await api.run(HEALTH, { filter: { tenant } });
  const shown = new Map(data?.webhookSubscriptions.edges.map(({ node }) => [node.id, node]));
  expect(shown.get(open)).toMatchObject({
    isActive: true,
    deactivationReason: null,
    failingSince: openedAt.toISOString(),
    circuit: { state: 'OPEN', openedAt: openedAt.toISOString(), nextProbeAt: probeAt.toISOString() },
  });
  expect(shown.get(well)).toMatchObject({
    failingSince: null,
    circuit: { state: 'CLOSED', openedAt: null, nextProbeAt: null },
  });
  const waits = (id: string) => shown.get(id)?.deliveries.edges.map(({ node }) => node);
  expect(waits(open)).toMatchObject([
    { waitingFor: 'CIRCUIT_OPEN', nextAttemptAt: probeAt.toISOString(), subscription: { url: VALID.url } },
    { waitingFor: 'BACKOFF', nextAttemptAt: later.toISOString() },
  ]);
  expect(waits(limited)).toMatchObject([{ waitingFor: 'RATE_LIMITED' }]);
  expect(waits(well)).toMatchObject([{ waitingFor: 'IN_FLIGHT_LIMIT' }]);
});

describe('the health of a subscription', () => {
  const tenant = 'healthy';
  const HOUR_MS = 3_600_000;
  const nowMs = Math.floor(Date.now() / 1_000) * 1_000;
  const ago = (hours: number) => new Date(nowMs - hours * HOUR_MS);

  test('has its pending deliveries, its last attempts and its deactivation', async () => {
    const [failing, idle] = [(await create({ tenant })).subscription.id, (await create({ tenant })).subscription.id];
    const { prisma } = api.database;
    const [pending, ended] = [
      await seedDelivery(api.database, { subscriptionId: failing, tenant, timeMs: ago(3).getTime() }),
      await seedDelivery(api.database, { subscriptionId: failing, tenant, timeMs: ago(4).getTime() }),
    ];
    await prisma.delivery.update({ where: { id: ended.id }, data: { status: 'SUCCESS', nextAttemptAt: null } });
    await seedDelivery(api.database, { subscriptionId: failing, tenant, timeMs: ago(2).getTime() });
    await storeAttempt(api.database, attemptOf(ended, { startedAt: ago(4) }));
    await storeAttempt(api.database, attemptOf(pending, { startedAt: ago(3), status: 'FAILURE' }));
    await storeAttempt(api.database, attemptOf(pending, { startedAt: ago(1), status: 'FAILURE' }));
    const state = { failingSince: ago(3), openedAt: ago(2), noticeCount: 1, noticedAt: ago(2) };
    await prisma.subscriptionState.update({ where: { subscriptionId: failing }, data: state });
    expect(await healthOf(tenant)).toEqual({
      [failing]: {
        pendingCount: 2,
        isExact: true,
        oldestPendingAt: pending.createdAt.toISOString(),
        lastAttemptAt: ago(1).toISOString(),
        lastSuccessAt: ago(4).toISOString(),
        willDeactivateAt: new Date(ago(3).getTime() + 5 * 24 * HOUR_MS).toISOString(),
      },
      [idle]: {
        pendingCount: 0,
        isExact: true,
        oldestPendingAt: null,
        lastAttemptAt: null,
        lastSuccessAt: null,
        willDeactivateAt: null,
      },
    });
  });

  test('counts up to a thousand pending deliveries, and reports that there are more', async () => {
    const busy = (await create({ tenant: 'busy' })).subscription.id;
    await api.database.pool.query(
      `INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, next_attempt_at, enqueued_at)
       SELECT gen_random_uuid(), 'busy', $1, gen_random_uuid(), 'a', now(), CASE WHEN n % 2 = 0 THEN now() END
       FROM generate_series(1, 1001) AS n`,
      [busy],
    );
    expect(await healthOf('busy')).toMatchObject({ [busy]: { pendingCount: 1_000, isExact: false } });
    const counts = '{ deliveryCounts(filter: { tenant: "busy" }) { pending success isExact } }';
    const { data } = await post(api.graphql, JSON.stringify({ query: counts }));
    expect(data).toEqual({ deliveryCounts: { pending: 1_000, success: 0, isExact: false } });
  });

  async function healthOf(name: string) {
    const query = `query ($tenant: String) { webhookSubscriptions(filter: { tenant: $tenant }) { nodes { id health {
      pendingCount isExact oldestPendingAt lastAttemptAt lastSuccessAt willDeactivateAt } } } }`;
    type Page = { webhookSubscriptions: { nodes: { id: string; health: object }[] } };
    const { data } = await post<Page>(api.graphql, JSON.stringify({ query, variables: { tenant: name } }));
    return Object.fromEntries((data?.webhookSubscriptions.nodes ?? []).map(({ id, health }) => [id, health]));
  }
});

test('a secret shows how many of the newest thousand attempts it signed, and how many of them succeeded', async () => {
  const tenant = 'signing';
  const { subscription } = await create({ tenant });
  const { id: subscriptionId } = subscription;
  const old = subscription.secrets[0]?.id ?? '';
  const other = uuid7(Date.now());
  await api.database.prisma.signingSecret.create({ data: { id: other, subscriptionId, encryptedSecret: 'sealed' } });
  const delivery = { id: uuid7(Date.now()), subscriptionId, tenant, eventType: 'a' };
  const firstMs = Date.now();
  const at = (index: number) => new Date(firstMs + index);
  const store = (from: number, to: number, values: (index: number) => Parameters<typeof attemptOf>[1]) =>
    storeAttempts(
      api.database,
      Array.from({ length: to - from }, (_, index) =>
        attemptOf(delivery, { startedAt: at(from + index), ...values(from + index) }),
      ),
    );
  const usage = async () => {
    const query = `{ webhookSubscription(id: "${subscriptionId}") { secrets { id usage {
      attemptCount successCount isExact lastAttemptAt } } } }`;
    type Data = { webhookSubscription: { secrets: { id: string; usage: object }[] } };
    const { data } = await post<Data>(api.graphql, JSON.stringify({ query }));
    return Object.fromEntries(data?.webhookSubscription.secrets.map((secret) => [secret.id, secret.usage]) ?? []);
  };
  const none = { attemptCount: 0, successCount: 0, isExact: true, lastAttemptAt: null };
  expect(await usage()).toEqual({ [old]: none, [other]: none });
  // One secret signed before the rotation, and both after it.
  await store(0, 990, (index) => ({ signingSecretIds: [old], status: index < 5 ? 'FAILURE' : 'SUCCESS' }));
  await store(990, 1_000, (index) => ({ signingSecretIds: [other, old], status: index % 2 ? 'FAILURE' : 'SUCCESS' }));
  const last = { lastAttemptAt: at(999).toISOString(), isExact: true };
  expect(await usage()).toEqual({
    [old]: { attemptCount: 1_000, successCount: 990, ...last },
    [other]: { attemptCount: 10, successCount: 5, ...last },
  });
  await store(1_000, 1_002, () => ({ signingSecretIds: [other] }));
  expect(await usage()).toEqual({
    [old]: { attemptCount: 998, successCount: 990, ...last, isExact: false },
    [other]: { attemptCount: 12, successCount: 7, isExact: true, lastAttemptAt: at(1_001).toISOString() },
  });
});

test('deliveries are counted by status', async () => {
  const tenant = 'counted';
  const subscriptionId = (await create({ tenant })).subscription.id;
  for (const status of ['PENDING', 'SUCCESS', 'SUCCESS', 'FAILURE', 'CANCELLED'] as const) {
    const delivery = await seedDelivery(api.database, { subscriptionId, tenant });
    await api.database.prisma.delivery.update({ where: { id: delivery.id }, data: { status } });
    if (status !== 'SUCCESS') continue;
    await storeAttempt(api.database, attemptOf(delivery, { statusCode: 201 }));
  }
  const countsFor = async (filter: string) => {
    const query = `{ deliveryCounts(filter: { tenant: "${tenant}" ${filter} }) { pending success failure cancelled isExact } }`;
    return (await post<{ deliveryCounts: object }>(api.graphql, JSON.stringify({ query }))).data?.deliveryCounts;
  };
  const none = { pending: 0, success: 0, failure: 0, cancelled: 0, isExact: true };
  expect(await countsFor('')).toEqual({ pending: 1, success: 2, failure: 1, cancelled: 1, isExact: true });
  expect(await countsFor('statuses: [FAILURE, CANCELLED]')).toEqual({ ...none, failure: 1, cancelled: 1 });
  expect(await countsFor('statusCodes: [{ from: 201, to: 201 }]')).toEqual({ ...none, success: 2 });
});

test('subscriptions are found by text, circuit, failures, deactivation and event type', async () => {
  const tenant = 'filtered';
  const { prisma } = api.database;
  const open = (await create({ tenant, url: 'https://example.com/100%_a', eventTypes: ['order.*'] })).subscription.id;
  const failing = (await create({ tenant, description: 'The Shop', eventTypes: ['order.paid'] })).subscription.id;
  const well = (await create({ tenant, url: 'https://example.com/100x', eventTypes: ['*'] })).subscription.id;
  await prisma.subscriptionState.update({
    where: { subscriptionId: open },
    data: { openedAt: new Date(), failingSince: new Date() },
  });
  await prisma.subscriptionState.update({ where: { subscriptionId: failing }, data: { failingSince: new Date() } });
  const found = async (filter: string) => {
    const query = `{ webhookSubscriptions(filter: { tenant: "${tenant}", ${filter} }) { nodes { id } } }`;
    type Page = { webhookSubscriptions: { nodes: { id: string }[] } };
    const { data } = await post<Page>(api.graphql, JSON.stringify({ query }));
    return data?.webhookSubscriptions.nodes.map(({ id }) => id);
  };
  expect(await found('search: "100%_"')).toEqual([open]);
  expect(await found('search: "the shop"')).toEqual([failing]);
  expect(await found('search: "EXAMPLE"')).toEqual([well, failing, open]);
  expect(await found('circuitStates: [OPEN]')).toEqual([open]);
  expect(await found('circuitStates: [CLOSED]')).toEqual([well, failing]);
  expect(await found('circuitStates: [OPEN, CLOSED]')).toHaveLength(3);
  expect(await found('circuitStates: []')).toEqual([]);
  expect(await found('failing: true')).toEqual([failing, open]);
  expect(await found('failing: false')).toEqual([well]);
  expect(await found('eventType: "order.paid"')).toEqual([well, failing, open]);
  expect(await found('eventType: "order.sent"')).toEqual([well, open]);
  expect(await found('eventType: "webhook_subscription.failing"')).toEqual([]);
  await prisma.webhookSubscription.update({
    where: { id: failing },
    data: { isActive: false, deactivationReason: 'GONE' },
  });
  await prisma.webhookSubscription.update({ where: { id: well }, data: { isActive: false } });
  expect(await found('isActive: false')).toEqual([well, failing]);
  expect(await found('deactivationReasons: [GONE, FAILING]')).toEqual([failing]);
  expect(await found('deactivationReasons: [FAILING]')).toEqual([]);
  const bad = '{ webhookSubscriptions(filter: { search: "\u0000", eventType: "a b" }) { nodes { id } } }';
  const { errors } = await post(api.graphql, JSON.stringify({ query: bad }));
  const problems = [{ path: 'filter.search' }, { path: 'filter.eventType' }];
  expect(errors?.[0]?.extensions).toMatchObject({ code: 'INVALID_INPUT', problems });
});

async function askFor<T>(query: string): Promise<T> {
  const { data, errors } = await post<T>(api.graphql, JSON.stringify({ query }));
  if (data == null || errors !== undefined) throw new Error(JSON.stringify(errors));
  return data;
}

test('an update is rejected if the subscription was changed after it was read', async () => {
  const { id, updatedAt } = await api.database.prisma.webhookSubscription.findUniqueOrThrow({
    where: { id: (await create()).subscription.id },
  });
  const update = (since: Date, timeoutMs: number) =>
    askFor<{ updateWebhookSubscription: object }>(`mutation { updateWebhookSubscription(id: "${id}",
      input: { timeoutMs: ${timeoutMs} }, ifUnchangedSince: "${since.toISOString()}") {
        ... on UpdateWebhookSubscriptionPayload { subscription { timeoutMs } } ... on Error { code } } }`);
  expect(await update(new Date(updatedAt.getTime() - 1), 2_000)).toEqual({
    updateWebhookSubscription: { code: 'SUBSCRIPTION_CHANGED' },
  });
  expect(await update(updatedAt, 3_000)).toEqual({ updateWebhookSubscription: { subscription: { timeoutMs: 3_000 } } });
});

test('each change has a later time than the one before, even if its transaction began earlier', async () => {
  const { id } = (await create()).subscription;
  const read = async (db: Pick<typeof api.database.prisma, 'webhookSubscription'>) =>
    (await db.webhookSubscription.findUniqueOrThrow({ where: { id } })).updatedAt.getTime();
  const change = { where: { id }, data: { description: 'changed' } };
  await api.database.prisma.$transaction(async (earlier) => {
    await earlier.$queryRaw`SELECT now()`;
    await api.database.prisma.webhookSubscription.update(change);
    const readByOthers = await read(api.database.prisma);
    await earlier.webhookSubscription.update(change);
    const [first, second] = [await read(earlier), await earlier.webhookSubscription.update(change)];
    expect(first).toBeGreaterThan(readByOthers);
    expect(second.updatedAt.getTime()).toBeGreaterThan(first);
  });
});

test('the overlap of an old secret ends early, and the current secret stays', async () => {
  const { id } = (await create()).subscription;
  await api.run(ROTATE, { id });
  const read = async () => api.database.prisma.signingSecret.findMany({ where: { subscriptionId: id } });
  const [old, current] = (await read()).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const before = await version(id);
  const expire = (secretId = '') =>
    askFor<{ expireSigningSecret: object }>(`mutation { expireSigningSecret(id: "${id}", secretId: "${secretId}") {
      ... on ExpireSigningSecretPayload { subscription { secrets { id } } } ... on Error { code } } }`);
  expect(await expire(old?.id)).toEqual({ expireSigningSecret: { subscription: { secrets: [{ id: current?.id }] } } });
  expect(await version(id)).toBeGreaterThan(before);
  expect(await expire(current?.id)).toEqual({ expireSigningSecret: { code: 'INVALID_INPUT' } });
  expect(await expire('none')).toEqual({ expireSigningSecret: { code: 'NOT_FOUND' } });
  expect((await read()).filter(({ expiresAt }) => expiresAt === null)).toHaveLength(1);
});

test('a closed circuit cannot be probed', async () => {
  const { id } = (await create()).subscription;
  const probe = await askFor(`mutation { probeNow(id: "${id}") { ... on Error { code } } }`);
  expect(probe).toEqual({ probeNow: { code: 'CIRCUIT_CLOSED' } });
});

test('a filter is tested on the data of an event, and on the latest events', async () => {
  const tenant = 'tried';
  const subscriptionId = (await create({ tenant })).subscription.id;
  const older = await seedDelivery(api.database, { subscriptionId, tenant });
  const { eventId: eventRowId } = await seedDelivery(api.database, { subscriptionId, tenant });
  const event = { id: eventRowId };
  for (const id of [older.eventId, eventRowId]) {
    await api.database.prisma.event.update({ where: { id }, data: { eventId: id } });
  }
  const failed = { matches: false, failedPaths: ['filter.n'] };
  expect(await askFor(`{ testFilter(filter: { n: 2 }, eventId: "${event.id}") { matches failedPaths } }`)).toEqual({
    testFilter: failed,
  });
  const onEvents = (filter: string) =>
    askFor(`{ testFilterOnEvents(filter: ${filter}, tenant: "${tenant}") { event { type } matches failedPaths } }`);
  const type = { event: { type: 'conversation.created' } };
  expect(await onEvents('{ n: 2 }')).toEqual({ testFilterOnEvents: [1, 2].map(() => ({ ...type, ...failed })) });
  expect(await onEvents('{ n: 1 }')).toEqual({
    testFilterOnEvents: [1, 2].map(() => ({ ...type, matches: true, failedPaths: [] })),
  });
  const olderThan = (id: string) =>
    askFor(`{ testFilterOnEvents(filter: { n: 1 }, tenant: "${tenant}", olderThan: "${id}") { event { id } } }`);
  expect(await olderThan(event.id)).toEqual({ testFilterOnEvents: [{ event: { id: older.eventId } }] });
  expect(await olderThan(older.eventId)).toEqual({ testFilterOnEvents: [] });
  for (const [args, path] of [
    ['filter: { n: 1 }, tenant: "tried", last: 201', 'last'],
    ['filter: { n: 1 }', 'tenant'],
    ['filter: {}, tenant: "tried"', 'filter'],
  ]) {
    const query = `{ testFilterOnEvents(${args}) { matches } }`;
    const { errors } = await post(api.graphql, JSON.stringify({ query }));
    expect(errors?.[0]?.extensions).toMatchObject({ problems: [{ path }] });
  }
});

test('every object is found by its id or name, and tenants show their statistics', async () => {
  const tenant = 'searched_1';
  const { id } = (await create({ tenant })).subscription;
  const failing = (await create({ tenant })).subscription.id;
  await api.database.prisma.subscriptionState.update({
    where: { subscriptionId: failing },
    data: { failingSince: new Date(), openedAt: new Date() },
  });
  const delivery = await seedDelivery(api.database, { subscriptionId: id, tenant });
  const attempt = await storeAttempt(api.database, attemptOf(delivery));
  const { createApiKey, createPortalSession } = await askFor<{
    createApiKey: { key: string; apiKey: { id: string } };
    createPortalSession: { session: { id: string } };
  }>(`mutation {
    createApiKey(input: { tenant: "${tenant}", name: "x", scope: TENANT_WRITE }) {
      ... on CreateApiKeyPayload { key apiKey { id } } }
    createPortalSession(input: { tenant: "${tenant}" }) { ... on CreatePortalSessionPayload { session { id } } } }`);
  const { apiKey, key } = createApiKey;
  const { session } = createPortalSession;
  const { prisma } = api.database;
  const secret = await prisma.signingSecret.findFirstOrThrow({ where: { subscriptionId: id } });
  const auditEntry = await prisma.auditEntry.findFirstOrThrow({ where: { objectId: apiKey.id } });
  const [erasure, redaction] = await Promise.all(
    [null, uuid7(Date.now())].map((eventRowId) =>
      prisma.erasure.create({ data: { id: uuid7(Date.now()), tenant, eventRowId, status: 'COMPLETED' } }),
    ),
  );
  const nothing = {
    ...{ webhookSubscription: null, webhookSubscriptionOfSecret: null, delivery: null, attempt: null, event: null },
    ...{ auditEntry: null, session: null, apiKey: null, erasure: null, tenant: null },
  };
  const fields = Object.keys(nothing).map((name) => (name === 'tenant' ? 'tenant { name }' : `${name} { id }`));
  const search = (text: string) => askFor(`{ search(text: "${text}") { ${fields.join(' ')} } }`);
  expect(await search(` ${id} `)).toEqual({ search: { ...nothing, webhookSubscription: { id } } });
  expect(await search(delivery.id)).toEqual({ search: { ...nothing, delivery: { id: delivery.id } } });
  expect(await search(attempt.id)).toEqual({ search: { ...nothing, attempt: { id: attempt.id } } });
  expect(await search(tenant)).toEqual({ search: { ...nothing, tenant: { name: tenant } } });
  expect(await search(secret.id)).toEqual({ search: { ...nothing, webhookSubscriptionOfSecret: { id } } });
  for (const [name, object] of Object.entries({ auditEntry, session, apiKey, erasure })) {
    expect(await search(object?.id ?? '')).toEqual({ search: { ...nothing, [name]: { id: object?.id } } });
  }
  expect(await search(redaction?.id ?? '')).toEqual({ search: nothing });
  expect(await search('\\u0000')).toEqual({ search: nothing });
  const query = `{ key: search(text: "${apiKey.id}") { apiKey { id } session { id } }
    erasure: search(text: "${erasure?.id ?? ''}") { erasure { id } }
    entry: search(text: "${auditEntry.id}") { auditEntry { id } } session: search(text: "${session.id}") { session { id } } }`;
  const ofTenant = { authorization: `Bearer ${key}` };
  expect((await post(api.graphql, JSON.stringify({ query }), ofTenant)).data).toEqual({
    key: { apiKey: null, session: null },
    erasure: { erasure: null },
    entry: { auditEntry: { id: auditEntry.id } },
    session: { session: { id: session.id } },
  });
  const figures = 'figures { subscriptionCount failingCount openCircuitCount pendingCount isExact lastEventAt }';
  const found = await askFor(`{ tenants(filter: { search: "SEARCHED_" }) { nodes { name ${figures} } } }`);
  const expected = {
    subscriptionCount: 2,
    failingCount: 1,
    openCircuitCount: 1,
    pendingCount: 1,
    isExact: true,
    lastEventAt: expect.any(String) as unknown,
  };
  expect(found).toEqual({ tenants: { nodes: [{ name: tenant, figures: expected }] } });
  expect(await askFor('{ tenants(filter: { search: "searchedx" }) { nodes { name } } }')).toEqual({
    tenants: { nodes: [] },
  });
});

test('a deleted subscription is not found by queries, but its deliveries still show it', async () => {
  const { subscription } = await create({ tenant: 'deleter', filter: { plan: 'gold' } });
  const { id } = await seedDelivery(api.database, { subscriptionId: subscription.id, tenant: 'deleter' });
  const { data } = await api.run(DELETE, { id: subscription.id });
  expect(expectType(data?.deleteWebhookSubscription, 'DeleteWebhookSubscriptionPayload').id).toBe(subscription.id);
  expect((await api.run(SUBSCRIPTION, { id: subscription.id })).data).toEqual({ webhookSubscription: null });
  expect((await api.run(SUBSCRIPTIONS, { filter: { tenant: 'deleter' } })).data?.webhookSubscriptions.edges).toEqual(
    [],
  );
  expect((await api.run(DELIVERY, { id })).data?.delivery).toMatchObject({
    status: 'CANCELLED',
    subscription: { id: subscription.id, isActive: false },
  });
  // They may be large, and nothing needs them.
  const row = await api.database.prisma.webhookSubscription.findUniqueOrThrow({ where: { id: subscription.id } });
  expect(row).toMatchObject({ eventTypes: [], filter: null, url: subscription.url });
});

test.each([
  ['a random id', uuid7(0)],
  ['an invalid id', 'no-uuid'],
  ['an id that is NUL', '\0'],
])('%s is not found, by any operation', async (_name, id) => {
  const found = [
    (await api.run(UPDATE, { id, input: { timeoutMs: 2_000 } })).data?.updateWebhookSubscription,
    (await api.run(DELETE, { id })).data?.deleteWebhookSubscription,
    (await api.run(ROTATE, { id })).data?.rotateWebhookSecret,
    (await api.run(SEND_TEST_EVENT, { subscriptionId: id })).data?.sendTestEvent,
  ];
  expect(found.map((result) => result?.__typename)).toEqual(Array(4).fill('NotFoundError'));
  expect((await api.run(SUBSCRIPTION, { id })).data).toEqual({ webhookSubscription: null });
  expect((await api.run(DELIVERY, { id })).data).toEqual({ delivery: null });
});

describe('rotateWebhookSecret', () => {
  test('the previous secret expires after the overlap, and an older one no later than before', async () => {
    const { subscription, secret } = await create();
    const { id } = subscription;
    const before = await version(id);
    const short = expectType(
      (await api.run(ROTATE, { id, overlapSeconds: 60 })).data?.rotateWebhookSecret,
      'RotateWebhookSecretPayload',
    );
    const asked = Date.now();
    const long = expectType((await api.run(ROTATE, { id })).data?.rotateWebhookSecret, 'RotateWebhookSecretPayload');
    expect(new Set([secret, short.secret, long.secret]).size).toBe(3);
    const overlapMs = Date.parse(long.previousSecretExpiresAt) - asked;
    expect(overlapMs).toBeGreaterThanOrEqual(86_400_000);
    expect(overlapMs).toBeLessThan(86_400_000 + 10_000);
    expect(long.subscription.secrets.map(({ expiresAt }) => expiresAt)).toEqual([
      null,
      long.previousSecretExpiresAt,
      short.previousSecretExpiresAt,
    ]);
    expect(await version(id)).toBeGreaterThan(before + 1n);
  });

  test('without an overlap, only the new secret is left', async () => {
    const { subscription } = await create();
    const { data } = await api.run(ROTATE, { id: subscription.id, overlapSeconds: 0 });
    const { secrets } = expectType(data?.rotateWebhookSecret, 'RotateWebhookSecretPayload').subscription;
    expect(secrets).toMatchObject([{ expiresAt: null }]);
  });

  test('rejects an eleventh old secret until one has expired', async () => {
    const { subscription } = await create();
    const { id } = subscription;
    for (let n = 0; n < 10; n += 1) {
      expectType((await api.run(ROTATE, { id })).data?.rotateWebhookSecret, 'RotateWebhookSecretPayload');
    }
    const { code } = expectType((await api.run(ROTATE, { id })).data?.rotateWebhookSecret, 'TooManySecretsError');
    expect(code).toBe('TOO_MANY_SECRETS');
    const current = { subscriptionId: id, expiresAt: null };
    expect(await api.database.prisma.signingSecret.count({ where: current })).toBe(1);
    const oldest = await api.database.prisma.signingSecret.findFirstOrThrow({
      where: { subscriptionId: id },
      orderBy: { id: 'asc' },
    });
    await api.database.prisma.signingSecret.update({ where: { id: oldest.id }, data: { expiresAt: new Date(0) } });
    expectType((await api.run(ROTATE, { id })).data?.rotateWebhookSecret, 'RotateWebhookSecretPayload');
  });

  test('concurrent rotations leave one current secret', async () => {
    const { id } = (await create()).subscription;
    await Promise.all(Array.from({ length: 5 }, () => api.run(ROTATE, { id })));
    expect(await api.database.prisma.signingSecret.count({ where: { subscriptionId: id, expiresAt: null } })).toBe(1);
    expect(await api.database.prisma.signingSecret.count({ where: { subscriptionId: id } })).toBe(6);
  });

  test.each([-1, 604_801])('rejects an overlap of %i seconds', async (overlapSeconds) => {
    const { id } = (await create()).subscription;
    expectType((await api.run(ROTATE, { id, overlapSeconds })).data?.rotateWebhookSecret, 'InvalidInputError');
  });
});

describe('sendTestEvent', () => {
  test('creates an event and a pending delivery, with defaults', async () => {
    const { id } = (await create()).subscription;
    const { data } = await api.run(SEND_TEST_EVENT, { subscriptionId: id });
    expect(expectType(data?.sendTestEvent, 'SendTestEventPayload').delivery).toMatchObject({
      status: 'PENDING',
      subscription: { id },
      event: { type: 'webhook.test', data: { message: 'This is a test event.' } },
    });
  });

  test('sends the given type and data', async () => {
    const { id } = (await create()).subscription;
    const { data } = await api.run(SEND_TEST_EVENT, {
      subscriptionId: id,
      eventType: 'a.b',
      data: { list: [1, null, 'x'] },
    });
    const { event } = expectType(data?.sendTestEvent, 'SendTestEventPayload').delivery;
    expect(event).toMatchObject({ type: 'a.b', data: { list: [1, null, 'x'] } });
  });

  test('rejects data of more than 1,000 levels', async () => {
    const { id } = (await create()).subscription;
    let data: unknown[] = [];
    for (let level = 1; level < 1_000; level += 1) data = [data];
    const { sendTestEvent } = (await api.run(SEND_TEST_EVENT, { subscriptionId: id, data })).data ?? {};
    expectType(sendTestEvent, 'SendTestEventPayload');
    const bad = await api.run(SEND_TEST_EVENT, { subscriptionId: id, data: [data] });
    expect(expectType(bad.data?.sendTestEvent, 'InvalidInputError').problems).toEqual([
      { path: 'data', message: 'is nested deeper than 1000 levels', code: 'INVALID_INPUT' },
    ]);
  });

  test('rejects an inactive subscription, an invalid type and more than a megabyte', async () => {
    const { id } = (await create()).subscription;
    const bad = await api.run(SEND_TEST_EVENT, { subscriptionId: id, eventType: 'a..b', data: 'x'.repeat(1_100_000) });
    const { problems } = expectType(bad.data?.sendTestEvent, 'InvalidInputError');
    expect(problems.map(({ path }) => path)).toEqual(['eventType', 'data']);
    expect(problems[1]?.message).toBe('has 1100002 bytes, at most 1048576 are accepted');
    await api.run(UPDATE, { id, input: { isActive: false } });
    const { data } = await api.run(SEND_TEST_EVENT, { subscriptionId: id });
    expect(expectType(data?.sendTestEvent, 'SubscriptionInactiveError').code).toBe('SUBSCRIPTION_INACTIVE');
  });
});
