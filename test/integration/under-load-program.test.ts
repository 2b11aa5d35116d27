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

const cleanUps = createCleanUps();

it('under load, a program that is killed three times loses nothing, and repeats only attempts in flight', async () => {
  const services = await startServices(cleanUps);
  let engine = await startEngine(cleanUps, services);
  const load = await startLoad(cleanUps, services, engine);
  let interrupted = 0;
  await publishAndDisturb(load, {
    times: 3,
    disturb: async () => {
      await engine.kill9();
      const unrecorded = await load.unrecorded();
      expect(unrecorded - interrupted, load.label).toBeLessThanOrEqual(MAX_IN_FLIGHT);
      interrupted = unrecorded;
      engine = await startEngine(cleanUps, services);
    },
  });
  const count = await load.count();
  // Exactly the attempts that a kill interrupted are made once more with the same number.
  expect(count, load.label).toMatchObject({
    ...EXACTLY_ONCE,
    succeededTwice: count.succeededTwice,
    doubled: interrupted,
    unrecorded: interrupted,
  });
});

it('under load, a program that is stopped three times loses nothing, and sends nothing twice', async () => {
  const services = await startServices(cleanUps);
  let engine = await startEngine(cleanUps, services);
  const load = await startLoad(cleanUps, services, engine);
  await publishAndDisturb(load, {
    times: 3,
    disturb: async () => {
      const begun = Date.now();
      expect(await engine.terminate(), load.label).toBe(0);
      expect(Date.now() - begun, load.label).toBeLessThan(25_000);
      expect(await load.unrecorded(), load.label).toBe(0);
      engine = await startEngine(cleanUps, services);
    },
  });
  expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
});
