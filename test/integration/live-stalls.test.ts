import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, type TestContext } from 'vitest';
import { uuid7Time } from '../../src/lib/uuid7.ts';
import { createDatabase } from '../../src/postgres/client.ts';
import { type Following, follow, startApiProcess } from '../support/api-process.ts';
import { createAttemptRecorder } from '../support/attempt-recorder.ts';
import { type Api, deliveryOf, startApi } from '../support/graphql-api.ts';
import { DELIVERY_LOG } from '../support/graphql-operations.graphql.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { waitFor } from '../support/wait-for.ts';

/** Attempts older than this are treated as seen. */
const SETTLED_AFTER_MS = 15_000;

type Test = Pick<TestContext, 'onTestFinished'>;

/** Starts servers for one test, a delivery whose attempts two processes log, and readers of its log. */
async function stage({ onTestFinished }: Test) {
  const api = await startApi();
  onTestFinished(() => api.stop());
  const delivery = await deliveryOf(api, 'acme');
  const { subscriptionId } = delivery;
  const one = createAttemptRecorder(api, delivery);
  return {
    api,
    one,
    other: createAttemptRecorder(api, delivery),
    logOne: async () => {
      const attempt = one.prepare();
      await one.record(attempt);
      return attempt.id;
    },
    read: (url: string, after?: string): Following => {
      const reader = follow({ url, subscriptionId, after });
      onTestFinished(() => reader.stop());
      return reader;
    },
    cursorOfNow: async () => {
      const { data } = await api.run(DELIVERY_LOG, { filter: { subscriptionIds: [subscriptionId] } });
      return data?.deliveryLog.edges[0]?.cursor;
    },
  };
}

/** Starts an api process whose connection to Postgres can be interrupted. */
async function startBehindProxy({ onTestFinished }: Test, { api, isAway }: { api: Api; isAway: boolean }) {
  const target = new URL(api.databaseUrl);
  const state = { isAway };
  const toServer = (text: string) => (state.isAway ? undefined : text);
  const proxy = await startTcpProxy({ port: Number(target.port), toServer });
  target.port = String(proxy.port);
  const database = createDatabase({ url: target.href, onError: () => undefined });
  const process = await startApiProcess({ ...api, database, databaseUrl: target.href });
  onTestFinished(async () => {
    await process.stop();
    await database.close();
    await proxy.stop();
  });
  return { url: process.url, state };
}

const arrived = ({ ids }: Following, id: string) => waitFor(() => ids.includes(id), { what: `attempt ${id}` });

// Concurrent, because the tests mostly wait.
describe.concurrent('senders that cannot commit or announce for 13 s or more', () => {
  it('an attempt that was committed in time is not shown again if its sender stalled before it announced it', async (test) => {
    const { api, other: standing, logOne, read, cursorOfNow } = await stage(test);
    const process = await startApiProcess(api);
    test.onTestFinished(() => process.stop());
    const { url } = process;
    await logOne();
    const reader = read(url, await cursorOfNow());
    const attempt = standing.prepare();
    await standing.recordUnannounced(attempt);
    await arrived(reader, attempt.id);
    const isOld = () => Date.now() - uuid7Time(attempt.id) > SETTLED_AFTER_MS + 3_000;
    await waitFor(isOld, { what: 'the attempt to be old' });
    const between = await logOne();
    await arrived(reader, between);
    const back = read(url, reader.cursor());
    const beforeIt = await logOne();
    await arrived(back, beforeIt);
    api.feed.announce(attempt);
    const next = await logOne();
    await Promise.all([reader, back].map((each) => arrived(each, next)));
    expect(reader.ids).toEqual([attempt.id, between, beforeIt, next]);
    expect(back.ids).toEqual([beforeIt, next]);
  });

  it('attempts that could not be committed during an outage of Postgres are shown to a reader that reconnects right after it', async (test) => {
    const { api, other, logOne, read } = await stage(test);
    const behind = await startBehindProxy(test, { api, isAway: false });
    const reader = read(behind.url);
    const watches = async () => {
      await logOne();
      return reader.ids.length > 0;
    };
    await waitFor(watches, { what: 'the first attempt' });
    const late = other.prepare({}, Date.now() - 10_000);
    behind.state.isAway = true;
    // Longer than the minimum of an outage; without handling it, all earlier attempts would be treated as seen.
    await delay(13_000);
    behind.state.isAway = false;
    await arrived(reader, await logOne());
    await reader.stop();
    await other.record(late);
    const back = read(behind.url, reader.cursor());
    await arrived(back, late.id);
    const next = await logOne();
    await arrived(back, next);
    expect(back.ids).toEqual([late.id, next]);
    expect(back.errors).toEqual([]);
  });

  it('attempts of an outage are also shown if the api process was started during it', async (test) => {
    const { api, one, other, logOne, read, cursorOfNow } = await stage(test);
    const begun = Date.now() - 40_000;
    await one.record(one.prepare({}, begun - 60_000));
    const after = await cursorOfNow();
    const late = other.prepare({}, begun);
    const fresh = await startBehindProxy(test, { api, isAway: true });
    fresh.state.isAway = false;
    const reader = read(fresh.url, after);
    const first = await logOne();
    await arrived(reader, first);
    await reader.stop();
    await other.record(late);
    const back = read(fresh.url, reader.cursor());
    await arrived(back, late.id);
    const next = await logOne();
    await arrived(back, next);
    expect([...reader.ids, ...back.ids]).toEqual([first, late.id, next]);
  });
});
