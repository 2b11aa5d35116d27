import { describe, expect, it } from 'vitest';
import { isEventType, isEventTypePattern, matchesPattern, patternsOf } from '../../src/events/event-type.ts';
import { SubscriptionIndex } from '../../src/events/subscription-index.ts';

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
  ])('%s against %s: %s', (pattern, type, expected) => {
    expect(matchesPattern(pattern, type)).toBe(expected);
    expect(patternsOf(type).includes(pattern)).toBe(expected);
  });
});

describe('the subscription index', () => {
  const subscription = { id: 's1', tenant: 'acme', version: 1, eventTypes: ['a.*', '*', 'a.b'], isActive: true };

  it('finds a subscription once, however many of its patterns match', () => {
    const index = new SubscriptionIndex();
    index.apply(subscription);
    index.apply({ ...subscription, id: 's2', version: 2, eventTypes: ['b'] });
    expect(index.match('a.b').map(({ id }) => id)).toEqual(['s1']);
  });

  it('forgets what a subscription no longer wants, and a subscription that is no longer active', () => {
    const index = new SubscriptionIndex();
    index.apply(subscription);
    index.apply({ ...subscription, version: 2, eventTypes: ['c'] });
    expect(index.match('a.b')).toEqual([]);
    expect(index.match('c')).toMatchObject([{ id: 's1', version: 2 }]);
    index.apply({ ...subscription, version: 3, isActive: false });
    expect(index.match('c')).toEqual([]);
    expect(index).toMatchObject({ version: 3, size: 0 });
  });
});
