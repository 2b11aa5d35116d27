import { expect, it } from 'vitest';
import { loopClock } from '../../src/lib/event-loop.ts';
import { stall } from '../support/other-loop-receiver.ts';

it('the clock stops while the event loop is blocked and a timer of the clock is pending', () => {
  const end = loopClock.after(10_000, () => undefined);
  const began = loopClock.now();
  stall(400);
  expect(loopClock.now() - began).toBeLessThan(200);
  end();
});

it('the clock never goes back, even when a long turn becomes a stall', () => {
  const end = loopClock.after(10_000, () => undefined);
  const until = performance.now() + 300;
  let latest = loopClock.now();
  const steps: number[] = [];
  while (performance.now() < until) {
    const now = loopClock.now();
    steps.push(now - latest);
    latest = now;
  }
  end();
  expect(steps.filter((step) => step < -0.001)).toEqual([]);
});

/** Resolves with the data, or at the end of the time limit if that is earlier. */
async function within(ms: number, data: Promise<string>): Promise<string> {
  return new Promise((resolve) => {
    const end = loopClock.after(ms, () => {
      resolve('time limit');
    });
    void data.then(resolve).finally(end);
  });
}

it('data that arrived while the event loop was blocked is read before the time limit applies', async () => {
  const came = new Promise<string>((resolve) => {
    setImmediate(() => {
      stall(400);
      setImmediate(() => {
        resolve('came');
      });
    });
  });
  expect(await within(200, came)).toBe('came');
});

it('a time limit ends on time', async () => {
  const began = performance.now();
  expect(await within(50, new Promise(() => undefined))).toBe('time limit');
  expect(performance.now() - began).toBeGreaterThanOrEqual(49);
});
