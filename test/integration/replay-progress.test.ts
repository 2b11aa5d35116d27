import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { Replay } from '../../src/generated/prisma/client.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { ReplayFeed, watchReplay } from '../../src/replays/progress.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { openTestDatabase } from '../support/database.ts';
import { type Collected, collect, createSocketClient } from '../support/graphql-client.ts';
import type { TestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

type Progress = { readonly status: string; readonly replayedCount: number };
type Watching = Collected<{ readonly replayProgress: Progress }>;

/** Watches a replay over WebSocket. */
function watch({ url, adminApiKey }: TestApp, id: string): Watching {
  const client = createSocketClient(url, adminApiKey);
  cleanUps.push(async () => {
    await client.dispose();
  });
  const query = 'subscription ($id: ID!) { replayProgress(id: $id) { status replayedCount } }';
  return collect(client, { query, variables: { id } });
}

const seenBy = ({ data }: Watching) => data.map(({ replayProgress }) => replayProgress);

async function startReplay(stack: TestStack, { count, rate }: { count: number; rate: number }): Promise<string> {
  const receiver = await stack.receive();
  await stack.app.subscribe({ url: receiver.url });
  await stack.publishMany('a', count);
  await stack.waitForDeliveries(count, `status = 'SUCCESS'`);
  const { startReplay: result } = await stack.app.graphql<{ startReplay: { replay: { id: string } } }>(
    `mutation ($rate: Int!) { startReplay(input: { filter: { tenant: "acme" }, ratePerSecond: $rate }) {
       ... on StartReplayPayload { replay { id } } } }`,
    { rate },
  );
  return result.replay.id;
}

describe('replayProgress', () => {
  it('reports the progress of the replay in every process until its end, even without NATS', async () => {
    const stack = await startTestStack(cleanUps, { apps: 2 });
    const id = await startReplay(stack, { count: 30, rate: 6 });
    await stack.nats.kill9();
    const startedAt = Date.now();
    const watched = stack.apps.map((app) => watch(app, id));
    const late = watch(stack.app, id);
    await waitFor(() => [...watched, late].every(({ isOver }) => isOver), { what: 'the end' });
    const seconds = Math.ceil((Date.now() - startedAt) / 1_000);
    for (const watching of [...watched, late]) {
      const [seen, errors] = [seenBy(watching), watching.errors];
      expect(errors).toEqual([]);
      expect(seen.length).toBeGreaterThanOrEqual(2);
      expect(seen.length).toBeLessThanOrEqual(2 + seconds);
      expect(seen.slice(0, -1).map(({ status }) => status)).not.toContain('COMPLETED');
      expect(seen.at(-1)).toEqual({ status: 'COMPLETED', replayedCount: 30 });
      const counts = seen.map(({ replayedCount }) => replayedCount);
      expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    }
    const after = watch(stack.app, id);
    await waitFor(() => after.isOver, { what: 'the end' });
    expect(seenBy(after)).toEqual([{ status: 'COMPLETED', replayedCount: 30 }]);
    await stack.nats.start();
  });

  it('ends with CANCELLED, and at once for an unknown replay', async () => {
    const stack = await startTestStack(cleanUps);
    const id = await startReplay(stack, { count: 5, rate: 1 });
    const watching = watch(stack.app, id);
    await waitFor(() => watching.data.length > 0, { what: 'the first state' });
    await stack.app.graphql('mutation ($id: ID!) { cancelReplay(id: $id) { __typename } }', { id });
    await waitFor(() => watching.isOver, { what: 'the end' });
    expect(seenBy(watching).at(-1)?.status).toBe('CANCELLED');
    for (const unknown of ['none', '01a20159-2fa4-72b7-abff-abd08ae48306']) {
      const nothing = watch(stack.app, unknown);
      await waitFor(() => nothing.isOver, { what: 'the error' });
      expect(nothing.errors).toMatchObject([{ extensions: { code: 'NOT_FOUND' } }]);
    }
  });
});

describe('a watched replay in which nothing happens', () => {
  async function watched(stopping = new AbortController().signal) {
    const { database, close } = await openTestDatabase();
    cleanUps.push(close);
    const replay: Replay = await database.prisma.replay.create({
      data: {
        id: uuid7(Date.now()),
        tenant: 'acme',
        status: 'RUNNING',
        filter: {},
        ratePerSecond: 1,
        deliveryCount: 2,
      },
    });
    const iterator = watchReplay(new ReplayFeed(database, pino({ level: 'silent' })), { replay, stopping });
    const update = (data: Partial<Pick<Replay, 'replayedCount' | 'ratePerSecond'>>) =>
      database.prisma.replay.update({ where: { id: replay.id }, data });
    return { replay, iterator, update, database };
  }

  it('ends at once for a client that disconnects', async () => {
    const { replay, iterator } = await watched();
    expect(await iterator.next()).toEqual({ done: false, value: replay });
    const next = iterator.next();
    await iterator.return?.();
    expect(await next).toEqual({ done: true, value: undefined });
  });

  it('ends when the server stops', async () => {
    const stopping = new AbortController();
    const { iterator } = await watched(stopping.signal);
    await iterator.next();
    const next = iterator.next();
    stopping.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    const { iterator: late } = await watched(stopping.signal);
    expect(await late.next()).toEqual({ done: true, value: undefined });
  });

  it('shows the next change, and nothing before it', async () => {
    const { iterator, update, replay } = await watched();
    await iterator.next();
    const next = iterator.next();
    await update({ replayedCount: 1 });
    expect(await next).toEqual({ done: false, value: { ...replay, replayedCount: 1 } });
    await update({ ratePerSecond: 7 });
    expect(await iterator.next()).toMatchObject({ value: { replayedCount: 1, ratePerSecond: 7 } });
    await iterator.return?.();
  });

  it('is recorded for live streams when its rate changes', async () => {
    const { iterator, update, replay, database } = await watched();
    await database.pool.query(`INSERT INTO change_readers VALUES (now() + interval '1 min', pg_current_snapshot())`);
    await update({ ratePerSecond: 7 });
    expect((await database.pool.query('SELECT jobs FROM changes')).rows).toEqual([{ jobs: [replay.id] }]);
    await iterator.return?.();
  });

  it('ends when it is deleted', async () => {
    const { iterator, database } = await watched();
    await iterator.next();
    await database.prisma.replay.deleteMany();
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});
