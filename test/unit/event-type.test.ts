import { describe, expect, it } from 'vitest';
import { isEventType, isEventTypePattern, matchesPattern, patternsOf } from '../../src/events/event-type.ts';
import {
  MAX_TENANT_JSON_BYTES,
  SubscriptionIndex,
  SubscriptionIndexes,
} from '../../src/events/matching/subscription-index.ts';
import type { Queryable } from '../../src/postgres/client.ts';

describe('an event type', () => {
  it.each(['conversation.created', 'NEW_MESSAGE_FROM_VISITOR', 'a-b.c_d.0', 'a'.repeat(256)])('may be %s', (type) => {
    expect(isEventType(type)).toBe(true);
  });

  it.each(['', '.', 'a.', '.a', 'a..b', 'a b', 'a.*', '*', 'ä', 'a'.repeat(257)])('may not be %j', (type) => {
    expect(isEventType(type)).toBe(false);
  });
});

describe('a pattern', () => {
  it.each(['*', 'a', 'a.b', 'a.*', 'a.b.*'])('may be %s', (pattern) => {
    expect(isEventTypePattern(pattern)).toBe(true);
  });

  it.each(['', '**', '*.a', 'a*', 'a.*.b', '.*', 'a.>'])('may not be %j', (pattern) => {
    expect(isEventTypePattern(pattern)).toBe(false);
  });

  it.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.b.c', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a.b.c', true],
    ['a.*', 'a', false],
    ['a.*', 'ab.c', false],
    ['*', 'a.b', true],
    ['*', 'webhook.test', true],
    ['*', 'webhook_subscriptions.a', true],
    ['*', 'webhook_subscription.failing', false],
    ['webhook_subscription.*', 'webhook_subscription.failing', true],
    ['webhook_subscription.failing', 'webhook_subscription.failing', true],
  ])('%s matches %s: %s', (pattern, type, expected) => {
    expect(matchesPattern(pattern, type)).toBe(expected);
    expect(patternsOf(type).includes(pattern)).toBe(expected);
  });
});

