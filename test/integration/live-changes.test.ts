import { isDeepStrictEqual } from 'node:util';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Viewer } from '../../src/auth/viewer.ts';
import { ChangeFeeds } from '../../src/delivery-log/changes/change-feeds.ts';
import { ChangePosition } from '../../src/delivery-log/changes/change-position.ts';
import { CursorExpiredError, watchChanges } from '../../src/delivery-log/changes/watch-changes.ts';
import { FairReads } from '../../src/delivery-log/fair-reads.ts';
import { insertRejectedEvents, type NewRejectedEvent } from '../../src/events/store.ts';
import { uuid7 } from '../../src/lib/uuid7.ts';
import { type Database, type Queryable, transaction } from '../../src/postgres/client.ts';
import { deleteOldChanges } from '../../src/retention/expired-rows.ts';
import { createApiKey } from '../support/api-keys.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { type OpenTestDatabase, openTestDatabase } from '../support/database.ts';
import { type Collected, collect, createSocketClient } from '../support/graphql-client.ts';
import { ADMIN_API_KEY } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const ADMIN: Viewer = { scope: 'ADMIN', credentialId: 'admin' };

describe('the feed of changes', () => {
  let opened: OpenTestDatabase;
  let database: Database;
  const closing: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    opened = await openTestDatabase();
    ({ database } = opened);
  });
  afterAll(async () => {
    await opened.close();
  });
  beforeEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
    await database.pool.query('DELETE FROM change_readers');
    await database.pool.query('DELETE FROM changes');
  });

  type Reader = { readonly ids: string[]; readonly cursors: string[]; error: unknown; close(): Promise<void> };

  /** Reads rejected events with a separate feed, like another process. */
  async function read({ after, tenant }: { after?: string | undefined; tenant?: string } = {}): Promise<Reader> {
    const feeds = new ChangeFeeds({ database, reads: new FairReads(), log: pino({ level: 'silent' }) });
    const stream = watchChanges(
      { viewer: ADMIN, stopping: new AbortController().signal },
      {
        feed: feeds.rejectedEvents,
        matches: (row) => tenant === undefined || row.tenant === tenant,
        tenant,
        after: after === undefined ? undefined : ChangePosition.parse(after, 'rejected_events'),
      },
    );
    const reader: Reader = {
      ids: [],
      cursors: [],
      error: undefined,
      close: async () => {
        await stream.return?.();
        await feeds.stop();
      },
    };
    const reading = (async () => {
      for await (const emission of stream) {
        if (emission.kind === 'failure') reader.error = emission.error;
        else {
          reader.ids.push(emission.value.row.id);
          reader.cursors.push(emission.value.cursor);
        }
      }
    })();
    closing.push(async () => {
      await reader.close();
      await reading;
    });
    // The first received event shows that the stream has begun.
    if (after === undefined) {
      await waitFor(
        async () => {
          await reject(database.pool, [rejection()]);
          return reader.ids.length > 0;
        },
        { what: 'the stream to begin' },
      );
    }
    return reader;
  }

  const rejection = (tenant = 'acme'): NewRejectedEvent => ({
    id: uuid7(Date.now()),
    tenant,
    subject: 'x',
    reason: 'INVALID_JSON',
    message: 'x',
    sizeBytes: 1,
  });

  async function reject(db: Queryable, rejections: readonly NewRejectedEvent[]): Promise<string[]> {
    await insertRejectedEvents(db, rejections);
    return rejections.map(({ id }) => id).toSorted();
  }

  const arrive = (reader: Reader, ids: readonly string[]) =>
    waitFor(() => ids.every((id) => reader.ids.includes(id)), { what: 'the rejected events' });

  it('nothing is recorded without readers', async () => {
    await reject(database.pool, [rejection()]);
    expect((await database.pool.query('SELECT FROM changes')).rowCount).toBe(0);
    await read();
    expect((await database.pool.query('SELECT FROM changes')).rowCount).toBeGreaterThan(0);
  });

  it('a reader gets late commits once, at any point of a reconnection', async () => {
    const first = await read();
    const slow = await database.pool.connect();
    await slow.query('BEGIN');
    const [late = ''] = await reject(slow, [rejection()]);
    const [early = ''] = await reject(database.pool, [rejection()]);
    await arrive(first, [early]);
    await first.close();
    await slow.query('COMMIT');
    slow.release();
    const second = await read({ after: first.cursors.at(-1) });
    await arrive(second, [late]);
    const [next = ''] = await reject(database.pool, [rejection()]);
    await arrive(second, [next]);
    expect(first.ids).not.toContain(late);
    expect(second.ids).toEqual([late, next]);
  });

  it('a reader continues within a transaction, even one longer than a page, and misses nothing', async () => {
    const first = await read();
    const ids = await transaction(database.pool, async (db) => {
      const halves = [];
      for (let part = 0; part < 60; part += 1) {
        halves.push(
          ...(await reject(
            db,
            Array.from({ length: 10 }, () => rejection()),
          )),
        );
      }
      return halves.toSorted();
    });
    await arrive(first, ids);
    expect(first.ids.slice(-600)).toEqual(ids);
    for (const seen of [1, 299, 600]) {
      const cursor = first.cursors[first.ids.indexOf(ids[seen - 1] ?? '')];
      const again = await read({ after: cursor });
      const [next = ''] = await reject(database.pool, [rejection()]);
      await arrive(again, [next]);
      expect(again.ids.filter((id) => ids.includes(id))).toEqual(ids.slice(seen));
    }
  });

  it('if there are more changes than one shared read returns, each reader reads those of its own tenant', async () => {
    const first = await read({ tenant: 'acme' });
    const own = [];
    for (let part = 0; part < 3; part += 1) {
      await reject(
        database.pool,
        Array.from({ length: 1_000 }, () => rejection('other')),
      );
      own.push(...(await reject(database.pool, [rejection()])));
    }
    await arrive(first, own);
    expect(first.ids.slice(-3)).toEqual(own);
  });

  it('a reader that reconnects constantly gets every row of concurrent writers once', async () => {
    let reader = await read();
    const got: string[] = reader.ids.splice(0);
    let cursor = reader.cursors.at(-1);
    const isDone = { value: false };
    const written = Promise.all(
      Array.from({ length: 4 }, async (_, writer) => {
        const ids: string[] = [];
        for (let n = 0; n < 40; n += 1) {
          await transaction(database.pool, async (db) => {
            ids.push(...(await reject(db, [rejection()])));
            if (writer % 2 === 0) await db.query('SELECT pg_sleep(0.01)');
            ids.push(...(await reject(db, [rejection(), rejection()])));
          });
        }
        return ids;
      }),
    ).then((ids) => {
      isDone.value = true;
      return ids.flat();
    });
    while (!isDone.value) {
      await waitFor(() => reader.ids.length > 0 || isDone.value, { what: 'a row' });
      await reader.close();
      got.push(...reader.ids);
      cursor = reader.cursors.at(-1) ?? cursor;
      reader = await read({ after: cursor });
    }
    const ids = await written;
    await waitFor(() => ids.every((id) => got.includes(id) || reader.ids.includes(id)), { what: 'every row' });
    got.push(...reader.ids);
    expect(got.toSorted()).toEqual([...new Set(got)].toSorted());
  });

  it('a cursor is rejected if changes after it were deleted or not recorded', async () => {
    const first = await read();
    const cursor = first.cursors.at(-1);
    await arrive(first, await reject(database.pool, [rejection()]));
    const latest = first.cursors.at(-1);
    await first.close();
    await database.pool.query(`UPDATE changes SET logged_at = now() - interval '61 minutes'`);
    // Newer changes are kept while a transaction in the database of another test is in progress.
    const areGone = async () => {
      await deleteOldChanges(database.pool, { limit: 1_000 });
      return (await database.pool.query('SELECT FROM changes')).rowCount === 0;
    };
    await waitFor(areGone, { what: 'the old changes to be deleted' });
    const old = await read({ after: cursor });
    await waitFor(() => old.error !== undefined, { what: 'the refusal' });
    expect(old.error).toBeInstanceOf(CursorExpiredError);
    const again = await read({ after: latest });
    const [next = ''] = await reject(database.pool, [rejection()]);
    await arrive(again, [next]);
    expect(again.ids).toEqual([next]);
    await again.close();
    await database.pool.query(`UPDATE change_readers SET until = now()`);
    await reject(database.pool, [rejection()]);
    const later = await read({ after: again.cursors.at(-1) });
    await waitFor(() => later.error !== undefined, { what: 'the refusal' });
    expect(later.error).toBeInstanceOf(CursorExpiredError);
  });

  it('recording starts only after the statements in progress have ended', async () => {
    const slow = await database.pool.connect();
    await slow.query('BEGIN');
    await reject(slow, [rejection()]);
    const { ids } = { ids: [] as string[] };
    const reader = read().then((begun) => ids.push(...begun.ids));
    await waitFor(
      async () => {
        const { rowCount } = await database.pool.query(
          `SELECT FROM pg_locks WHERE relation = 'change_readers'::regclass AND mode = 'AccessExclusiveLock'`,
        );
        return rowCount === 1;
      },
      { what: 'a reader that waits' },
    );
    expect(ids).toEqual([]);
    await slow.query('COMMIT');
    slow.release();
    await reader;
    expect(ids.length).toBeGreaterThan(0);
  });
});

