import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { post, startApi } from '../support/graphql-api.ts';
import { lockTable } from '../support/table-lock.ts';
import { startTestStack, type TestStack, type TestStackOptions } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

const UNKNOWN_ID = '01a20159-2fa4-72b7-abff-abd08ae48306';
const FIELDS = `id tenant status filter ratePerSecond deliveryCount replayedCount skippedCount createdAt completedAt
  skippedBy { withoutEvent inactive duplicate } sample { id replay { id } event { id } }`;
const START = `mutation ($input: StartReplayInput!) { startReplay(input: $input) {
  __typename ... on StartReplayPayload { replay { ${FIELDS} } } ... on Error { code message } } }`;
const CANCEL = `mutation ($id: ID!) { cancelReplay(id: $id) {
  __typename ... on CancelReplayPayload { replay { ${FIELDS} } } ... on Error { code message } } }`;

type Replay = {
  readonly id: string;
  readonly status: string;
  readonly deliveryCount: number;
  readonly replayedCount: number;
  readonly skippedCount: number;
  readonly completedAt: string | null;
};
type Result = { readonly code?: string; readonly message?: string; readonly replay?: Replay };

async function start({ app }: Pick<TestStack, 'app'>, input: Record<string, unknown> = {}): Promise<Result> {
  const filter = { tenant: 'acme', ...(input['filter'] as object | undefined) };
  return (await app.graphql<{ startReplay: Result }>(START, { input: { ...input, filter } })).startReplay;
}

async function started(stack: Pick<TestStack, 'app'>, input?: Record<string, unknown>): Promise<Replay> {
  const { replay, message } = await start(stack, input);
  if (replay === undefined) throw new Error(message);
  return replay;
}

async function cancel({ app }: Pick<TestStack, 'app'>, id: string): Promise<Result> {
  return (await app.graphql<{ cancelReplay: Result }>(CANCEL, { id })).cancelReplay;
}

async function readReplay({ app }: Pick<TestStack, 'app'>, id: string): Promise<Replay | null> {
  return (await app.graphql<{ replay: Replay | null }>(`query ($id: ID!) { replay(id: $id) { ${FIELDS} } }`, { id }))
    .replay;
}

async function completed(stack: Pick<TestStack, 'app'>, id: string): Promise<Replay> {
  return waitFor(
    async () => {
      const replay = await readReplay(stack, id);
      return replay?.status === 'COMPLETED' && replay;
    },
    { what: 'the replay to complete' },
  );
}

/** Creates completed deliveries of `count` events, with one receiver for each subscription. */
async function delivered(count: number, options: TestStackOptions & { readonly subscriptions?: number } = {}) {
  const stack = await startTestStack(cleanUps, options);
  const receiver = await stack.receive();
  const subscriptionIds: string[] = [];
  for (let index = 0; index < (options.subscriptions ?? 1); index += 1) {
    subscriptionIds.push((await stack.app.subscribe({ url: receiver.url, maxInFlight: 100 })).id);
  }
  await stack.publishMany('a', count);
  await stack.waitForDeliveries(count * subscriptionIds.length, `status = 'SUCCESS'`);
  return { ...stack, receiver, subscriptionIds, subscriptionId: subscriptionIds[0] ?? '' };
}

/** Blocks all reads of deliveries until the returned function is called. */
async function lockDeliveries({ databaseUrl }: Pick<TestStack, 'databaseUrl'>): Promise<() => Promise<void>> {
  const unlock = await lockTable(databaseUrl, { table: 'deliveries' });
  cleanUps.push(unlock);
  return unlock;
}

/** Whether `count` deliveries of the replay exist and have succeeded. */
const sentAgain = (stack: TestStack, { id }: Replay, count: number) =>
  stack.waitForDeliveries(count, `status = 'SUCCESS' AND replay_id = '${id}'`);

