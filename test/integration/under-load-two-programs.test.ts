import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import {
  EXACTLY_ONCE,
  MAX_IN_FLIGHT,
  publishAndDisturb,
  startEngine,
  startLoad,
  startServices,
} from '../support/under-load.ts';

/** Number of messages that a sender process prefetches. */
const MAX_BUFFERED = 100;

const cleanUps = createCleanUps();

it('under load, when one of two programs is killed three times, nothing is lost, and only attempts in flight are repeated', async () => {
  const services = await startServices(cleanUps);
  // Longer than the stalls of a busy machine: the running program keeps its messages.
  const ackWaitMs = 10_000;
  let next = await startEngine(cleanUps, services, ackWaitMs);
  let last = await startEngine(cleanUps, services, ackWaitMs);
  const load = await startLoad(cleanUps, services, next);
  let inFlight = 0;
  await publishAndDisturb(load, {
    times: 3,
    disturb: async () => {
      await next.kill9();
      inFlight += await load.unrecorded();
      [next, last] = [last, await startEngine(cleanUps, services, ackWaitMs)];
    },
  });
  const count = await load.count();
  const { doubled, succeededTwice } = count;
  expect(doubled, load.label).toBeLessThanOrEqual(Math.min(inFlight, 3 * MAX_IN_FLIGHT));
  expect(count, load.label).toEqual({ ...EXACTLY_ONCE, doubled, succeededTwice, unrecorded: doubled });
});

it('under load, when one of two programs stalls for four seconds, nothing is lost, and only its own messages are sent twice', async () => {
  const services = await startServices(cleanUps);
  const one = await startEngine(cleanUps, services);
  await startEngine(cleanUps, services);
  const load = await startLoad(cleanUps, services, one);
  let inHand = 0;
  await publishAndDisturb(load, {
    times: 1,
    disturb: async () => {
      one.pause();
      inHand = await services.unackedBy('DELIVERIES', 'sender');
      // Twice the ack wait: the stall itself, not a wait for a condition.
      await delay(4_000);
      one.resume();
    },
  });
  const count = await load.count();
  const { doubled, succeededTwice, unrecorded } = count;
  expect(doubled, load.label).toBeLessThanOrEqual(inHand + MAX_BUFFERED);
  // Both programs record their attempts. A request whose connection broke is sent again within its attempt.
  const recordedTwice = doubled - unrecorded;
  expect(count, load.label).toEqual({ ...EXACTLY_ONCE, doubled, succeededTwice, unrecorded, recordedTwice });
});
