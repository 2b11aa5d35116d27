import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { type EngineProcess, startEngineProcess } from '../support/engine-process.ts';
import { Load } from '../support/load.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { startTestServices, type TestServices } from '../support/test-app.ts';

const EVENTS = 1_200;
/** Two subscriptions want each event. */
const ALL = { SUCCESS: 2 * EVENTS };
const EXACTLY_ONCE = { lost: 0, doubled: 0, succeededTwice: 0, unrecorded: 0, recordedTwice: 0, deliveries: ALL };
/** How many requests a sender process can have under way, or answered and not yet recorded: ten for each subscription. */
const MAX_IN_FLIGHT = 200;
/** How many messages it asks for ahead. */
const MAX_BUFFERED = 100;
/** A 503 is retried soon, and for as long as any of these tests takes. */
const ENV = { RETRY_SCHEDULE: Array(20).fill('200ms').join() };

const cleanUps: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

type Services = Pick<TestServices, 'databaseUrl' | 'nats' | 'query' | 'shortenAckWait' | 'unackedBy'>;

async function startServices(): Promise<Services> {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  return services;
}

/** With an ack wait that a test can wait for. */
async function startEngine(services: Services, ackWaitMs = 2_000): Promise<EngineProcess> {
  const engine = await startEngineProcess(services, ENV);
  cleanUps.push(() => engine.kill9());
  await services.shortenAckWait('EVENTS', 'dispatcher', ackWaitMs);
  await services.shortenAckWait('DELIVERIES', 'sender', ackWaitMs);
  return engine;
}

async function startLoad({ nats, query }: Services, { graphql }: EngineProcess): Promise<Load> {
  const seed = Math.floor(Math.random() * 1e9);
  const load = await Load.start({ seed, natsUrl: nats.url, query, graphql });
  cleanUps.push(() => load.stop());
  return load;
}

/** Publishes everything while `disturb` is called at each of these requests, and waits for the end of it all. */
async function disturbAt(
  requests: readonly number[],
  {
    load,
    disturb,
    settleMs,
  }: { readonly load: Load; readonly disturb: () => Promise<void>; readonly settleMs?: number },
): Promise<void> {
  const published = load.publish(EVENTS);
  // Its failure is seen below, unless a disturbance fails first.
  published.catch(() => undefined);
  for (const request of requests) {
    await load.reach(request);
    await disturb();
  }
  await published;
  await load.settle(settleMs);
}

describe('under load', () => {
  it('a nats-server that is killed again and again loses nothing, and nothing is sent twice', async () => {
    const services = await startServices();
    const load = await startLoad(services, await startEngine(services));
    await disturbAt([300, 800, 1_300, 1_800], {
      load,
      // As a rule it takes seconds; what a crashed broker has forgotten takes the sweeper up to two minutes.
      settleMs: 150_000,
      disturb: async () => {
        await services.nats.kill9();
        await services.nats.start();
      },
    });
    expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
  }, 240_000);

  it('a Postgres that is killed again and again loses nothing, and nothing is sent twice', async () => {
    const postgres = await startTestPostgres();
    cleanUps.push(() => postgres.stop());
    const services = { ...(await startServices()), databaseUrl: postgres.url, query: postgres.query };
    const load = await startLoad(services, await startEngine(services));
    await disturbAt([300, 900, 1_500], {
      load,
      disturb: async () => {
        await postgres.kill9();
        await postgres.start();
      },
    });
    expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
  }, 150_000);

  it('a program that is killed again and again loses nothing, and what was in flight is sent twice', async () => {
    const services = await startServices();
    let engine = await startEngine(services);
    const load = await startLoad(services, engine);
    let cut = 0;
    await disturbAt([300, 900, 1_500], {
      load,
      disturb: async () => {
        await engine.kill9();
        const unrecorded = await load.unrecorded();
        expect(unrecorded - cut, load.label).toBeLessThanOrEqual(MAX_IN_FLIGHT);
        cut = unrecorded;
        engine = await startEngine(services);
      },
    });
    const count = await load.count();
    // Each attempt that a kill cut off is made once more under its number, and no other.
    expect(count, load.label).toMatchObject({
      ...EXACTLY_ONCE,
      succeededTwice: count.succeededTwice,
      doubled: cut,
      unrecorded: cut,
    });
  }, 150_000);

  it('of two programs either may be killed: nothing is lost, and at most what was in flight is sent twice', async () => {
    const services = await startServices();
    // Long enough for every message that the living one has in hand.
    const ackWaitMs = 5_000;
    let next = await startEngine(services, ackWaitMs);
    let last = await startEngine(services, ackWaitMs);
    const load = await startLoad(services, next);
    let inFlight = 0;
    await disturbAt([400, 1_000, 1_600], {
      load,
      disturb: async () => {
        await next.kill9();
        inFlight += await load.unrecorded();
        [next, last] = [last, await startEngine(services, ackWaitMs)];
      },
    });
    const count = await load.count();
    const { doubled, succeededTwice } = count;
    expect(doubled, load.label).toBeLessThanOrEqual(Math.min(inFlight, 3 * MAX_IN_FLIGHT));
    expect(count, load.label).toEqual({ ...EXACTLY_ONCE, doubled, succeededTwice, unrecorded: doubled });
  }, 150_000);

  it('a program that is asked to stop, again and again, loses nothing and sends nothing twice', async () => {
    const services = await startServices();
    let engine = await startEngine(services);
    const load = await startLoad(services, engine);
    await disturbAt([300, 900, 1_500], {
      load,
      disturb: async () => {
        const begun = Date.now();
        expect(await engine.terminate(), load.label).toBe(0);
        expect(Date.now() - begun, load.label).toBeLessThan(25_000);
        expect(await load.unrecorded(), load.label).toBe(0);
        engine = await startEngine(services);
      },
    });
    expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
  }, 150_000);

  it('a program that stands still loses nothing to the one beside it, and at most what it had in hand is sent twice', async () => {
    const services = await startServices();
    const one = await startEngine(services);
    await startEngine(services);
    const load = await startLoad(services, one);
    let inHand = 0;
    await disturbAt([600], {
      load,
      // As a rule it takes seconds; what was in the middle of a transaction can take a minute.
      settleMs: 90_000,
      disturb: async () => {
        one.pause();
        inHand = await services.unackedBy('DELIVERIES', 'sender');
        // Twice the ack wait: this is how long it stands still, nothing is waited for.
        await delay(4_000);
        one.resume();
      },
    });
    const count = await load.count();
    const { doubled, succeededTwice, unrecorded } = count;
    expect(doubled, load.label).toBeLessThanOrEqual(inHand + MAX_BUFFERED);
    // Both programs record what they did; a request whose connection broke meanwhile is sent again within its attempt.
    const recordedTwice = doubled - unrecorded;
    expect(count, load.label).toEqual({ ...EXACTLY_ONCE, doubled, succeededTwice, unrecorded, recordedTwice });
  }, 180_000);
});