it('each event is sent once more to each subscription, as a new delivery under the same webhook-id', async () => {
  const stack = await delivered(5, { subscriptions: 2 });
  const before = new Set(stack.receiver.requests.map(({ headers }) => headers['webhook-delivery']));
  const replay = await started(stack);
  expect(replay).toMatchObject({ tenant: 'acme', status: 'RUNNING', filter: { tenant: 'acme' } });
  expect(replay).toMatchObject({ ratePerSecond: 50, deliveryCount: 10, skippedCount: 0, completedAt: null });
  const over = await completed(stack, replay.id);
  expect(over).toMatchObject({ deliveryCount: 10, replayedCount: 10, skippedCount: 0 });
  expect(over.completedAt).not.toBeNull();
  await sentAgain(stack, replay, 10);
  const again = stack.receiver.requests.slice(10);
  expect(again).toHaveLength(10);
  expect(new Set(again.map(({ headers }) => headers['webhook-id'])).size).toBe(5);
  expect(again.filter(({ headers }) => before.has(headers['webhook-delivery']?.toString()))).toEqual([]);
  const { deliveries } = await stack.app.graphql<{ deliveries: { nodes: unknown[] } }>(
    '{ deliveries { nodes { attemptCount replay { id } event { type } } } }',
  );
  const made = { attemptCount: 1, replay: { id: replay.id }, event: { type: 'a' } };
  const original = { ...made, replay: null };
  expect(deliveries.nodes).toEqual([
    ...Array.from({ length: 10 }, () => made),
    ...Array.from({ length: 10 }, () => original),
  ]);
});

it('several deliveries of one event to one subscription become one, and a replay does not replay its own deliveries', async () => {
  const stack = await delivered(3);
  const first = await started(stack);
  await completed(stack, first.id);
  // In batches of two, so that it could select its own deliveries.
  const second = await started(stack, { ratePerSecond: 10 });
  expect(await completed(stack, second.id)).toMatchObject({ deliveryCount: 6, replayedCount: 3, skippedCount: 3 });
  await sentAgain(stack, second, 3);
  const nothing = { withoutEvent: 0, inactive: 0 };
  expect(await readReplay(stack, second.id)).toMatchObject({
    skippedBy: { ...nothing, duplicate: 3 },
    // The newest five of the six deliveries at its start.
    sample: [1, 2, 3, 4, 5].map((n) => ({ replay: n > 3 ? null : { id: first.id } })),
  });
  const outcome = { pending: 0, success: 3, failure: 0, isExact: true };
  const query = `query ($id: ID!) { replay(id: $id) { outcome { ${Object.keys(outcome).join(' ')} } } }`;
  expect(await stack.app.graphql(query, { id: second.id })).toEqual({ replay: { outcome } });
  expect(await stack.countDeliveries('true')).toBe(9);
});

it('the filter has the same meaning as for `deliveries`', async () => {
  const stack = await startTestStack(cleanUps, { env: { RETRY_SCHEDULE: '1ms' } });
  let status = 503;
  const receiver = await stack.receive(() => ({ status }));
  await stack.app.subscribe({ url: receiver.url });
  await stack.publishMany('a', 2);
  await stack.publishMany('b', 1);
  await stack.waitForDeliveries(3, `status = 'FAILURE'`);
  status = 200;
  await stack.publishMany('a', 2);
  await stack.waitForDeliveries(2, `status = 'SUCCESS'`);
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
  const filter = { statuses: ['FAILURE'], statusCodes: [{ from: 500, to: 599 }], eventTypes: ['a'] };
  const replay = await started(stack, { filter: { ...filter, from: hourAgo, to: inAnHour } });
  expect(replay).toMatchObject({ filter: { ...filter, from: hourAgo, to: inAnHour }, deliveryCount: 2 });
  expect(await completed(stack, replay.id)).toMatchObject({ replayedCount: 2, skippedCount: 0 });
  await sentAgain(stack, replay, 2);
  const past = await started(stack, { filter: { to: hourAgo } });
  expect(await completed(stack, past.id)).toMatchObject({ deliveryCount: 0, replayedCount: 0 });
});

