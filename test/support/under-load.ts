import type { CleanUps } from './clean-ups.ts';
import { type EngineProcess, startEngineProcess } from './engine-process.ts';
import { FAN_OUT, Load, type LoadCount } from './load.ts';
import { startTestServices, type TestServices } from './test-app.ts';

/** Divisible by the number of portions below. */
const EVENTS = 600;

/** Every delivery succeeds, after one request for each of its attempts. */
export const EXACTLY_ONCE: LoadCount = {
  lost: 0,
  doubled: 0,
  succeededTwice: 0,
  unrecorded: 0,
  recordedTwice: 0,
  deliveries: { SUCCESS: FAN_OUT * EVENTS },
};

/** Maximum requests of a sender process that are open or not recorded: ten for each of twenty subscriptions. */
export const MAX_IN_FLIGHT = 200;

/** Short retry delays, and more retries than happen during a test. */
const ENV = { RETRY_SCHEDULE: Array(20).fill('200ms').join() };

export type Services = Pick<TestServices, 'databaseUrl' | 'nats' | 'query' | 'shortenAckWait' | 'unackedBy'>;

export async function startServices(cleanUps: CleanUps): Promise<Services> {
  const services = await startTestServices();
  cleanUps.push(() => services.stop());
  return services;
}

/** Starts a program whose messages are redelivered soon; its own ack wait is a minute. */
export async function startEngine(cleanUps: CleanUps, services: Services, ackWaitMs = 2_000): Promise<EngineProcess> {
  const engine = await startEngineProcess(services, ENV);
  cleanUps.push(() => engine.kill9());
  await services.shortenAckWait('EVENTS', 'dispatcher', ackWaitMs);
  await services.shortenAckWait('DELIVERIES', 'sender', ackWaitMs);
  return engine;
}

/** Creates the subscriptions of a receiver through `engine`. */
export async function startLoad(
  cleanUps: CleanUps,
  { nats, query }: Services,
  { graphql }: EngineProcess,
): Promise<Load> {
  const seed = Math.floor(Math.random() * 1e9);
  const load = await Load.start({ seed, natsUrl: nats.url, query, graphql });
  cleanUps.push(() => load.stop());
  return load;
}

export type Disturbances = {
  readonly times: number;
  readonly disturb: () => Promise<void>;
};

/**
 * Publishes the events in equal portions and disturbs each except the last half-way, then waits until every delivery has
 * ended. The next portion starts after the disturbance, so that a slow machine also has requests in flight.
 */
export async function publishAndDisturb(load: Load, { times, disturb }: Disturbances): Promise<void> {
  const portion = EVENTS / (times + 1);
  const published: Promise<void>[] = [];
  for (let time = 0; time < times; time += 1) {
    const publishing = load.publish(portion);
    // Awaited below, unless a disturbance fails first.
    publishing.catch(() => undefined);
    published.push(publishing);
    await load.reach((time + 0.5) * portion * FAN_OUT);
    await disturb();
  }
  await Promise.all([...published, load.publish(portion)]);
  await load.settle();
}
