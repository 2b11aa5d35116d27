import { describe, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { type Scene, type SceneOptions, startScene } from '../support/scene.ts';
import { lockTable } from '../support/table-lock.ts';
import { waitFor } from '../support/wait-for.ts';
import { post, startApi } from './graphql-api.ts';

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

async function start({ app }: Pick<Scene, 'app'>, input: Record<string, unknown> = {}): Promise<Result> {
  const filter = { tenant: 'acme', ...(input['filter'] as object | undefined) };
  return (await app.graphql<{ startReplay: Result }>(START, { input: { ...input, filter } })).startReplay;
}

async function started(scene: Pick<Scene, 'app'>, input?: Record<string, unknown>): Promise<Replay> {
  const { replay, message } = await start(scene, input);
  if (replay === undefined) throw new Error(message);
  return replay;
}

async function cancel({ app }: Pick<Scene, 'app'>, id: string): Promise<Result> {
  return (await app.graphql<{ cancelReplay: Result }>(CANCEL, { id })).cancelReplay;
}

async function readReplay({ app }: Pick<Scene, 'app'>, id: string): Promise<Replay | null> {
  return (await app.graphql<{ replay: Replay | null }>(`query ($id: ID!) { replay(id: $id) { ${FIELDS} } }`, { id }))
    .replay;
}

async function completed(scene: Pick<Scene, 'app'>, id: string): Promise<Replay> {
  return waitFor(
    async () => {
      const replay = await readReplay(scene, id);
      return replay?.status === 'COMPLETED' && replay;
    },
    { what: 'the replay to complete' },
  );
}

/** Creates completed deliveries of `count` events, with one receiver for each subscription. */
async function delivered(count: number, options: SceneOptions & { readonly subscriptions?: number } = {}) {
  const scene = await startScene(cleanUps, options);
  const receiver = await scene.receive();
  const subscriptionIds: string[] = [];
  for (let index = 0; index < (options.subscriptions ?? 1); index += 1) {
    subscriptionIds.push((await scene.app.subscribe({ url: receiver.url, maxInFlight: 100 })).id);
  }
  await scene.publishMany('a', count);
  await scene.waitForDeliveries(count * subscriptionIds.length, `status = 'SUCCESS'`);
  return { ...scene, receiver, subscriptionIds, subscriptionId: subscriptionIds[0] ?? '' };
}

/** Blocks all reads of deliveries until the returned function is called. */
async function lockDeliveries({ databaseUrl }: Pick<Scene, 'databaseUrl'>): Promise<() => Promise<void>> {
  const unlock = await lockTable(databaseUrl, { table: 'deliveries' });
  cleanUps.push(unlock);
  return unlock;
}

/** Whether `count` deliveries of the replay exist and have succeeded. */
const sentAgain = (scene: Scene, { id }: Replay, count: number) =>
  scene.waitForDeliveries(count, `status = 'SUCCESS' AND replay_id = '${id}'`);

it('each event is sent once more to each subscription, as a new delivery under the same webhook-id', async () => {
  const scene = await delivered(5, { subscriptions: 2 });
  const before = new Set(scene.receiver.requests.map(({ headers }) => headers['webhook-delivery']));
  const replay = await started(scene);
  expect(replay).toMatchObject({ tenant: 'acme', status: 'RUNNING', filter: { tenant: 'acme' } });
  expect(replay).toMatchObject({ ratePerSecond: 50, deliveryCount: 10, skippedCount: 0, completedAt: null });
  const over = await completed(scene, replay.id);
  expect(over).toMatchObject({ deliveryCount: 10, replayedCount: 10, skippedCount: 0 });
  expect(over.completedAt).not.toBeNull();
  await sentAgain(scene, replay, 10);
  const again = scene.receiver.requests.slice(10);
  expect(again).toHaveLength(10);
  expect(new Set(again.map(({ headers }) => headers['webhook-id'])).size).toBe(5);
  expect(again.filter(({ headers }) => before.has(headers['webhook-delivery']?.toString()))).toEqual([]);
  const { deliveries } = await scene.app.graphql<{ deliveries: { nodes: unknown[] } }>(
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
  const scene = await delivered(3);
  const first = await started(scene);
  await completed(scene, first.id);
  // In batches of two, so that it could select its own deliveries.
  const second = await started(scene, { ratePerSecond: 10 });
  expect(await completed(scene, second.id)).toMatchObject({ deliveryCount: 6, replayedCount: 3, skippedCount: 3 });
  await sentAgain(scene, second, 3);
  const nothing = { withoutEvent: 0, inactive: 0 };
  expect(await readReplay(scene, second.id)).toMatchObject({
    skippedBy: { ...nothing, duplicate: 3 },
    // The newest five of the six deliveries at its start.
    sample: [1, 2, 3, 4, 5].map((n) => ({ replay: n > 3 ? null : { id: first.id } })),
  });
  const outcome = { pending: 0, success: 3, failure: 0, isExact: true };
  const query = `query ($id: ID!) { replay(id: $id) { outcome { ${Object.keys(outcome).join(' ')} } } }`;
  expect(await scene.app.graphql(query, { id: second.id })).toEqual({ replay: { outcome } });
  expect(await scene.countDeliveries('true')).toBe(9);
});

it('the filter has the same meaning as for `deliveries`', async () => {
  const scene = await startScene(cleanUps, { env: { RETRY_SCHEDULE: '1ms' } });
  let status = 503;
  const receiver = await scene.receive(() => ({ status }));
  await scene.app.subscribe({ url: receiver.url });
  await scene.publishMany('a', 2);
  await scene.publishMany('b', 1);
  await scene.waitForDeliveries(3, `status = 'FAILURE'`);
  status = 200;
  await scene.publishMany('a', 2);
  await scene.waitForDeliveries(2, `status = 'SUCCESS'`);
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
  const inAnHour = new Date(Date.now() + 3_600_000).toISOString();
  const filter = { statuses: ['FAILURE'], statusCodes: [{ from: 500, to: 599 }], eventTypes: ['a'] };
  const replay = await started(scene, { filter: { ...filter, from: hourAgo, to: inAnHour } });
  expect(replay).toMatchObject({ filter: { ...filter, from: hourAgo, to: inAnHour }, deliveryCount: 2 });
  expect(await completed(scene, replay.id)).toMatchObject({ replayedCount: 2, skippedCount: 0 });
  await sentAgain(scene, replay, 2);
  const past = await started(scene, { filter: { to: hourAgo } });
  expect(await completed(scene, past.id)).toMatchObject({ deliveryCount: 0, replayedCount: 0 });
});

it('deliveries without an active subscription or without their event are skipped and counted, even in a dry run', async () => {
  const scene = await delivered(4, { subscriptions: 3 });
  const [, inactive, deleted] = scene.subscriptionIds;
  await scene.query('UPDATE webhook_subscriptions SET is_active = false WHERE id = $1', [inactive]);
  await scene.query('UPDATE webhook_subscriptions SET is_active = false, deleted_at = now() WHERE id = $1', [deleted]);
  await scene.query('DELETE FROM events WHERE id IN (SELECT id FROM events LIMIT 1)');
  const dryRun = await started(scene, { dryRun: true });
  expect(dryRun).toMatchObject({ status: 'DRY_RUN', deliveryCount: 12, replayedCount: 0, skippedCount: 9 });
  const skippedBy = { withoutEvent: 3, inactive: 6, duplicate: 0 };
  expect(dryRun).toMatchObject({ skippedBy, sample: { length: 5 } });
  expect(await scene.countDeliveries('replay_id IS NOT NULL')).toBe(0);
  const replay = await started(scene);
  expect(await completed(scene, replay.id)).toMatchObject({
    deliveryCount: 12,
    replayedCount: 3,
    skippedCount: 9,
    skippedBy,
  });
  await sentAgain(scene, replay, 3);
  const { deliveries } = await scene.app.graphql<{ deliveries: { nodes: { event: unknown }[] } }>(
    '{ deliveries { nodes { event { id } } } }',
  );
  expect(deliveries.nodes.filter(({ event }) => event === null)).toHaveLength(3);
  expect(await cancel(scene, dryRun.id)).toMatchObject({ code: 'NOT_FOUND' });
  const { replays } = await scene.app.graphql<{ replays: { nodes: unknown[] } }>('{ replays { nodes { id } } }');
  expect(replays.nodes).toEqual([{ id: replay.id }]);
});

it('the rate applies to all senders together, and each delivery is created once', async () => {
  const scene = await delivered(60, { apps: 3 });
  const { id } = await started(scene, { ratePerSecond: 20 });
  expect(await completed(scene, id)).toMatchObject({ replayedCount: 60, skippedCount: 0 });
  const times = await scene.query<{ ms: number }>(
    'SELECT (extract(epoch FROM created_at) * 1000)::float8 AS ms FROM deliveries WHERE replay_id = $1 ORDER BY 1',
    [id],
  );
  const first = times[0]?.ms ?? 0;
  // The deliveries of one second at the rate, one more batch, and the time that is made up for.
  expect(times.filter(({ ms }) => ms < first + 1_000).length).toBeLessThanOrEqual(29);
  expect((times.at(-1)?.ms ?? 0) - first).toBeGreaterThanOrEqual(2_400);
  await scene.waitForDeliveries(120, `status = 'SUCCESS' AND attempt_count = 1`);
  expect(scene.receiver.requests).toHaveLength(120);
});

it('waits behind an open circuit, and behind the deliveries that wait already', async () => {
  const scene = await delivered(2);
  await scene.query(
    `UPDATE subscription_states SET opened_at = now(), is_backlogged = true, probe_at = now() + interval '1 h',
       probe_wait_ms = 3600000, next_sweep_at = now() + interval '1 h'`,
  );
  await scene.publishMany('b', 1);
  await scene.waitForDeliveries(1, `status = 'PENDING'`);
  const replay = await started(scene, { filter: { eventTypes: ['a'] } });
  await completed(scene, replay.id);
  const { deliveries } = await scene.app.graphql<{ deliveries: { nodes: unknown[] } }>(
    '{ deliveries(filter: { statuses: [PENDING] }) { nodes { waitingFor event { type } } } }',
  );
  const waiting = (type: string) => ({ waitingFor: 'CIRCUIT_OPEN', event: { type } });
  expect(deliveries.nodes).toEqual([waiting('a'), waiting('a'), waiting('b')]);
  expect(scene.receiver.requests).toHaveLength(2);
  // One delivery, the first of the queue, is the probe.
  await scene.app.graphql('mutation ($id: ID!) { probeNow(id: $id) { __typename } }', { id: scene.subscriptionId });
  await sentAgain(scene, replay, 2);
  const types = scene.receiver.requests.map(({ rawBody }) => /"type":"(\w)"/.exec(rawBody.toString())?.[1]);
  expect(types).toEqual(['a', 'a', 'b', 'a', 'a']);
});

describe('a replay that is cancelled', () => {
  it('creates no more deliveries, and its existing ones are sent', async () => {
    const scene = await delivered(20);
    const { id } = await started(scene, { ratePerSecond: 2 });
    await waitFor(async () => ((await readReplay(scene, id))?.replayedCount ?? 0) > 0, { what: 'the first delivery' });
    const { replay } = await cancel(scene, id);
    if (replay === undefined) throw new Error('it was not cancelled');
    expect(replay.status).toBe('CANCELLED');
    expect(replay.completedAt).not.toBeNull();
    await sentAgain(scene, replay, replay.replayedCount);
    // A job that looks for a replay to continue would claim this one first.
    await scene.query(`UPDATE replays SET next_batch_at = now() - interval '1 min'`);
    await completed(scene, (await started(scene, { ratePerSecond: 1_000 })).id);
    expect(await scene.countDeliveries(`replay_id = '${id}'`)).toBe(replay.replayedCount);
    expect(await readReplay(scene, id)).toEqual(replay);
    expect(await cancel(scene, id)).toEqual({ __typename: 'CancelReplayPayload', replay });
  });

  it('must be running', async () => {
    const scene = await delivered(1);
    const { id } = await started(scene);
    await completed(scene, id);
    expect(await cancel(scene, id)).toMatchObject({ code: 'REPLAY_NOT_RUNNING' });
    expect(await cancel(scene, UNKNOWN_ID)).toMatchObject({ code: 'NOT_FOUND' });
    expect(await cancel(scene, 'none')).toMatchObject({ code: 'NOT_FOUND' });
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
    const scene = await delivered(60);
    const slow = { ratePerSecond: 1 };
    const first = await started(scene, slow);
    for (let running = 1; running < 5; running += 1) await started(scene, slow);
    const unlock = await lockDeliveries(scene);
    expect(await start(scene, slow)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    await unlock();
    expect((await started(scene, { dryRun: true })).deliveryCount).toBeGreaterThanOrEqual(60);
    expect((await start(scene, { filter: { tenant: 'globex' } })).replay).toMatchObject({ deliveryCount: 0 });
    await cancel(scene, first.id);
    await started(scene, slow);
    expect(await start(scene, slow)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    const { replays } = await scene.app.graphql<{ replays: { nodes: { tenant: string }[] } }>(
      '{ replays(filter: { tenant: "acme" }) { nodes { tenant } } }',
    );
    expect(replays.nodes).toEqual(Array.from({ length: 6 }, () => ({ tenant: 'acme' })));
  });

  it('while another one of the tenant is being counted, even a dry run', async () => {
    const scene = await delivered(1);
    const unlock = await lockDeliveries(scene);
    const counted = start(scene, { dryRun: true });
    const isCounting = async () =>
      (await scene.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2`)).length === 1;
    await waitFor(isCounting, { what: 'the count' });
    expect(await start(scene)).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    expect(await start(scene, { dryRun: true })).toMatchObject({ code: 'TOO_MANY_REPLAYS' });
    const ofAnother = start(scene, { dryRun: true, filter: { tenant: 'globex' } });
    await unlock();
    expect((await counted).replay).toMatchObject({ deliveryCount: 1 });
    expect((await ofAnother).replay).toMatchObject({ deliveryCount: 0 });
    await started(scene);
  });

  it('when Postgres cannot count the deliveries in time', async () => {
    const scene = await startScene(cleanUps);
    const unlock = await lockDeliveries(scene);
    expect(await start(scene)).toMatchObject({ code: 'REPLAY_TOO_LARGE' });
    await unlock();
  });
});
