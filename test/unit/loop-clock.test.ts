import { expect, it } from 'vitest';
import { loopClock, withinLoopTime } from '../../src/lib/event-loop.ts';
import { stall } from '../support/other-loop-receiver.ts';

it('the clock stands still while the loop does, as long as somebody waits by it', () => {
  const end = loopClock.after(10_000, () => undefined);
  const began = loopClock.now();
  stall(400);
  expect(loopClock.now() - began).toBeLessThan(200);
  end();
});

it('what came while the loop stood still is read before a limit counts', async () => {
  const came = new Promise<string>((resolve) => {
    setImmediate(() => {
      stall(400);
      setImmediate(() => {
        resolve('came');
      });
    });
  });
  expect(await withinLoopTime(200, came)).toBe('came');
});

it('a limit that is over rejects, in its time', async () => {
  const began = performance.now();
  await expect(withinLoopTime(50, new Promise(() => undefined))).rejects.toThrow('no answer within 50 ms');
  expect(performance.now() - began).toBeGreaterThanOrEqual(49);
});