describe('the streams', () => {
  const cleanUps = createCleanUps(afterAll);
  let stack: TestStack;
  beforeAll(async () => {
    stack = await startTestStack(cleanUps);
  });

  function subscribe<Data extends object>(query: string, key = ADMIN_API_KEY): Collected<Data> {
    const client = createSocketClient(stack.app.url, key);
    cleanUps.push(async () => client.dispose());
    return collect<Data>(client, { query: `subscription { ${query} }` });
  }

  it('show changes of events, rejected events, deliveries and webhook subscriptions', async () => {
    type Delivery = { readonly id: string; readonly status: string; readonly event: { readonly data: unknown } };
    type Change = { readonly deliveryChanges: { readonly delivery: Delivery } };
    const filter = '(filter: { tenant: "acme" })';
    const deliveries = subscribe<Change>(
      `deliveryChanges${filter} { cursor delivery { id status attemptCount event { data } } }`,
    );
    const events = subscribe(
      `eventLog(filter: { tenant: "acme", eventTypes: ["a.*"] }) { cursor event { type data } }`,
    );
    const rejected = subscribe(`rejectedEventLog(filter: { reasons: [INVALID_JSON] }) { rejectedEvent { reason } }`);
    type SubscriptionChange = { readonly subscriptionChanges: { readonly subscription: Record<string, unknown> } };
    const subscriptions = subscribe<SubscriptionChange>(
      `subscriptionChanges${filter} { subscription { url pausedUntil isActive deletedAt circuit { state } } }`,
    );
    const receiver = await stack.receive();
    const { id } = await stack.app.subscribe({ url: receiver.url, eventTypes: ['a.b'] });
    // A stream has begun when it returns something. Earlier publications need not be in it.
    await waitFor(
      async () => {
        await stack.publish('events.acme.a.b', '{"n":1}');
        await stack.publish('events.acme.other', '{}');
        await stack.publish('events.acme.a.b', 'no JSON');
        await stack.app.graphql(
          `mutation { updateWebhookSubscription(id: "${id}", input: { description: "x" }) { __typename } }`,
        );
        return waitFor(() => [deliveries, events, rejected, subscriptions].every(({ data }) => data.length > 0), {
          what: 'a round that every stream shows',
          timeoutMs: 1_000,
        });
      },
      { what: 'all four streams' },
    );
    expect(events.data[0]).toMatchObject({ eventLog: { event: { type: 'a.b', data: { n: 1 } } } });
    expect(JSON.stringify(events.data)).not.toContain('other');
    expect(rejected.data[0]).toEqual({ rejectedEventLog: { rejectedEvent: { reason: 'INVALID_JSON' } } });

    const latest = () => subscriptions.data.at(-1)?.subscriptionChanges.subscription ?? {};
    const change = async (mutation: string, expected: Record<string, unknown>) => {
      await stack.app.graphql(`mutation { ${mutation} { __typename } }`);
      await waitFor(
        () => {
          expect(latest()).toMatchObject(expected);
          return true;
        },
        { what: mutation },
      );
    };
    const until = new Date(Date.now() + 60_000).toISOString();
    await change(`pauseWebhookSubscription(id: "${id}", until: "${until}")`, { pausedUntil: until });
    await stack.publish('events.acme.a.b', '{"n":2}');
    const pending = await waitFor(
      () =>
        deliveries.data
          .map(({ deliveryChanges }) => deliveryChanges.delivery)
          .find(({ event }) => isDeepStrictEqual(event.data, { n: 2 })),
      { what: 'the delivery that waits' },
    );
    await stack.app.graphql(`mutation { cancelDelivery(id: "${pending.id}") { __typename } }`);
    const statusOf = (deliveryId: string) =>
      deliveries.data.findLast(({ deliveryChanges }) => deliveryChanges.delivery.id === deliveryId)?.deliveryChanges
        .delivery.status;
    await waitFor(() => statusOf(pending.id) === 'CANCELLED', { what: 'the cancelled delivery' });
    await change(`resumeWebhookSubscription(id: "${id}")`, { pausedUntil: null });
    await change(`updateWebhookSubscription(id: "${id}", input: { isActive: false })`, { isActive: false });
    await change(`deleteWebhookSubscription(id: "${id}")`, { deletedAt: expect.any(String) });
    await waitFor(
      () => deliveries.data.every(({ deliveryChanges: { delivery } }) => statusOf(delivery.id) !== 'PENDING'),
      { what: 'the end of every delivery' },
    );
  });

  it('show the start, progress and end of jobs: its own to a tenant, all jobs and erasures to an administrator', async () => {
    type JobChange = {
      readonly jobChanges: { readonly kind: string } & Record<string, { id: string; status: string } | null>;
    };
    const { key } = await createApiKey(stack.app, { scope: 'TENANT_READ', tenant: 'jobs' });
    await stack.app.subscribe({ url: 'https://example.com/', tenant: 'leaves', eventTypes: ['a'] });
    const { changesCursor: after } = await stack.app.graphql<{ changesCursor: string }>('{ changesCursor }');
    const of = (filter: string) => `jobChanges(after: "${after}", filter: { ${filter} }) { kind
      replay { id status skippedBy { inactive } } deliveryJob { id status kind } erasure { id status deletedRowCount } }`;
    const [all, own, erasures] = [
      subscribe<JobChange>(of('')),
      subscribe<JobChange>(of(''), key),
      subscribe<JobChange>(of('kinds: [ERASURE]')),
    ];
    const start = (tenant: string, options = '') =>
      `(input: { filter: { tenant: "${tenant}", eventTypes: [] }${options} })`;
    const payload = (name: string, field: string) => `{ ... on ${name}Payload { ${field} { id } } }`;
    const answer = await stack.app.graphql<Record<string, Record<string, { id: string }>>>(
      `mutation { startReplay${start('jobs')} ${payload('StartReplay', 'replay')}
        cancelDeliveries${start('jobs')} ${payload('CancelDeliveries', 'job')}
        dryRun: startReplay${start('jobs', ', dryRun: true')} { __typename }
        others: startReplay${start('others')} ${payload('StartReplay', 'replay')}
        eraseTenant(tenant: "leaves") ${payload('EraseTenant', 'erasure')} }`,
    );
    const ids = ['startReplay', 'cancelDeliveries', 'others', 'eraseTenant'].map(
      (name) => Object.values(answer[name] ?? {})[0]?.id ?? '',
    );
    const lastOf = ({ data }: Collected<JobChange>) =>
      new Map(
        data.flatMap(({ jobChanges: { kind, ...jobs } }) =>
          Object.values(jobs).flatMap((job) => (job === null ? [] : [[job.id, { kind, ...job }] as const])),
        ),
      );
    const expected = [
      { kind: 'REPLAY', status: 'COMPLETED' },
      { kind: 'CANCEL', status: 'COMPLETED' },
      { kind: 'REPLAY', status: 'COMPLETED' },
      { kind: 'ERASURE', status: 'RUNNING', deletedRowCount: expect.any(Number) as unknown },
    ];
    const seen = (stream: Collected<JobChange>) => ids.map((id) => lastOf(stream).get(id));
    await waitFor(
      () => {
        expect(seen(all)).toMatchObject(expected);
        expect(seen(own).slice(0, 2)).toMatchObject(expected.slice(0, 2));
        expect(lastOf(erasures).get(ids[3] ?? '')).toMatchObject({
          deletedRowCount: expect.toSatisfy((count) => count > 0) as unknown,
        });
        return true;
      },
      { what: 'every job' },
    );
    expect(lastOf(all).size).toBe(4);
    expect(lastOf(own).size).toBe(2);
    expect([...lastOf(erasures).keys()]).toEqual([ids[3]]);
  });

  it('show new tenants and changes of their webhook subscriptions, once for several quick changes', async () => {
    type TenantChange = {
      readonly tenantChanges: { readonly tenant: { readonly name: string; readonly figures: object } };
    };
    const { changesCursor: after } = await stack.app.graphql<{ changesCursor: string }>('{ changesCursor }');
    const created = await Promise.all(
      [1, 2, 3].map((n) =>
        stack.app.subscribe({ url: `https://example.com/${n}`, tenant: 'Newcomer', eventTypes: ['a'] }),
      ),
    );
    await stack.app.subscribe({ url: 'https://example.com/', tenant: 'unasked', eventTypes: ['a'] });
    const { data } = subscribe<TenantChange>(
      `tenantChanges(after: "${after}", filter: { search: "newcom" }) { tenant { name figures { subscriptionCount } } }`,
    );
    const latest = () => data.at(-1)?.tenantChanges.tenant;
    await waitFor(() => latest() !== undefined, { what: 'the tenant' });
    expect(data).toHaveLength(1);
    expect(latest()).toEqual({ name: 'Newcomer', figures: { subscriptionCount: 3 } });
    await stack.app.graphql(`mutation { deleteWebhookSubscription(id: "${created[0]?.id}") { __typename } }`);
    await waitFor(() => isDeepStrictEqual(latest()?.figures, { subscriptionCount: 2 }), { what: 'the change' });
  });

  it('start at a cursor that was read before a list, in every stream', async () => {
    const { changesCursor } = await stack.app.graphql<{ changesCursor: string }>('{ changesCursor }');
    const { id } = await stack.app.subscribe({ url: 'https://example.com/', tenant: 'cursor', eventTypes: ['a'] });
    await stack.app.graphql(`mutation { pauseWebhookSubscription(id: "${id}") { __typename } }`);
    await stack.publish('events.cursor.a', '{}');
    await stack.publish('events.cursor.a', 'no JSON');
    await stack.waitForDeliveries(1, `tenant = 'cursor'`);
    const of = `filter: { tenant: "cursor" }, after: "${changesCursor}"`;
    const streams = [
      subscribe(`deliveryChanges(${of}) { delivery { status } }`),
      subscribe(`subscriptionChanges(${of}) { subscription { id } }`),
      subscribe(`eventLog(${of}) { event { type } }`),
      subscribe(`rejectedEventLog(${of}) { rejectedEvent { reason } }`),
    ];
    await waitFor(() => streams.every(({ data }) => data.length === 1), { what: 'the changes since the cursor' });
    const [{ id: eventId }] = (await stack.query<{ id: string }>(
      `SELECT event_id AS id FROM events WHERE tenant = 'cursor'`,
    )) as [{ id: string }];
    const ofEvent = (field: string, eventIds: string) =>
      `filter: { tenant: "cursor", ${field}: [${eventIds}] }, after: "${changesCursor}"`;
    const [deliveries, events, none] = [
      subscribe(`deliveryChanges(${ofEvent('eventIds', `"${eventId}"`)}) { delivery { status } }`),
      subscribe(`eventLog(${ofEvent('ids', `"${eventId}"`)}) { event { type } }`),
      subscribe(`eventLog(${ofEvent('ids', '"other"')}) { event { type } }`),
    ];
    await waitFor(() => [deliveries, events].every(({ data }) => data.length === 1), {
      what: 'the changes of the event',
    });
    expect(none.data).toEqual([]);
  });

  it('reject a cursor of another stream, and conditions on attempts', async () => {
    const cursor = Buffer.from('GPC:S:deliveries~1:1:').toString('base64');
    const refused = subscribe(`eventLog(after: "${cursor}") { cursor }`);
    await waitFor(() => refused.isOver, { what: 'the refusal' });
    expect(refused.errors).toMatchObject([
      {
        extensions: { code: 'INVALID_INPUT', problems: [{ path: 'after', message: 'is not a cursor of this stream' }] },
      },
    ]);
    const byCode = subscribe(`deliveryChanges(filter: { statusCodes: [{ from: 500, to: 599 }] }) { cursor }`);
    await waitFor(() => byCode.isOver, { what: 'the refusal' });
    expect(byCode.errors).toMatchObject([{ extensions: { problems: [{ path: 'filter.statusCodes' }] } }]);
    const expired = subscribe(`deliveryChanges(after: "${cursor}") { cursor }`);
    await waitFor(() => expired.errors.length > 0, { what: 'the refusal' });
    expect(expired.errors).toMatchObject([{ extensions: { code: 'CURSOR_EXPIRED' } }]);
  });
});