it('deliveries without an active subscription or without their event are skipped and counted, even in a dry run', async () => {
  const stack = await delivered(4, { subscriptions: 3 });
  const [, inactive, deleted] = stack.subscriptionIds;
  await stack.query('UPDATE webhook_subscriptions SET is_active = false WHERE id = $1', [inactive]);
  await stack.query('UPDATE webhook_subscriptions SET is_active = false, deleted_at = now() WHERE id = $1', [deleted]);
  await stack.query('DELETE FROM events WHERE id IN (SELECT id FROM events LIMIT 1)');
  const dryRun = await started(stack, { dryRun: true });
  expect(dryRun).toMatchObject({ status: 'DRY_RUN', deliveryCount: 12, replayedCount: 0, skippedCount: 9 });
  const skippedBy = { withoutEvent: 3, inactive: 6, duplicate: 0 };
  expect(dryRun).toMatchObject({ skippedBy, sample: { length: 5 } });
  expect(await stack.countDeliveries('replay_id IS NOT NULL')).toBe(0);
  const replay = await started(stack);
  expect(await completed(stack, replay.id)).toMatchObject({
    deliveryCount: 12,
    replayedCount: 3,
    skippedCount: 9,
    skippedBy,
  });
  await sentAgain(stack, replay, 3);
  const { deliveries } = await stack.app.graphql<{ deliveries: { nodes: { event: unknown }[] } }>(
    '{ deliveries { nodes { event { id } } } }',
  );
  expect(deliveries.nodes.filter(({ event }) => event === null)).toHaveLength(3);
  expect(await cancel(stack, dryRun.id)).toMatchObject({ code: 'NOT_FOUND' });
  const { replays } = await stack.app.graphql<{ replays: { nodes: unknown[] } }>('{ replays { nodes { id } } }');
  expect(replays.nodes).toEqual([{ id: replay.id }]);
});

