import { expect, test } from 'vitest';
import type { SubscriptionStateFragment } from '../generated/graphql.ts';
import { inWords } from './state-in-words.ts';

const NOW = Date.parse('2026-01-31T12:00:00.000Z');

function subscription(state: Partial<SubscriptionStateFragment>): SubscriptionStateFragment {
  return { id: '0', isActive: true, circuit: { state: 'CLOSED' }, ...state };
}

test('an open circuit says when the next probe is', () => {
  const circuit = { state: 'OPEN' as const, nextProbeAt: '2026-01-31T12:00:42.000Z' };
  expect(inWords(subscription({ circuit }), NOW)).toMatchObject({
    tone: 'failure',
    word: 'Circuit open',
    detail: 'only probes, next in 0:42',
  });
});

test('a pause says when it ends, also while the circuit is open', () => {
  const circuit = { state: 'OPEN' as const, nextProbeAt: '2026-01-31T12:00:42.000Z' };
  const paused = subscription({ circuit, pausedUntil: '2026-01-31T15:00:00.000Z' });
  expect(inWords(paused, NOW)).toEqual({ tone: 'waiting', word: 'Paused', detail: 'ends in 3 h' });
});

test('once its end is over, a pause does not show any more', () => {
  expect(inWords(subscription({ pausedUntil: '2026-01-31T12:00:00.000Z' }), NOW)).toEqual({
    tone: 'success',
    word: 'Active',
  });
});

test('once the time of the probe is over, the next delivery is the probe', () => {
  const circuit = { state: 'OPEN' as const, nextProbeAt: '2026-01-31T11:59:59.000Z' };
  expect(inWords(subscription({ circuit }), NOW).detail).toBe('only probes; the next delivery is a probe');
});

test('a failing subscription says for how long, and a working one is active', () => {
  const failing = inWords(subscription({ failingSince: '2026-01-31T10:00:00.000Z' }), NOW);
  expect(failing).toMatchObject({ word: 'Failing', detail: 'for 2 h' });
  expect(inWords(subscription({}), NOW)).toEqual({ tone: 'success', word: 'Active' });
});

test('an inactive subscription says who deactivated it, and why if it was the engine', () => {
  const gone = inWords(subscription({ isActive: false, deactivationReason: 'GONE' }), NOW);
  expect(gone).toMatchObject({ tone: 'failure', detail: 'the endpoint answered 410 Gone' });
  expect(inWords(subscription({ isActive: false }), NOW)).toMatchObject({
    tone: 'neutral',
    detail: 'a user deactivated it',
  });
});