describe('the subscription index', () => {
  const subscription = {
    id: 's1',
    tenant: 'acme',
    version: 1,
    eventTypes: ['a.*', '*', 'a.b'],
    isActive: true,
    filter: null,
  };
  const noData = () => ({});

  it('finds a subscription once, however many of its patterns match', async () => {
    const index = new SubscriptionIndex();
    index.apply(subscription);
    index.apply({ ...subscription, id: 's2', version: 2, eventTypes: ['b'] });
    expect((await index.match('a.b', noData)).subscriptions.map(({ id }) => id)).toEqual(['s1']);
  });

  it('removes event types that a subscription no longer selects, and inactive subscriptions', async () => {
    const index = new SubscriptionIndex();
    index.apply(subscription);
    index.apply({ ...subscription, version: 2, eventTypes: ['c'] });
    expect((await index.match('a.b', noData)).subscriptions).toEqual([]);
    expect((await index.match('c', noData)).subscriptions).toMatchObject([{ id: 's1', version: 2 }]);
    index.apply({ ...subscription, version: 3, isActive: false });
    expect((await index.match('c', noData)).subscriptions).toEqual([]);
    expect(index).toMatchObject({ version: 3, weight: 0 });
  });

  it('uses the current filter, and reads the data only if there is a filter', async () => {
    const index = new SubscriptionIndex();
    let reads = 0;
    const readData = () => {
      reads += 1;
      return { plan: 'gold' };
    };
    const matched = async () => (await index.match('a.b', readData)).subscriptions.map(({ id }) => id);
    index.apply({ ...subscription, filter: { plan: 'gold' } });
    index.apply({ ...subscription, id: 's2', version: 2, eventTypes: ['other'], filter: { plan: 'gold' } });
    expect(await matched()).toEqual(['s1']);
    expect(reads).toBe(1);
    index.apply({ ...subscription, version: 3, filter: { plan: 'free' } });
    expect(await matched()).toEqual([]);
    index.apply({ ...subscription, version: 4 });
    expect(await matched()).toEqual(['s1']);
    expect(reads).toBe(2);
  });

  it('an invalid filter in the database blocks every event for its own subscription only', async () => {
    const index = new SubscriptionIndex();
    index.apply({ ...subscription, filter: { plan: { $unheard: 1 } } });
    index.apply({ ...subscription, id: 's2', version: 2 });
    expect((await index.match('a.b', noData)).subscriptions.map(({ id }) => id)).toEqual(['s2']);
  });

  it('yields to the event loop while it matches an event, and skips subscriptions that change meanwhile', async () => {
    const index = new SubscriptionIndex();
    // Each condition tests all elements and matches none.
    const filter = { $or: Array.from({ length: 90 }, (_, n) => ({ list: { n: -1 - n } })) };
    const list = Array.from({ length: 60_000 }, (_, n) => ({ n }));
    for (let n = 1; n <= 20; n += 1) index.apply({ ...subscription, id: `s${100 + n}`, version: n, filter });
    let [turns, isOver] = [0, false];
    const next = () => {
      turns += 1;
      if (turns === 1) index.apply({ ...subscription, id: 's120', version: 21, isActive: false });
      if (!isOver) setImmediate(next);
    };
    setImmediate(next);
    expect(await index.match('a.b', () => ({ list }))).toEqual({
      version: 20,
      subscriptions: [],
      filterBudgetExhaustedAt: 's111',
      steps: expect.closeTo(1_000_000, -4) as number,
    });
    isOver = true;
    // Ten filters of 100,000 steps, about 10 ms each.
    expect(turns).toBeGreaterThan(1);
    expect((await index.match('a.b', () => ({ list: [{ n: -1 }] }))).subscriptions).toHaveLength(19);
  });

  it('has a higher weight with filters, and the old weight after their removal', () => {
    const index = new SubscriptionIndex();
    index.apply(subscription);
    expect(index.weight).toBe(3);
    index.apply({ ...subscription, version: 2, filter: { plan: 'x'.repeat(1_000) } });
    expect(index.weight).toBeGreaterThan(20);
    index.apply({ ...subscription, version: 3 });
    expect(index.weight).toBe(3);
    index.apply({ ...subscription, version: 4, eventTypes: ['a'] });
    expect(index.weight).toBe(1);
  });

  it.each([
    ['long filters', { filter: { a: 'x'.repeat(16_000) } }],
    ['filters of many conditions', { filter: { $or: Array.from({ length: 100 }, (_, n) => ({ a: n })) } }],
    ['short filters', { filter: { a: 1 } }],
    ['short event types', { eventTypes: Array.from({ length: 100 }, (_, n) => n.toString(36)) }],
    ['long event types', { eventTypes: Array.from({ length: 100 }, (_, n) => String(n).padEnd(256, '.a')) }],
  ])(
    'of a tenant at the limit of JSON, with %s, is kept in the cache',
    async (_name, settings) => {
      const row = { ...subscription, eventTypes: ['*'], ...settings };
      const bytes =
        JSON.stringify(row.eventTypes).length + (row.filter === null ? 0 : JSON.stringify(row.filter).length);
      // MAX_SUBSCRIPTIONS_PER_TENANT is at most 10,000.
      const count = Math.min(10_000, Math.floor(MAX_TENANT_JSON_BYTES / bytes));
      const rows = Array.from({ length: count }, (_, n) => ({
        ...row,
        ...{ id: `s${n}`, version: n + 1, tenantVersion: count, isComplete: true },
      }));
      const indexes = new SubscriptionIndexes();
      await indexes.update({ query: () => Promise.resolve({ rows }) } as unknown as Queryable, new Set(['acme']));
      expect(indexes.weight).toBeGreaterThan(count);
      expect(indexes.weight).toBeLessThan(600_000);
    },
    30_000,
  );
});