it('the rate applies to all senders together, and each delivery is created once', async () => {
  const stack = await delivered(60, { apps: 3 });
  const { id } = await started(stack, { ratePerSecond: 20 });
  expect(await completed(stack, id)).toMatchObject({ replayedCount: 60, skippedCount: 0 });
  const times = await stack.query<{ ms: number }>(
    'SELECT (extract(epoch FROM created_at) * 1000)::float8 AS ms FROM deliveries WHERE replay_id = $1 ORDER BY 1',
    [id],
  );
  const first = times[0]?.ms ?? 0;
  // The deliveries of one second at the rate, one more batch, and the time that is made up for.
  expect(times.filter(({ ms }) => ms < first + 1_000).length).toBeLessThanOrEqual(29);
  expect((times.at(-1)?.ms ?? 0) - first).toBeGreaterThanOrEqual(2_400);
  await stack.waitForDeliveries(120, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(stack.receiver.requests).toHaveLength(120);
});

it('waits behind an open circuit, and behind the deliveries that wait already', async () => {
  const stack = await delivered(2);
  await stack.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now() + interval '1 h',
       probe_wait_ms = 3600000, next_sweep_at = now() + interval '1 h'`,
  );
  await stack.publishMany('b', 1);
  await stack.waitForDeliveries(1, `status = 'PENDING'`);
  const replay = await started(stack, { filter: { eventTypes: ['a'] } });
  await completed(stack, replay.id);
  const { deliveries } = await stack.app.graphql<{ deliveries: { nodes: unknown[] } }>(
    '{ deliveries(filter: { statuses: [PENDING] }) { nodes { waitingFor event { type } } } }',
  );
  const waiting = (type: string) => ({ waitingFor: 'CIRCUIT_OPEN', event: { type } });
  expect(deliveries.nodes).toEqual([waiting('a'), waiting('a'), waiting('b')]);
  expect(stack.receiver.requests).toHaveLength(2);
  // One delivery, the first of the queue, is the probe.
  await stack.app.graphql('mutation ($id: ID!) { probeNow(id: $id) { __typename } }', { id: stack.subscriptionId });
  await sentAgain(stack, replay, 2);
  const types = stack.receiver.requests.map(({ rawBody }) => /"type":"(\w)"/.exec(rawBody.toString())?.[1]);
  expect(types).toEqual(['a', 'a', 'b', 'a', 'a']);
});

describe('a replay that is cancelled', () => {
  it('creates no more deliveries, and its existing ones are sent', async () => {
    const stack = await delivered(20);
    const { id } = await started(stack, { ratePerSecond: 2 });
    await waitFor(async () => ((await readReplay(stack, id))?.replayedCount ?? 0) > 0, { what: 'the first delivery' });
    const { replay } = await cancel(stack, id);
    if (replay === undefined) throw new Error('it was not cancelled');
    expect(replay.status).toBe('CANCELLED');
    expect(replay.completedAt).not.toBeNull();
    await sentAgain(stack, replay, replay.replayedCount);
    // A job that looks for a replay to continue would claim this one first.
    await stack.query(`UPDATE replays SET next_batch_at = now() - interval '1 min'`);
    await completed(stack, (await started(stack, { ratePerSecond: 1_000 })).id);
    expect(await stack.countDeliveries(`replay_id = '${id}'`)).toBe(replay.replayedCount);
    expect(await readReplay(stack, id)).toEqual(replay);
    expect(await cancel(stack, id)).toEqual({ __typename: 'CancelReplayPayload', replay });
  });

  it('must be running', async () => {
    const stack = await delivered(1);
    const { id } = await started(stack);
    await completed(stack, id);
    expect(await cancel(stack, id)).toMatchObject({ code: 'REPLAY_NOT_RUNNING' });
    expect(await cancel(stack, UNKNOWN_ID)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await cancel(stack, 'none')).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a start is rejected', () => {
  it('with an invalid filter or rate, or without a tenant', async () => {
    const api = await startApi();
    cleanUps.push(() => api.stop());
    const startWith = async (filter: object, ratePerSecond = 50) => {
      const variables = { input: { filter: { tenant: 'acme', ...filter }, ratePerSecond } };
      const { data } = await post<{ startReplay: Result }>(api.graphql, JSON.stringify({ query: START, variables }));
      return data?.startReplay;
    };
    const refused = { code: 'INVALID_INPUT' };
    expect(await startWith({ tenant: null })).toMatchObject(refused);
    expect(await startWith({ eventTypes: ['a b'] })).toMatchObject(refused);
    expect(await startWith({}, 0)).toMatchObject(refused);
    expect(await startWith({}, 1_001)).toMatchObject(refused);
    expect(await api.database.prisma.replay.count()).toBe(0);
  });

  it('when five replays of the tenant are running, before deliveries are counted', async () => {
    // Enough deliveries that no replay completes during the test.
    const stack = await delivered(60);
    const slow = { ratePerSecond: 1 };
    const first = await started(stack, slow);
    for (let running = 1; running < 5; running += 1) await started(stack, slow);
    const unlock = await lockDeliveries(stack);
    expect(await start(stack, slow)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    await unlock();
    expect((await started(stack, { dryRun: true })).deliveryCount).toBeGreaterThanOrEqual(60);
    expect((await start(stack, { filter: { tenant: 'globex' } })).replay).toMatchObject({ deliveryCount: 0 });
    await cancel(stack, first.id);
    await started(stack, slow);
    expect(await start(stack, slow)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    const { replays } = await stack.app.graphql<{ replays: { nodes: { tenant: string }[] } }>(
      '{ replays(filter: { tenant: "acme" }) { nodes { tenant } } }',
    );
    expect(replays.nodes).toEqual(Array.from({ length: 6 }, () => ({ tenant: 'acme' })));
  });

  it('while another one of the tenant is being counted, even a dry run', async () => {
    const stack = await delivered(1);
    const unlock = await lockDeliveries(stack);
    const counted = start(stack, { dryRun: true });
    const isCounting = async () =>
      (await stack.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2`)).length === 1;
    await waitFor(isCounting, { what: 'the count' });
    expect(await start(stack)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    expect(await start(stack, { dryRun: true })).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    const ofAnother = start(stack, { dryRun: true, filter: { tenant: 'globex' } });
    await unlock();
    expect((await counted).replay).toMatchObject({ deliveryCount: 1 });
    expect((await ofAnother).replay).toMatchObject({ deliveryCount: 0 });
    await started(stack);
  });

  it('when Postgres cannot count the deliveries in time', async () => {
    const stack = await startTestStack(cleanUps);
    const unlock = await lockDeliveries(stack);
    expect(await start(stack)).toMatchObject({ code: 'REPLAY_TOO_LARGE' });
    await unlock();
  });
});
