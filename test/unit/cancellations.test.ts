import { afterEach, expect, it, vi } from 'vitest';
import { Cancellations } from '../../src/delivery/queue/cancel.ts';
import { TRUST_FIRST_FOR_MS } from '../../src/delivery/queue/message.ts';

afterEach(() => {
  vi.useRealTimers();
});

it('too many cancelled deliveries at a time make every delivery need a lease, until no first attempt goes without', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const cancellations = new Cancellations();
  for (let index = 0; index < 10_000; index += 1) cancellations.add(`${index}`);
  expect([cancellations.has('0'), cancellations.has('other')]).toEqual([true, false]);
  cancellations.add('one too many');
  expect([cancellations.has('0'), cancellations.has('other')]).toEqual([true, true]);
  vi.advanceTimersByTime(TRUST_FIRST_FOR_MS);
  expect([cancellations.has('0'), cancellations.has('9999'), cancellations.has('other')]).toEqual([false, true, false]);
  // Another cancellation, a day later, evicts one that no longer matters.
  vi.advanceTimersByTime(86_400_000);
  cancellations.add('late');
  expect([cancellations.has('late'), cancellations.has('other')]).toEqual([true, false]);
});
